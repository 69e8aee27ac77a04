"""What a home's energy cost it, slot by slot and to the unit, from the chain's events alone; and the market's prices.

    rows of the ledger -> replayed by the rules of `liggare verify` -> lines -> a bill for a period

A line is one home's slot, or what its meter counted in slots without a reading (a gap), which settles with the grid in
the slot in which its readings go on. The chain's word is not taken for it: everything is computed again from orders and
readings, and where the ledger tells otherwise there is no bill but a LedgerError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from liggare.chain.deployments import Deployments
from liggare.energy.messages import NEVER, SLOT_SECONDS, Order
from liggare.energy.rules import CONTRACT, Counts, EnergyRules
from liggare.energy.settlement import Settled, Tariffs, Terms, Till
from liggare.errors import LedgerError, UsageError
from liggare.ledger.rows import Finding, Row
from liggare.ledger.verify import State

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Bill",
    "BillRules",
    "Book",
    "Line",
    "Price",
    "Recorder",
    "Replay",
    "frame",
    "prices",
    "read_book",
    "slot_at",
]


@dataclass(frozen=True)
class Line:
    """A home's slot, or the gap before it. Energy in Wh; money in units of 10^-6, what the home pays above zero."""

    slot: int
    home: int
    is_gap: bool
    imported: int
    """Taken from the street's wires: of a slot the net, of a gap all that was counted."""
    exported: int
    traded: int
    """Bought from neighbours; below zero sold to them."""
    price: int
    """Thousandths per kWh; 0 in a gap, which has none."""
    market: int
    fee: int
    grid: int
    """For what the grid delivered."""
    feed_in: int
    """For what it took: zero or below."""
    unpaid: int
    """What of that the utility could not pay then."""

    @property
    def cost(self) -> int:
        """What the home's balance went down by."""
        return self.market + self.fee + self.grid + self.feed_in + self.unpaid


@dataclass(frozen=True)
class Bill:
    """A home's lines of the slots from `first` up to but without `until`, added up. Wh; units of 10^-6."""

    home: int
    first: int
    until: int
    slots: int
    """Slots with a reading."""
    bought: int
    sold: int
    from_grid: int
    to_grid: int
    gap_imported: int
    """Of what came from the grid, what was counted in gaps; likewise below."""
    gap_exported: int
    bought_for: int
    sold_for: int
    fee: int
    grid: int
    feed_in: int
    """For what went to the grid, zero or above."""
    unpaid: int
    """What of that the utility could not pay."""
    cost: int
    """What the balance went down by: bought_for - sold_for + fee + grid - feed_in + unpaid."""
    alone: int
    """What the same energy costs without a market, all of it from and to the grid."""
    saved: int
    """`alone` less `cost`. Feed-in left unpaid is left out of both: a utility without money owes it either way."""


@dataclass(frozen=True)
class Price:
    """A cleared slot: when it begins (unix time), thousandths per kWh, and the Wh that neighbours traded."""

    slot: int
    begins: int
    price: int
    lo: int
    hi: int
    volume_wh: int


@dataclass(frozen=True)
class Book:
    """The lines of a home, or of all, and what they were computed with."""

    tariffs: Tariffs
    lines: list[Line]

    def bill(self, home: int, first: int = 0, until: int = NEVER) -> Bill:
        """Add up a home's lines of a period."""
        lines = [line for line in self.lines if line.home == home and first <= line.slot < until]

        def total(name: str, gaps: bool = False) -> int:
            return sum(getattr(line, name) for line in lines if line.is_gap or not gaps)

        def trade(name: str, sign: int) -> int:
            return sum(max(sign * getattr(line, name), 0) for line in lines)

        bought, sold = trade("traded", 1), trade("traded", -1)
        imported, exported = total("imported"), total("exported")
        cost, unpaid = total("cost"), total("unpaid")
        alone = imported * self.tariffs.retail - exported * self.tariffs.feed_in
        return Bill(
            home=home,
            first=first,
            until=until,
            slots=sum(not line.is_gap for line in lines),
            bought=bought,
            sold=sold,
            from_grid=imported - bought,
            to_grid=exported - sold,
            gap_imported=total("imported", gaps=True),
            gap_exported=total("exported", gaps=True),
            bought_for=trade("market", 1),
            sold_for=trade("market", -1),
            fee=total("fee"),
            grid=total("grid"),
            feed_in=-total("feed_in"),
            unpaid=unpaid,
            cost=cost,
            alone=alone,
            saved=alone - (cost - unpaid),
        )


def read_book(rows: Iterable[Row], deployments: Deployments, home: int | None = None) -> Book:
    """Replay the ledger and return the lines of a home (None: of all).

    Raises LedgerError where something is off: what can't be computed again can't be billed.
    """
    replay = Replay(deployments, lambda tariffs: Recorder(tariffs, home))
    for row in rows:
        if row.contract == CONTRACT:
            for finding in replay.apply(row):
                raise LedgerError(f"the ledger is off, so nothing is billed: {finding}; `liggare verify` tells all")
    if home is not None and home not in replay.meters:
        raise UsageError(f"there is no home {home}: homes are 1 to {len(replay.meters)}")
    return Book(replay.till.tariffs, replay.recorder.lines)


def prices(rows: Iterable[Row], genesis: int, first: int = 0, until: int = NEVER) -> list[Price]:
    """Return the cleared slots from `first` up to but without `until`, as their events tell."""
    told = (row.arguments for row in rows if (row.contract, row.event) == (CONTRACT, "SlotCleared"))
    return [
        Price(
            each["slot"], genesis + each["slot"] * SLOT_SECONDS, each["price"], each["lo"], each["hi"], each["volume"]
        )
        for each in told
        if first <= each["slot"] < until
    ]


def frame(items: Iterable[Line] | Iterable[Price], genesis: int, kind: type[Line] | type[Price]) -> pd.DataFrame:
    """Return lines or prices as a table, with the time (UTC) at which each slot begins."""
    import pandas as pd

    names = [each.name for each in fields(kind)]
    table = pd.DataFrame([[getattr(item, name) for name in names] for item in items], columns=names)
    table.insert(1, "time", pd.to_datetime(genesis + table["slot"].astype("int64") * SLOT_SECONDS, unit="s", utc=True))
    return table.drop(columns="begins", errors="ignore")


def slot_at(words: str, genesis: int) -> int:
    """Return the slot of a number, or the first that begins at an ISO date or time or later (UTC unless it says).

    Raises UsageError.
    """
    if words.isascii() and words.isdigit():
        return int(words)
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise UsageError(
            f"{words!r} is neither a slot's number nor a date such as 2026-06-01 or 2026-06-01T12:15"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(-((genesis - int(moment.timestamp())) // SLOT_SECONDS), 0)


# ---------------------------------------------------------------------- replay


class Recorder(Till):
    """A till that writes down what it settles: the lines of a home, or of all (None)."""

    def __init__(self, tariffs: Tariffs, home: int | None = None) -> None:
        super().__init__(tariffs)
        self.slot = 0
        self.lines: list[Line] = []
        self._home = home

    def settle_gap(self, home: int, imported: int, exported: int) -> int:
        before = self.balances[home]
        unpaid = super().settle_gap(home, imported, exported)
        if imported or exported:
            self._write(home, before, imported, exported, is_gap=True)
        return unpaid

    def settle_slot(self, nets: Mapping[int, int], orders: Mapping[int, Order | Terms | None]) -> Settled:
        before = dict(self.balances)
        settled = super().settle_slot(nets, orders)
        for home, net in nets.items():
            traded, price = settled.traded.get(home, 0), settled.clearing.price
            self._write(home, before[home], max(net, 0), max(-net, 0), traded=traded, price=price)
        return settled

    def _write(
        self,
        home: int,
        before: int,
        imported: int,
        exported: int,
        *,
        is_gap: bool = False,
        traded: int = 0,
        price: int = 0,
    ) -> None:
        if self._home not in (None, home):
            return
        tariffs = self.tariffs
        bought, sold = max(traded, 0), max(-traded, 0)
        market, fee = traded * price, bought * tariffs.grid_fee
        grid, feed_in = (imported - bought) * tariffs.retail, -(exported - sold) * tariffs.feed_in
        unpaid = before - self.balances[home] - (market + fee + grid + feed_in)
        terms = (imported, exported, traded, price, market, fee, grid, feed_in, unpaid)
        self.lines.append(Line(self.slot, home, is_gap, *terms))


class Replay(EnergyRules):
    """The rules, with a till that writes down."""

    def __init__(self, deployments: Deployments, recorder: Callable[[Tariffs], Recorder] = Recorder) -> None:
        super().__init__(deployments)
        self.recorder = recorder(self.till.tariffs)
        self.till = self.recorder

    def _cleared(self, row: Row, values: dict[str, Any]) -> Iterator[Finding]:
        self.recorder.slot = values["firstSlot"]
        yield from super()._cleared(row, values)

    def _settle(
        self, told: Row | None, slot: int, counts: dict[int, Counts], unpaid: list[int], t: int
    ) -> Iterator[Finding]:
        self.recorder.slot = slot
        yield from super()._settle(told, slot, counts, unpaid, t)


class BillRules:
    """The rules of one home's bill, for `liggare verify`: it comes to what the home's account changed by.

    A bill needs no secret: orders and readings stand on the ledger in clear, so anybody may check anybody's. They are
    replayed once more, with a till that writes down; what is off with the market the rules for everybody tell.
    """

    contracts: tuple[str, ...] = (CONTRACT,)

    def __init__(self, deployments: Deployments, home: int) -> None:
        self.home, self.deposited, self.withdrawn = home, 0, 0
        self._replay = Replay(deployments, lambda tariffs: Recorder(tariffs, home))
        self._counts: Counter[str] = Counter()

    @property
    def bill(self) -> Bill:
        """The bill of all that was replayed."""
        return Book(self._replay.till.tariffs, self._replay.recorder.lines).bill(self.home)

    @property
    def balance(self) -> int:
        """What must be in the home's account, in units of 10^-6."""
        return self.deposited - self.withdrawn - self.bill.cost

    def apply(self, row: Row) -> Iterator[Finding]:
        """Replay one event of the market."""
        for _ in self._replay.apply(row):
            pass
        if row.event in ("Deposited", "Withdrawn") and row.arguments["home"] == self.home:
            deposit = row.event == "Deposited"
            self.deposited += row.arguments["value"] if deposit else 0
            self.withdrawn += 0 if deposit else row.arguments["value"]
            self._counts[f"{'deposits to' if deposit else 'withdrawals from'} the home's account"] += 1
        yield from ()

    def compare(self, state: State) -> Iterator[Finding]:
        """Compare the bill, to the unit, with what stands in the home's account on the chain."""
        found = state.call(CONTRACT, "balanceOf", self.home)
        self._counts["lines of the home's bill"] = len(self._replay.recorder.lines)
        if found != self.balance:
            rule = "the balance is what was deposited, less what was withdrawn and what the bill comes to"
            yield Finding(f"{CONTRACT} home {self.home}", rule, self.balance, found)

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked."""
        return dict(self._counts)
