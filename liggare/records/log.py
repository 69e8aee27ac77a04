"""The access log: an append-only Merkle tree (RFC 9162, SHA-256) over the rows of one SQL table.

    releases -> entries -> one transaction, on disk -> leaves -> root -> the custodian posts it

One row is one release, or the index of all before it; the leaf is the row's line. Concurrent callers share a
transaction. SQLite by default, PostgreSQL by URL; any number of processes may append to one PostgreSQL: the
database's lock gives the order, and whoever holds it first takes in what others wrote. The rows stay with the
custodian, only heads go on the chain. Each entry of a release holds a signature, so its leaf hash tells nothing to who
does not hold it, and a patient can be given proofs for its own entries without seeing any other.

An entry tells who reads whom, so at rest it is sealed (AES-256-GCM) and its patient is a handle (HMAC), by keys that
come from the custodian's secret and are in no database. What a copy of the database shows is how many entries there
are, how long, in which order, and which are one pseudonym's. Erasing a chart leaves its entries: the log stays whole.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    bindparam,
    insert,
    select,
)
from sqlalchemy import (
    Index as SqlIndex,
)

from liggare.database import Database
from liggare.errors import DataError, LogDamaged, LogUnavailable, SettingsError
from liggare.messages import Domain, address
from liggare.records.audit import Release, entry, index_entry
from liggare.records.index import Count, Index
from liggare.records.tree import ACCESSES, Head, Tree, canonical, leaf_hash

__all__ = ["AccessLog"]

SCHEMA = 1
LOCK = 0x41636373
"""Names the one lock on PostgreSQL."""
PAGE = 1000
NONCE = 12

metadata = MetaData()

logs = Table(
    "access_log",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("custodian", String(42), nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("contract", String(42), nullable=False),
)

entries = Table(
    "access_entries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("patient", LargeBinary),  # its handle; None: an index
    Column("serial", BigInteger),
    Column("sealed", LargeBinary, nullable=False),  # nonce, ciphertext, tag
    SqlIndex("access_entries_patient", "patient", "serial", unique=True),
)

heads = Table(
    "access_heads",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
)

# made once: they are asked at each release
_heads_after = select(heads).where(heads.c.size > bindparam("size")).order_by(heads.c.size)
_add = insert(entries)
_entries_from = select(entries).where(entries.c.number >= bindparam("first")).order_by(entries.c.number).limit(PAGE)


class _Cover:
    """What hides an entry at rest."""

    def __init__(self, secret: bytes) -> None:
        self._handles = hmac.digest(secret, b"liggare access log patients", "sha256")
        self._key = AESGCM(hmac.digest(secret, b"liggare access log entries", "sha256"))

    def handle(self, patient: str) -> bytes:
        """Return what stands for a pseudonym."""
        return hmac.digest(self._handles, bytes.fromhex(patient[2:]), "sha256")

    def row(self, number: int, patient: str | None, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Return an entry's row."""
        line, nonce = canonical(dict(kept)), secrets.token_bytes(NONCE)
        return {
            "number": number,
            "leaf": leaf_hash(line),
            "patient": None if patient is None else self.handle(patient),
            "serial": kept.get("serial"),
            "sealed": nonce + self._key.encrypt(nonce, line, number.to_bytes(8, "big")),
        }

    def line(self, row: RowMapping) -> bytes:
        """Return the line of a row. Raises LogDamaged."""
        sealed, place = bytes(row["sealed"]), row["number"].to_bytes(8, "big")
        try:
            return self._key.decrypt(sealed[:NONCE], sealed[NONCE:], place)
        except (InvalidTag, ValueError):
            reason = "was altered or moved, or the secret is another than it was sealed with"
            raise LogDamaged(f"entry {row['number']} of the access log {reason}") from None


class _Waiting:
    """What one caller wants to have written: the patient and entry of each release, without number."""

    def __init__(self, bodies: list[tuple[str, dict[str, Any]]]) -> None:
        self.bodies = bodies
        self.numbers: list[int] | None = None
        self.failure: BaseException | None = None
        self.turn = threading.Event()
        """Set once they are written, or could not be; or once it is this caller's turn to write for all who wait."""


class AccessLog:
    """One custodian's log in its database, open to append and to prove; for any number of threads.

    Every method raises LogUnavailable where the database does not answer, and LogDamaged where it does not hold what
    was written to it.
    """

    def __init__(self, url: str, custodian: str, domain: Domain, secret: bytes) -> None:
        """Open or begin the log, and check all of it.

        `domain` is the records' on the chain (`Records.domain`); `secret` covers the entries at rest, the custodian's
        master key, the same for all who share the database. Raises LogDamaged where a row was altered or is
        missing, SettingsError where the database holds the log of another custodian or chain.
        """
        self.custodian, self.domain = address(custodian), domain
        self.tree, self._index, self._cover = Tree(), Index(), _Cover(secret)
        self._indexes: dict[int, Index] = {}  # log's size -> the index that its last entry tells of
        self._posted = Head(0, self.tree.root())
        self._lock = threading.Lock()  # of what is in memory
        self._gate = threading.Lock()  # of the two below
        self._queue: list[_Waiting] = []
        self._writing = False
        self._database = Database(url, lock=LOCK, unavailable=LogUnavailable)
        try:
            with self._database.write() as connection:
                self._prepare(connection)
                self._catch_up(connection)
        except BaseException:
            self.close()
            raise

    def _prepare(self, connection: Connection) -> None:
        metadata.create_all(connection)
        mine = (SCHEMA, self.custodian, self.domain.chain_id, self.domain.verifying_contract)
        found = connection.execute(select(logs)).one_or_none()
        if found is None:
            connection.execute(insert(logs).values(mine))
        elif tuple(found) != mine:
            raise SettingsError(
                f"the database holds the access log of {found[1]} for {found[3]} on chain {found[2]}, version"
                f" {found[0]}; this one is of {mine[1]} for {mine[3]} on chain {mine[2]}, version {mine[0]}"
            )

    def close(self) -> None:
        """Let go of every connection."""
        self._database.close()

    def __enter__(self) -> AccessLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ appending

    def append(self, releases: Sequence[Release]) -> list[int]:
        """Write releases down and return their numbers once they are on the disk; only then may anything go out.

        All of them or none. Where LogUnavailable is raised they may be in the log all the same, which then shows a
        release that was not made; never the other way round. Raises DataError for another custodian's release.
        """
        if any(release.custodian != self.custodian for release in releases):
            raise DataError("a custodian logs its own releases")
        waiting = _Waiting([(release.patient, entry(release, 0, bytes(32))) for release in releases])
        with self._gate:
            self._queue.append(waiting)
            first, self._writing = not self._writing, True
        if not first:
            waiting.turn.wait()
        if waiting.numbers is None and waiting.failure is None:
            self._write_queue()
        if waiting.numbers is None:
            if isinstance(waiting.failure, LogDamaged):
                raise LogDamaged(str(waiting.failure)) from waiting.failure
            reason = getattr(waiting.failure, "reason", type(waiting.failure).__name__)
            raise LogUnavailable(reason) from waiting.failure
        return waiting.numbers

    def _write_queue(self) -> None:
        """Write what all who wait want to have written, in one transaction; then it is the next one's turn."""
        batch: list[_Waiting] = []
        try:
            with self._lock:
                with self._gate:
                    batch, self._queue = self._queue, []
                written = self._write_batch(batch)
            for each, numbers in zip(batch, written, strict=True):
                each.numbers = numbers
        except BaseException as exc:
            for each in batch:
                each.failure = exc
            if not isinstance(exc, Exception):
                raise
        finally:
            with self._gate:
                after = self._queue[0] if self._queue else None
                self._writing = after is not None
            for each in [after, *batch] if after else batch:
                each.turn.set()

    def _write_batch(self, batch: list[_Waiting]) -> list[list[int]]:
        rows: list[dict[str, Any]] = []
        written = []
        with self._database.write() as connection:
            self._catch_up(connection)
            index, number = self._index, len(self.tree)
            for each in batch:
                written.append(list(range(number, number + len(each.bodies))))
                for patient, body in each.bodies:
                    count = index.get(patient)
                    serial = count.entries + 1
                    row = self._cover.row(
                        number, patient, {**body, "serial": serial, "previous": "0x" + count.newest.hex()}
                    )
                    index = index.put(patient, Count(serial, row["leaf"]))
                    rows.append(row)
                    number += 1
            if rows and self._database.sqlite:
                connection.execute(_add, rows)
            elif rows:
                # asked what it wrote, SQLAlchemy sends one statement for many rows: twice as fast on PostgreSQL
                connection.execute(_add.returning(entries.c.number), rows).all()
        for row in rows:  # they are on the disk
            self.tree.append_leaf(row["leaf"])
        self._index = index
        return written

    def seal(self) -> Head:
        """Append the index of all entries, unless the last one is that, and return the head to post."""
        with self._lock:
            with self._database.write() as connection:
                self._catch_up(connection)
                size = len(self.tree)
                fresh = size > 0 and not self._sealed(connection, size)
                if fresh:
                    row = self._cover.row(size, None, index_entry(self._index.root))
                    connection.execute(insert(entries), row)
            if fresh:
                self.tree.append_leaf(row["leaf"])
                self._indexes[size + 1] = self._index
            return Head(len(self.tree), self.tree.root())

    def _sealed(self, connection: Connection, size: int) -> bool:
        """Tell whether the last of the first `size` entries is an index."""
        query = select(entries.c.patient).where(entries.c.number == size - 1)
        return connection.execute(query).one_or_none() == (None,)

    # ------------------------------------------------------------------ heads

    def head(self) -> Head:
        """Return the head of all that is written, by whichever process."""
        with self._current():
            return Head(len(self.tree), self.tree.root())

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` entries. Raises DataError where there are fewer."""
        with self._current():
            return self.tree.root(size)

    def posted(self) -> Head:
        """Return the newest head that is known to be on the chain; of size 0 for none."""
        with self._current():
            return self._posted

    def note_posted(self, head: Head) -> None:
        """Note that a head is on the chain: proofs are under it from now on, if `seal` made it.

        Raises DataError where it is none of this log.
        """
        with self._lock, self._database.write() as connection:
            self._catch_up(connection)
            if head.size > len(self.tree) or self.tree.root(head.size) != head.root:
                raise DataError(f"the access log never had this head of {head.size} entries")
            if head.size > self._posted.size and self._sealed(connection, head.size):
                connection.execute(insert(heads).values(size=head.size, root=head.root))
        # taken in with the next look at the database, once it is there for good

    # ------------------------------------------------------------------ showing

    def proof(self, patient: str, remembered: int = 0) -> dict[str, Any]:
        """Return all of a pseudonym's entries with what proves them under the posted head; `check_accesses` takes it.

        `remembered` is the size of the head that the patient saw last, 0 for none. Entries after the posted head come
        without a proof, as `later`. The caller makes sure that it is the patient who asks.
        """
        patient = address(patient)
        with self._current() as connection:
            mine = (entries.c.patient == self._cover.handle(patient)) & (entries.c.number < len(self.tree))
            query = select(entries).where(mine).order_by(entries.c.serial)
            rows = [self._own(row) for row in connection.execute(query).mappings()]
            posted, index = self._posted, self._indexes.get(self._posted.size, Index())
        size, count = posted.size, index.get(patient)
        consistency = self.tree.consistency(remembered, size) if 0 < remembered <= size else []
        return {
            "liggare": ACCESSES,
            "custodian": self.custodian,
            "chainId": self.domain.chain_id,
            "contract": self.domain.verifying_contract,
            "patient": patient,
            "size": size,
            "root": "0x" + posted.root.hex(),
            "consistency": _hex(consistency),
            "index": {
                "root": "0x" + index.root.hex(),
                "proof": _hex(self.tree.inclusion(size - 1, size)) if size else [],
                "entries": count.entries,
                "newest": "0x" + count.newest.hex(),
                "siblings": [[level, "0x" + beside.hex()] for level, beside in index.proof(patient)],
            },
            "entries": [
                {"number": number, "entry": kept, "proof": _hex(self.tree.inclusion(number, size))}
                for number, kept in rows
                if number < size
            ],
            "later": [kept for number, kept in rows if number >= size],
        }

    def _own(self, row: RowMapping) -> tuple[int, dict[str, Any]]:
        line = self._cover.line(row)
        if leaf_hash(line) != self.tree.leaf(row["number"]):
            raise LogDamaged(f"entry {row['number']} of the access log was altered")
        return row["number"], json.loads(line)

    def lines(self) -> Iterator[bytes]:
        """Yield every entry's line, oldest first."""
        with self._database.read() as connection:
            for row in _rows(connection, 0):
                yield self._cover.line(row)

    def export(self, path: Path) -> int:
        """Write every line to a file, for `liggare verify --log`, and return how many; only its owner may read it."""
        count = 0
        partial = path.with_name(f".{path.name}.partial")
        partial.touch(mode=0o600)
        with partial.open("wb") as file:
            for line in self.lines():
                file.write(line + b"\n")
                count += 1
        partial.replace(path)
        return count

    # ------------------------------------------------------------------ the database

    @contextmanager
    def _current(self) -> Iterator[Connection]:
        """Take in what other processes wrote; the lock is held until the block ends."""
        with self._lock, self._database.read() as connection:
            self._catch_up(connection)
            yield connection

    def _catch_up(self, connection: Connection) -> None:
        """Take in and check all rows that are new here. Raises LogDamaged."""
        # heads first: every entry under one of them was there before it
        words = {"size": self._posted.size}
        known = [Head(size, bytes(root)) for size, root in connection.execute(_heads_after, words)]
        needed = known[-1].size if known else self._posted.size
        last = len(self.tree) - 1
        for row in _rows(connection, max(last, 0)):
            if row["number"] > last:
                self._take(row, needed)
            elif row["leaf"] == self.tree.leaf(last):
                last = -1  # it is still there
        if last >= 0:
            raise LogDamaged(f"entry {last} of the access log is missing, or is another now")
        for head in known:
            if head.size not in range(len(self.tree) + 1) or self.tree.root(head.size) != head.root:
                raise LogDamaged(f"the access log is not what it was when its head of {head.size} entries was posted")
            self._posted = head
        for size in [size for size in self._indexes if size < needed]:
            del self._indexes[size]

    def _take(self, row: RowMapping, needed: int) -> None:
        """Take in one row; indexes of a log smaller than `needed` are not kept."""
        number = row["number"]
        if number != len(self.tree):
            raise LogDamaged(f"entry {len(self.tree)} of the access log is missing")
        line = self._cover.line(row)
        try:
            kept = json.loads(line)
            patient = None if row["patient"] is None else address(kept["patient"])
            count = Count(0, self._index.root) if patient is None else self._index.get(patient)
            follows = "0x" + count.newest.hex()
            sound = leaf_hash(line) == row["leaf"] and (
                (kept["kind"], kept["root"]) == ("index", follows)
                if patient is None
                else (self._cover.handle(patient), kept["previous"]) == (bytes(row["patient"]), follows)
                and kept["serial"] == row["serial"] == count.entries + 1
            )
        except (ValueError, TypeError, LookupError, AttributeError) as exc:
            raise LogDamaged(f"entry {number} of the access log is none: {exc!r}") from None
        if not sound:
            raise LogDamaged(f"entry {number} of the access log was altered, or one before it")
        self.tree.append_leaf(bytes(row["leaf"]))
        if patient is not None:
            self._index = self._index.put(patient, Count(row["serial"], bytes(row["leaf"])))
        elif number + 1 >= needed:
            self._indexes[number + 1] = self._index


def _rows(connection: Connection, first: int) -> Iterator[RowMapping]:
    """Yield all rows from number `first` on, a thousand at a time."""
    while True:
        rows = connection.execute(_entries_from, {"first": first}).mappings().all()
        yield from rows
        if len(rows) < PAGE:
            return
        first = rows[-1]["number"] + 1


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return ["0x" + each.hex() for each in hashes]
