"""Who is signed in: nonces that are good once, and sessions that end with their sign-in, shared by all gatekeepers.

    nonce -> signed -> begin -> token -> find, many times -> end

A token is 32 random bytes that only the reader has. The database keeps its hash, and the session sealed under a key
that comes from the token: who has the database alone learns neither who reads nor whom. A session that was found is
believed for a second before the database is asked again, so one that another gatekeeper ended lives on for that long.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eth_typing import ChecksumAddress
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from liggare.database import Database
from liggare.errors import SessionsUnavailable, SignInRefused
from liggare.messages import address
from liggare.records.share import Share
from liggare.records.signin import SignIn, parse

__all__ = ["Session", "Sessions"]

NONCE_LIFETIME = 300
"""Seconds in which a nonce has to come back, signed."""
RECHECK = 1.0
"""Seconds for which a session is believed without asking the database."""
REMEMBERED = 10_000
"""Sessions that are kept in memory."""
LOCK = 0x53657373
"""Names the writers' lock on PostgreSQL."""

metadata = MetaData()

nonces = Table(
    "used_nonces",
    metadata,
    Column("nonce", String(66), primary_key=True),
    Column("expiry", BigInteger, nullable=False, index=True),  # after it the nonce is none any more
)

sessions = Table(
    "sessions",
    metadata,
    Column("token", LargeBinary, primary_key=True),  # SHA-256
    Column("expiry", BigInteger, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),  # sealed
)


@dataclass(frozen=True)
class Session:
    """A sign-in that was taken: what was signed, and the shares that it names."""

    signin: SignIn
    signature: bytes
    shares: tuple[Share, ...]
    key: bytes = field(repr=False, default=b"")
    """For what only this session is to read, such as where a page goes on."""

    @property
    def reader(self) -> ChecksumAddress:
        """Who reads."""
        return self.signin.reader

    @property
    def pseudonym(self) -> ChecksumAddress | None:
        """Whose records are read; None for the staff."""
        return self.shares[0].patient if self.shares else self.signin.patient or self.signin.emergency


class _Known(NamedTuple):
    session: Session
    until: float


class Sessions:
    """The sessions of one custodian, in its database. For many threads; `clock` gives unix seconds."""

    def __init__(self, url: str, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        """`secret` is the same for all gatekeepers of the database. Raises SessionsUnavailable or SettingsError."""
        self._secret = hmac.digest(secret, b"liggare sign-in nonces", "sha256")
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._lock = threading.Lock()
        self._database = Database(url, lock=LOCK, unavailable=SessionsUnavailable)
        with self._database.write() as connection:
            metadata.create_all(connection)

    def close(self) -> None:
        """Let go of every connection."""
        self._database.close()

    # ------------------------------------------------------------------ nonces

    def nonce(self, reader: str) -> str:
        """Return a nonce that this reader, and nobody else, may sign in with once; nothing is kept of it until then."""
        made = int(self._clock()).to_bytes(8, "big") + secrets.token_bytes(9)
        return (made + self._mark(made, reader)).hex()

    def check_nonce(self, nonce: str, reader: str) -> None:
        """Raise SignInRefused unless this nonce was given to this reader and is not too old."""
        given = bytes.fromhex(nonce) if len(nonce) == 66 and set(nonce) <= set("0123456789abcdef") else bytes(33)
        made, mark = given[:17], given[17:]
        if not hmac.compare_digest(mark, self._mark(made, reader)):
            raise SignInRefused("NonceUnknown", "the nonce was not given to this reader here")
        if self._clock() >= int.from_bytes(made[:8], "big") + NONCE_LIFETIME:
            raise SignInRefused("NonceExpired", "the nonce is too old")

    def _mark(self, made: bytes, reader: str) -> bytes:
        return hmac.digest(self._secret, made + bytes.fromhex(address(reader)[2:]), "sha256")[:16]

    # ------------------------------------------------------------------ sessions

    def begin(self, signin: SignIn, signature: bytes, shares: Sequence[Share]) -> tuple[str, Session]:
        """Use a checked sign-in's nonce up, and return the token and the session.

        Raises SignInRefused where the nonce was used before, by whichever gatekeeper.
        """
        token = secrets.token_bytes(32)
        session = Session(signin, signature, tuple(shares), _key(token, b"pages"))
        body = {
            "text": signin.text,
            "signature": signature.hex(),
            "shares": [share.document() for share in shares],
        }
        sealed = AESGCM(_key(token, b"body")).encrypt(bytes(12), json.dumps(body).encode(), None)  # one key, one use
        now = int(self._clock())
        try:
            with self._database.write() as connection:
                for table in (nonces, sessions):
                    connection.execute(delete(table).where(table.c.expiry <= now))
                connection.execute(insert(nonces).values(nonce=signin.nonce, expiry=now + NONCE_LIFETIME))
                values = {"token": _hash(token), "expiry": signin.expiry, "body": sealed}
                connection.execute(insert(sessions).values(values))
        except IntegrityError:
            raise SignInRefused("NonceUsed", "the nonce was used before; ask for another and sign again") from None
        self._remember(_hash(token), session)
        return token.hex(), session

    def find(self, token: str) -> Session | None:
        """Return a token's session; None where there is none, it ended, or its sign-in expired."""
        name = _hash(secret := _bytes(token))
        known = self._known.get(name)
        if known is None or time.monotonic() >= known.until:
            body = self._body(name)
            session = known.session if known and body else _opened(secret, body)
            if session is None:
                self._forget(name)
                return None
            self._remember(name, session)
        else:
            session = known.session
        return session if self._clock() < session.signin.expiry else None

    def end(self, token: str) -> None:
        """End a token's session, if there is one: here at once, at other gatekeepers within a second."""
        name = _hash(_bytes(token))
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.token == name))
        self._forget(name)

    def _body(self, name: bytes) -> bytes | None:
        with self._database.read() as connection:
            body = connection.execute(_BODY, {"name": name}).scalar()
        return None if body is None else bytes(body)

    def _remember(self, name: bytes, session: Session) -> None:
        with self._lock:
            self._known[name] = _Known(session, time.monotonic() + RECHECK)
            self._known.move_to_end(name)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _forget(self, name: bytes) -> None:
        with self._lock:
            self._known.pop(name, None)


_BODY = select(sessions.c.body).where(sessions.c.token == bindparam("name"))


def _opened(token: bytes, body: bytes | None) -> Session | None:
    """Return the session that is sealed in a row; None where there is none, or somebody wrote into the database."""
    try:
        kept = json.loads(AESGCM(_key(token, b"body")).decrypt(bytes(12), body or b"", None))
    except (InvalidTag, ValueError):
        return None
    shares = tuple(Share.from_document(share) for share in kept["shares"])
    return Session(parse(kept["text"]), bytes.fromhex(kept["signature"]), shares, _key(token, b"pages"))


def _bytes(token: str) -> bytes:
    """Return a token's bytes; none for what is no token."""
    return bytes.fromhex(token) if len(token) == 64 and set(token) <= set("0123456789abcdef") else b""


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _key(token: bytes, what: bytes) -> bytes:
    return hmac.digest(token, b"liggare session " + what, "sha256")
