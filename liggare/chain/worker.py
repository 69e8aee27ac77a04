"""A service's worker: a loop that outlives what happens outside, and transactions written before they are sent.

    tick -> sign -> (written down by whoever asked) -> broadcast -> (raise | broadcast again) -> receipt -> tick …

A transaction has one nonce and one form or more: a replacement for a higher fee is another form of it. What a tick did
stands in the service's own database, so the next one, after any death, starts from that and the chain.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from eth_account.signers.local import LocalAccount
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError
from web3 import Web3
from web3.exceptions import Web3Exception

from liggare.chain.raw import ask
from liggare.errors import LiggareError

__all__ = ["GRACE", "Form", "Worker"]

log = logging.getLogger(__name__)

TROUBLES = (Web3Exception, requests.RequestException, SQLAlchemyError, LiggareError, ValueError)
"""What a tick may fail with for reasons outside of it."""
GRACE = 5.0
"""Seconds for which a node may know of a nonce's use and not show the receipt: Anvil does, for some milliseconds."""


@dataclass(frozen=True)
class Form:
    """One signed form of a transaction; `max_fee` and `tip` in wei per gas, `made` in unix seconds."""

    hash: str
    raw: bytes
    max_fee: int
    tip: int
    made: float


class Worker(ABC):
    """One thread's work for one account on one chain."""

    def __init__(
        self,
        name: str,
        w3: Web3,
        account: LocalAccount,
        most_fee: int,
        troubles: Counter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`name` is for the log; no fee exceeds `most_fee`, wei per gas; `troubles` counts what went wrong."""
        self._told_as, self._w3, self._account, self._most_fee = name, w3, account, most_fee
        self._troubles, self._clock = troubles, clock
        self._chain_id = w3.eth.chain_id
        self._wake = threading.Event()
        self.ticked: float = 0.0
        """When the last tick ended well, by the clock."""

    # ------------------------------------------------------------------ the loop

    @abstractmethod
    def tick(self) -> bool:
        """Do what there is to do; tell whether there was anything."""

    def wake(self) -> None:
        """Say that there is something new."""
        self._wake.set()

    def run(self, stop: threading.Event, pause: float = 0.1, busy: float = 0) -> None:
        """Tick until told to stop, with a `pause` after a tick without work and `busy` seconds after one with.

        Trouble outside is waited out, longer each time up to five seconds.
        """
        trouble = 0
        while not stop.is_set():
            try:
                worked = self.tick()
                trouble = 0
            except Exception as exc:
                trouble += 1
                self._troubles.inc()
                log.warning("%s waits: %s", self._told_as, type(exc).__name__)
                # whatever it is, the worker lives on: the next tick starts from what is written down
                log.log(logging.DEBUG if isinstance(exc, TROUBLES) else logging.ERROR, "because of", exc_info=exc)
                stop.wait(min(5.0, 0.1 * 2**trouble))
                continue
            self._wake.wait(busy if worked else pause)
            self._wake.clear()

    # ------------------------------------------------------------------ transactions

    def _fees(self) -> tuple[int, int]:
        """Return the most a unit of gas may cost, in wei, and the tip within it."""
        base = self._w3.eth.get_block("latest").get("baseFeePerGas", 0)
        tip = min(self._w3.eth.max_priority_fee, self._most_fee)
        return max(min(2 * base + tip, self._most_fee), tip), tip

    def _raised(self, newest: Form) -> tuple[int, int] | None:
        """Return the fees of a replacement, an eighth more at least, as nodes ask; None beyond the most."""
        fee, tip = self._fees()
        fee, tip = max(fee, newest.max_fee * 9 // 8 + 1), max(tip, newest.tip * 9 // 8 + 1)
        return None if fee > self._most_fee else (fee, tip)

    def _sign(
        self,
        nonce: int,
        to: str,
        data: bytes,
        gas: int,
        fees: tuple[int, int],
        access: Sequence[dict[str, Any]] = (),
    ) -> Form:
        """Sign a transaction without value; `access` is its access list (EIP-2930)."""
        fields: Any = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": nonce,
            "to": to,
            "value": 0,
            "data": data,
            "gas": gas,
            "accessList": list(access),
            "maxFeePerGas": fees[0],
            "maxPriorityFeePerGas": fees[1],
        }
        signed = self._account.sign_transaction(fields)
        return Form(signed.hash.to_0x_hex(), bytes(signed.raw_transaction), *fees, self._clock())

    def _broadcast(self, form: Form) -> None:
        """Hand a form that is written down to the node. A refusal changes nothing: receipts tell what is true."""
        try:
            self._w3.eth.send_raw_transaction(form.raw)
        except (Web3Exception, ValueError) as exc:
            self._troubles.inc()
            log.warning("the node does not take a transaction: %s", exc)

    def _knows(self, form: Form) -> bool:
        """Tell whether the node has the form, in a block or waiting for one."""
        return ask(self._w3, "eth_getTransactionByHash", form.hash) is not None

    def _mined(self, forms: Sequence[Form]) -> dict[str, Any] | None:
        """Return the receipt, as JSON-RPC has it, of whichever form stands in a block of the chain."""
        for form in reversed(forms):
            receipt: dict[str, Any] | None = ask(self._w3, "eth_getTransactionReceipt", form.hash)
            if receipt is not None:
                block = ask(self._w3, "eth_getBlockByNumber", receipt["blockNumber"], False)
                if block is not None and block["hash"] == receipt["blockHash"]:
                    return receipt
        return None
