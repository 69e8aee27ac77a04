"""Posting the heads of an access log to the chain, in batches: one transaction for any number of releases.

    releases since the last head, or time -> what the chain has -> seal -> postLogHead -> noted

A thread at the custodian's gatekeeper. It remembers nothing that the chain and the log don't hold, so it may be killed
anywhere; several may post one log, and the contract takes each head once, in order.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

from liggare.chain.sender import Sender
from liggare.errors import ContractRefused, LogForked, SettingsError
from liggare.records.client import Records
from liggare.records.log import AccessLog
from liggare.records.tree import Head

__all__ = ["Poster"]

TRIES = 5


class Poster:
    """Posts a log's heads, by the custodian's own account, which pays the gas."""

    def __init__(
        self,
        log: AccessLog,
        records: Records,
        sender: Sender,
        *,
        every: int = 1000,
        seconds: float = 600.0,
        pause: float = 1.0,
    ) -> None:
        """A head is posted once `every` entries wait for one, or the oldest has waited for `seconds`.

        `pause` is how long to wait between two looks. Raises SettingsError where the sender is not the custodian.
        """
        if sender.account.address != log.custodian:
            raise SettingsError(f"the heads of {log.custodian} are posted by itself, not by {sender.account.address}")
        self.log, self.records, self.sender = log, records, sender
        self.every, self.seconds, self.pause = every, seconds, pause
        self.trouble: Exception | None = None
        """Why the last attempt failed; None where it did not."""
        self._since: float | None = None
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------ at once

    def waiting(self) -> int:
        """Return how many entries no posted head covers."""
        return self.log.head().size - self.log.posted().size

    def on_chain(self) -> Head:
        """Return the head that stands on the chain, and note it. Raises LogForked where it is not this log's."""
        word = self.records.log_head(self.log.custodian)
        size = int.from_bytes(word[24:], "big")
        here = self.log.head().size
        head = Head(size, self.log.root(min(size, here)))
        if size > here or (size and head.word != word):
            raise LogForked(f"the head on the chain, of {size} entries, is not of this access log, which has {here}")
        if size > self.log.posted().size:  # by a process that was killed since, or is faster
            self.log.note_posted(head)
        return head

    def post(self) -> Head | None:
        """Post a head over all that is written, and return it; None where the chain has it already.

        Raises LogForked where the chain's head is not this log's, ChainError where the chain does not take it.
        """
        for attempt in range(1, TRIES + 1):
            last = self.on_chain()
            if self.log.head().size == last.size:
                return None
            head = self.log.seal()
            predecessor = last.word if last.size else bytes(32)
            try:
                self.sender.send(self.records.contract.functions.postLogHead(predecessor, head.size, head.root))
            except ContractRefused as exc:
                if exc.name not in ("RecordsLogForked", "RecordsLogShrunk") or attempt == TRIES:
                    raise
                continue  # another process was faster: look again
            self.log.note_posted(head)
            return head
        raise AssertionError  # the last attempt returns or raises

    # ------------------------------------------------------------------ in a thread

    def start(self) -> None:
        """Post in a thread of its own until `stop`. What goes wrong there is in `trouble`, and is tried again."""
        self._thread = threading.Thread(target=self._run, name="log heads", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; entries that wait are posted by the next one."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Poster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        pause = self.pause
        while not self._end.wait(pause):
            try:
                self._look()
                self.trouble, pause = None, self.pause
            except Exception as exc:  # a head that waits is better than one that nobody posts any more
                self.trouble, pause = exc, min(max(2 * pause, 1.0), 60.0)

    def _look(self) -> None:
        waiting, now = self.waiting(), time.monotonic()
        if not waiting:
            self._since = None
            return
        if self._since is None:
            self._since = now
        if waiting >= self.every or now - self._since >= self.seconds:
            self.post()
            self._since = None
