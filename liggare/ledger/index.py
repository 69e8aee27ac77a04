"""The index: the ledger's rows in a database, to be looked up by whom and what they are about.

    blocks read whole, and their rows -> one transaction -> rows, what each is about, totals, and the block read up to

Any number of ledgers (a deployment on a chain) stand side by side. A block and its rows come in whole or not at all,
and go together when the chain leaves them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployments
from liggare.chain.feed import Block
from liggare.database import Database
from liggare.errors import IndexUnavailable
from liggare.ledger.rows import Row, typed

__all__ = ["Index", "about"]

LOCK = 0x1E06E7
CACHE = 64
"""MiB: what is looked up lies all over the file, and with 2 MiB writing a million rows takes half as long again."""
PLACES = 2**20
"""A row's key is its block's number times this, plus the log's index: keys are in chain order."""
MOST_SLOTS = 1024
"""Slots of one event that it can be found by."""

_meta = MetaData()
LEDGERS = Table(
    "ledgers",
    _meta,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("chain", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
    Column("number", BigInteger),
    Column("hash", Text),
    Column("parent", Text),
    Column("time", BigInteger),
    Column("head", BigInteger),
    Column("asked", BigInteger),
    Column("trouble", Text),
)
"""`number`, `hash`, `parent`, `time`: the block up to which all is read; the rest is what the follower said last."""
BLOCKS = Table(
    "blocks",
    _meta,
    Column("ledger", Integer, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Those with rows, and the last one of each stretch that was read."""
ROWS = Table(
    "rows",
    _meta,
    Column("ledger", Integer, primary_key=True),
    Column("key", BigInteger, primary_key=True),
    Column("block", BigInteger, nullable=False),
    Column("tx", Text, nullable=False),
    Column("log_index", Integer, nullable=False),
    Column("contract", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("id", Text),
    UniqueConstraint("ledger", "tx", "log_index", name="rows_once"),
    sqlite_with_rowid=False,
)
"""`id`: of the signed message that made the event, where only its transaction tells; else null."""
ABOUT = Table(
    "about",
    _meta,
    Column("ledger", Integer, primary_key=True),
    Column("term", Text, primary_key=True),
    Column("key", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)
"""What each row is about: `about` says which terms there are."""
TOTALS = Table(
    "totals",
    _meta,
    Column("ledger", Integer, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
)
"""How many rows of each event there are, and the sum of their `value`, as decimal text: it may exceed 64 bits."""


class Index:
    """Rows of ledgers in a database: SQLite, or PostgreSQL by its URL. For many threads and processes."""

    def __init__(self, url: str) -> None:
        """Open the database and make its tables. Raises SettingsError, IndexUnavailable."""
        self.database = Database(url, lock=LOCK, unavailable=IndexUnavailable, cache=CACHE)
        with self.database.write() as connection:
            _meta.create_all(connection)

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def ledger(self, deployments: Deployments) -> int:
        """Return the number of a deployment's ledger in this index, made when first asked for."""
        contracts = {name: item.address for name, item in sorted(deployments.contracts.items())}
        record = json.dumps({"chainId": deployments.chain_id, "genesis": deployments.genesis, "contracts": contracts})
        name = hashlib.sha256(record.encode()).hexdigest()
        with self.database.write() as connection:
            found = connection.scalar(select(LEDGERS.c.id).where(LEDGERS.c.name == name))
            if found is None:
                found = (connection.scalar(select(func.max(LEDGERS.c.id))) or 0) + 1
                connection.execute(
                    insert(LEDGERS).values(id=found, name=name, chain=deployments.chain_id, record=record)
                )
            return int(found)

    def read_to(self, ledger: int) -> Block | None:
        """Return the block up to which the ledger is read; None before the first. Its bloom filter is not kept."""
        with self.database.look() as connection:
            return _read_to(connection, ledger)

    def blocks_down(self, ledger: int) -> Iterator[Block]:
        """Yield the kept blocks, newest first."""
        below = 2**62
        while True:
            words = select(BLOCKS).where(BLOCKS.c.ledger == ledger, BLOCKS.c.number < below)
            with self.database.look() as connection:
                found = connection.execute(words.order_by(BLOCKS.c.number.desc()).limit(100)).all()
            if not found:
                return
            for each in found:
                yield Block(each.number, each.hash, each.parent, each.time, 0)
            below = found[-1].number

    # ------------------------------------------------------------------ writing

    def add(
        self,
        ledger: int,
        after: Block | None,
        blocks: Sequence[Block],
        rows: Sequence[Row],
        ids: Mapping[tuple[int, int], str] | None = None,
    ) -> bool:
        """Take in the rows of all blocks that follow `after`, up to the last of `blocks`.

        `ids` are those of rows that don't name them, by block and log index; they are found by these too.
        False, and nothing is taken in, where the index does not stand at `after` (any more): another follower was here.
        """
        standing = {row.block for row in rows} | {blocks[-1].number}
        kept = [{"ledger": ledger, **_place(block)} for block in blocks if block.number in standing]
        made, terms = [], []
        for row in rows:
            id_ = ids.get((row.block, row.log_index)) if ids else None
            made.append(_made(ledger, row, id_))
            key = made[-1]["key"]
            terms += [{"ledger": ledger, "term": term, "key": key} for term in about(row) | ({id_} if id_ else set())]
        with self.database.write() as connection:
            known = _read_to(connection, ledger)
            if (known and known.hash) != (after and after.hash):
                return False
            for table, values in ((BLOCKS, kept), (ROWS, made), (ABOUT, terms)):
                self._insert(connection, table, values)
            _count(connection, ledger, rows, 1)
            _stand(connection, ledger, blocks[-1])
        return True

    def cut(self, ledger: int, block: Block) -> int:
        """Forget all that is kept of blocks after `block`, which the chain has left; return how many rows went."""
        first = key_of(block.number + 1, 0)
        with self.database.write() as connection:
            gone = [
                row_of(each)
                for each in connection.execute(joined().where(ROWS.c.ledger == ledger, ROWS.c.key >= first))
            ]
            for table in (ROWS, ABOUT):
                connection.execute(delete(table).where(table.c.ledger == ledger, table.c.key >= first))
            later = (BLOCKS.c.ledger == ledger, BLOCKS.c.number > block.number)
            connection.execute(delete(BLOCKS).where(*later))
            _count(connection, ledger, gone, -1)
            _stand(connection, ledger, block)
        return len(gone)

    def note(self, ledger: int, head: int | None, trouble: str | None) -> None:
        """Note what the follower says: the newest block that it saw, None where it saw none, and what is wrong."""
        values: dict[str, Any] = {"asked": int(time.time()), "trouble": trouble}
        if head is not None:
            values["head"] = head
        with self.database.write() as connection:
            connection.execute(update(LEDGERS).where(LEDGERS.c.id == ledger).values(**values))

    def _insert(self, connection: Connection, table: Table, values: list[dict[str, Any]]) -> None:
        """Insert many: on PostgreSQL as one statement, since its driver else asks once for each."""
        if not values:
            return
        if self.database.sqlite:
            connection.execute(insert(table), values)
            return
        shape = ", ".join(f"{column.name} {column.type.compile(connection.dialect)}" for column in table.columns)
        names = ", ".join(column.name for column in table.columns)
        source = f"json_to_recordset(CAST(:all AS json)) AS x({shape})"
        words = f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {source}"  # noqa: S608  names of our own
        connection.execute(text(words), {"all": json.dumps(values)})


def key_of(block: int, log_index: int) -> int:
    """Return the key of a row."""
    return block * PLACES + log_index


def about(row: Row) -> set[str]:
    """Return what a row can be found by.

    `0x…` in lower case: an address, or an id, a key or a hash of 32 bytes; `home:3`, `slot:2880`;
    `event:RecordAccess.LogHeadPosted`. Not the zero address, nor numbers that a nonce counts.
    """
    terms = {f"event:{row.contract}.{row.event}"}
    for name, kind in _members(row.contract, row.event):
        value = row.arguments[name]
        if kind == "address":
            terms.add(value.lower())
        elif kind == "bytes32" and name != "slot":
            terms.add("0x" + value.hex())
        elif kind == "uint256" and name in ("home", "slot"):
            terms.add(f"{name}:{value}")
        elif kind == "uint256" and name == "firstSlot":
            terms |= {f"slot:{value + each}" for each in range(min(_slots(row), MOST_SLOTS))}
    return {term for term in terms if not term.startswith("0x0000000000000000") or int(term, 16) >= 2**64}


def _slots(row: Row) -> int:
    """Return how many slots an event is about that names a first one."""
    words = row.arguments
    if "nextSlot" in words:
        return int(words["nextSlot"] - words["firstSlot"])
    return int(words["count"]) if "count" in words else 1


@lru_cache(256)
def _members(contract: str, event: str) -> tuple[tuple[str, str], ...]:
    item = next(i for i in artifact(contract).abi if i["type"] == "event" and i["name"] == event)
    return tuple((each["name"], each["type"]) for each in item["inputs"])


def _place(block: Block) -> dict[str, Any]:
    return {"number": block.number, "hash": block.hash, "parent": block.parent, "time": block.time}


def _stand(connection: Connection, ledger: int, block: Block) -> None:
    """Note up to which block all is read."""
    connection.execute(update(LEDGERS).where(LEDGERS.c.id == ledger).values(**_place(block)))


def _made(ledger: int, row: Row, id_: str | None) -> dict[str, Any]:
    return {
        "ledger": ledger,
        "key": key_of(row.block, row.log_index),
        "block": row.block,
        "tx": row.transaction,
        "log_index": row.log_index,
        "contract": row.contract,
        "event": row.event,
        "arguments": json.dumps(row.arguments, default=lambda value: "0x" + value.hex(), separators=(",", ":")),
        "id": id_,
    }


def _read_to(connection: Connection, ledger: int) -> Block | None:
    columns = (LEDGERS.c.number, LEDGERS.c.hash, LEDGERS.c.parent, LEDGERS.c.time)
    found = connection.execute(select(*columns).where(LEDGERS.c.id == ledger)).one()
    return None if found.number is None else Block(found.number, found.hash, found.parent, found.time, 0)


def joined() -> Select[Any]:
    """Return what selects rows with their blocks' hashes and times."""
    join = (BLOCKS.c.ledger == ROWS.c.ledger) & (BLOCKS.c.number == ROWS.c.block)
    return select(ROWS, BLOCKS.c.hash, BLOCKS.c.time).join(BLOCKS, join)


def row_of(each: Any) -> Row:
    """Return the row of a record that `joined` selects."""
    arguments = typed(each.contract, each.event, json.loads(each.arguments))
    return Row(each.block, each.hash, each.time, each.tx, each.log_index, each.contract, each.event, arguments)


def _count(connection: Connection, ledger: int, rows: Sequence[Row], sign: int) -> None:
    """Add rows to the totals, or take them away."""
    counts: dict[str, int] = defaultdict(int)
    values: dict[str, int] = defaultdict(int)
    for row in rows:
        name = f"{row.contract}.{row.event}"
        counts[name] += sign
        values[name] += sign * int(row.arguments.get("value", 0))
    for name in counts:
        where = (TOTALS.c.ledger == ledger, TOTALS.c.event == name)
        known = connection.execute(select(TOTALS).where(*where)).one_or_none()
        if known is None:
            connection.execute(
                insert(TOTALS).values(ledger=ledger, event=name, count=counts[name], value=str(values[name]))
            )
        else:
            changed = {"count": known._mapping["count"] + counts[name], "value": str(int(known.value) + values[name])}
            connection.execute(update(TOTALS).where(*where).values(**changed))
