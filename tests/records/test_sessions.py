"""Sessions: nonces that are good once, tokens that end, and rows that tell nothing."""

from __future__ import annotations

import sqlite3
import time

import pytest

from liggare.errors import SessionsUnavailable, SettingsError, SignInRefused
from liggare.records.sessions import NONCE_LIFETIME, RECHECK, Sessions
from liggare.records.signin import parse
from tests.records.releases import person, plain_desk, plain_share

READER, PATIENT = person(2), person(100)


class Clock:
    def __init__(self):
        self.now = 1_800_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_sessions(tmp_path, clock):
    """Open the sessions of one database, as another gatekeeper would."""
    opened = []

    def open_sessions(secret=b"secret"):
        opened.append(Sessions(f"sqlite:///{tmp_path}/sessions.db", secret, clock=clock))
        return opened[-1]

    yield open_sessions
    for each in opened:
        each.close()


@pytest.fixture
def sessions(open_sessions):
    return open_sessions()


@pytest.fixture
def begin(clock):
    """Sign in with a nonce: `begin(sessions)` returns the token and the session."""

    def begin(sessions, nonce=None, lasts=600):
        share = plain_share(PATIENT.address, READER.address)
        door = plain_desk()
        text = door.sign_in(READER, "TREAT", clock.now + 10, lasts=lasts, shares=[share])
        text = text.replace(f"Nonce: {parse(text).nonce}", f"Nonce: {nonce or sessions.nonce(READER.address)}")
        return sessions.begin(parse(text), b"\x01" * 65, [share])

    return begin


def test_a_nonce_is_for_its_reader_here_and_for_a_while(sessions, open_sessions, clock):
    nonce = sessions.nonce(READER.address)
    sessions.check_nonce(nonce, READER.address)
    open_sessions().check_nonce(nonce, READER.address)  # another gatekeeper's is as good
    for others, reader in (
        (sessions, PATIENT.address),
        (open_sessions(b"another"), READER.address),
    ):
        with pytest.raises(SignInRefused, match="not given to this reader"):
            others.check_nonce(nonce, reader)
    clock.now += NONCE_LIFETIME
    with pytest.raises(SignInRefused, match="too old"):
        sessions.check_nonce(nonce, READER.address)


def test_nonces_differ(sessions):
    assert len({sessions.nonce(READER.address) for _ in range(1000)}) == 1000


def test_a_nonce_is_used_once_by_whichever_gatekeeper(sessions, open_sessions, begin):
    nonce = sessions.nonce(READER.address)
    begin(sessions, nonce)
    for other in (sessions, open_sessions()):
        with pytest.raises(SignInRefused) as caught:
            begin(other, nonce)
        assert caught.value.name == "NonceUsed"


def test_a_session_is_found_by_its_token_alone(sessions, open_sessions, begin):
    token, session = begin(sessions)
    assert sessions.find(token) is session
    assert open_sessions().find(token) == session
    for other in (
        "",
        token[:-2],
        token + "00",
        token.upper(),
        token[:-1] + "g",
        "0" * 64,
        token.replace("0", "1") + " ",
    ):
        assert sessions.find(other) is None
    assert token not in repr(session)
    assert session.key.hex() not in repr(session)


def test_a_session_ends_with_its_sign_in(sessions, open_sessions, begin, clock):
    token, session = begin(sessions)
    clock.now = session.signin.expiry - 1
    assert sessions.find(token) == open_sessions().find(token) == session
    clock.now += 1
    assert sessions.find(token) is None
    assert open_sessions().find(token) is None


def test_a_session_that_is_ended_is_gone_here_at_once_and_elsewhere_within_a_second(sessions, open_sessions, begin):
    other = open_sessions()
    token, _ = begin(sessions)
    assert other.find(token) is not None
    sessions.end(token)
    assert sessions.find(token) is None
    assert open_sessions().find(token) is None
    time.sleep(RECHECK)
    assert other.find(token) is None
    sessions.end(token)
    sessions.end("nonsense")


def test_what_is_over_is_thrown_away(sessions, begin, clock, tmp_path):
    begin(sessions)
    clock.now += 100_000
    begin(sessions)
    with sqlite3.connect(tmp_path / "sessions.db") as raw:
        assert raw.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
        assert raw.execute("SELECT count(*) FROM used_nonces").fetchone() == (1,)


def test_the_database_tells_neither_who_reads_nor_whom(sessions, begin, tmp_path):
    token, session = begin(sessions)
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("sessions.db*"))
    assert session.signin.nonce.encode() in raw
    for secret in (token, READER.address, PATIENT.address, "liggare:share", "TREAT"):
        assert secret.encode().lower() not in raw.lower()
    assert bytes.fromhex(token) not in raw


def test_a_row_that_somebody_changed_is_no_session(sessions, open_sessions, begin, tmp_path):
    token, _ = begin(sessions)
    other, _ = begin(sessions)
    with sqlite3.connect(tmp_path / "sessions.db") as raw:
        (body,) = raw.execute("SELECT body FROM sessions ORDER BY token LIMIT 1").fetchone()
        raw.execute("UPDATE sessions SET body = ?", (body,))  # one session under two tokens
    found = [open_sessions().find(each) is not None for each in (token, other)]
    assert sorted(found) == [False, True]


def test_a_database_that_is_none(clock, tmp_path):
    with pytest.raises(SessionsUnavailable):
        Sessions("postgresql://127.0.0.1:1/sessions", b"secret", clock=clock)
    with pytest.raises(SettingsError):
        Sessions("nonsense", b"secret", clock=clock)
