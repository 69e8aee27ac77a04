"""Follow a chain into the index: from the deployment's first block on, up to the newest, for as long as it grows.

    head -> every header, each naming the one before it -> logs, none left out -> rows -> the index, in one transaction

Each stretch is built on the block up to which the index stands, by hash, so nothing is read twice and nothing between
two stretches is missed; where the chain has turned, the blocks that it left go with their rows. A stretch that the node
does not show whole is not taken in. A node that is slow or says that too much is asked is asked for less.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from web3 import Web3

from liggare.chain.deployments import Deployments
from liggare.chain.feed import Block, Feed, assure
from liggare.errors import IndexUnavailable, LedgerError, LedgerUnavailable, LiggareError
from liggare.ledger.events import Events
from liggare.ledger.index import Index
from liggare.ledger.rows import Row

__all__ = ["Follower", "Ids"]

log = logging.getLogger(__name__)

FIRST_STEP = 16
ROWS = 10_000
"""How many rows a stretch should have at most: what is read at once is held in memory, and taken in at once."""
LONGEST_WAIT = 5.0
"""Seconds between two tries at most."""


class Ids(Protocol):
    """Finds the ids of events that don't name them: a domain's own (`liggare.payments.ids`)."""

    def wants(self, row: Row) -> bool:
        """Tell whether a row's transaction is needed."""

    def of(self, transaction: Mapping[str, Any], rows: Sequence[Row]) -> dict[int, str]:
        """Return the ids of a transaction's rows by log index, as 0x text."""


class Follower:
    """Keeps one deployment's ledger in an index current. One thread; several may follow into the same index."""

    def __init__(
        self,
        w3: Web3,
        deployments: Deployments,
        index: Index,
        *,
        confirmations: int = 0,
        step: int = 1_000,
        ids: Ids | None = None,
    ) -> None:
        """`confirmations` is how many blocks must stand on one that is read; `step` how many are read at once at most.

        `ids` finds what events don't name themselves. Then the transactions of such events are asked for too.
        How long a request may take is `w3`'s timeout. Nothing is asked yet.
        """
        self._w3, self._deployments, self._index = w3, deployments, index
        self._confirmations, self._most, self._ids = confirmations, step, ids
        self.step = min(FIRST_STEP, step)
        """How many blocks are asked for at once now: less where they are full, or the node finds it too much."""
        self._events = Events(deployments)
        self._feed = Feed(w3, deployments.chain_id, self._events.addresses)
        self._first = min(item.block for item in deployments.contracts.values())
        self.ledger = index.ledger(deployments)
        self._noted: tuple[int | None, str | None] = (None, None)
        self._noted_at = 0.0
        self._head: int | None = None

    def look(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Read up to the newest block (less the confirmations) and return up to which block the index stands.

        `progress(block, end)` is called after each stretch. Raises LedgerUnavailable where the node is down, behind,
        on another chain or shows no whole; LedgerError where a log is of no event of the sources; IndexUnavailable.
        What was read before stays, and the next look goes on there.
        """
        head = self._feed.head()
        self._head = head.number
        standing = self._index.read_to(self.ledger)
        if standing is None:
            standing = self._begin()
        end = head if not self._confirmations else self._feed.block(max(head.number - self._confirmations, 0))
        if end is None:
            raise LedgerUnavailable("the node lost a block while it was asked")
        if end.number <= standing.number and end.hash != standing.hash:
            standing = self._back(standing, head)
        while standing.number < end.number:
            standing = self._stretch(standing, end, head)
            self.note(None)
            if progress:
                progress(standing.number, end.number)
        self.note(None)
        return standing.number

    def run(self, stop: threading.Event, pause: float = 0.25) -> None:
        """Look until told to stop, every `pause` seconds. Trouble is noted in the index, waited out and tried again."""
        wait = pause
        while not stop.is_set():
            try:
                self.look()
                wait = pause
            except Exception as exc:  # a follower outlives whatever happens outside
                wait = min(LONGEST_WAIT, max(wait, 0.1) * 2)
                self._tell(exc)
            stop.wait(wait)

    def note(self, trouble: str | None) -> None:
        """Note in the index how far the chain is and what is wrong: when that changes, and each second."""
        now = time.monotonic()
        if (self._head, trouble) != self._noted or now - self._noted_at > 1:
            self._index.note(self.ledger, self._head, trouble)
            self._noted, self._noted_at = (self._head, trouble), now

    def _tell(self, exc: Exception) -> None:
        known = isinstance(exc, LiggareError)
        words = exc.reason if isinstance(exc, LedgerUnavailable) else str(exc) if known else type(exc).__name__
        log.log(logging.WARNING if known else logging.ERROR, "the ledger is not read: %s", words, exc_info=not known)
        if not isinstance(exc, IndexUnavailable):
            try:
                self.note(words)
            except LedgerError:
                log.warning("nor can that be noted")

    # ------------------------------------------------------------------ one look

    def _begin(self) -> Block:
        """Make sure that this is the chain that is meant, and stand before the first contract's block."""
        assure(self._w3, self._deployments)
        first = self._feed.block(max(self._first - 1, 0))
        if first is None:
            raise LedgerUnavailable("the node has no block before the contracts")
        self._index.add(self.ledger, None, [first], [])
        return first

    def _stretch(self, standing: Block, end: Block, head: Block) -> Block:
        """Read the next blocks, take them in, and return where the index stands then."""
        last = end if end.number - standing.number <= self.step else self._feed.block(standing.number + self.step)
        if last is None:
            raise LedgerUnavailable("the node lost a block while it was asked")
        try:
            found = self._feed.linked(standing, last)
        except LedgerUnavailable:
            self.step = max(self.step // 2, 1)
            raise
        if found is None:
            back = self._back(standing, head)
            if back == standing:
                raise LedgerUnavailable("the chain changed while it was read")
            return back
        logs, blocks = found
        rows = self._events.rows(logs, blocks)
        added = self._index.add(self.ledger, standing, blocks, rows, self._named(rows))
        if len(rows) > ROWS:
            self.step = max(self.step * ROWS // len(rows), 1)
        elif 2 * len(rows) < ROWS and last.number - standing.number >= self.step:
            self.step = min(self.step * 2, self._most)
        return last if added else self._index.read_to(self.ledger) or standing

    def _named(self, rows: Sequence[Row]) -> dict[tuple[int, int], str]:
        """Return the ids of rows that don't name them, by block and log index."""
        wanted: dict[str, list[Row]] = {}
        for row in rows:
            if self._ids is not None and self._ids.wants(row):
                wanted.setdefault(row.transaction, []).append(row)
        if self._ids is None or not wanted:
            return {}
        found = {}
        for transaction, of in zip(self._feed.transactions(list(wanted)), wanted.values(), strict=True):
            try:
                ids = self._ids.of(transaction, of)
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                raise LedgerUnavailable(f"the node gave a transaction that is none ({type(exc).__name__})") from None
            found.update({(of[0].block, place): id_ for place, id_ in ids.items()})
        return found

    def _back(self, standing: Block, head: Block) -> Block:
        """Go back to the newest kept block that is on the node's chain, and return it."""
        turned = False
        for block in self._index.blocks_down(self.ledger):
            if block.number > head.number:
                continue
            known = self._feed.block(block.number)
            if known is None or known.hash != block.hash:
                turned = True
            elif turned:
                assure(self._w3, self._deployments)
                gone = self._index.cut(self.ledger, block)
                log.warning("the chain turned after block %d: %d rows of blocks that it left went", block.number, gone)
                return block
            elif block.number == standing.number:
                return standing
            else:
                words = f"the node's newest block is {head.number}, the index has read {standing.number}"
                raise LedgerUnavailable(f"{words}: it is behind, or its chain was set back")
        raise LedgerUnavailable("the node's chain has no block in common with the one that was read")
