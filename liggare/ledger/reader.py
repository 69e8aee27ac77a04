"""Read the suite's events from a node, by block range, each checked against its block's header.

    range -> logs -> headers -> rows in chain order

Nothing is shown of a range that could not be read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import requests
from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3
from web3.contract.base_contract import BaseContractEvent
from web3.exceptions import Web3Exception
from web3.types import LogReceipt

from liggare.chain.deployments import Deployments
from liggare.errors import ChainUnreachable, LedgerError
from liggare.ledger.rows import Row

__all__ = ["Reader"]


class Reader:
    """Reads the rows of all contracts of one deployment."""

    def __init__(self, w3: Web3, deployments: Deployments, *, step: int = 2_000) -> None:
        """`step` is how many blocks are asked for at once."""
        self.w3, self.step = w3, step
        self.first = min((item.block for item in deployments.contracts.values()), default=0)
        self._events: dict[tuple[str, bytes], tuple[str, BaseContractEvent]] = {}
        for name, item in deployments.contracts.items():
            contract = deployments.contract(w3, name)
            for event in cast(Any, contract.events):
                self._events[item.address, event_abi_to_log_topic(event.abi)] = (name, event())
        self._addresses = [item.address for item in deployments.contracts.values()]

    def rows(
        self,
        start: int | None = None,
        end: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Row]:
        """Yield the rows of blocks `start` to `end`, both included (default: everything up to now).

        `progress(block, end)` is called after each range. Raises LedgerError where a log has no
        place in the chain that the node itself shows, ChainUnreachable where the node goes away.
        """
        try:
            first = self.first if start is None else start
            last = self.w3.eth.block_number if end is None else end
            while first <= last:
                upto = min(first + self.step - 1, last)
                yield from self._range(first, upto)
                if progress:
                    progress(upto, last)
                first = upto + 1
        except requests.exceptions.RequestException as exc:
            raise ChainUnreachable("the node while the ledger was read", type(exc).__name__) from None
        except Web3Exception as exc:
            raise LedgerError(f"the node refused to show blocks {first} on: {exc}") from None

    def _range(self, first: int, last: int) -> list[Row]:
        logs = self.w3.eth.get_logs({"fromBlock": first, "toBlock": last, "address": self._addresses})
        headers = {number: self.w3.eth.get_block(number) for number in sorted({log["blockNumber"] for log in logs})}
        rows = []
        for log in sorted(logs, key=lambda log: (log["blockNumber"], log["logIndex"])):
            header = headers[log["blockNumber"]]
            if header["hash"] != log["blockHash"]:
                raise LedgerError(
                    f"block {log['blockNumber']}: a log names block {log['blockHash'].to_0x_hex()},"
                    f" the chain has {header['hash'].to_0x_hex()}; read again"
                )
            rows.append(self._row(log, header["timestamp"]))
        return rows

    def _row(self, log: LogReceipt, timestamp: int) -> Row:
        known = self._events.get((log["address"], bytes(log["topics"][0]))) if log["topics"] else None
        if known is None:
            raise LedgerError(f"{log['address']} emitted an event that is not in its sources")
        name, event = known
        decoded = event.process_log(log)
        return Row(
            block=log["blockNumber"],
            block_hash=log["blockHash"].to_0x_hex(),
            timestamp=timestamp,
            transaction=log["transactionHash"].to_0x_hex(),
            log_index=log["logIndex"],
            contract=name,
            event=decoded["event"],
            arguments=dict(decoded["args"]),
        )
