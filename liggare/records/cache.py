"""The records' ledger in memory, never older than the question: what a custodian asks before each release.

    question -> what is the newest block? -> the logs up to it -> Standings -> View -> many decisions

A decision costs no request of its own; a question costs one small one, shared by all who ask at the same time. Where
the newest state can't be known for certain, nothing is decided: LedgerUnavailable says why.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from eth_typing import ChecksumAddress
from web3 import Web3

from liggare.chain.deployments import Deployments
from liggare.chain.feed import Block, Feed, Log, assure
from liggare.chain.logs import LogDecoder
from liggare.errors import LedgerError, LedgerUnavailable
from liggare.messages import address
from liggare.records.client import Refusal
from liggare.records.share import Share
from liggare.records.standing import Standings

__all__ = ["AccessCache", "View"]

DEPTH = 128
"""How many blocks a reorganisation may take back without everything being read anew."""


@dataclass(frozen=True)
class View:
    """Who may read at one block. Of one moment: ask the cache for another with each request.

    `time` is the clock's, or the block's where that is ahead. What begins waits for a block of its time (`block_time`);
    what ends has ended as soon as `time` says so. Addresses may be given in any form.
    """

    number: int
    block_hash: str
    block_time: int
    time: int
    chain_id: int
    contract: ChecksumAddress
    standings: Standings = field(repr=False)

    def why_not(self, share: Share, category: int, purpose: int, *, reader: str) -> Refusal:
        """Return why `reader` may not read records of all these category bits by a share, `NOTHING` if it may."""
        if (share.chain_id, share.contract) != (self.chain_id, self.contract):
            return Refusal.NO_GRANT
        return self.standings.why_not(
            address(share.patient),
            address(share.author),
            address(reader),
            share.salt,
            share.terms,
            category,
            purpose,
            self.block_time,
            self.time,
        )

    def why_not_emergency(self, organisation: str, pseudonym: str, category: int, purpose: int) -> Refusal:
        """Return why an organisation may not read because it broke the glass, `NOTHING` if it may."""
        words = address(organisation), address(pseudonym), category, purpose
        return self.standings.why_not_emergency(*words, self.block_time, self.time)

    def actor(self, pseudonym: str) -> ChecksumAddress:
        """Return who acts as a patient: its own key, after a recovery the successor's."""
        return self.standings.actor(address(pseudonym))

    def may_act(self, pseudonym: str, who: str, rights: int) -> bool:
        """Tell whether `who` is a patient's actor, or a live guardian with all of these rights (`RIGHTS`)."""
        return self.standings.may_act(address(pseudonym), address(who), rights, self.time)


class Mark(NamedTuple):
    """What stood after a block."""

    block: Block
    standings: Standings


class AccessCache:
    """Follows the records' contracts of one deployment. For many threads, for as long as the process lives.

    How long a request may take is `w3`'s timeout: give it one of seconds, since a call may wait for another's to end.
    Every header of the newest `step` blocks is read, so that no log of theirs is missed; of older ones only those of
    blocks with logs, so that a start takes seconds: what the node's index of logs leaves out there is found where a
    later message about the same grant shows the gap. A chain set back for good below what was seen takes a new cache.
    """

    def __init__(
        self,
        w3: Web3,
        deployments: Deployments,
        *,
        clock: Callable[[], float] = time.time,
        longest: float | None = None,
        step: int = 2_000,
    ) -> None:
        """`clock` gives unix seconds; a newest block older than `longest` seconds is refused; `step` is how many
        blocks are read at once. Nothing is asked yet. Raises DeploymentMissing.
        """
        self.w3, self.deployments, self.clock, self.longest, self.step = w3, deployments, clock, longest, step
        self._decoder = LogDecoder(deployments, ["CareRegistry", "RecordAccess"])
        self._feed = Feed(w3, deployments.chain_id, self._decoder.addresses)
        self._contract = deployments.contracts["RecordAccess"].address
        blocks = [deployments.contracts[name].block for name in ("CareRegistry", "RecordAccess")]
        self._first, self._last = min(blocks), max(blocks)
        self._marks: deque[Mark] = deque()
        """What stood after the last blocks that were read whole, oldest first."""
        self._reading = threading.Lock()
        """Held by the one who asks the node."""
        self._joining = threading.Lock()
        self._next: Future[View] | None = None
        """The look that has not begun: whoever comes now shares it."""
        self._seen = 0
        """The highest block that ever was the newest."""
        self._far: str | None = None
        """While the cache is far behind: how far."""
        self._closed = threading.Event()

    def fresh(self) -> View:
        """Return who may read as the node's newest block has it, found out by a request that starts now or later.

        So a revoke is obeyed by every call that begins after its block is the node's newest. Raises
        LedgerUnavailable where the node is down, behind or on another chain, where what it says does not fit
        together, and at once while a long stretch of the chain is still being read by another thread.
        """
        if self._far is not None:
            raise LedgerUnavailable(self._far)
        with self._joining:
            look, first = self._next, self._next is None
            if look is None:
                look = self._next = Future()
        if not first:
            try:
                return look.result()
            except LedgerUnavailable as exc:
                raise LedgerUnavailable(exc.reason) from None  # each its own: a traceback is of one thread
        try:
            with self._reading:
                with self._joining:
                    self._next = None  # whoever comes from here on might ask for a later block
                view = self._look(None)
        except LedgerUnavailable as exc:
            look.set_exception(exc)
            raise
        except BaseException as exc:
            look.set_exception(LedgerUnavailable(f"reading it was broken off ({type(exc).__name__})"))
            raise
        look.set_result(view)
        return view

    @property
    def behind(self) -> str | None:
        """While a long stretch of the chain is being read: how far; `fresh` then refuses."""
        return self._far

    def sync(self, progress: Callable[[int, int], None] | None = None) -> View:
        """Read up to the newest block, however far, and return the view: for a start, before anyone asks.

        `progress(block, newest)` is called after each stretch, and may break it off by an error of its own; the
        next call goes on from there. It must not ask the cache itself. Raises LedgerUnavailable.
        """
        with self._reading:
            return self._look(progress)

    def close(self) -> None:
        """Break off a reading after the stretch that it is at; from now on every call is refused."""
        self._closed.set()

    # ------------------------------------------------------------------ one look at the chain

    def _look(self, progress: Callable[[int, int], None] | None) -> View:
        self._check_open()
        head = self._feed.head()
        if head.number < self._seen:
            raise LedgerUnavailable(f"the node's newest block is {head.number}, it was {self._seen} before")
        if self.longest is not None and self.clock() - head.time > self.longest:
            raise LedgerUnavailable(f"the newest block is of {head.time}, more than {self.longest:g} s ago")
        if not self._marks or self._marks[-1].block != head:
            try:
                self._follow(head, progress)
            finally:
                self._far = None
        self._seen = head.number
        now = max(int(self.clock()), head.time)
        words = head.number, head.hash, head.time, now
        return View(*words, self.deployments.chain_id, self._contract, self._marks[-1].standings)

    def _follow(self, head: Block, progress: Callable[[int, int], None] | None) -> None:
        """Read from the last mark to the head."""
        if not self._marks or head.number == self._marks[-1].block.number:
            self._find_common(head)
        while (last := self._marks[-1]).block != head:
            self._check_open()
            begin = last.block.number + 1
            if head.number - begin < self.step:
                found = self._feed.linked(last.block, head)
                if found is None:
                    self._find_common(head)
                    continue
            else:
                self._far = f"block {last.block.number} of {head.number} is read"
                if self._feed.block(last.block.number) != last.block:
                    self._find_common(head)
                    continue
                found = self._feed.stretch(begin, last.block.number + self.step)
            logs, blocks = found
            self._take(last.standings, blocks[-1], logs)
            if progress is not None:
                progress(blocks[-1].number, head.number)

    def _find_common(self, head: Block) -> None:
        """Go back to the newest mark that is on the node's chain; to the beginning where there is none."""
        for place in range(len(self._marks) - 1, -1, -1):
            block = self._marks[place].block
            if block.number < self._last:
                break  # the contracts are of later blocks: look whether they are there
            if block.number < head.number and self._feed.block(block.number) == block:
                while len(self._marks) > place + 1:
                    self._marks.pop()
                return
        assure(self.w3, self.deployments)  # before anything is thrown away: it may be another chain
        first = self._feed.block(self._first - 1)
        if first is None:
            raise LedgerUnavailable("the node has no block before the contracts")
        self._marks.clear()
        self._marks.append(Mark(first, Standings()))

    def _take(self, before: Standings, block: Block, logs: list[Log]) -> None:
        """Take in the logs up to a block, all or none."""
        standings = before.copy() if logs else before
        for log in logs:
            try:
                event = self._decoder.decode(log)
            except LedgerError as exc:
                raise LedgerUnavailable(str(exc)) from None
            if not standings.apply(*event):
                self._marks.clear()  # what was read before is not whole
                raise LedgerUnavailable(f"before a log of block {log['blockNumber']} there is one missing")
        self._marks.append(Mark(block, standings))
        while len(self._marks) > 1 and self._marks[1].block.number <= block.number - DEPTH:
            self._marks.popleft()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise LedgerUnavailable("the cache is closed")
