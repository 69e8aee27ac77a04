"""Ask the index: what happened last, and everything about an account, an id, a slot, a home or a kind of event.

    with Index("sqlite:///ledger.db") as index:
        ledger = Ledger(index, index.ledger(deployments))
        ledger.latest().rows                                   # newest first, a page of them
        ledger.about("0x1F2c…90Ab")                            # an account; an id; a transaction: `transaction`
        ledger.about("slot:2880", "event:EnergyMarket.SlotCleared")
        ledger.totals()["ZeroFeePayments.Transfer"].value      # units of 10^-6

Pages are bounded, newest first, and go on by `next`: a row that comes in between moves none.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from liggare.chain.feed import Block
from liggare.errors import UsageError
from liggare.ledger.index import ABOUT, BLOCKS, LEDGERS, ROWS, TOTALS, Index, joined, key_of, row_of
from liggare.ledger.rows import Row
from liggare.messages import address

__all__ = ["GRANT_EVENTS", "MOST", "TERM", "Health", "Known", "Ledger", "Page", "Payment", "Total", "known", "term"]

MOST = 500
"""Rows of a page at most."""
TERM = (
    r"^(0x[0-9a-fA-F]{40}|0x[0-9a-fA-F]{64}|(slot|home):(0|[1-9][0-9]{0,77})"
    r"|event:[A-Za-z0-9_]{1,64}[.][A-Za-z0-9_]{1,64})$"
)
"""What may be looked up, but for an address's checksum."""
SILENT = 15
"""Seconds after which a follower that says nothing counts as stopped."""
MONEY = "ZeroFeePayments"
LONGEST_BUNDLE = 2**15
"""Payments of one signature at most."""
GRANT_EVENTS = ("Granted", "GrantedFor", "Revoked", "RevokedFor", "AllRevoked", "GlassBroken")


@dataclass(frozen=True)
class Page:
    """Rows, newest first; `next` is the `before` with which the next page is asked for, None where there is none."""

    rows: list[Row]
    next: int | None


@dataclass(frozen=True)
class Total:
    """How many rows of one event there are; `value` adds up their `value`, in its unit, 0 where they have none."""

    count: int
    value: int


@dataclass(frozen=True)
class Payment:
    """Money that moved: its `Transfer`, and the authorization by which it did; None where there was none.

    `id` is the signed message's, as 0x text; None where there is none, or another contract's message stands for it.
    """

    row: Row
    authorization: Row | None
    id: str | None = None


@dataclass(frozen=True)
class Health:
    """Where the index stands.

    `state`: `current`; `behind` where it still reads; `stuck` where the follower says why in `trouble`; `stopped` where
    no follower has said anything for some seconds; `empty` before the first block. Times in unix seconds.
    """

    state: str
    read: Block | None
    head: int | None
    asked: int | None
    trouble: str | None


@dataclass(frozen=True)
class Known:
    """A ledger that an index has: its number there, and which contracts on which chain it is of."""

    number: int
    chain_id: int
    genesis: str
    contracts: dict[str, str]


def known(index: Index) -> list[Known]:
    """Return the ledgers of an index."""
    with index.database.look() as connection:
        found = connection.execute(select(LEDGERS).order_by(LEDGERS.c.id)).all()
    made = [(each.id, json.loads(each.record)) for each in found]
    return [Known(number, record["chainId"], record["genesis"], record["contracts"]) for number, record in made]


def term(words: str) -> str:
    """Return a term to look up: an address, 32 bytes as 0x text, `slot:3`, `home:3` or `event:Contract.Event`.

    Raises InvalidAddress where an address fails its checksum, UsageError for anything else.
    """
    if re.fullmatch(TERM, words, re.ASCII):
        return (
            words
            if words.startswith("event:")
            else address(words).lower()
            if words[:2] == "0x" and len(words) == 42
            else words.lower()
        )
    raise UsageError("neither an address, nor an id of 32 bytes, nor such as slot:2880, home:3 or event:Contract.Event")


class Ledger:
    """One ledger of an index, to be asked. For many threads. Everything raises IndexUnavailable."""

    def __init__(self, index: Index, number: int) -> None:
        self._database, self.number = index.database, number

    # ------------------------------------------------------------------ rows

    def rows(self, first: int = 0, last: int = 2**42, step: int = 2_000, contract: str | None = None) -> Iterator[Row]:
        """Yield the rows of blocks `first` to `last` in chain order, `step` at a time: memory stays flat.

        With `contract` only those of one contract.
        """
        at, end = key_of(first, 0), key_of(last + 1, 0)
        while True:
            words = joined().where(ROWS.c.ledger == self.number, ROWS.c.key >= at, ROWS.c.key < end)
            if contract is not None:
                words = words.where(ROWS.c.contract == contract)
            found = self._ask(words.order_by(ROWS.c.key).limit(step))
            yield from map(row_of, found)
            if len(found) < step:
                return
            at = found[-1].key + 1

    def latest(self, most: int = 50, before: int | None = None) -> Page:
        """Return the newest rows."""
        words = joined().where(ROWS.c.ledger == self.number)
        if before is not None:
            words = words.where(ROWS.c.key < before)
        return self._page(words.order_by(ROWS.c.key.desc()), most)

    def about(self, words: str, *more: str, most: int = 50, before: int | None = None) -> Page:
        """Return the newest rows that are about all of these; `term` says what may be asked, and what it raises.

        The first one should be the rarest.
        """
        keys = select(ABOUT.c.key).where(*self._are_about(words, *more))
        if before is not None:
            keys = keys.where(ABOUT.c.key < before)
        most = min(max(most, 1), MOST)
        found = keys.order_by(ABOUT.c.key.desc()).limit(most + 1).subquery()
        rows = joined().where(ROWS.c.ledger == self.number).join(found, found.c.key == ROWS.c.key)
        return self._page(rows.order_by(ROWS.c.key.desc()), most)

    def count(self, *words: str) -> int:
        """Return how many rows are about all of these; the first one should be the rarest."""
        keys = select(func.count()).select_from(ABOUT).where(*self._are_about(*words))
        return int(self._ask(keys)[0][0])

    def _are_about(self, words: str, *more: str) -> Iterator[Any]:
        """Yield what holds of the rows in ABOUT that are about all of these."""
        yield from (ABOUT.c.ledger == self.number, ABOUT.c.term == term(words))
        for each in more:
            other = ABOUT.alias()
            same = (other.c.ledger == self.number, other.c.term == term(each), other.c.key == ABOUT.c.key)
            yield select(other.c.key).where(*same).exists()

    def any_of(self, events: tuple[str, ...], contract: str, most: int = 50, before: int | None = None) -> Page:
        """Return the newest rows of any of some events of one contract."""
        pages = [self.about(f"event:{contract}.{event}", most=most, before=before).rows for event in events]
        rows = sorted((row for rows in pages for row in rows), key=lambda row: -_key(row))
        shown = rows[:most]
        return Page(shown, _key(shown[-1]) if len(rows) > most else None)

    def transaction(self, transaction: str, first: int = 0, most: int = 10_000) -> list[Row]:
        """Return the rows of a transaction from log index `first` on, in chain order; none where the index has none."""
        where = (ROWS.c.ledger == self.number, ROWS.c.tx == transaction.lower(), ROWS.c.log_index >= first)
        # by the log's index, not by the key, which is the same order: SQLite would walk all rows for that
        return [row_of(each) for each in self._ask(joined().where(*where).order_by(ROWS.c.log_index).limit(most))]

    # ------------------------------------------------------------------ what people ask for

    def payment(self, transaction: str, log_index: int) -> Payment | None:
        """Return the payment of a Transfer by its place; None where there is none there."""
        above = self._upwards(transaction.lower(), log_index)
        first = next(above, None)
        if first is None or first.log_index != log_index or (first.contract, first.event) != (MONEY, "Transfer"):
            return None
        row = row_of(first)
        # right behind the use of an authorization come the transfers of its payer: one, or a bundle's
        payer = row.arguments["from"]
        for expected, each in zip(range(log_index - 1, log_index - LONGEST_BUNDLE, -1), above, strict=False):
            if each.contract != MONEY or each.log_index != expected:
                break
            before = row_of(each)
            if before.event == "AuthorizationUsed":
                return Payment(row, before, each.id) if before.arguments["authorizer"] == payer else Payment(row, None)
            if before.event != "Transfer" or before.arguments["from"] != payer:
                break
        return Payment(row, None)

    def _upwards(self, transaction: str, log_index: int) -> Iterator[Any]:
        """Yield the records of a transaction from one log up to its first; most who ask need the nearest two."""
        step, below = 4, log_index + 1
        while True:
            place = (ROWS.c.ledger == self.number, ROWS.c.tx == transaction, ROWS.c.log_index < below)
            found = self._ask(joined().where(*place).order_by(ROWS.c.log_index.desc()).limit(step))
            yield from found
            if len(found) < step:
                return
            step, below = step * 8, found[-1].log_index

    def totals(self) -> dict[str, Total]:
        """Return how many rows there are of each event, by `Contract.Event`."""
        found = self._ask(select(TOTALS).where(TOTALS.c.ledger == self.number).order_by(TOTALS.c.event))
        return {each.event: Total(each._mapping["count"], int(each.value)) for each in found if each._mapping["count"]}

    def prices(self, most: int = 96, before: int | None = None) -> Page:
        """Return the newest cleared slots' `SlotCleared`: thousandths per kWh, Wh."""
        return self.about("event:EnergyMarket.SlotCleared", most=most, before=before)

    def grants(self, most: int = 50, before: int | None = None) -> Page:
        """Return the newest changes in the register of grants. Opaque by design: no name, no terms."""
        return self.any_of(GRANT_EVENTS, "RecordAccess", most, before)

    def log_heads(self, custodian: str, most: int = 50, before: int | None = None) -> Page:
        """Return the newest heads of a custodian's access log. Raises InvalidAddress."""
        return self.about(custodian, "event:RecordAccess.LogHeadPosted", most=most, before=before)

    def health(self) -> Health:
        """Return where the index stands."""
        (at,) = self._ask(select(LEDGERS).where(LEDGERS.c.id == self.number))
        read = None if at.number is None else Block(at.number, at.hash, at.parent, at.time, 0)
        if at.asked is None or time.time() - at.asked > SILENT:
            state = "stopped"
        elif at.trouble is not None:
            state = "stuck"
        elif read is None:
            state = "empty"
        else:
            state = "current" if at.head is None or read.number >= at.head else "behind"
        return Health(state, read, at.head, at.asked, at.trouble)

    def block(self, number: int) -> Block | None:
        """Return a block that is kept: one with rows, or the last one read; None for others. No bloom filter."""
        found = self._ask(select(BLOCKS).where(BLOCKS.c.ledger == self.number, BLOCKS.c.number == number))
        return Block(found[0].number, found[0].hash, found[0].parent, found[0].time, 0) if found else None

    # ------------------------------------------------------------------ the database

    def _page(self, words: Select[Any], most: int) -> Page:
        most = min(max(most, 1), MOST)
        found = self._ask(words.limit(most + 1))
        rows = [row_of(each) for each in found[:most]]
        return Page(rows, found[most - 1].key if len(found) > most else None)

    def _ask(self, words: Select[Any]) -> list[Any]:
        with self._database.look() as connection:
            return list(connection.execute(words))


def _key(row: Row) -> int:
    return key_of(row.block, row.log_index)
