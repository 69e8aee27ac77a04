"""What concurrent requests do together: one question to the ledger, one write of the access log.

    request -> the question that is asked next -> work in a thread -> the write that comes next -> answer

The parts do that by themselves for threads (`AccessCache.fresh`, `AccessLog.append`), but then each request holds a
thread while it waits, and on one core waking it costs as much as its work. Here those who wait hold none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from liggare.errors import LedgerUnavailable, LogDamaged, LogUnavailable
from liggare.records.audit import Release
from liggare.records.cache import AccessCache
from liggare.records.desk import Book
from liggare.records.release import View

__all__ = ["Held", "Together"]


class Held:
    """The ledger and the book of one request: what the ledger answered, and what is to be written down."""

    def __init__(self, answer: View | Exception) -> None:
        self._answer = answer
        self.releases: list[Release] = []

    def fresh(self) -> View:
        """Return the view that was asked for after the request came. Raises what asking raised."""
        if isinstance(self._answer, LedgerUnavailable):  # each its own: a traceback is of one thread
            raise LedgerUnavailable(self._answer.reason)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def append(self, releases: Sequence[Release]) -> list[int]:
        """Keep them; whoever made this writes them down before anything goes out."""
        self.releases += releases
        return []

    def proof(self, patient: str, remembered: int = 0) -> dict[str, Any]:
        """Return nothing: whoever asks for proofs asks the book itself."""
        raise NotImplementedError


class Together:
    """Asks and writes for all requests of one event loop."""

    def __init__(self, cache: AccessCache, book: Book) -> None:
        self._cache, self._book = cache, book
        self._threads = ThreadPoolExecutor(2, "together")  # one asks, one writes
        self._asking: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._curious: list[asyncio.Future[View | Exception]] = []
        """Who came since the last question was asked, and shares the next."""
        self._waiting: list[tuple[list[Release], asyncio.Future[Exception | None]]] = []
        """Who came since the last write began, and shares the next."""

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown()

    async def ask(self) -> View | Exception:
        """Return the newest block's view, found out by a question that is asked now or later; or why there is none."""
        if (behind := self._cache.behind) is not None:
            return LedgerUnavailable(behind)
        answer: asyncio.Future[View | Exception] = asyncio.get_running_loop().create_future()
        self._curious.append(answer)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        while self._curious:
            curious, self._curious = self._curious, []  # whoever comes from here on might ask for a later block
            found = await self._do(self._cache.fresh)
            for answer in curious:
                if not answer.done():
                    answer.set_result(found)
        self._asking = None

    async def write(self, releases: list[Release]) -> Exception | None:
        """Write releases down; None once they are on the disk, or why they may not be."""
        done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((releases, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await done

    async def _write(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            whole = [release for releases, _ in waiting for release in releases]
            found = [await self._append(whole)] * len(waiting)
            if len(waiting) > 1 and found[0] is not None and not isinstance(found[0], LogUnavailable | LogDamaged):
                # one that can't be written takes none along
                found = [await self._append(releases) for releases, _ in waiting]
            for (_, done), failure in zip(waiting, found, strict=True):
                if not done.done():
                    done.set_result(failure)
        self._writing = None

    async def _append(self, releases: list[Release]) -> Exception | None:
        found = await self._do(self._book.append, releases)
        return found if isinstance(found, Exception) else None

    async def _do(self, work: Callable[..., Any], *words: Any) -> Any:
        """Return what work in a thread returns, or raises."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *words)
        except Exception as exc:
            return exc
