"""Pay through a relayer: hand a signed payment over, wait, and believe the chain alone.

post -> follow -> the relayer says "paid" -> the chain shows exactly this payment, or the relayer lied
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from web3.types import TxReceipt

from liggare.errors import PaymentFailed, PaymentUncertain, RelayLied, RelayRefused, RelayUnreachable
from liggare.payments.client import Payments
from liggare.payments.codec import Item
from liggare.payments.wire import document

__all__ = ["Purse", "Relay", "State"]

TRIES = 5
PAUSE = 0.2


@dataclass(frozen=True)
class State:
    """What the relayer says of a payment: `queued`, `sent`, `mined`, `paid` or `failed` with its reason."""

    id: str
    status: str
    reason: str | None
    transaction: str | None
    block: int | None

    @property
    def is_final(self) -> bool:
        """Tell whether the relayer says that this is the end."""
        return self.status in ("paid", "failed")


@dataclass(frozen=True)
class Purse:
    """What the relayer says of an account: units free, and the counter nonce to sign next."""

    free: int
    next_nonce: int


class Relay:
    """A relayer's service at a URL, for the money that `payments` knows; `with Relay(…)` closes its connections."""

    def __init__(self, url: str, payments: Payments, *, timeout: float = 30) -> None:
        """`timeout` is per request, in seconds. Raises RelayUnreachable where the URL is none."""
        self.url, self._payments = url, payments
        try:
            self._http = httpx.Client(base_url=url, timeout=timeout)
        except (httpx.InvalidURL, ValueError) as exc:
            raise RelayUnreachable(f"{url!r} is no URL of a relayer: {exc}") from None

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def post(self, items: Sequence[Item]) -> list[State | RelayRefused]:
        """Hand payments over; return each one's state, or why it was not taken, in their order.

        Asked again where the answer does not come: the relayer knows a payment by its id. Raises
        RelayRefused for all of them together, RelayUnreachable.
        """
        answer = self._ask("POST", "/v1/payments", json=[document(item) for item in items])
        told = [_taken(each) for each in _list(answer, "payments")]
        ids = [item.id.to_0x_hex() for item in items]
        if [each.id for each in told if isinstance(each, State)] != [
            id_ for id_, each in zip(ids, told, strict=False) if isinstance(each, State)
        ] or len(told) != len(ids):
            raise RelayLied(f"the relayer at {self.url} answers about other payments than it was given")
        return told

    def show(self, id_: str) -> State:
        """Return a payment's state as the relayer tells it. Raises RelayRefused `PaymentUnknown`."""
        return _state(self._ask("GET", f"/v1/payments/{id_}"))

    def purse(self, account: str) -> Purse:
        """Return what the relayer says of an account; it knows what is on its way, the chain does not yet."""
        answer = self._ask("GET", f"/v1/accounts/{account}")
        try:
            return Purse(int(answer["free"]), int(answer["nextNonce"]))
        except (KeyError, TypeError, ValueError):
            raise RelayUnreachable(f"what answers at {self.url} is no relayer") from None

    def carry(self, item: Item, *, timeout: float = 60) -> TxReceipt:
        """Hand a payment over, wait for its end and return the receipt that the chain shows.

        Raises RelayRefused where it is not taken, PaymentFailed where it can't be paid any more, RelayLied where the
        chain shows otherwise, PaymentUncertain after `timeout` seconds: it may still land.
        """
        deadline = time.monotonic() + timeout
        (state,) = self.post([item])
        if isinstance(state, RelayRefused):
            raise state
        while not state.is_final:
            if time.monotonic() > deadline:
                raise PaymentUncertain(state.id, item.message.valid_before)
            time.sleep(PAUSE)
            state = self.show(state.id)
        return self.check(item, state)

    def check(self, item: Item, state: State) -> TxReceipt:
        """Compare a final state with the chain; return the payment's receipt.

        Raises PaymentFailed where both say that it was not made, RelayLied where they differ.
        """
        receipt = self._payments.find(item)
        if receipt is None and state.status == "paid":
            raise RelayLied(f"the relayer says that {state.id} is paid; the chain does not show it")
        if receipt is not None and state.status == "failed":
            block = receipt["blockNumber"]
            raise RelayLied(f"the relayer says that {state.id} failed; the chain shows it paid in block {block}")
        if receipt is None:
            raise PaymentFailed(state.id, state.reason or "no reason")
        return receipt

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
        raise RelayUnreachable("the answer is no payment's state: that is no relayer") from None


def _refusal(told: Any) -> RelayRefused:
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        raise RelayUnreachable("the answer is no refusal of a relayer")
    values = {name: value for name, value in told.items() if name not in _PROBLEM}
    return RelayRefused(told["name"], str(told.get("detail") or told.get("title")), **values)


_PROBLEM = ("type", "title", "status", "detail", "name", "reason", "words")
