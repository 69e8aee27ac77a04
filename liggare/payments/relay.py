"""Pay through a relayer: hand a signed payment over, wait, and believe the chain alone.

post -> follow -> the relayer says "paid" -> the chain shows exactly this payment, or the relayer lied
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from web3.types import TxReceipt

from liggare.errors import PaymentFailed, PaymentUncertain, RelayLied, RelayRefused, RelayUnreachable
from liggare.payments.client import Payments
from liggare.payments.codec import Item
from liggare.payments.wire import document
from liggare.relay.client import PAUSE, Client, State

__all__ = ["Purse", "Relay", "State"]


@dataclass(frozen=True)
class Purse:
    """What the relayer says of an account: units free, and the counter nonce to sign next."""

    free: int
    next_nonce: int


class Relay(Client):
    """A relayer's service at a URL, for the money that `payments` knows; `with Relay(…)` closes its connections."""

    PLURAL = "payments"

    def __init__(self, url: str, payments: Payments, *, timeout: float = 30) -> None:
        """`timeout` is per request, in seconds. Raises RelayUnreachable where the URL is none."""
        super().__init__(url, timeout=timeout)
        self._payments = payments

    def __enter__(self) -> Relay:
        return self

    def post(self, items: Sequence[Item]) -> list[State | RelayRefused]:
        """Hand payments over; return each one's state, or why it was not taken, in their order.

        Asked again where the answer does not come: the relayer knows a payment by its id. Raises
        RelayRefused for all of them together, RelayUnreachable.
        """
        return self.post_documents([item.id.to_0x_hex() for item in items], [document(item) for item in items])

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
