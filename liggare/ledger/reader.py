"""Read the suite's events from a node, by block range, each checked against its block's header.

    range -> logs -> headers -> rows in chain order

Nothing is shown of a range that could not be read whole (`chain.feed` says what of a node's answers is checked).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from web3 import Web3

from liggare.chain.deployments import Deployments
from liggare.chain.feed import Feed
from liggare.chain.proven import Proven
from liggare.ledger.events import Events
from liggare.ledger.rows import Row

__all__ = ["Reader"]


class Reader:
    """Reads the rows of all contracts of one deployment."""

    def __init__(self, w3: Web3, deployments: Deployments, *, step: int = 2_000, proven: bool = False) -> None:
        """`step` is how many blocks are asked for at once.

        `proven`: every header is asked for, and every log proven by them (`chain.proven`), which takes longer.
        """
        self.step = step
        self.first = min((item.block for item in deployments.contracts.values()), default=0)
        self._events = Events(deployments)
        self.proven = Proven(w3, deployments.chain_id, self._events.addresses) if proven else None
        self._feed = self.proven or Feed(w3, deployments.chain_id, self._events.addresses)

    def rows(
        self,
        start: int | None = None,
        end: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Row]:
        """Yield the rows of blocks `start` to `end`, both included (default: everything up to now).

        `progress(block, end)` is called after each range. Raises LedgerUnavailable where the node goes away, leaves
        logs out or contradicts itself; LedgerError where a log is of no event that the sources have.
        """
        first = self.first if start is None else start
        last = self._feed.head().number if end is None else end
        while first <= last:
            upto = min(first + self.step - 1, last)
            yield from self._events.rows(*self._feed.stretch(first, upto))
            if progress:
                progress(upto, last)
            first = upto + 1
