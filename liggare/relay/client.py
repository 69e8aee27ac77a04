"""Speak with a relayer's service: ask until it answers, and read what it says. Nothing here believes it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from liggare.errors import RelayLied, RelayRefused, RelayUnreachable

__all__ = ["PAUSE", "Client", "State"]

TRIES = 5
PAUSE = 0.2
"""Seconds between two looks."""


@dataclass(frozen=True)
class State:
    """What the relayer says of a message: `queued`, `sent`, `mined`, then its good end or `failed` with its reason."""

    id: str
    status: str
    reason: str | None
    transaction: str | None
    block: int | None

    @property
    def is_final(self) -> bool:
        """Tell whether the relayer says that this is the end."""
        return self.status in ("paid", "carried", "failed")


class Client:
    """A relayer's service at a URL; `with` closes its connections. `PLURAL` is the route of the messages."""

    PLURAL: ClassVar[str]

    def __init__(self, url: str, *, timeout: float = 30) -> None:
        """`timeout` is per request, in seconds. Raises RelayUnreachable where the URL is none."""
        self.url = url
        try:
            self._http = httpx.Client(base_url=url, timeout=timeout)
        except (httpx.InvalidURL, ValueError) as exc:
            raise RelayUnreachable(f"{url!r} is no URL of a relayer: {exc}") from None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def post_documents(self, ids: list[str], documents: list[dict[str, Any]]) -> list[State | RelayRefused]:
        """Hand messages over; return each one's state, or why it was not taken, in their order.

        Asked again where the answer does not come: the relayer knows a message by its id. Raises
        RelayRefused for all of them together, RelayUnreachable, RelayLied.
        """
        answer = self._ask("POST", f"/v1/{self.PLURAL}", json=documents)
        told = [_taken(each) for each in _list(answer, self.PLURAL)]
        if [each.id for each in told if isinstance(each, State)] != [
            id_ for id_, each in zip(ids, told, strict=False) if isinstance(each, State)
        ] or len(told) != len(ids):
            raise RelayLied(f"the relayer at {self.url} answers about other {self.PLURAL} than it was given")
        return told

    def show(self, id_: str) -> State:
        """Return a message's state as the relayer tells it. Raises RelayRefused where it was never given that."""
        state = _state(self._ask("GET", f"/v1/{self.PLURAL}/{id_}"))
        if state.id != id_:
            raise RelayLied(f"the relayer at {self.url} was asked for {id_} and answers about {state.id}")
        return state

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        """Return the answer's document; ask again where it does not come or the relayer asks for patience."""
        for tried in range(1, TRIES + 1):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.HTTPError as exc:
                if tried == TRIES:
                    raise RelayUnreachable(f"no relayer answers at {self.url} ({type(exc).__name__})") from None
                time.sleep(PAUSE * tried)
                continue
            return self._read(answer)
        raise AssertionError  # pragma: no cover

    def _read(self, answer: httpx.Response) -> Any:
        try:
            document_ = answer.json()
        except ValueError:
            raise RelayUnreachable(f"what answers at {self.url} is no relayer (HTTP {answer.status_code})") from None
        if answer.is_success:
            return document_
        raise _refusal(document_)


def _list(answer: Any, name: str) -> list[Any]:
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise RelayUnreachable(f"the answer has no list of {name}: that is no relayer")
    return found


def _taken(told: Any) -> State | RelayRefused:
    return _refusal(told) if isinstance(told, dict) and "name" in told else _state(told)


def _state(told: Any) -> State:
    try:
        return State(told["id"], told["status"], told["reason"], told["transaction"], told["block"])
    except (KeyError, TypeError):
        raise RelayUnreachable("the answer is no message's state: that is no relayer") from None


def _refusal(told: Any) -> RelayRefused:
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        raise RelayUnreachable("the answer is no refusal of a relayer")
    values = {name: value for name, value in told.items() if name not in _PROBLEM}
    return RelayRefused(told["name"], str(told.get("detail") or told.get("title")), **values)


_PROBLEM = ("type", "title", "status", "detail", "name", "reason", "words")
