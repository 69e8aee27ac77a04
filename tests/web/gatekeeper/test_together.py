"""Concurrent reads share one question and one write: never an older answer, never shown before it is written down."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from liggare.errors import LedgerUnavailable, LogUnavailable
from liggare.web.together import Held, Together
from tests.web.gatekeeper.conftest import logged, refusal


class Part:
    """A ledger and a book that take their time, and count."""

    behind = None

    def __init__(self):
        self.asked, self.written, self.failure = 0, [], None
        self.going = threading.Event()

    def fresh(self):
        self.asked += 1
        number = self.asked
        self.going.wait(5)
        if self.failure:
            raise self.failure
        return number

    def append(self, releases):
        self.going.wait(5)
        if self.failure:
            raise self.failure
        "".join(releases).encode()
        self.written.append(list(releases))

    proof = None


@pytest.fixture
def part():
    return Part()


def run(part, steps):
    """Run steps in a loop of their own."""

    async def inside():
        together = Together(part, part)
        try:
            return await steps(together)
        finally:
            part.going.set()
            together.close()

    return asyncio.run(inside())


async def until(true):
    while not true():
        await asyncio.sleep(0.005)


def test_who_comes_while_a_question_is_asked_shares_the_next_and_not_that_one(part):
    async def steps(together):
        first = asyncio.create_task(together.ask())
        await until(lambda: part.asked)
        others = [asyncio.create_task(together.ask()) for _ in range(20)]
        await asyncio.sleep(0)
        part.going.set()
        return await asyncio.gather(first, *others)

    assert run(part, steps) == [1] + [2] * 20


def test_who_comes_while_a_write_is_made_is_in_the_next(part):
    async def steps(together):
        first = asyncio.create_task(together.write(["a"]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(together.write([name, name])) for name in "bc"]
        await asyncio.sleep(0)
        part.going.set()
        return await asyncio.gather(first, *others)

    assert run(part, steps) == [None] * 3
    assert part.written == [["a"], ["b", "b", "c", "c"]]


def test_a_failure_is_everybodys_and_the_next_is_asked_anew(part):
    part.going.set()
    part.failure = LedgerUnavailable("gone")

    async def steps(together):
        failed = await asyncio.gather(*(together.ask() for _ in range(3)))
        part.failure = LogUnavailable("gone")
        unwritten = await asyncio.gather(*(together.write([name]) for name in "ab"))
        part.failure = None
        return failed, unwritten, await together.ask(), await together.write(["c"])

    failed, unwritten, well, written = run(part, steps)
    for each in failed:
        with pytest.raises(LedgerUnavailable, match="gone"):
            Held(each).fresh()
    assert [type(each) for each in unwritten] == [LogUnavailable] * 2
    assert (well, written, part.written) == (part.asked, None, [["c"]])


def test_one_that_cannot_be_written_takes_nobody_along(part):
    async def steps(together):
        first = asyncio.create_task(together.write(["a"]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(together.write([name])) for name in ("b", "\ud800", "c")]
        await asyncio.sleep(0)
        part.going.set()
        return await asyncio.gather(first, *others)

    kinds = [type(each) for each in run(part, steps)]
    assert kinds == [type(None), type(None), UnicodeEncodeError, type(None)]
    assert part.written == [["a"], ["b"], ["c"]]


def test_one_who_leaves_takes_nobody_along(part):
    async def steps(together):
        tasks = [asyncio.create_task(together.write([name])) for name in "ab"]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        part.going.set()
        return await tasks[1]

    assert run(part, steps) is None
    assert [name for batch in part.written for name in batch] == ["a", "b"]


def test_while_much_is_read_one_is_refused_at_once(part):
    part.behind = "block 7 of 9000 is read"
    assert isinstance(run(part, lambda together: together.ask()), LedgerUnavailable)
    assert part.asked == 0


def test_a_hundred_at_once_are_each_written_down_and_then_shown(served, signed_in):
    header = dict(signed_in.http.headers)

    def read(_):
        return httpx.get(f"{served.url}/fhir/Observation/f001", headers=header, timeout=30).status_code

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(read, range(100))) == [200] * 100
    assert len(logged(served)) == 100


def test_nothing_is_shown_while_its_write_lasts(served, signed_in, monkeypatch):
    book, going = served.service.desk.book, threading.Event()
    append = book.append

    def slow(releases):
        going.wait(10)
        return append(releases)

    monkeypatch.setattr(book, "append", slow)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(signed_in.get, "Observation/f001")
        time.sleep(0.5)
        assert not answer.done()
        going.set()
        assert answer.result(10).status_code == 200
    monkeypatch.setattr(book, "append", lambda _: (_ for _ in ()).throw(LogUnavailable("full")))
    refusal(signed_in.get("Observation/f001"), 503, "LogUnavailable")
    assert len(logged(served)) == 1
