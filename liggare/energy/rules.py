"""The rules of the market, as a plain-Python twin of EnergyMarket fed by its events.

    SlotCleared, ReadingMissing, FeedInUnpaid -> kept -> ReadingsTaken: decode, check signatures, clear anew, compare

Every clearing is computed again from the orders and readings that the ledger tells: who takes part, the
interval of prices, the price, the volume, everybody's money. At the end balances, counters, orders and the
money held equal the chain's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from liggare.chain.deployments import Deployments
from liggare.energy.codec import Entry, Tag, decode_readings, unpack
from liggare.energy.messages import NEVER, SLOT_SECONDS, UTILITY, Order, Readings, energy_domain
from liggare.energy.settlement import Tariffs, Till, in_force
from liggare.errors import LiggareError
from liggare.ledger.rows import Finding, Row
from liggare.ledger.verify import State
from liggare.messages import address, expand, recover

__all__ = ["EnergyRules"]

CONTRACT = "EnergyMarket"
Counts = tuple[int, int]
"""Wh imported and exported: counters, or a slot's deltas."""


class EnergyRules:
    """Replays the market of one deployment."""

    contracts: tuple[str, ...] = (CONTRACT,)
    anew: tuple[str, ...] = ("domain",)
    kinds: tuple[type[Any], ...] = (Order, Tariffs, Till)

    def __init__(self, deployments: Deployments) -> None:
        item = deployments.contracts[CONTRACT]
        _, self.registrar, utility, retail, feed_in, grid_fee, genesis, times = item.arguments
        self.owners: dict[int, str] = {UTILITY: address(utility)}
        self.domain = energy_domain(deployments)
        self.till = Till(Tariffs(int(retail), int(feed_in), int(grid_fee)))
        self.genesis = int(genesis)
        self.gate, self.grace, self.timeout = map(int, times)
        self.meters: dict[int, str] = {}
        self.counters: dict[int, Counts] = {}
        self.next_slot = 0
        self._from_slot: dict[int, int] = {}
        self._until_slot: dict[int, int] = {}
        self._taken: dict[str, int] = {}  # homes by meter, old ones too; those of homes that moved out are free again
        # of meters, not in force yet: home, first slot, meter, its counters, the old one's
        self._changes: list[tuple[int, int, str | None, Counts, Counts]] = []
        self._seq: dict[int, int] = {}
        self._orders: dict[int, list[Order]] = {}
        self._posted: dict[int, dict[int, tuple[Counts, Counts]]] = {}
        self._withdrawn: set[bytes] = set()
        self._pending: list[Row] = []  # of a clearing whose ReadingsTaken has not come yet
        self._counts: Counter[str] = Counter()

    # ------------------------------------------------------------------ replay

    def apply(self, row: Row) -> Iterator[Finding]:
        """Replay one event of the market."""
        if row.event in ("SlotCleared", "ReadingMissing", "FeedInUnpaid"):
            self._pending.append(row)
            return
        if row.event != "ReadingsTaken":
            yield from self._nothing_pending(row.place)
        values = row.arguments
        if row.event == "HomeRegistered":
            yield from self._registered(row, values)
        elif row.event in ("MeterReplaced", "HomeMovedOut"):
            yield from self._meter_changes(row, values)
        elif row.event == "OrderPlaced":
            yield from self._placed(row, values)
        elif row.event == "Deposited":
            self._move(values["home"], values["value"])
            self._counts["deposits"] += 1
        elif row.event == "Withdrawn":
            yield from self._withdrew(row, values)
        elif row.event == "ReadingsPosted":
            yield from self._readings_posted(row, values)
        elif row.event == "ReadingsTaken":
            yield from self._cleared(row, values)
        elif row.event == "SlotsClosed":
            yield from self._closed(row, values)

    def _nothing_pending(self, place: str) -> Iterator[Finding]:
        if self._pending:
            yield Finding(place, "a clearing tells the readings it took", "ReadingsTaken", self._pending[0].place)
            self._pending = []

    def _registered(self, row: Row, values: dict[str, Any]) -> Iterator[Finding]:
        home = len(self.meters) + 1
        yield from _same(row.place, "homes are numbered in turn", home, values["home"])
        home = values["home"]
        yield from self._take(row, values["meter"], home)
        joins = self._slot(row) + 1
        yield from _same(row.place, "a home joins in the next slot", joins, values["fromSlot"])
        if not self.meters:
            self.next_slot = values["fromSlot"]
        self.meters[home], self.owners[home] = values["meter"], values["owner"]
        self.counters[home] = values["imported"], values["exported"]
        self.till.balances[home] = 0
        self._from_slot[home], self._until_slot[home] = values["fromSlot"], NEVER
        self._seq[home], self._orders[home], self._posted[home] = 0, [], {}
        self._counts["homes"] += 1

    def _take(self, row: Row, meter: str, home: int) -> Iterator[Finding]:
        if meter in self._taken:
            yield Finding(row.place, "a meter belongs to one home", "a new meter", meter)
        self._taken[meter] = home

    def _meter_changes(self, row: Row, values: dict[str, Any]) -> Iterator[Finding]:
        home, start = values["home"], values["fromSlot"]
        if home not in self.meters:
            yield Finding(row.place, "a meter changes in a registered home", f"1 to {len(self.meters)}", home)
            return
        yield from _same(row.place, "a meter changes in the next slot", self._slot(row) + 1, start)
        if self._until_slot[home] != NEVER or any(home == waiting[0] for waiting in self._changes):
            yield Finding(row.place, "a home's meter changes once at a time, and not after it left", "none waits", home)
        counters, last = (divmod(values.get(name, 0), 2**48) for name in ("counters", "last"))
        meter = values.get("meter")
        if meter is None:
            self._until_slot[home] = start
            self._taken.pop(self.meters[home], None)
        else:
            yield from self._take(row, meter, home)
        self._changes.append((home, start, meter, counters, last))
        self._counts["meters changed"] += 1

    def _apply_changes(self, row: Row, first: int, count: int) -> Any:
        """Put into force what waits for a clearing's slots; yield what is off, return the feed-in left unpaid."""
        unpaid = 0
        while self._changes and self._changes[0][1] < first + count:
            home, start, meter, counters, last = self._changes.pop(0)
            if start > first:
                yield Finding(row.place, f"home {home}: no batch goes across a change of its meter", start, first)
            unpaid += self.till.change_meter(home, self.counters[home], last)
            self.counters[home], self.meters[home] = counters, meter or "nobody: it moved out"
        return unpaid

    def _placed(self, row: Row, values: dict[str, Any]) -> Iterator[Finding]:
        home, start = values["home"], values["fromSlot"]
        terms = (values["untilSlot"], values["buyLimit"], values["sellLimit"], values["cap"])
        order = Order(self.domain, home, values["seq"], start, *terms)
        yield from _same(row.place, "an order's id is its digest", bytes(order.id).hex(), bytes(values["id"]).hex())
        if home not in self.meters:
            yield Finding(row.place, "an order is of a registered home", f"1 to {len(self.meters)}", home)
            return
        if start >= self._until_slot[home]:
            yield Finding(row.place, "an order begins before its home moves out", self._until_slot[home], start)
        if start <= self._slot(row):
            yield Finding(row.place, "an order begins in a slot that has not begun", self._slot(row) + 1, start)
        if order.seq <= self._seq[home]:
            yield Finding(row.place, "an order's number is higher than the last", self._seq[home] + 1, order.seq)
        self._seq[home] = order.seq
        self._orders[home] = [*(each for each in self._orders[home] if each.from_slot < start), order]
        self._counts["orders"] += 1

    def _withdrew(self, row: Row, values: dict[str, Any]) -> Iterator[Finding]:
        home, value = values["home"], values["value"]
        till = self.till
        if home == UTILITY:
            available = till.utility - till.debt
        else:
            available = till.balances.get(home, 0) - self._reserved(home, self._slot(row))
        if value > available:
            yield Finding(row.place, "nobody withdraws more than is free", available, value)
        if values["id"] in self._withdrawn:
            yield Finding(row.place, "a withdrawal works once", "unused", bytes(values["id"]).hex())
        self._withdrawn.add(values["id"])
        self._move(home, -value)
        self._counts["withdrawals"] += 1

    def _readings_posted(self, row: Row, values: dict[str, Any]) -> Iterator[Finding]:
        home, first = values["home"], values["firstSlot"]
        pairs = unpack(values["deltas"])
        yield from self._not_before(row, first + len(pairs), 0, "readings are posted after their slots")
        counters = values["imported"], values["exported"]
        for slot, pair in enumerate(pairs, first):
            self._posted.setdefault(home, {})[slot] = counters, pair
            counters = counters[0] + pair[0], counters[1] + pair[1]
        self._counts["readings posted"] += len(pairs)

    def _closed(self, row: Row, values: dict[str, Any]) -> Iterator[Finding]:
        yield from _same(row.place, "slots are settled in sequence", self.next_slot, values["firstSlot"])
        yield from self._not_before(row, values["nextSlot"], self.timeout, "a slot is closed after its time-out")
        self._counts["slots closed"] += values["nextSlot"] - self.next_slot
        self.next_slot = values["nextSlot"]

    # ------------------------------------------------------------------ a clearing

    def _cleared(self, row: Row, values: dict[str, Any]) -> Iterator[Finding]:
        pending, self._pending = self._pending, []
        first, count = values["firstSlot"], values["count"]
        yield from _same(row.place, "slots are settled in sequence", self.next_slot, first)
        homes = sorted(home for home, joins in self._from_slot.items() if joins <= first)
        yield from _same(row.place, "every home is in the batch", len(homes), values["homes"])
        yield from self._not_before(row, first + count, self.gate, "a slot is cleared after its gate")
        self.next_slot = first + count
        try:
            entries = dict(zip(homes, decode_readings(values["readings"], len(homes), count), strict=True))
        except LiggareError as error:
            yield Finding(row.place, "the readings can be decoded", "one entry per home", str(error))
            return
        unpaid = [0] * count
        unpaid[0] = yield from self._apply_changes(row, first, count)
        pairs: dict[int, list[Counts]] = {}
        for home, item in entries.items():
            found = yield from self._read(row, home, first, count, item)
            if found:
                start, pairs[home] = found
                gap = start[0] - self.counters[home][0], start[1] - self.counters[home][1]
                unpaid[0] += self.till.settle_gap(home, *gap)
                self.counters[home] = start
        yield from self._missing(
            row, pending, [home for home in homes if home not in pairs and first < self._until_slot[home]], first, count
        )
        told = {each.arguments["slot"]: each for each in pending if each.event == "SlotCleared"}
        told_unpaid = {each.arguments["slot"]: each for each in pending if each.event == "FeedInUnpaid"}
        yield from _same(row.place, "each slot is told", list(range(first, first + count)), sorted(told))
        for t, slot in enumerate(range(first, first + count)):
            yield from self._settle(told.get(slot), slot, {home: row_[t] for home, row_ in pairs.items()}, unpaid, t)
            told_short = told_unpaid[slot].arguments["unpaid"] if slot in told_unpaid else 0
            place = told_unpaid[slot].place if slot in told_unpaid else row.place
            yield from _same(place, f"slot {slot}: the feed-in that was not covered is told", unpaid[t], told_short)

    def _read(self, row: Row, home: int, first: int, count: int, item: Entry) -> Any:
        """Yield what is off with a home's entry; return its counters and deltas, None without a reading."""
        rule = f"home {home}: "
        posted = self._posted[home]
        if item.tag == Tag.MISSING:
            for slot in range(first, first + count):
                if slot in posted:
                    yield Finding(row.place, rule + "a posted reading is used", f"slot {slot} as posted", "no reading")
            return None
        if item.tag == Tag.POSTED:
            if first not in posted:
                yield Finding(row.place, rule + "a reading was posted", f"one of slot {first}", "none")
                return None
            start, pair = posted[first]
            if min(start[0] - self.counters[home][0], start[1] - self.counters[home][1]) < 0:
                return None
            return start, [pair]
        start = item.counters or self.counters[home]
        for stored, given in zip(self.counters[home], start, strict=True):
            if given < stored:
                yield Finding(row.place, rule + "no counter goes back", stored, given)
        message = Readings(self.domain, home, first, *start, item.deltas)
        try:
            signer: str = recover(message.id, expand(item.signature))
        except LiggareError as error:
            signer = str(error)
        yield from _same(row.place, rule + "its meter signed the reading", self.meters[home], signer)
        self._counts["readings"] += count
        return start, message.pairs()

    def _missing(self, row: Row, pending: list[Row], missing: list[int], first: int, count: int) -> Iterator[Finding]:
        told = [
            (each.arguments["home"], each.arguments["firstSlot"], each.arguments["count"])
            for each in pending
            if each.event == "ReadingMissing"
        ]
        expected = [(home, first, count) for home in missing]
        yield from _same(row.place, "each home without a reading is told", expected, told)
        if missing:
            rule = "a slot without all readings is cleared after its grace"
            yield from self._not_before(row, first + count, self.grace, rule)

    def _settle(
        self, told: Row | None, slot: int, counts: dict[int, Counts], unpaid: list[int], t: int
    ) -> Iterator[Finding]:
        total = self.till.total()
        orders = {home: self.order(home, slot) for home in counts}
        settled = self.till.settle_slot({home: pair[0] - pair[1] for home, pair in counts.items()}, orders)
        unpaid[t] += settled.unpaid
        for home, pair in counts.items():
            imported, exported = self.counters[home]
            self.counters[home] = imported + pair[0], exported + pair[1]
        self._counts["slots cleared"] += 1
        self._counts["Wh traded"] += settled.clearing.volume
        if told is None:
            return
        yield from _same(told.place, f"slot {slot}: its money sums to zero", total, self.till.total())
        for name in ("lo", "hi", "price", "volume"):
            rule = f"slot {slot}: {name} is what orders and readings imply"
            yield from _same(told.place, rule, getattr(settled.clearing, name), told.arguments[name])

    # ------------------------------------------------------------------ state

    def order(self, home: int, slot: int) -> Order | None:
        """Return the order of a home that is in force in a slot, None without one."""
        return in_force(self._orders[home], slot)

    def meter(self, home: int, slot: int) -> str | None:
        """Return whose readings of a slot that is not cleared yet a home's are; None for a home that is not there."""
        for changing, start, meter, _, _ in self._changes:
            if changing == home and slot >= start:
                return meter
        return self.meters.get(home)

    def _reserved(self, home: int, current: int) -> int:
        tariffs = self.till.tariffs
        orders = (self.order(home, slot) for slot in range(self.next_slot, min(current + 1, self._until_slot[home])))
        return sum(
            order.cap * min(order.buy_limit, tariffs.retail)
            for order in orders
            if order is not None and order.buy_limit >= tariffs.feed_in
        )

    def _move(self, home: int, value: int) -> None:
        if home == UTILITY:
            self.till.utility += value
            return
        before = self.till.balances.get(home, 0)
        self.till.balances[home] = before + value
        self.till.debt += max(-before - value, 0) - max(-before, 0)

    def _slot(self, row: Row) -> int:
        return max(row.timestamp - self.genesis, 0) // SLOT_SECONDS

    def _not_before(self, row: Row, end: int, wait: int, rule: str) -> Iterator[Finding]:
        opens = self.genesis + end * SLOT_SECONDS + wait
        if row.timestamp < opens:
            yield Finding(row.place, rule, f"from {opens} on", row.timestamp)

    # ------------------------------------------------------------------ comparison

    def compare(self, state: State) -> Iterator[Finding]:
        """Compare balances, counters, orders, the next slot, debt and the money held with the chain's own."""
        yield from self._nothing_pending(CONTRACT)
        till = self.till

        def ask(function: str, *arguments: Any) -> Any:
            return state.call(CONTRACT, function, *arguments)

        yield from _same(CONTRACT, "the homes are those registered", len(self.meters), ask("homeCount"))
        yield from _same(CONTRACT, "the next slot follows the settled ones", self.next_slot, ask("nextSlot"))
        yield from _same(CONTRACT, "the debt is what the homes' balances make", till.debt, ask("debt"))
        yield from _same(CONTRACT, "the utility's balance is what was settled", till.utility, ask("balanceOf", UTILITY))
        if till.utility < till.debt:
            yield Finding(CONTRACT, "the utility covers all debt", till.debt, till.utility)
        for home in self.meters:
            place = f"{CONTRACT} home {home}"
            yield from _same(place, "the balance is what was settled", till.balances[home], ask("balanceOf", home))
            counters = tuple(ask("countersOf", home))
            yield from _same(place, "the counters are those read", self.counters[home], counters)
            order = self.order(home, self.next_slot)
            terms = (order.until_slot, order.buy_limit, order.sell_limit, order.cap) if order else None
            seq, *actual = ask("orderOf", home, self.next_slot)
            yield from _same(place, "the newest order is the last one placed", self._seq[home], seq)
            yield from _same(place, "the order is that in force", terms, tuple(actual) if actual[-1] else None)
        held = state.call("ZeroFeePayments", "balanceOf", self.domain.verifying_contract)
        if held < till.total():
            yield Finding(CONTRACT, "the money held is that of all accounts", till.total(), held)
        self._counts["accounts"] = len(self.meters) + 1

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked."""
        return dict(self._counts)


def _same(place: str, rule: str, expected: Any, actual: Any) -> Iterator[Finding]:
    if expected != actual:
        yield Finding(place, rule, expected, actual)
