"""The store: a custodian's FHIR resources at rest, sealed one by one, in one SQL database.

    resource -> chart_of -> its chart's keys -> handles of (chart, type) and (type, id), AES-256-GCM -> row

In the database nothing is in clear: no type, no id, no date, no code, no pseudonym. What it shows is how many rows
there are, how long each is, in which order they came, and which are versions of one record or of one patient's type.
A look-up goes by a handle that only the chart's own key makes, so it never touches another patient's rows. What a row
holds is bound to its place: another row's content, or an older version of the same record, does not open there. That
whole rows were taken away is not seen: who can write to the database can make a record forget its newest versions.

A record is known by its chart, type and id; every version is kept. What is nobody's, shared or not (`chart_of` is
None), stands under a chart of its own. Rotating a key seals its records anew and destroys the old key; erasing a chart
destroys its keys first and then deletes its rows, so that also every backup of the database has lost it.

SQLite by default, PostgreSQL by URL; several processes may share database and keyring.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from cryptography.exceptions import InvalidTag
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from liggare.database import Database
from liggare.errors import DataError, RecordDamaged, ResourceInvalid, SettingsError, StoreUnavailable, VersionConflict
from liggare.records.fhir import SHARED, Resource, chart_of, charts_in, dump, load
from liggare.records.keyring import ChartKeys, Keyring, Remains

__all__ = ["Store", "Stored"]

SCHEMA = 1
LOCK = 0x5265636F
"""Names the one lock on PostgreSQL."""
FORM = b"liggare record 1"
NONCE = 12
NOBODY = ""
"""The chart of what is nobody's."""

_CHART = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")
_KIND = re.compile(r"[A-Z][A-Za-z]{0,63}")
_IDENTITY = re.compile(r"[A-Za-z0-9.-]{1,64}")

metadata = MetaData()

schema = Table("record_schema", metadata, Column("version", Integer, primary_key=True))

looks = Table("record_looks", metadata, Column("block", BigInteger, primary_key=True, autoincrement=False))

records = Table(
    "records",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),  # the order of arrival
    Column("shelf", LargeBinary, nullable=False),  # handle of (chart, type)
    Column("item", LargeBinary, nullable=False),  # handle of (type, id)
    Column("version", Integer, nullable=False),
    Column("generation", Integer, nullable=False),  # which key of (chart, type) opens it
    Column("sealed", LargeBinary, nullable=False),  # nonce, ciphertext, tag
    UniqueConstraint("shelf", "item", "version"),
)

_found = select(records.c.shelf, records.c.item, records.c.version, records.c.generation, records.c.sealed)
_one = _found.where(records.c.shelf == bindparam("shelf"), records.c.item == bindparam("item"))
_newest_of_one = _one.order_by(records.c.version.desc()).limit(1)
_version_of_one = _one.where(records.c.version == bindparam("number"))
_last = (
    select(records.c.shelf, records.c.item, func.max(records.c.version).label("version"))
    .where(records.c.shelf.in_(bindparam("shelves", expanding=True)))
    .group_by(records.c.shelf, records.c.item)
    .subquery()
)
_same = and_(*(records.c[name] == _last.c[name] for name in ("shelf", "item", "version")))
_newest_on_shelves = _found.join(_last, _same).order_by(records.c.seq)


@dataclass(frozen=True)
class Stored:
    """What `put` made of a resource."""

    chart: str | None
    version: int
    resource: Resource = field(repr=False)
    """With the id, version and time that it was given."""

    @property
    def created(self) -> bool:
        """Whether there was none of this name before."""
        return self.version == 1

    @property
    def reference(self) -> str:
        """Type and id."""
        return f"{self.resource['resourceType']}/{self.resource['id']}"


class Store:
    """The records. For any number of threads.

    Every method raises StoreUnavailable where the database does not answer, with nothing half-done; RecordDamaged where
    a row is not what was written to it; KeyringDamaged.
    """

    def __init__(self, url: str, keyring: Keyring, *, clock: Callable[[], float] = time.time) -> None:
        """Open the records, and finish what was cut off. Raises SettingsError for a URL that is none."""
        self.keyring, self._clock = keyring, clock
        self._database = Database(url, lock=LOCK, unavailable=StoreUnavailable)
        try:
            self._prepare()
            self._recover()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Make the tables where there are none. Raises SettingsError where they are another release's."""
        with self._database.write() as connection:
            metadata.create_all(connection)
            version = connection.execute(select(schema.c.version)).scalar()
            if version is None:
                connection.execute(insert(schema).values(version=SCHEMA))
            elif version != SCHEMA:
                raise SettingsError(f"the records' tables have version {version}, this release wants {SCHEMA}")

    def _recover(self) -> None:
        """Finish erasures and rotations in whose middle a process died."""
        for remains in self.keyring.erasing():
            self.erase(remains.chart)
        for chart, category in self.keyring.rotating():
            self.rotate(chart or None, category)

    def close(self) -> None:
        """Let go of every connection."""
        self._database.close()

    # ------------------------------------------------------------------ writing

    def put(self, resource: Resource, *, expected_version: int | None = None) -> Stored:
        """Keep a resource as the next version of its record; the resource given is left as it is.

        It gets an id where it has none, and its versionId and lastUpdated. With `expected_version` (0: no record yet)
        raises VersionConflict where the record is at another. It is taken to be valid: `parse` says so. A record
        whose patient was changed is another record, of that patient's.
        """
        kind, identity = resource.get("resourceType"), resource.get("id", str(uuid.uuid4()))
        if not (isinstance(kind, str) and _KIND.fullmatch(kind)):
            raise ResourceInvalid("resourceType", "it names no resource type of FHIR R4")
        if not (isinstance(identity, str) and _IDENTITY.fullmatch(identity)):
            raise ResourceInvalid(f"{kind}.id", "it is no id")
        made = {"resourceType": kind, "id": identity, **resource}
        chart = chart_of(made)
        home = NOBODY if chart is None else chart
        with self._writing(home) as connection:
            keys = self.keyring.provide(home, kind)
            shelf, item = keys.handle(kind), keys.handle(kind, identity)
            last = select(func.coalesce(func.max(records.c.version), 0)).where(
                records.c.shelf == shelf, records.c.item == item
            )
            version = int(connection.execute(last).scalar_one())
            if expected_version not in (None, version):
                raise VersionConflict(expected_version or 0, version)
            version += 1
            updated = datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="milliseconds")
            stamp = {"versionId": str(version), "lastUpdated": updated.replace("+00:00", "Z")}
            made["meta"] = {**resource.get("meta", {}), **stamp}
            connection.execute(insert(records), [_sealed(keys, kind, shelf, item, version, dump(made))])
        return Stored(chart, version, made)

    def holds(self, resource: Resource) -> bool:
        """Tell whether the newest version of a record says what this resource says, its version and time apart."""
        kind, identity = str(resource.get("resourceType")), resource.get("id")
        if not isinstance(identity, str):
            return False
        kept = self.get(chart_of(resource), kind, identity)
        return kept is not None and _said(kept) == _said(resource)

    # ------------------------------------------------------------------ reading

    def get(self, chart: str | None, kind: str, identity: str, version: int | None = None) -> Resource | None:
        """Return a record of this chart (None: of what is nobody's), or None where there is none.

        Its newest version, or the one asked for. A chart without records, an erased one and a record that is another's
        can't be told apart.
        """

        def look(keys: ChartKeys) -> list[Any]:
            names = {"shelf": keys.handle(kind), "item": keys.handle(kind, identity)}
            with self._database.look() as connection:
                if version is None:
                    return list(connection.execute(_newest_of_one, names))
                return list(connection.execute(_version_of_one, {**names, "number": version}))

        found = self._read(chart, [kind], look)
        return found[0] if found else None

    def newest(self, chart: str | None, kinds: Iterable[str] | None = None) -> list[Resource]:
        """Return the newest version of each record of these types (None: of all), the last changed last."""
        wanted = None if kinds is None else list(kinds)

        def look(keys: ChartKeys) -> list[Any]:
            shelves = [keys.handle(kind) for kind in (keys.keys if wanted is None else wanted)]
            with self._database.look() as connection:
                return list(connection.execute(_newest_on_shelves, {"shelves": shelves}))

        return self._read(chart, wanted, look)

    def shared(self, kind: str, identity: str, version: int | None = None) -> Resource | None:
        """Return a resource of a type that is of no patient, and that names none; None where there is none."""
        found = self.get(None, kind, identity, version) if kind in SHARED else None
        return None if found is None or charts_in(found) else found

    def _read(
        self, chart: str | None, kinds: list[str] | None, look: Callable[[ChartKeys], list[Any]]
    ) -> list[Resource]:
        """Return what is in the rows that `look` finds."""
        home = NOBODY if chart is None else chart
        for last_try in (False, False, True):
            keys = self.keyring.open(home)
            if keys is None:
                break
            kind_of = {keys.handle(kind): kind for kind in (keys.keys if kinds is None else kinds)}
            try:
                return [load(_open(keys, kind_of[bytes(row.shelf)], row)) for row in look(keys)]
            except _KeyGone:  # rotated or erased between the look at the keys and the one at the rows
                if last_try:
                    raise RecordDamaged("a record's key is not in the keyring any more") from None
        return []

    # ------------------------------------------------------------------ who is who

    def link(self, pseudonym: str, *charts: str) -> None:
        """Note that a pseudonym is the patient of these charts ("Patient/f001"); adds to what was noted."""
        for chart in charts:
            if not _CHART.fullmatch(chart):
                raise DataError(f"{chart!r} is no chart, such as Patient/f001")
        with self._writing(*charts):
            self.keyring.link(pseudonym, *charts)

    def unlink(self, pseudonym: str, *charts: str) -> None:
        """Take back what `link` noted; of all charts where none is named."""
        self.keyring.unlink(pseudonym, *charts)

    def charts(self, pseudonym: str) -> frozenset[str]:
        """Return the charts of a pseudonym; empty for one that nobody linked."""
        return self.keyring.charts(pseudonym)

    # ------------------------------------------------------------------ keys that change and keys that go

    def rotate(self, chart: str | None, category: str) -> None:
        """Seal all records of one type of a chart with a new key, and destroy the old one.

        A copy of the keyring made before opens nothing of what is written from now on. Does nothing where there are
        no such records.
        """
        home = NOBODY if chart is None else chart
        with self._database.write() as connection:
            keys = self.keyring.renew(home, category)
            if keys is None:
                return
            shelf = keys.handle(category)
            for seq in connection.execute(select(records.c.seq).where(records.c.shelf == shelf)).scalars().all():
                row = connection.execute(_found.where(records.c.seq == seq)).one()
                try:
                    text = _open(keys, category, row)
                except (_KeyGone, RecordDamaged):
                    continue  # it stays as unreadable as it is, and does not keep the old key alive
                fresh = _sealed(keys, category, shelf, bytes(row.item), row.version, text)
                connection.execute(update(records).where(records.c.seq == seq).values(**fresh))
        # only now: had the database not kept the rows, the old key would be needed
        self.keyring.retire(keys, category)

    def rotate_all(self, chart: str, categories: Iterable[str] | None = None) -> list[str]:
        """Rotate the keys of these types of a chart (None: of all that it has); return them."""
        keys = self.keyring.open(chart)
        found = sorted(keys.keys.keys() & set(categories) if categories else keys.keys) if keys else []
        for category in found:
            self.rotate(chart, category)
        return found

    def looked(self) -> int | None:
        """Return up to which block the ledger was looked at for keys to rotate; None where never."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(looks.c.block))).scalar()

    def note_looked(self, block: int) -> None:
        """Note up to which block the ledger was looked at for keys to rotate."""
        with self._database.write() as connection:
            connection.execute(delete(looks))
            connection.execute(insert(looks).values(block=block))

    def erase(self, chart: str) -> None:
        """Destroy a chart's keys, its rows and its links, for good.

        A backup of the database and the master key open nothing of it afterwards. What names several patients is
        nobody's, and stays.
        """
        if not _CHART.fullmatch(chart):
            raise DataError(f"{chart!r} is no chart, such as Patient/f001")
        with self._database.write() as connection:
            remains = self.keyring.erase(chart)
            if remains is not None:
                _delete(connection, remains)
        if remains is not None:
            self.keyring.finish(remains)

    @contextmanager
    def _writing(self, *homes: str) -> Iterator[Connection]:
        """Open a transaction under the lock in which none of these charts is half erased, so that it may begin anew."""
        for _ in range(10):
            for home in homes:
                if self.keyring.remains(home) is not None:
                    self.erase(home)  # somebody began it and died, or is about to finish
            with self._database.write() as connection:
                if all(self.keyring.remains(home) is None for home in homes):
                    yield connection
                    return
        raise StoreUnavailable("the chart is being erased")


class _KeyGone(Exception):
    """A row was sealed with a key that the chart does not have."""


def _said(resource: Resource) -> Resource:
    """Return a resource without what the store itself writes into it."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return {**{name: value for name, value in resource.items() if name != "meta"}, **({"meta": meta} if meta else {})}


def _delete(connection: Connection, remains: Remains) -> None:
    shelves = [remains.keys.handle(kind) for kind in remains.keys.keys]
    connection.execute(delete(records).where(records.c.shelf.in_(shelves)))


def _bound(shelf: bytes, item: bytes, version: int, generation: int) -> bytes:
    """Return what a row's content is bound to: its place."""
    return FORM + shelf + item + version.to_bytes(8, "big") + generation.to_bytes(8, "big")


def _sealed(keys: ChartKeys, kind: str, shelf: bytes, item: bytes, version: int, text: bytes) -> dict[str, Any]:
    generation, key = keys.newest(kind)
    nonce = secrets.token_bytes(NONCE)
    sealed = nonce + key.encrypt(nonce, text, _bound(shelf, item, version, generation))
    return {"shelf": shelf, "item": item, "version": version, "generation": generation, "sealed": sealed}


def _open(keys: ChartKeys, kind: str, row: Any) -> bytes:
    key = keys.keys.get(kind, {}).get(row.generation)
    if key is None:
        raise _KeyGone
    sealed = bytes(row.sealed)
    try:
        bound = _bound(bytes(row.shelf), bytes(row.item), row.version, row.generation)
        return key.decrypt(sealed[:NONCE], sealed[NONCE:], bound)
    except (InvalidTag, ValueError, OverflowError):
        raise RecordDamaged("a record's row is not what was written to it, or not where it was written") from None
