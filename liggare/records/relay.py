"""Hand the records' messages to a relayer, wait, and believe the chain alone.

post -> follow, and tell if it takes long -> the relayer says "carried" -> the chain shows exactly this message, or
the relayer lied
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import requests
from web3.exceptions import Web3Exception
from web3.types import TxReceipt

from liggare.chain.sender import refusal
from liggare.errors import (
    ChainUnreachable,
    ContractRefused,
    MessageFailed,
    MessageUncertain,
    RelayLied,
    RelayRefused,
    RelayUnreachable,
)
from liggare.records.client import Records
from liggare.records.landings import Landings
from liggare.records.wire import Item, document, function
from liggare.relay.client import PAUSE, Client, State

__all__ = ["PATIENCE", "Relay", "State"]

PATIENCE = 10.0
"""Seconds after which who waits is told that nothing has landed."""


class Relay(Client):
    """A relayer's service at a URL, for the records that `records` knows; `with Relay(…)` closes its connections."""

    PLURAL = "records"

    def __init__(self, url: str, records: Records, *, timeout: float = 30) -> None:
        """`timeout` is per request, in seconds. Raises RelayUnreachable where the URL is none."""
        super().__init__(url, timeout=timeout)
        self._records, self._landings = records, Landings(records)

    def __enter__(self) -> Relay:
        return self

    def post(self, items: Sequence[Item]) -> list[State | RelayRefused]:
        """Hand messages over; return each one's state, or why it was not taken, in their order.

        Asked again where the answer does not come: the relayer knows a message by its id. Raises
        RelayRefused for all of them together, RelayUnreachable.
        """
        return self.post_documents([item.id.to_0x_hex() for item in items], [document(item) for item in items])

    def carry(
        self,
        signed: Item,
        *,
        timeout: float = 60,
        patience: float = PATIENCE,
        late: Callable[[State], None] | None = None,
    ) -> TxReceipt:
        """Hand a message over, wait until the chain shows it and return its receipt.

        After `patience` seconds `late` is called once: any carrier can take the same message to the chain. Raises
        RelayRefused where it is not taken, MessageFailed where it can't land any more, RelayLied where the chain
        shows otherwise, MessageUncertain after `timeout` seconds or where the relayer falls silent: it may still land.
        """
        begin = time.monotonic()
        (state,) = self.post([signed])
        if isinstance(state, RelayRefused):
            receipt = self._landed(signed) if state.reason == "OutOfTurn" else None  # it had landed before
            if receipt is None:
                raise state
            return receipt
        while not state.is_final:
            waited = time.monotonic() - begin
            if late is not None and waited > patience:
                late(state)
                late = None
            # a relayer that hides a landing, or is slow to tell, holds nobody up
            receipt = self._landed(signed) if state.status == "mined" or waited > patience else None
            if receipt is not None:
                return receipt
            if waited > timeout:
                raise MessageUncertain(state.id, signed.message.deadline)
            time.sleep(PAUSE)
            try:
                state = self.show(state.id)
            except RelayUnreachable:
                raise MessageUncertain(state.id, signed.message.deadline) from None
        return self.check(signed, state)

    def check(self, signed: Item, state: State) -> TxReceipt:
        """Compare a final state with the chain; return the message's receipt.

        Raises MessageFailed where both say that it did not land and can't now, RelayLied where they differ.
        """
        receipt = self._landed(signed)
        if receipt is None and state.status != "failed":
            raise RelayLied(f"the relayer says that {state.id} is {state.status}; the chain does not show it")
        if receipt is not None and state.status == "failed":
            block = receipt["blockNumber"]
            raise RelayLied(f"the relayer says that {state.id} failed; the chain shows that it landed in block {block}")
        if receipt is None:
            if self._would_land(signed):
                raise RelayLied(f"the relayer says that {state.id} failed ({state.reason}); the chain would take it")
            raise MessageFailed(state.id, state.reason or "no reason")
        return receipt

    def _landed(self, signed: Item) -> TxReceipt | None:
        """Return the receipt of the message's landing, None where the chain does not show it."""
        landing = self._landings.find(signed.message)
        if landing is None:
            return None
        if not landing.as_signed:
            raise RelayLied(f"the chain shows something else than was signed under {signed.id.to_0x_hex()}")
        return self._records.w3.eth.get_transaction_receipt(landing.transaction)  # type: ignore[arg-type]

    def _would_land(self, signed: Item) -> bool:
        """Tell whether the contract would take the message now."""
        try:
            function(self._records, signed).call()
        except requests.RequestException as exc:
            raise ChainUnreachable("the node", type(exc).__name__) from None
        except (Web3Exception, ValueError) as exc:
            found: Any = refusal(exc)
            if not isinstance(found, ContractRefused):
                raise found from None
            return False
        return True
