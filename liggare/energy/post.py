"""Hand readings and signed messages to an operator's service, and ask it what it has.

The service need not be believed: `liggare verify` and `liggare energy bill` recompute from the chain what it did.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import httpx
from eth_account.signers.local import LocalAccount

from liggare.energy.messages import Readings
from liggare.energy.meter import Meter
from liggare.energy.wire import Deposit, document
from liggare.errors import MarketRefused, MarketUnreachable
from liggare.messages import Domain, Signed

__all__ = ["Post", "split"]

TRIES = 5
PAUSE = 0.2
MOST = 100
"""Batches in a request."""


def split(first: int, count: int, slots: int, cuts: Collection[int]) -> list[tuple[int, int]]:
    """Return the batches of `count` slots from `first` on as (first slot, how many): they end at multiples and cuts."""
    found, end = [], first + count
    while first < end:
        upto = min([end, (first // slots + 1) * slots, *(cut for cut in cuts if cut > first)])
        found.append((first, upto - first))
        first = upto
    return found


class Post:
    """An operator's service at a URL; `with Post(…)` closes its connections."""

    def __init__(self, url: str, domain: Domain, *, timeout: float = 30) -> None:
        """`timeout` is per request, in seconds. Raises MarketUnreachable where the URL is none."""
        self.url, self._domain = url, domain
        try:
            self._http = httpx.Client(base_url=url, timeout=timeout)
        except (httpx.InvalidURL, ValueError) as exc:
            raise MarketUnreachable(f"{url!r} is no URL of an operator: {exc}") from None

    def __enter__(self) -> Post:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def home(self, number: int) -> dict[str, Any]:
        """Return what the service says of a home; `due` tells which readings it wants next."""
        found: dict[str, Any] = self._ask("GET", f"/v1/homes/{number}")
        return found

    def meter(self, account: LocalAccount, home: int) -> tuple[Meter, int, int, list[int]]:
        """Return the home's meter at the counters where readings are due, that slot, the batch size and the cuts."""
        try:
            due = self.home(home)["due"]
            start = {name: int(due[name]) for name in ("imported", "exported")}
            meter = Meter(account, home, self._domain, **start)
            return meter, int(due["firstSlot"]), int(due["slots"]), [int(cut) for cut in due["cuts"]]
        except (KeyError, TypeError, ValueError):
            raise self._stranger() from None

    def readings(self, items: Sequence[Signed[Readings]]) -> list[str | MarketRefused]:
        """Hand batches over; return each one's id, or why it was not taken. Asking again is safe.

        Raises MarketRefused for all of them together, MarketUnreachable.
        """
        found: list[str | MarketRefused] = []
        for start in range(0, len(items), MOST):
            body = [document(item, self._domain) for item in items[start : start + MOST]]
            told = self._ask("POST", "/v1/readings", json=body)
            try:
                found += [_refusal(each) if "name" in each else str(each["id"]) for each in told["batches"]]
            except (KeyError, TypeError):
                raise self._stranger() from None
        return found

    def message(self, item: Signed[Any] | Deposit) -> dict[str, Any]:
        """Hand an order, a withdrawal or a deposit over; return its state. Raises MarketRefused."""
        body = document(item, self._domain)
        kind = next(name for name in ("order", "withdrawal", "deposit") if name in body)
        found: dict[str, Any] = self._ask("POST", f"/v1/{kind}s", json=body)
        return found

    def show(self, id_: str) -> dict[str, Any]:
        """Return a message's state. Raises MarketRefused `MessageUnknown`."""
        found: dict[str, Any] = self._ask("GET", f"/v1/messages/{id_}")
        return found

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        """Return the answer's document; ask again where it does not come, or the service can't tell now."""
        for tried in range(1, TRIES + 1):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.HTTPError as exc:
                if tried == TRIES:
                    words = f"no operator of a market answers at {self.url} ({type(exc).__name__})"
                    raise MarketUnreachable(words) from None
            else:
                if answer.status_code != 503 or tried == TRIES:
                    return self._read(answer)
            time.sleep(PAUSE * tried)
        raise AssertionError  # pragma: no cover

    def _read(self, answer: httpx.Response) -> Any:
        try:
            told = answer.json()
        except ValueError:
            raise self._stranger() from None
        if answer.is_success and isinstance(told, dict):
            return told
        if not isinstance(told, dict) or not isinstance(told.get("name"), str):
            raise self._stranger()
        raise _refusal(told)

    def _stranger(self) -> MarketUnreachable:
        return MarketUnreachable(f"what answers at {self.url} is no operator of a market")


def _refusal(told: dict[str, Any]) -> MarketRefused:
    values = {name: value for name, value in told.items() if name not in _PROBLEM}
    return MarketRefused(str(told["name"]), str(told.get("detail") or told.get("title")), **values)


_PROBLEM = ("type", "title", "status", "detail", "name", "reason", "words")
