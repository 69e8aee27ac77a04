"""The outbox: what was accepted, what was sent for it and what became of it, in one SQL database.

    queued -> sent -> mined -> paid (a payment) or carried (any other message) | failed

A row is written before anything is sent: a transaction is stored whole and signed, then broadcast, so
whoever finds it here can send it again, with the key or without. SQLite by default, PostgreSQL by URL; any
number of relayers may share one PostgreSQL. Every change is made under one lock of the database, so rows
never disagree; reading needs none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from liggare.chain.worker import Form
from liggare.database import Database
from liggare.errors import OutboxUnavailable, SettingsError

__all__ = [
    "OUTSTANDING",
    "PAYMENT",
    "Account",
    "Batch",
    "Change",
    "Entry",
    "Lane",
    "Outbox",
    "Pending",
    "Result",
    "Row",
    "Status",
    "end",
]

SCHEMA = 2
LOCK = 0x4C696767
"""Names the one lock on PostgreSQL: the first letters of the project."""


class Status(str, Enum):
    """Where a message is on its way; `paid`, `carried` and `failed` are final."""

    QUEUED = "queued"
    SENT = "sent"
    MINED = "mined"
    PAID = "paid"
    CARRIED = "carried"
    FAILED = "failed"


OUTSTANDING = (Status.QUEUED.value, Status.SENT.value, Status.MINED.value)
"""Not at its end yet."""
PAYMENT = "payment"
"""The kind of those messages whose good end is `paid`; of every other it is `carried`."""

metadata = MetaData()
_serial = BigInteger().with_variant(Integer, "sqlite")

schema = Table("schema", metadata, Column("version", Integer, primary_key=True))

messages = Table(
    "messages",
    metadata,
    Column("seq", _serial, primary_key=True),  # the order of acceptance
    Column("id", String(66), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),  # whose cargo
    Column("alone", Boolean, nullable=False),  # it has a transaction of its own
    Column("account", String(42), nullable=False),  # in whose name it speaks
    Column("nonce", String(66), nullable=False),
    Column("total", String(40), nullable=False),  # of money; decimal: beyond 64 bits
    Column("units", Integer, nullable=False),  # how many of a quota it counts for
    Column("gas", BigInteger, nullable=False),  # the most it uses
    Column("body", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("root", String(42), nullable=False),  # on whose quota
    Column("day", Integer, nullable=False),  # unix time / 86,400
    Column("status", String(8), nullable=False),
    Column("reason", String(64)),
    Column("transaction", String(66)),
    Column("block", BigInteger),
    Column("batch", _serial, ForeignKey("batches.id")),
    Column("claimer", String(32)),
    Column("claimed_until", Float, nullable=False, default=0.0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("accepted", Float, nullable=False),
    Index("messages_status", "status", "kind", "alone", "seq"),
    Index("messages_batch", "batch"),
    Index("messages_quota", "day", "kind", "root"),
)
_outstanding = messages.c.status.in_(OUTSTANDING)
# two relayers can't take two messages with one nonce, however they race
Index(
    "messages_nonce",
    messages.c.account,
    messages.c.nonce,
    unique=True,
    sqlite_where=_outstanding,
    postgresql_where=_outstanding,
)

accounts = Table(
    "accounts",
    metadata,
    Column("address", String(42), primary_key=True),
    Column("root", String(42), nullable=False),  # on whose quota it draws on its first day
    Column("day", Integer, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", _serial, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("sender", String(42), nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("to", String(42), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("access", Text, nullable=False),  # the access list (EIP-2930), JSON
    Column("gas", BigInteger, nullable=False),
    Column("status", String(8), nullable=False),  # open, mined, done, dead
    Column("transaction", String(66)),
    Column("block", BigInteger),
    Column("block_hash", String(66)),
    Column("gas_used", BigInteger),
    Column("cost", String(40), nullable=False),  # wei: the most it can be, then what it was
    Column("day", Integer, nullable=False),
    Column("made", Float, nullable=False),
    Index("batches_status", "status"),
    Index("batches_day", "day", "kind"),
)
Index(
    "batches_nonce",
    batches.c.sender,
    batches.c.nonce,
    unique=True,
    sqlite_where=batches.c.status != "dead",
    postgresql_where=batches.c.status != "dead",
)

sendings = Table(
    "sendings",
    metadata,
    Column("hash", String(66), primary_key=True),
    Column("batch", _serial, ForeignKey("batches.id"), nullable=False, index=True),
    Column("raw", LargeBinary, nullable=False),
    Column("max_fee", BigInteger, nullable=False),  # wei per gas
    Column("tip", BigInteger, nullable=False),
    Column("made", Float, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("seq", _serial, primary_key=True),
    Column("id", String(66), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("account", String(42), nullable=False),
    Column("status", String(8), nullable=False),
    Column("reason", String(64)),
    Column("transaction", String(66)),
    Column("block", BigInteger),
    Column("at", Float, nullable=False),
)


@dataclass(frozen=True)
class Entry:
    """A message to be put into the outbox.

    `account` is in whose name it speaks; `total` what that gives in all, in units of the money; `units` how many of
    a quota it counts for; `gas` the most that it uses as part of a batch, or if `alone` in a transaction of its own.
    """

    id: str
    kind: str
    alone: bool
    account: str
    nonce: str
    total: int
    units: int
    gas: int
    body: str
    signature: bytes


@dataclass(frozen=True)
class Row(Entry):
    """A message of the outbox."""

    seq: int
    status: Status
    reason: str | None
    transaction: str | None
    block: int | None
    batch: int | None
    attempts: int
    accepted: float


class Lane(NamedTuple):
    """Messages that wait for one another: those of one kind that are gathered, or those that go each alone."""

    kind: str
    alone: bool = False
    ordered: bool = False
    """Whether an account's messages must land in the order in which they were accepted."""


class Pending(NamedTuple):
    """A message on its way, as far as others of its account must know it."""

    id: str
    account: str
    nonce: str
    total: int


@dataclass(frozen=True)
class Result:
    """What became of a message: `reason` is None where it was carried out."""

    id: str
    reason: str | None
    transaction: str | None = None
    block: int | None = None


@dataclass(frozen=True)
class Change:
    """One step of one message, as it is told to those who follow; `seq` grows in the order of commits."""

    seq: int
    id: str
    account: str
    status: Status
    reason: str | None
    transaction: str | None
    block: int | None
    at: float


@dataclass(frozen=True)
class Account:
    """Who got its first money through the relayer: on which day, and on whose quota it draws on that day."""

    address: str
    root: str
    day: int


@dataclass(frozen=True)
class Batch:
    """One transaction's worth of messages, with every form in which it was sent, oldest first."""

    id: int
    kind: str
    sender: str
    nonce: int
    to: str
    data: bytes
    access: str
    gas: int
    status: str
    transaction: str | None
    block: int | None
    block_hash: str | None
    made: float
    sendings: tuple[Form, ...]


class Outbox:
    """The database. Every method raises OutboxUnavailable where it does not answer, with nothing half-done."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, lock=LOCK, unavailable=OutboxUnavailable)
        self._sqlite = self._database.sqlite
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Make the tables where there are none. Raises SettingsError where they are another release's."""
        with self.write() as connection:
            metadata.create_all(connection)
            version = connection.execute(select(schema.c.version)).scalar()
            if version is None:
                connection.execute(insert(schema).values(version=SCHEMA))
            elif version != SCHEMA:
                raise SettingsError(f"the database has version {version} of the tables, this release wants {SCHEMA}")

    def close(self) -> None:
        """Let go of every connection."""
        self._database.close()

    def write(self) -> AbstractContextManager[Connection]:
        """Open a transaction under the lock; it is committed when the block ends, and undone where it fails."""
        return self._database.write()

    def read(self) -> AbstractContextManager[Connection]:
        """Open a transaction that only reads."""
        return self._database.read()

    # ------------------------------------------------------------------ accepting

    def known(self, connection: Connection, ids: Collection[str]) -> dict[str, Row]:
        """Return those of the messages that are in the outbox, by id."""
        return {row.id: row for row in _rows(connection, messages.c.id.in_(ids))}

    def outstanding(self, connection: Connection, kind: str, accounts: Collection[str]) -> list[Pending]:
        """Return what these accounts have on its way."""
        columns = messages.c.id, messages.c.account, messages.c.nonce, messages.c.total
        where = (messages.c.kind == kind) & messages.c.account.in_(accounts) & _outstanding
        found = connection.execute(select(*columns).where(where))
        return [Pending(id_, account, nonce, int(total)) for id_, account, nonce, total in found]

    def spent_units(self, connection: Connection, kind: str, roots: Collection[str], day: int) -> dict[str, int]:
        """Return how much was accepted on each quota that day."""
        query = (
            select(messages.c.root, func.sum(messages.c.units))
            .where(messages.c.day == day, messages.c.kind == kind, messages.c.root.in_(roots))
            .group_by(messages.c.root)
        )
        return {root: int(count) for root, count in connection.execute(query)}

    def known_accounts(self, connection: Connection, addresses: Collection[str]) -> dict[str, Account]:
        """Return those of the accounts that the relayer has met."""
        query = select(accounts).where(accounts.c.address.in_(addresses))
        return {row["address"]: Account(**row) for row in connection.execute(query).mappings()}

    def meet(self, connection: Connection, met: Iterable[Account]) -> None:
        """Note accounts that were not known."""
        rows = [asdict(account) for account in met]
        if rows:
            make = sqlite_insert if self._sqlite else postgresql_insert
            connection.execute(make(accounts).on_conflict_do_nothing(), rows)

    def put(self, connection: Connection, entries: Sequence[Entry], roots: Mapping[str, str], now: float) -> None:
        """Write messages, queued; `roots` says on whose quota each account draws."""
        if not entries:
            return
        rows = [
            {
                **asdict(entry),
                "total": str(entry.total),
                "root": roots[entry.account],
                "day": int(now // 86_400),
                "status": Status.QUEUED.value,
                "accepted": now,
            }
            for entry in entries
        ]
        connection.execute(insert(messages), rows)
        _tell(connection, [_who(entry) for entry in entries], Status.QUEUED, now)

    def committed_cost(self, connection: Connection, kind: str, day: int) -> int:
        """Return what that day's transactions cost the sponsor, in wei; those under way at the most they can."""
        query = select(batches.c.cost).where(batches.c.day == day, batches.c.kind == kind)
        return sum(map(int, connection.execute(query).scalars()))

    def queued_gas(self, connection: Connection, kind: str) -> int:
        """Return the most gas that those who wait use."""
        where = (messages.c.status == Status.QUEUED.value) & (messages.c.kind == kind)
        query = select(func.coalesce(func.sum(messages.c.gas), 0)).where(where)
        return int(connection.execute(query).scalar_one())

    def newcomers(self, connection: Connection, roots: Collection[str], day: int) -> dict[str, int]:
        """Return how many new accounts came that day on each quota."""
        query = (
            select(accounts.c.root, func.count())
            .where(accounts.c.day == day, accounts.c.root.in_(roots))
            .group_by(accounts.c.root)
        )
        return {root: int(count) for root, count in connection.execute(query)}

    # ------------------------------------------------------------------ sending

    def waiting(self, claimer: str, lane: Lane, now: float, sender: str = "") -> tuple[int, float]:
        """Return how many messages of a lane `claimer` could claim, and when the oldest of them was accepted."""
        where = _free(claimer, sender, lane, now)
        query = select(func.count(), func.coalesce(func.min(messages.c.accepted), now)).where(where)
        with self.read() as connection:
            count, oldest = connection.execute(query).one()
            return int(count), float(oldest)

    def claim(self, claimer: str, lane: Lane, limit: int, until: float, now: float, sender: str = "") -> list[Row]:
        """Take up to `limit` queued messages of a lane, oldest first, for `claimer` alone until that time.

        A claim that is not followed by a booking ends by itself, so that a relayer's death holds nothing up. In an
        ordered lane a message waits while an earlier one of its account is another's: claimed, or sent by another
        `sender`, whose transactions may land after ours.
        """
        with self.write() as connection:
            found = _rows(connection, _free(claimer, sender, lane, now), limit)
            if found:
                connection.execute(
                    update(messages)
                    .where(messages.c.id.in_([row.id for row in found]))
                    .values(claimer=claimer, claimed_until=until)
                )
            return found

    def free_nonce(self, connection: Connection, sender: str, used: int) -> int:
        """Return the sender's lowest nonce, from `used` on, that no transaction of the outbox has."""
        query = select(batches.c.nonce).where(
            batches.c.sender == sender, batches.c.nonce >= used, batches.c.status != "dead"
        )
        taken = set(connection.execute(query).scalars())
        while used in taken:
            used += 1
        return used

    def book(
        self, connection: Connection, claimer: str, ids: Sequence[str], batch: Mapping[str, Any], now: float
    ) -> int | None:
        """Write a transaction that is to carry the messages, and its id; None where the claim has ended."""
        mine = (messages.c.claimer == claimer) & (messages.c.status == Status.QUEUED.value) & messages.c.id.in_(ids)
        found = _rows(connection, mine)
        if len(found) != len(ids):
            return None
        made = connection.execute(
            insert(batches).values(**batch, status="open", made=now, day=int(now // 86_400)).returning(batches.c.id)
        ).scalar_one()
        connection.execute(
            update(messages)
            .where(mine)
            .values(
                status=Status.SENT.value, batch=made, claimed_until=0.0, claimer=None, attempts=messages.c.attempts + 1
            )
        )
        _tell(connection, [_who(row) for row in found], Status.SENT, now)
        return int(made)

    def add_sending(self, connection: Connection, batch: int, sending: Form) -> None:
        """Write a signed transaction of a batch, before it is sent."""
        connection.execute(insert(sendings).values(batch=batch, **asdict(sending)))
        cost = select(batches.c.gas).where(batches.c.id == batch)
        most = connection.execute(cost).scalar_one() * sending.max_fee
        connection.execute(update(batches).where(batches.c.id == batch).values(cost=str(most)))

    def batches(self, *statuses: str) -> list[Batch]:
        """Return the transactions in these states, in the order of their nonces."""
        with self.read() as connection:
            return _batches(connection, batches.c.status.in_(statuses))

    def batch_at(self, sender: str, nonce: int) -> Batch | None:
        """Return the transaction that the sender has at this nonce."""
        with self.read() as connection:
            where = (batches.c.sender == sender) & (batches.c.nonce == nonce) & (batches.c.status != "dead")
            return next(iter(_batches(connection, where)), None)

    def rows(self, batch: int) -> list[Row]:
        """Return a batch's messages, in its order."""
        with self.read() as connection:
            return _rows(connection, messages.c.batch == batch)

    # ------------------------------------------------------------------ what became of it

    def mine(self, batch: int, facts: Mapping[str, Any], now: float) -> bool:
        """Note in which block a batch is; its messages wait for the confirmations."""
        with self.write() as connection:
            if not self._move(connection, batch, ("open",), "mined", facts):
                return False
            self._change(connection, messages.c.batch == batch, Status.MINED, now, facts)
            return True

    def unmine(self, batch: int, now: float) -> bool:
        """Note that the block of a batch is no longer part of the chain."""
        with self.write() as connection:
            gone = {"transaction": None, "block": None, "block_hash": None}
            if not self._move(connection, batch, ("mined",), "open", gone):
                return False
            self._change(connection, messages.c.batch == batch, Status.SENT, now, gone)
            return True

    def settle(self, batch: int, results: Sequence[Result], facts: Mapping[str, Any], now: float) -> bool:
        """Write what became of a batch's messages: each is carried out or failed, for good."""
        with self.write() as connection:
            if not self._move(connection, batch, ("open", "mined"), "done", facts):
                return False
            self._finish(connection, results, now)
            return True

    def finish(self, results: Sequence[Result], now: float) -> None:
        """Write the end of messages that need no transaction: they can't land, or somebody else carried them."""
        if results:
            with self.write() as connection:
                self._finish(connection, results, now)

    def bury(self, batch: int, facts: Mapping[str, Any], now: float) -> bool:
        """Note that a transaction did nothing and never will; its messages are queued again."""
        with self.write() as connection:
            if not self._move(connection, batch, ("open", "mined"), "dead", facts):
                return False
            free = {"batch": None, "transaction": None, "block": None}
            self._change(connection, messages.c.batch == batch, Status.QUEUED, now, free)
            return True

    def _move(
        self, connection: Connection, batch: int, before: Sequence[str], after: str, facts: Mapping[str, Any]
    ) -> bool:
        """Change a batch's state where it is still as it was: two relayers may look at one batch."""
        names = set(batches.c.keys())
        values = {name: value for name, value in facts.items() if name in names}
        done = connection.execute(
            update(batches).where(batches.c.id == batch, batches.c.status.in_(before)).values(status=after, **values)
        )
        return done.rowcount == 1

    def _change(self, connection: Connection, where: Any, status: Status, now: float, facts: Mapping[str, Any]) -> None:
        values = {name: facts[name] for name in ("transaction", "block", "batch") if name in facts}
        found = _rows(connection, where & _outstanding)
        ids = [row.id for row in found]
        connection.execute(update(messages).where(messages.c.id.in_(ids)).values(status=status.value, **values))
        told = {name: values.get(name) for name in ("transaction", "block")}
        _tell(connection, [{**_who(row), **told} for row in found], status, now)

    def _finish(self, connection: Connection, results: Sequence[Result], now: float) -> None:
        open_ = {row.id: row for row in _rows(connection, messages.c.id.in_([r.id for r in results]) & _outstanding)}
        groups: dict[tuple[Status, str | None, str | None, int | None], list[str]] = {}
        for result in results:
            if result.id in open_:
                status = end(open_[result.id].kind, result.reason)
                groups.setdefault((status, result.reason, result.transaction, result.block), []).append(result.id)
        for (status, reason, transaction, block), ids in groups.items():
            values = {"reason": reason, "transaction": transaction, "block": block}
            connection.execute(
                update(messages).where(messages.c.id.in_(ids)).values(status=status.value, claimed_until=0.0, **values)
            )
            _tell(connection, [{**_who(open_[each]), **values} for each in ids], status, now)

    # ------------------------------------------------------------------ telling

    def get(self, id_: str, kind: str | None = None) -> Row | None:
        """Return a message by its id; one of another kind is as absent as one that is not there."""
        with self.read() as connection:
            row = self.known(connection, [id_]).get(id_)
        return row if row is None or kind in (None, row.kind) else None

    def changes(
        self, after: int, limit: int, ids: Collection[str] = (), account: str | None = None, kind: str = PAYMENT
    ) -> list[Change]:
        """Return the steps after number `after`, oldest first; of some messages or one account, if so asked."""
        query = select(*_CHANGE).where(changes.c.seq > after, changes.c.kind == kind).order_by(changes.c.seq)
        if ids:
            query = query.where(changes.c.id.in_(ids))
        if account is not None:
            query = query.where(changes.c.account == account)
        with self.read() as connection:
            found = connection.execute(query.limit(limit)).mappings()
            return [Change(**{**row, "status": Status(row["status"])}) for row in found]

    def last_change(self) -> int:
        """Return the number of the newest step."""
        with self.read() as connection:
            return int(connection.execute(select(func.coalesce(func.max(changes.c.seq), 0))).scalar_one())

    def counts(self) -> dict[str, int]:
        """Return how many messages are in each state."""
        query = select(messages.c.status, func.count()).group_by(messages.c.status)
        with self.read() as connection:
            found = {status: int(count) for status, count in connection.execute(query)}
        return {status.value: found.get(status.value, 0) for status in Status}

    def oldest(self) -> float | None:
        """Return when the message that has waited longest was accepted."""
        with self.read() as connection:
            found = connection.execute(select(func.min(messages.c.accepted)).where(_outstanding)).scalar()
            return None if found is None else float(found)


_ROW = [messages.c[field.name] for field in fields(Row)]
_CHANGE = [changes.c[field.name] for field in fields(Change)]


def _row(found: RowMapping) -> Row:
    return Row(**{**found, "total": int(found["total"]), "status": Status(found["status"])})


def _rows(connection: Connection, where: Any, limit: int | None = None) -> list[Row]:
    query = select(*_ROW).where(where).order_by(messages.c.seq).limit(limit)
    return [_row(found) for found in connection.execute(query).mappings()]


def _batches(connection: Connection, where: Any) -> list[Batch]:
    found = connection.execute(select(batches).where(where).order_by(batches.c.nonce)).mappings().all()
    sent = connection.execute(
        select(sendings).where(sendings.c.batch.in_([row["id"] for row in found])).order_by(sendings.c.made)
    ).mappings()
    forms: dict[int, list[Form]] = {}
    for row in sent:
        forms.setdefault(row["batch"], []).append(Form(*(row[field.name] for field in fields(Form))))
    names = [field.name for field in fields(Batch) if field.name != "sendings"]
    return [Batch(**{name: row[name] for name in names}, sendings=tuple(forms.get(row["id"], []))) for row in found]


def _free(claimer: str, sender: str, lane: Lane, now: float) -> Any:
    mine = or_(messages.c.claimed_until <= now, messages.c.claimer == claimer)
    mine &= (messages.c.kind == lane.kind) & (messages.c.alone == lane.alone)
    if lane.ordered:
        earlier = messages.alias()
        claimed = (earlier.c.status == Status.QUEUED.value) & (earlier.c.claimed_until > now)
        sent = (
            (earlier.c.status == Status.SENT.value) & (batches.c.id == earlier.c.batch) & (batches.c.sender != sender)
        )
        anothers = or_(claimed & (earlier.c.claimer != claimer), exists().where(sent).correlate(earlier))
        before = (earlier.c.account == messages.c.account) & (earlier.c.kind == lane.kind)
        before &= (earlier.c.seq < messages.c.seq) & earlier.c.status.in_(OUTSTANDING)
        mine &= ~exists().where(before & anothers).correlate(messages)
    return (messages.c.status == Status.QUEUED.value) & mine


def end(kind: str, reason: str | None) -> Status:
    """Return the state of a message at its end."""
    if reason is not None:
        return Status.FAILED
    return Status.PAID if kind == PAYMENT else Status.CARRIED


def _who(entry: Entry) -> dict[str, Any]:
    """Return of a message what every step of it tells."""
    return {"id": entry.id, "kind": entry.kind, "account": entry.account}


def _tell(connection: Connection, told: Sequence[dict[str, Any]], status: Status, now: float) -> None:
    if told:
        empty = {"reason": None, "transaction": None, "block": None}
        connection.execute(insert(changes), [{**empty, **each, "status": status.value, "at": now} for each in told])
