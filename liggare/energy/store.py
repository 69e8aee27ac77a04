"""The operator's database: batches that were kept, contradictions, messages to carry, and what was sent.

    queued -> sent -> done | failed

A row is written before anything is sent: a transaction is stored whole and signed, then broadcast, so whoever finds it
here can send it again, with the key or without. SQLite by default, PostgreSQL by URL; any number of operators may
share one. Which slots are settled is never asked of it: the chain knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    BigInteger,
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
    func,
    insert,
    select,
    update,
)

from liggare.chain.worker import Form
from liggare.database import Database
from liggare.energy.batches import Batch
from liggare.errors import MarketUnavailable, SettingsError

__all__ = ["Contradiction", "Message", "Sending", "Store"]

SCHEMA = 1
LOCK = 0x4C69676D
"""Names the one lock on PostgreSQL: the project's first letters and the market's."""
MOST_CONTRADICTIONS = 100
"""Kept of one home: more prove no more."""

metadata = MetaData()
_serial = BigInteger().with_variant(Integer, "sqlite")

schema = Table(
    "market_schema",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("genesis", String(66), nullable=False),  # hash of the chain's block 0
    Column("contract", String(42), nullable=False),
)


def _batch_columns() -> list[Column[Any]]:
    return [
        Column("id", String(66), primary_key=True),
        Column("home", Integer, nullable=False),
        Column("first", Integer, nullable=False),
        Column("end", Integer, nullable=False),
        Column("imported", BigInteger, nullable=False),
        Column("exported", BigInteger, nullable=False),
        Column("deltas", LargeBinary, nullable=False),
        Column("signature", LargeBinary, nullable=False),
        Column("at", Float, nullable=False),
    ]


readings = Table(
    "market_readings",
    metadata,
    *_batch_columns(),
    Column("meter", String(42), nullable=False),
    Index("market_readings_slots", "home", "end"),
    Index("market_readings_end", "end"),
)
contradictions = Table(
    "market_contradictions",
    metadata,
    *_batch_columns(),
    Column("kept", String(66), ForeignKey("market_readings.id"), nullable=False),
    Index("market_contradictions_home", "home"),
)
messages = Table(
    "market_messages",
    metadata,
    Column("seq", _serial, primary_key=True),  # the order of acceptance
    Column("id", String(66), nullable=False, unique=True),
    Column("kind", String(12), nullable=False),  # order, deposit, withdrawal
    Column("home", Integer, nullable=False),
    Column("quota", String(48), nullable=False),  # on whose quota
    Column("day", Integer, nullable=False),  # unix time / 86,400
    Column("body", Text, nullable=False),
    Column("status", String(8), nullable=False),
    Column("reason", String(64)),
    Column("transaction", String(66)),
    Column("block", BigInteger),
    Column("sending", _serial, ForeignKey("market_sendings.id")),
    Column("attempts", Integer, nullable=False, default=0),
    Column("claimer", String(32)),
    Column("claimed_until", Float, nullable=False, default=0.0),
    Column("accepted", Float, nullable=False),
    Index("market_messages_status", "status", "seq"),
    Index("market_messages_quota", "day", "quota"),
)
sendings = Table(
    "market_sendings",
    metadata,
    Column("id", _serial, primary_key=True),
    Column("kind", String(12), nullable=False),  # clear, close, post, message
    Column("first", Integer),  # of slots
    Column("end", Integer),
    Column("sender", String(42), nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("to", String(42), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("gas", BigInteger, nullable=False),
    Column("status", String(8), nullable=False),  # open, done, reverted, dead
    Column("transaction", String(66)),
    Column("block", BigInteger),
    Column("made", Float, nullable=False),
    Index("market_sendings_status", "status"),
)
# two processes with one key can't book one nonce twice
Index(
    "market_sendings_nonce",
    sendings.c.sender,
    sendings.c.nonce,
    unique=True,
    sqlite_where=sendings.c.status == "open",
    postgresql_where=sendings.c.status == "open",
)
forms = Table(
    "market_forms",
    metadata,
    Column("sending", _serial, ForeignKey("market_sendings.id"), primary_key=True),
    Column("hash", String(66), primary_key=True),  # of two sendings the same, where the chain was set back in between
    Column("raw", LargeBinary, nullable=False),
    Column("max_fee", BigInteger, nullable=False),  # wei per gas
    Column("tip", BigInteger, nullable=False),
    Column("made", Float, nullable=False),
)


@dataclass(frozen=True)
class Contradiction:
    """Two batches of one meter that can't both be true: each is signed, so the pair proves it to anyone."""

    kept: Batch
    refused: Batch


@dataclass(frozen=True)
class Message:
    """An order, a deposit or a withdrawal; `body` is its document as JSON."""

    id: str
    kind: str
    home: int
    quota: str
    body: str
    status: str = "queued"
    reason: str | None = None
    transaction: str | None = None
    block: int | None = None
    attempts: int = 0
    accepted: float = 0.0


@dataclass(frozen=True)
class Sending:
    """A transaction of an operator, with every form in which it was sent, oldest first."""

    id: int
    kind: str
    first: int | None
    end: int | None
    sender: str
    nonce: int
    to: str
    data: bytes
    gas: int
    made: float
    forms: tuple[Form, ...]


class Store:
    """The database of one market. Every method raises MarketUnavailable where it does not answer, nothing half-done."""

    def __init__(self, url: str, genesis: str, contract: str) -> None:
        """Raises SettingsError where the database is another release's, chain's or market's."""
        self._database = Database(url, lock=LOCK, unavailable=MarketUnavailable)
        try:
            self._prepare(genesis, contract)
        except BaseException:
            self.close()
            raise

    def _prepare(self, genesis: str, contract: str) -> None:
        with self._database.write() as connection:
            metadata.create_all(connection)
            found = connection.execute(select(schema)).mappings().first()
            if found is None:
                connection.execute(insert(schema).values(version=SCHEMA, genesis=genesis, contract=contract))
            elif found["version"] != SCHEMA:
                raise SettingsError(f"the database has version {found['version']} of the tables, this wants {SCHEMA}")
            elif (found["genesis"], found["contract"]) != (genesis, contract):
                raise SettingsError("the database belongs to a market on another chain, or at another address")

    def close(self) -> None:
        """Let go of every connection."""
        self._database.close()

    # ------------------------------------------------------------------ readings

    def keep(self, batch: Batch, meter: str, check: Callable[[Sequence[Batch]], None], now: float) -> bool:
        """Keep a batch unless `check`, given the meter's other batches, raises; tell whether it is new.

        Only one writer at a time decides, so of two that contradict one another one is kept, whoever asks.
        """
        with self._database.write() as connection:
            if connection.execute(select(readings.c.id).where(readings.c.id == batch.id)).scalar() is not None:
                return False
            check(self._near(connection, batch, meter))
            connection.execute(insert(readings).values(**_batch_row(batch), meter=meter, at=now))
            return True

    @staticmethod
    def _near(connection: Connection, batch: Batch, meter: str) -> list[Batch]:
        """Return the meter's batches that share slots with one, and the nearest before and after it."""
        same = (readings.c.home == batch.home) & (readings.c.meter == meter)
        shared = (readings.c.first <= batch.end) & (readings.c.end >= batch.first)
        before = select(readings).where(same, readings.c.end <= batch.first).order_by(readings.c.end.desc()).limit(1)
        after = select(readings).where(same, readings.c.first >= batch.end).order_by(readings.c.first).limit(1)
        rows = [*connection.execute(select(readings).where(same, shared)).mappings()]
        rows += [*connection.execute(before).mappings(), *connection.execute(after).mappings()]
        return list({row["id"]: _batch(row) for row in rows}.values())

    def contradict(self, refused: Batch, kept: str, now: float) -> bool:
        """Keep a batch that contradicts a kept one, as evidence; tell whether it is new."""
        with self._database.write() as connection:
            if connection.execute(select(contradictions.c.id).where(contradictions.c.id == refused.id)).first():
                return False
            count = select(func.count()).select_from(contradictions).where(contradictions.c.home == refused.home)
            if connection.execute(count).scalar_one() >= MOST_CONTRADICTIONS:
                return False
            connection.execute(insert(contradictions).values(**_batch_row(refused), kept=kept, at=now))
            return True

    def kept(self, first: int, horizon: int = 200) -> dict[int, list[Batch]]:
        """Return the batches that tell of slots from `first` on, by home: those that begin within `horizon` slots.

        Where there is none, the earliest of the later ones.
        """
        found: dict[int, list[Batch]] = {}
        with self._database.read() as connection:
            later = select(readings).where(readings.c.end > first)
            near = later.where(readings.c.first < first + horizon)
            rows = [*connection.execute(near).mappings()]
            if not rows:
                rows = [*connection.execute(later.order_by(readings.c.first).limit(1)).mappings()]
            for row in rows:
                found.setdefault(row["home"], []).append(_batch(row))
        return found

    def contradictions(self, home: int) -> list[Contradiction]:
        """Return what the home's meters contradicted themselves in."""
        with self._database.read() as connection:
            rows = [*connection.execute(select(contradictions).where(contradictions.c.home == home)).mappings()]
            ids = [row["kept"] for row in rows]
            found = connection.execute(select(readings).where(readings.c.id.in_(ids))).mappings()
            kept = {row["id"]: _batch(row) for row in found}
        return [Contradiction(kept[row["kept"]], _batch(row)) for row in rows]

    # ------------------------------------------------------------------ messages

    def accept(self, message: Message, day: int, most: int) -> Message | None:
        """Queue a message, and return its row, or that of before; None where its quota of the day is used up."""
        with self._database.write() as connection:
            known = self._message(connection, message.id)
            if known is not None:
                return known
            query = select(func.count()).select_from(messages)
            query = query.where(messages.c.day == day, messages.c.quota == message.quota)
            if connection.execute(query).scalar_one() >= most:
                return None
            row = {each.name: getattr(message, each.name) for each in fields(Message)}
            connection.execute(insert(messages).values(**row, day=day))
            return message

    def message(self, id_: str) -> Message | None:
        """Return a message, None where there is none."""
        with self._database.look() as connection:
            return self._message(connection, id_)

    @staticmethod
    def _message(connection: Connection, id_: str) -> Message | None:
        row = connection.execute(select(messages).where(messages.c.id == id_)).mappings().first()
        return None if row is None else _from_row(Message, row)

    def claim(self, claimer: str, most: int, until: float, now: float) -> list[Message]:
        """Return queued messages, oldest first, that no other operator takes before `until`."""
        with self._database.write() as connection:
            free = (messages.c.claimed_until < now) | (messages.c.claimer == claimer)
            query = select(messages).where(messages.c.status == "queued", free).order_by(messages.c.seq).limit(most)
            rows = [_from_row(Message, row) for row in connection.execute(query).mappings()]
            ids = [row.id for row in rows]
            connection.execute(
                update(messages).where(messages.c.id.in_(ids)).values(claimer=claimer, claimed_until=until)
            )
            return rows

    def waiting(self) -> int:
        """Return how many messages are queued."""
        with self._database.look() as connection:
            query = select(func.count()).select_from(messages).where(messages.c.status == "queued")
            return int(connection.execute(query).scalar_one())

    def finish(self, id_: str, reason: str | None, where: tuple[str, int] | None = None) -> bool:
        """End a message: done in a transaction and block, or failed for a reason. Tell whether it had not ended yet."""
        with self._database.write() as connection:
            return self._finish(connection, id_, reason, where)

    @staticmethod
    def _finish(connection: Connection, id_: str, reason: str | None, where: tuple[str, int] | None) -> bool:
        transaction, block = where or (None, None)
        change = update(messages).where(messages.c.id == id_, messages.c.status.in_(("queued", "sent")))
        status = "done" if reason is None else "failed"
        values = {"status": status, "reason": reason, "transaction": transaction, "block": block}
        return connection.execute(change.values(**values)).rowcount == 1

    def requeue(self, id_: str) -> None:
        """Put a message back whose transaction came to nothing."""
        with self._database.write() as connection:
            change = update(messages).where(messages.c.id == id_, messages.c.status == "sent")
            values = {"status": "queued", "sending": None, "claimed_until": 0.0, "attempts": messages.c.attempts + 1}
            connection.execute(change.values(**values))

    # ------------------------------------------------------------------ what was sent

    @contextmanager
    def booking(self) -> Iterator[Booking]:
        """Open a transaction in which one sending is written, nonce and all."""
        with self._database.write() as connection:
            yield Booking(connection)

    def add_form(self, sending: int, form: Form) -> None:
        """Note another form of a sending."""
        with self._database.write() as connection:
            connection.execute(insert(forms).values(sending=sending, **vars(form)))

    def open(self) -> list[Sending]:
        """Return what is under way, oldest first."""
        with self._database.read() as connection:
            query = select(sendings).where(sendings.c.status == "open").order_by(sendings.c.id)
            rows = [*connection.execute(query).mappings()]
            return [_sending(row, self._forms(connection, row["id"])) for row in rows]

    @staticmethod
    def _forms(connection: Connection, sending: int) -> tuple[Form, ...]:
        query = select(forms).where(forms.c.sending == sending).order_by(forms.c.made)
        return tuple(_from_row(Form, row) for row in connection.execute(query).mappings())

    def message_of(self, sending: int) -> Message | None:
        """Return the message that a sending carries."""
        with self._database.look() as connection:
            row = connection.execute(select(messages).where(messages.c.sending == sending)).mappings().first()
        return None if row is None else _from_row(Message, row)

    def end(self, sending: int, status: str, where: tuple[str, int] | None = None, carried: str | None = None) -> bool:
        """End a sending, and the message `carried` as done with it; tell whether it was open."""
        transaction, block = where or (None, None)
        with self._database.write() as connection:
            change = update(sendings).where(sendings.c.id == sending, sendings.c.status == "open")
            values = {"status": status, "transaction": transaction, "block": block}
            ended = connection.execute(change.values(**values)).rowcount == 1
            if ended and carried is not None:
                self._finish(connection, carried, None, where)
            return ended

    def counts(self) -> dict[str, int]:
        """Return how many batches, contradictions and messages by state there are."""
        with self._database.read() as connection:
            query = select(messages.c.status, func.count()).group_by(messages.c.status)
            found = {f"messages_{status}": int(count) for status, count in connection.execute(query)}
            for name, table in (("readings", readings), ("contradictions", contradictions)):
                found[name] = int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            return found

    def ping(self) -> None:
        """Raise MarketUnavailable where the database does not answer."""
        with self._database.look() as connection:
            connection.execute(select(schema.c.version))


class Booking:
    """One sending being written, under the writers' lock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def nonce(self, sender: str, used: int) -> int:
        """Return the sender's next nonce, where the chain has used so many."""
        query = select(func.max(sendings.c.nonce)).where(sendings.c.sender == sender, sendings.c.status == "open")
        highest = self._connection.execute(query).scalar()
        return used if highest is None else max(used, int(highest) + 1)

    def taken(self, sender: str, first: int, since: float) -> bool:
        """Tell whether a transaction for slots from `first` on is under way: this sender's, or one made since then."""
        mine = (sendings.c.sender == sender) | (sendings.c.made > since)
        slots = (sendings.c.kind.in_(("clear", "close"))) & (sendings.c.first == first)
        query = select(sendings.c.id).where(sendings.c.status == "open", slots, mine)
        return self._connection.execute(query).first() is not None

    def write(self, values: Mapping[str, Any], form: Form, message: str | None = None) -> bool:
        """Write a sending with its first form; False where its `message` is not queued any more."""
        if message is not None:
            query = select(messages.c.status).where(messages.c.id == message)
            if self._connection.execute(query).scalar() != "queued":
                return False
        made = self._connection.execute(insert(sendings).values(**values, status="open").returning(sendings.c.id))
        sending = made.scalar_one()
        self._connection.execute(insert(forms).values(sending=sending, **vars(form)))
        if message is not None:
            change = update(messages).where(messages.c.id == message)
            self._connection.execute(change.values(status="sent", sending=sending))
        return True


def _batch_row(batch: Batch) -> dict[str, Any]:
    return {**vars(batch), "end": batch.end}


def _batch(row: RowMapping) -> Batch:
    return Batch(**{each.name: row[each.name] for each in fields(Batch)})


def _from_row(kind: Any, row: RowMapping) -> Any:
    return kind(**{each.name: row[each.name] for each in fields(kind)})


def _sending(row: RowMapping, found: Collection[Form]) -> Sending:
    values = {each.name: row[each.name] for each in fields(Sending) if each.name != "forms"}
    return Sending(**values, forms=tuple(found))
