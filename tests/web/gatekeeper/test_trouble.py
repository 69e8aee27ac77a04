"""When something that it needs is missing, the gatekeeper shows nothing and writes nothing down as shown."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from liggare.chain.connection import connect
from liggare.errors import LogDamaged, LogUnavailable, SessionsUnavailable, StoreUnavailable
from tests.nodes import Postgres, Proxy
from tests.web.gatekeeper.conftest import logged, oauth_refusal, refusal, refusal_name

PATHS = ("Observation/f001", "Observation", "Observation?_count=0", "Patient/f001/$everything", "Observation/none")


def shut(reader, served, name, paths=PATHS, status=503):
    """Nothing is shown, nothing is written down, and the client is told to come again."""
    before = len(logged(served))
    for path in paths:
        answer = reader.refused(path, status, name)
        assert "15074" not in answer.text
        assert status != 503 or answer.headers["retry-after"] == "5"
    assert len(logged(served)) == before


class Node:
    """A reader signed in at a gatekeeper, and the proxy before the gatekeeper's node."""

    def __init__(self, reader, served, proxy):
        self.reader, self.served, self.proxy = reader, served, proxy

    def lie(self, **answers):
        """Let the node answer otherwise: `lie(eth_syncing=lambda result: True)`."""
        self.proxy.lie = lambda method, result: answers.get(method, lambda same: same)(result)


@pytest.fixture
def behind(serve, reader_of, share, doctor, rpc_url):
    """A gatekeeper whose node can be made to fail."""
    proxy = Proxy(rpc_url)
    try:
        with serve(w3=connect(proxy.url, timeout=2)) as served:
            reader = reader_of(served, doctor)
            assert reader.sign_in(shares=[share]).status_code == 200
            assert reader.get("Observation/f001").status_code == 200
            yield Node(reader, served, proxy)
    finally:
        proxy.close()


def test_a_node_that_is_down(behind):
    behind.proxy.target = "http://127.0.0.1:1"
    shut(behind.reader, behind.served, "LedgerUnavailable")


def test_a_node_that_does_not_answer_in_time(behind):
    behind.proxy.wait = 5
    shut(behind.reader, behind.served, "LedgerUnavailable", PATHS[:1])


@pytest.mark.parametrize(
    "answers",
    [
        {"eth_syncing": lambda _: {"currentBlock": "0x1"}},
        {"eth_chainId": lambda _: "0x1"},
        {"eth_getBlockByNumber": lambda block: {**block, "number": hex(int(block["number"], 16) - 1)}},
        {"eth_getBlockByNumber": lambda block: {**block, "hash": "0x" + "11" * 32, "parentHash": "0x" + "22" * 32}},
        {"eth_getBlockByNumber": lambda _: None},
        {"eth_getBlockByNumber": lambda _: {"number": "nonsense"}},
    ],
    ids=["syncing", "another chain", "behind", "reorganised", "without a head", "nonsense"],
)
def test_a_node_that_is_behind_or_on_another_chain_or_lies(behind, answers):
    behind.lie(**answers)
    shut(behind.reader, behind.served, "LedgerUnavailable")
    behind.lie()
    assert behind.reader.get("Observation/f001").status_code == 200  # it comes back by itself


def test_nobody_signs_in_without_the_ledger(behind, share):
    text = behind.reader.message(shares=[share])
    behind.lie(eth_syncing=lambda _: True)
    answer = oauth_refusal(behind.reader.post(text, [share]), "LedgerUnavailable", 503)
    assert (answer.json()["error"], answer.headers["retry-after"]) == ("temporarily_unavailable", "5")
    behind.lie()
    assert behind.reader.post(text, [share]).status_code == 200  # the nonce was not used up


def test_the_ledger_is_asked_for_each_request(behind):
    behind.proxy.asked.clear()
    for path in PATHS:
        behind.reader.get(path)
    assert behind.proxy.asked["eth_chainId"] == len(PATHS)


# ---------------------------------------------------------------------- databases


def raising(error):
    def raises(*_, **__):
        raise error

    return raises


def test_a_store_that_is_down(served, signed_in, monkeypatch):
    for word in ("get", "newest"):
        monkeypatch.setattr(served.service.desk.archive, word, raising(StoreUnavailable("gone")))
    shut(signed_in, served, "StoreUnavailable")


def test_sessions_that_are_down(served, signed_in, share, monkeypatch):
    text = signed_in.message(shares=[share])
    monkeypatch.setattr(served.service.desk.sessions, "begin", raising(SessionsUnavailable("gone")))
    monkeypatch.setattr(served.service.desk.sessions, "find", raising(SessionsUnavailable("gone")))
    oauth_refusal(signed_in.post(text, [share]), "SessionsUnavailable", 503)
    shut(signed_in, served, "SessionsUnavailable")


@pytest.mark.parametrize(("error", "status"), [(LogUnavailable("gone"), 503), (LogDamaged("altered"), 500)])
def test_a_log_that_can_not_be_written(served, signed_in, monkeypatch, error, status):
    monkeypatch.setattr(served.service.desk.book, "append", raising(error))
    shut(signed_in, served, type(error).__name__, PATHS[:4], status)
    signed_in.refused("Observation/none", 404, "RecordUnavailable")  # nothing is shown, so nothing is to be written


def test_a_database_that_another_holds_for_long(served, signed_in, tmp_path, monkeypatch):
    """SQLite's lock is not let go: after a while the reader is told, and nothing was shown."""
    holder = sqlite3.connect(tmp_path / "gatekeeper.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        answer = signed_in.get("Observation/f001")
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    refusal(answer, 503, "LogUnavailable")
    assert logged(served) == []
    assert signed_in.get("Observation/f001").status_code == 200


def test_health_tells_what_is_missing(behind):
    assert behind.reader.http.get("/health").json() == {
        "status": "ok",
        "ledger": "ok",
        "sessions": "ok",
        "log": "ok",
        "poster": "ok",
        "rotator": "ok",
    }
    behind.lie(eth_syncing=lambda _: True)
    answer = behind.reader.http.get("/health")
    assert (answer.status_code, answer.json()["ledger"]) == (503, "LedgerUnavailable")


def test_the_figures_tell_what_was_answered_and_of_nobody(served, signed_in, anna):
    signed_in.get("Observation/f001")
    signed_in.get("Observation/none")
    signed_in.get("Claim")
    text = signed_in.http.get("/metrics").text
    for line in (
        'liggare_gatekeeper_answers_total{asked="read",status="200"} 1.0',
        'liggare_gatekeeper_answers_total{asked="read",status="404"} 1.0',
        'liggare_gatekeeper_refused_total{reason="CategoryNotGranted"} 1.0',
        "liggare_gatekeeper_log_waiting 1.0",
    ):
        assert line in text
    assert "f001" not in text
    assert anna.address not in text


# ---------------------------------------------------------------------- several at a time


def test_many_readers_at_once_are_all_written_down(served, signed_in):
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: signed_in.get("Observation/f001").status_code, range(60)))
    assert answers == [200] * 60
    entries = logged(served)
    assert [entry["serial"] for entry in entries] == list(range(1, 61))


def test_one_nonce_used_by_many_at_once_is_good_once(reader, share):
    text = reader.message(shares=[share])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: reader.post(text, [share]), range(8)))
    names = [answer.json().get("name") for answer in answers]
    assert sorted(names, key=str) == [None] + ["NonceUsed"] * 7 or sorted(names, key=str) == ["NonceUsed"] * 7 + [None]


def test_two_gatekeepers_share_sessions_records_and_log(serve, reader_of, share, doctor, anna):
    """On one PostgreSQL: signed in at one, read at both, signed out at the other."""
    with closing(Postgres()) as postgres:
        database = postgres.database("gatekeepers")
        url = "https://hospital.example"
        with serve(database=database, url=url) as one, serve(database=database, url=url, filled=False) as two:
            first, second = reader_of(one, doctor), reader_of(two, doctor)
            text = first.message(shares=[share])
            token = first.post(text, [share]).json()["access_token"]
            oauth_refusal(second.post(text, [share]), "NonceUsed")
            first.show(token)
            second.show(token)
            for reader in (first, second, first):
                assert reader.get("Observation/f001").status_code == 200
            assert first.get("Observation").json() == second.get("Observation").json()
            assert [entry["serial"] for entry in logged(one)] == [1, 2, 3, 4, 5]
            assert logged(one) == logged(two)
            following = first.get("Patient/f001/$everything?_count=1").json()["link"][1]["url"].removeprefix(url)
            assert second.http.get(following).status_code == 200
            assert second.http.post("/auth/revoke").status_code == 200
            second.refused("Observation/f001", 401, "SessionEnded")
            wait_for(lambda: first.get("Observation/f001").status_code == 401)


def test_a_database_that_goes_away_and_comes_back(serve, reader_of, share, doctor):
    with closing(Postgres()) as postgres, serve(database=postgres.database("gatekeeper")) as served:
        reader = reader_of(served, doctor)
        reader.sign_in(shares=[share])
        assert reader.get("Observation/f001").status_code == 200
        postgres.stop()
        for path in PATHS[:4]:
            answer = reader.get(path)
            assert answer.status_code == 503
            assert refusal_name(answer) in ("StoreUnavailable", "LogUnavailable", "SessionsUnavailable")
        postgres.start()
        wait_for(lambda: reader.get("Observation/f001").status_code == 200)
        shown = [entry["serial"] for entry in logged(served)]
        assert shown == list(range(1, len(shown) + 1))


def wait_for(condition):
    """Wait until it holds, some seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
