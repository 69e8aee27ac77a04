"""The access log in its database: on the disk before it says so, in one order, and nothing altered goes unseen.

On SQLite and on PostgreSQL alike; there several processes share it, and are killed at random.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import event, text

from liggare.database import engine_of
from liggare.errors import DataError, LogDamaged, LogUnavailable, SettingsError
from liggare.records.audit import entry, opened
from liggare.records.index import NOTHING, Count, verify_count
from liggare.records.log import AccessLog
from liggare.records.tree import Head, Tree, canonical, read_lines, verify_consistency, verify_inclusion
from tests.nodes import Postgres
from tests.records.releases import NOWHERE, SECRET, person, plain_release
from tests.support import ROOT

CUSTODIAN = person(1).address
RELEASES = [plain_release(number, number % 4) for number in range(40)]
PATIENTS = [person(100 + number).address for number in range(4)]


@pytest.fixture(autouse=True)
def isolation():
    """No chain is needed here: Brownie's is left alone."""


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL of the tests' own."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.db"
    database.number += 1
    return request.getfixturevalue("postgres").database(f"log{database.number}")


database.number = 0


@pytest.fixture
def log(database):
    """An empty log of either kind."""
    with AccessLog(database, CUSTODIAN, NOWHERE, SECRET) as log:
        yield log


def again(url):
    return AccessLog(url, CUSTODIAN, NOWHERE, SECRET)


def change(url, statement, **values):
    """Change the database behind the log's back."""
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


def bytes_of(values):
    return [bytes.fromhex(value[2:]) for value in values]


# ------------------------------------------------------------------ appending


def test_entries_are_numbered_in_order_each_patients_too(log):
    assert log.append(RELEASES[:3]) == [0, 1, 2]
    assert log.append(RELEASES[3:6]) == [3, 4, 5]
    assert log.append([]) == []
    kept = [opened(json.loads(line)) for line in log.lines()]
    assert [one.release for one in kept] == RELEASES[:6]
    assert [one.serial for one in kept] == [1, 1, 1, 1, 2, 2]
    assert kept[4].previous == log.tree.leaf(0)
    assert kept[3].previous == NOTHING.newest


def test_the_line_is_the_entry_and_the_leaf_its_hash(log):
    log.append(RELEASES[:2])
    lines = list(log.lines())
    assert lines[0] == canonical(entry(RELEASES[0], 1, bytes(32)))
    assert log.head() == Head(2, Tree(lines).root())


def test_a_log_goes_on_where_it_stopped(database):
    with again(database) as log:
        log.append(RELEASES[:5])
        log.seal()
        head = log.head()
    with again(database) as log:
        assert log.head() == head
        assert log.append([RELEASES[5]]) == [6]
        assert opened(json.loads(list(log.lines())[6])).serial == 2


def test_another_custodians_release_is_not_logged(log):
    with pytest.raises(DataError, match="its own"):
        log.append([RELEASES[0], plain_release(custodian=person(5).address)])
    assert log.head().size == 0


def test_a_database_holds_the_log_of_one_custodian_and_chain(database):
    again(database).close()
    with pytest.raises(SettingsError, match="holds the access log of"):
        AccessLog(database, person(5).address, NOWHERE, SECRET)


def test_an_entry_is_on_the_disk_before_append_returns(tmp_path):
    """What another process sees after a crash: the file as it is, opened anew, without a clean end of the first."""
    log = again(f"sqlite:///{tmp_path}/log.db")
    with closing(sqlite3.connect(tmp_path / "log.db")) as other:
        for number, release in enumerate(RELEASES[:5]):
            log.append([release])
            assert other.execute("SELECT max(number) FROM access_entries").fetchone() == (number,)
    with log._database._engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL: each commit is synced
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    log.close()


def test_a_commit_waits_for_the_disk_whatever_the_server_says(postgres):
    url = postgres.database("durable")
    change(url, "ALTER DATABASE durable SET synchronous_commit TO off")
    with again(url) as log, log._database.write() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"


def test_callers_at_the_same_moment_share_a_transaction(log):
    """While one transaction is held up, thirty callers come; one more transaction takes them all."""
    commits, held, go = [], threading.Event(), threading.Event()

    @event.listens_for(log._database._engine, "commit")
    def count(connection):
        commits.append(1)
        if len(commits) == 1:
            held.set()
            go.wait(10)

    with ThreadPoolExecutor(31) as pool:
        first = pool.submit(log.append, [RELEASES[0]])
        held.wait(10)
        others = [pool.submit(log.append, [release]) for release in RELEASES[1:31]]
        while len(log._queue) < 30:
            time.sleep(0.01)
        go.set()
        numbers = [first.result(), *(each.result() for each in others)]
    assert sorted(number for (number,) in numbers) == list(range(31))
    assert len(commits) == 2
    lines = [json.loads(line) for line in log.lines()]
    assert all(opened(lines[number]).release == release for (number,), release in zip(numbers, RELEASES, strict=False))


def test_many_threads_leave_a_log_without_gaps(database):
    with again(database) as log:
        with ThreadPoolExecutor(16) as pool:
            numbers = list(pool.map(lambda release: log.append([release])[0], RELEASES * 4))
        assert sorted(numbers) == list(range(160))
        head = log.head()
    with again(database) as log:  # which checks every number and every link
        assert log.head() == head


def test_a_failure_is_told_to_all_who_shared_it_and_leaves_nothing(log, monkeypatch):
    log.append(RELEASES[:2])
    before = log.head()

    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as disk:
        disk.setattr("liggare.records.log._Cover.row", full)
        with ThreadPoolExecutor(8) as pool:
            told = [pool.submit(log.append, [release]).exception() for release in RELEASES[2:10]]
    assert {type(each) for each in told} == {LogUnavailable}
    assert log.head() == before
    assert log.append([RELEASES[2]]) == [2]


def test_the_database_gone_is_named_and_the_log_goes_on_when_it_is_back(postgres):
    with again(postgres.database("gone")) as log:
        log.append(RELEASES[:2])
        postgres.stop()
        try:
            for call in (lambda: log.append([RELEASES[2]]), log.seal, log.head, lambda: log.proof(PATIENTS[0])):
                with pytest.raises(LogUnavailable):
                    call()
        finally:
            postgres.start()
        assert log.append([RELEASES[2]]) == [2]


def test_a_database_that_is_none_is_refused(tmp_path):
    with pytest.raises(LogUnavailable):
        again(f"sqlite:///{tmp_path}/nowhere/log.db")
    with pytest.raises(SettingsError):
        again("what")


def test_the_lines_are_not_kept_in_memory(log):
    """64 bytes of hashes per entry, where a line has some thousands."""
    log.append(RELEASES)
    assert sum(map(len, log.tree._levels)) < 70 * len(RELEASES)
    assert min(map(len, log.lines())) > 2000


# ------------------------------------------------------------------ what was altered


ALTER = "UPDATE access_entries SET "


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (ALTER + "sealed = (SELECT sealed FROM access_entries WHERE number = 2) WHERE number = 3", "entry 3 .* moved"),
        (ALTER + "leaf = (SELECT leaf FROM access_entries WHERE number = 1) WHERE number = 2", "entry 2 .* altered"),
        (
            ALTER + "patient = (SELECT patient FROM access_entries WHERE number = 2), serial = 9 WHERE number = 3",
            "entry 3 .* altered",
        ),
        (ALTER + "patient = NULL WHERE number = 3", "entry 3 .* (altered|is none)"),
        (ALTER + "serial = 7 WHERE number = 5", "entry 5 .* altered"),
        (ALTER + "sealed = leaf WHERE number = 0", "entry 0 .* altered"),
        ("DELETE FROM access_entries WHERE number = 0", "entry 0 .* missing"),
        ("DELETE FROM access_entries WHERE number = 4", "entry 4 .* missing"),
        ("DELETE FROM access_entries WHERE number >= 5", "not what it was when its head"),
        ("DELETE FROM access_entries", "not what it was when its head"),
    ],
)
def test_an_altered_or_missing_row_is_found_when_the_log_is_opened(database, statement, told):
    with again(database) as log:
        log.append(RELEASES[:8])
        log.note_posted(log.seal())
    change(database, statement)
    with pytest.raises(LogDamaged, match=told):
        again(database)


def test_a_row_rewritten_with_its_leaf_is_found_by_the_link_or_the_head(database):
    with again(database) as log:
        log.append(RELEASES[:8])
        log.note_posted(log.seal())
        forged = entry(plain_release(99, 3), 2, log.tree.leaf(3))  # the patient's last: no link after it
        row = log._cover.row(7, PATIENTS[3], forged)  # the custodian itself, who has the secret
    statement = "UPDATE access_entries SET sealed = :sealed, leaf = :leaf WHERE number = 7"
    change(database, statement, sealed=row["sealed"], leaf=row["leaf"])
    with pytest.raises(LogDamaged, match=r"altered|not what it was"):
        again(database)


def test_a_row_taken_away_under_an_open_log_stops_it(log, database):
    log.append(RELEASES[:4])
    change(database, "DELETE FROM access_entries WHERE number = 3")
    with pytest.raises(LogDamaged, match=r"entry 3 .* missing"):
        log.append([RELEASES[4]])
    with pytest.raises(LogDamaged):
        log.proof(PATIENTS[0])
    change(database, "DELETE FROM access_entries")
    with pytest.raises(LogDamaged):
        log.head()


def test_a_row_altered_under_an_open_log_is_not_shown(log, database):
    log.append(RELEASES[:4])
    change(database, "UPDATE access_entries SET sealed = leaf WHERE number = 0")
    with pytest.raises(LogDamaged, match="entry 0"):
        log.proof(PATIENTS[0])


def test_nothing_of_an_entry_is_in_the_database_in_clear(log, database, tmp_path):
    log.append(RELEASES[:8])
    log.note_posted(log.seal())
    engine = engine_of(database)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT patient, sealed, leaf FROM access_entries")).all()
    engine.dispose()
    kept = b"".join(bytes(value) for row in rows for value in row if value is not None)
    kept += b"".join(path.read_bytes() for path in tmp_path.glob("log.db*"))
    plain = b"".join(log.lines())
    words = [b"Observation", b"TREAT", b"urn:liggare", PATIENTS[0][2:].lower().encode(), bytes.fromhex(PATIENTS[0][2:])]
    for word in words:
        assert word.lower() not in kept.lower(), word
    assert all(word.lower() in plain.lower() for word in words[:-1])


def test_another_secret_opens_no_log(log, database):
    log.append(RELEASES[:1])
    with pytest.raises(LogDamaged, match="secret is another"):
        AccessLog(database, CUSTODIAN, NOWHERE, bytes(32))


# ------------------------------------------------------------------ heads and proofs


def test_a_seal_ends_the_log_with_its_index_once(log):
    assert log.seal() == log.head() == Head(0, Tree().root())
    log.append(RELEASES[:5])
    head = log.seal()
    assert head.size == 6
    assert log.seal() == head
    assert json.loads(list(log.lines())[5])["kind"] == "index"
    log.append([RELEASES[5]])
    assert log.seal().size == 8


def test_a_head_that_the_log_never_had_is_not_noted(log):
    log.append(RELEASES[:5])
    head = log.seal()
    for other in (Head(6, bytes(32)), Head(7, head.root)):
        with pytest.raises(DataError, match="never had"):
            log.note_posted(other)
    assert log.posted().size == 0
    log.note_posted(head)
    log.note_posted(head)
    assert log.posted() == head
    log.append([RELEASES[5]])
    log.note_posted(log.head())  # on the chain perhaps, but without an index nothing can be proven under it
    assert log.posted() == head


def test_a_proof_shows_a_patients_entries_and_no_others(log):
    log.append(RELEASES[:9])
    first = log.seal()
    log.note_posted(first)
    log.append(RELEASES[9:13])
    log.note_posted(log.seal())
    log.append(RELEASES[13:18])
    shown = log.proof(PATIENTS[1], remembered=first.size)
    head = log.posted()
    assert (shown["size"], bytes_of([shown["root"]])) == (head.size, [head.root])
    assert [opened(one["entry"]).release for one in shown["entries"]] == [RELEASES[number] for number in (1, 5, 9)]
    assert [opened(one).release for one in shown["later"]] == [RELEASES[number] for number in (13, 17)]
    assert PATIENTS[0] not in json.dumps(shown)
    for one in shown["entries"]:
        leaf = Tree([canonical(one["entry"])]).leaf(0)
        assert verify_inclusion(leaf, one["number"], head.size, head.root, bytes_of(one["proof"]))
    assert verify_consistency(first.size, first.root, head.size, head.root, bytes_of(shown["consistency"]))
    index = shown["index"]
    count = Count(index["entries"], *bytes_of([index["newest"]]))
    assert count.entries == 3
    siblings = [(level, *bytes_of([beside])) for level, beside in index["siblings"]]
    assert verify_count(PATIENTS[1], count, *bytes_of([index["root"]]), siblings)


@pytest.mark.parametrize("reopened", [False, True])
def test_a_proof_is_under_the_head_posted_however_far_the_log_has_gone_on(database, reopened):
    log = again(database)
    log.append(RELEASES[:9])
    log.note_posted(log.seal())
    log.append(RELEASES[9:20])
    log.seal()  # not posted yet
    if reopened:
        log.close()
        log = again(database)
    shown = log.proof(PATIENTS[1])
    assert (shown["size"], shown["index"]["entries"], len(shown["entries"]), len(shown["later"])) == (10, 2, 2, 3)
    log.close()


def test_a_patient_without_entries_is_shown_that_there_are_none(log):
    log.append(RELEASES[:9])
    log.note_posted(log.seal())
    shown = log.proof(person(500).address)
    assert (shown["entries"], shown["later"], shown["index"]["entries"]) == ([], [], 0)


def test_the_export_is_the_log_line_by_line(log, tmp_path):
    log.append(RELEASES[:5])
    log.seal()
    path = tmp_path / "log.jsonl"
    assert log.export(path) == 6
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_lines(path.read_bytes(), path) == list(log.lines())


@pytest.mark.parametrize("line", [b"what", b'{"n": 1}', b"[1]", b""])
def test_a_damaged_line_of_a_file_is_named(tmp_path, line):
    with pytest.raises(LogDamaged, match="entry 1"):
        read_lines(b'{"n":1}\n' + line + b"\n", tmp_path)


# ------------------------------------------------------------------ several processes

WRITER = """
import sys
from liggare.records.log import AccessLog
from tests.records.releases import NOWHERE, SECRET, person, plain_release
url, name, seals = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "seals"
log = AccessLog(url, person(1).address, NOWHERE, SECRET)
print("ready", flush=True)
for number in range(100_000):
    print(*log.append([plain_release(number, (number + name) % 3), plain_release(number, 3)]), flush=True)
    if seals and number % 5 == 4:
        head = log.seal()
        print("head", head.size, head.root.hex(), flush=True)
        log.note_posted(head)
"""


class Writer:
    """A process that appends as fast as it can and says what it was told."""

    def __init__(self, url, name, seals=False):
        words = [sys.executable, "-c", WRITER, url, str(name), "seals" if seals else ""]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout.readline() == "ready\n"
        self.told = []
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            self.told.append(line)

    def wait(self):
        """Wait until it has told of a head and more, however busy the machine is."""
        deadline = time.monotonic() + 60
        while len(self.told) < 12 and time.monotonic() < deadline:
            time.sleep(0.01)

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()
        whole = [line.split() for line in self.told if line.endswith("\n")]
        self.numbers = [int(number) for words in whole if words[0] != "head" for number in words]
        self.heads = [Head(int(words[1]), bytes.fromhex(words[2])) for words in whole if words[0] == "head"]


def check_after_kills(url, writers):
    """Every number told is there, once; every head told still holds; serials have no gap (opening checks that)."""
    numbers = [number for writer in writers for number in writer.numbers]
    assert len(numbers) == len(set(numbers))
    with again(url) as log:
        size = log.head().size
        assert numbers
        assert max(numbers) < size
        heads = [head for writer in writers for head in writer.heads]
        assert heads
        for head in heads:
            assert log.root(head.size) == head.root
        serials = {}
        for line in log.lines():
            kept = json.loads(line)
            if kept["kind"] == "release":
                serials.setdefault(kept["patient"], []).append(kept["serial"])
        assert all(each == list(range(1, len(each) + 1)) for each in serials.values())
        return size


def kill_at_random(url, writers, kills, seed):
    chance = random.Random(seed)
    running = [Writer(url, name, seals=True) for name in range(writers)]
    dead = []
    for number in range(kills):
        victim = running.pop(0)
        victim.wait()
        time.sleep(chance.uniform(0.0, 0.3))
        victim.kill()
        dead.append(victim)
        if number < kills - writers:
            running.append(Writer(url, writers + number, seals=True))
    for writer in running:
        writer.kill()
        dead.append(writer)
    return check_after_kills(url, dead)


@pytest.mark.parametrize(("kind", "writers"), [("sqlite", 1), ("sqlite", 2), ("postgresql", 3)])
def test_processes_killed_leave_a_log_whose_heads_hold_and_whose_serials_have_no_gap(kind, writers, tmp_path, request):
    url = f"sqlite:///{tmp_path}/log.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").database("killed")
    assert kill_at_random(url, writers, kills=4, seed=writers) > 20


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("kind", "writers"), [("sqlite", 1), ("postgresql", 4)])
def test_a_hundred_kills(kind, writers, tmp_path, request):
    url = f"sqlite:///{tmp_path}/log.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").database("hundred")
    assert kill_at_random(url, writers, kills=100, seed=7) > 100
