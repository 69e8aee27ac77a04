"""Rows from raw logs: which event of which contract, and where on the chain it stands.

log, as JSON-RPC has it, and its block -> decoded by the contract's ABI -> row
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from liggare.chain.deployments import Deployments
from liggare.chain.feed import Block, Log
from liggare.chain.logs import LogDecoder
from liggare.errors import LedgerError
from liggare.ledger.rows import Row

__all__ = ["Events"]

DIGITS = frozenset("0123456789abcdef")


class Events:
    """Makes rows of the logs of all contracts of one deployment; `addresses` are theirs, in lower case."""

    def __init__(self, deployments: Deployments) -> None:
        self._decoder = LogDecoder(deployments, deployments.contracts)
        self.addresses = self._decoder.addresses

    def rows(self, logs: Iterable[Log], blocks: Iterable[Block]) -> list[Row]:
        """Return the rows of logs in their order; `blocks` are those that they stand in, among others.

        Raises LedgerError where a log is of no event of the sources or names a block that is not among these.
        """
        by_number = {block.number: block for block in blocks}
        return [self._row(log, by_number) for log in logs]

    def _row(self, log: Log, blocks: Mapping[int, Block]) -> Row:
        contract, name, arguments = self._decoder.decode(log)
        try:
            block, transaction, place = blocks[int(log["blockNumber"], 16)], log["transactionHash"], log["logIndex"]
            if log["blockHash"] != block.hash:
                raise LedgerError(f"block {block.number}: a log names block {log['blockHash']}, the chain {block.hash}")
            place = int(place, 16)
            strange = len(transaction) != 66 or transaction[:2] != "0x" or not DIGITS.issuperset(transaction[2:])
        except (KeyError, TypeError, AttributeError, ValueError) as exc:
            raise LedgerError(f"the node gave a log that is none: {exc!r}") from None
        if strange:
            raise LedgerError(f"the node gave a log that is none: of transaction {transaction!r}")
        return Row(block.number, block.hash, block.time, transaction, place, contract, name, arguments)
