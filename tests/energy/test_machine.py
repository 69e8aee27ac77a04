"""Any history of orders, readings, gaps, money and clearings against a mirror that tries every price."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from liggare.energy.messages import NEVER
from tests.energy.street import FIRST, KRONA
from tests.support import isolated

RETAIL, FEED_IN = 2_500, 600
DAY = 96
WH = st.integers(0, 6_000)
HOME = st.integers(1, 3)
LIMIT = st.sampled_from([0, 599, 600, 1_000, 1_500, 2_499, 2_500, 2_501, NEVER])


class Mirror:
    """The market in the plainest words: no packed words, no hints, every price tried."""

    def __init__(self) -> None:
        self.balances = [1000 * KRONA, 0, 100 * KRONA, 100 * KRONA]
        self.orders = {home: [] for home in (1, 2, 3)}  # (from, until, buy, sell, cap) as placed
        self.owed = {home: [0, 0] for home in (1, 2, 3)}  # Wh counted in slots without a reading

    def in_force(self, home, slot):
        begun = [order for order in self.orders[home] if order[0] <= slot]
        return begun[-1] if begun and slot < begun[-1][1] else None

    def free(self):
        return self.balances[0] + sum(min(balance, 0) for balance in self.balances[1:])

    def pay_feed_in(self, home, wh):
        due = wh * FEED_IN
        self.balances[home] += due
        self.balances[0] -= due
        if self.free() < 0:
            self.balances[home] -= due
            self.balances[0] += due

    def buy_from_grid(self, home, wh):
        self.balances[home] -= wh * RETAIL
        self.balances[0] += wh * RETAIL

    def gap(self, home):
        imported, exported = self.owed[home]
        self.owed[home] = [0, 0]
        # one settlement: what is charged and what is due meet before the question whether the utility can pay
        self.buy_from_grid(home, imported)
        self.pay_feed_in(home, exported)

    def clear(self, slot, counts):
        bids, offers = {}, {}
        nets = {home: counts[home][0] - counts[home][1] for home in counts}
        for home, net in nets.items():
            order = self.in_force(home, slot)
            if order and net > 0 and order[2] >= FEED_IN:
                limit, wh = min(order[2], RETAIL), min(net, order[4])
                if self.balances[home] >= limit * wh:
                    bids[home] = limit, wh
            if order and net < 0 and order[3] <= RETAIL:
                offers[home] = max(order[3], FEED_IN), min(-net, order[4])

        def total(side, test):
            return sum(wh for limit, wh in side.values() if test(limit))

        prices = [
            p
            for p in range(FEED_IN, RETAIL + 1)
            if total(bids, lambda x: x > p) <= total(offers, lambda x: x <= p)  # noqa: B023
            and total(offers, lambda x: x < p) <= total(bids, lambda x: x >= p)  # noqa: B023
        ]
        price = (prices[0] + prices[-1]) // 2
        volume = min(total(bids, lambda x: x >= price), total(offers, lambda x: x <= price))
        fills = {}
        for side, better in ((bids, lambda x: x > price), (offers, lambda x: x < price)):
            left = volume - total(side, better)
            margin = [home for home in side if side[home][0] == price]
            wanted, reached = sum(side[home][1] for home in margin), 0
            for home in side:
                if better(side[home][0]):
                    fills[home] = side[home][1]
            for home in margin:
                before = left * reached // wanted if wanted else 0
                reached += side[home][1]
                fills[home] = (left * reached // wanted if wanted else 0) - before
        for home, net in nets.items():
            fill = fills.get(home, 0)
            if net > 0:
                self.balances[home] -= fill * price
                self.buy_from_grid(home, net - fill)
            elif net < 0:
                self.balances[home] += fill * price
                self.pay_feed_in(home, -net - fill)
        return price, volume


def test_any_history_settles_as_the_mirror_says(street, bo):
    class Machine(RuleBasedStateMachine):
        @initialize()
        def begin(self):
            self.context = isolated()
            self.context.__enter__()
            self.mirror, self.seq, self.salt, self.slot = Mirror(), 0, 1, FIRST
            for meter in street.meters.values():
                meter.imported = meter.exported = 0

        def teardown(self):
            if hasattr(self, "context"):
                self.context.__exit__(None, None, None)

        @rule(home=HOME, buy=LIMIT, sell=LIMIT, cap=WH, ahead=st.integers(0, 3), slots=st.integers(1, 9))
        def order(self, home, buy, sell, cap, ahead, slots):
            self.seq += 1
            start = max(self.slot, street.market.currentSlot() + 1) + ahead
            terms = {"from_slot": start, "until_slot": start + slots, "buy_limit": buy, "sell_limit": sell, "cap": cap}
            street.place(home, seq=self.seq, **terms)
            kept = [each for each in self.mirror.orders[home] if each[0] < start]
            self.mirror.orders[home] = [*kept, (start, start + slots, buy, sell, cap)]

        @rule(
            counts=st.lists(st.tuples(WH, WH, WH, WH, WH, WH), min_size=1, max_size=4),
            silent=st.sets(HOME, max_size=2),
        )
        def clear(self, counts, silent):
            count = len(counts)
            street.end_of(self.slot + count - 1, 700)
            slots = [{home: (each[2 * home - 2], each[2 * home - 1]) for home in (1, 2, 3)} for each in counts]
            readings = {}
            for home, meter in street.meters.items():
                if home in silent:
                    meter.count(each[home] for each in slots)
                    for each in slots:
                        self.mirror.owed[home] = [
                            a + b for a, b in zip(self.mirror.owed[home], each[home], strict=True)
                        ]
                else:
                    readings[home] = meter.read(self.slot, [each[home] for each in slots])
            receipt = street.clear(readings, count)
            for home in readings:
                self.mirror.gap(home)
            for event, each in zip(receipt.events["SlotCleared"], slots, strict=True):
                heard = {home: each[home] for home in readings}
                assert (event["price"], event["volume"]) == self.mirror.clear(event["slot"], heard)
            self.slot += count

        @rule(days=st.integers(1, 2))
        def close(self, days):
            self.slot += days
            street.go_to(self.slot + DAY, 30)
            street.market.closeSlots(self.slot, {"from": street.operator})

        @rule(home=st.integers(0, 3), value=st.integers(1, 50 * KRONA))
        def deposit(self, home, value):
            self.salt += 1
            street.pay_in(home, bo, value, self.salt.to_bytes(32, "big"))
            self.mirror.balances[home] += value

        @rule()
        def empty_the_utility(self):
            value = self.mirror.free()
            self.salt += 1
            values = (0, street.operator.address, value, 2**40, self.salt.to_bytes(32, "big"))
            street.market.withdraw(values, b"", {"from": street.operator})
            self.mirror.balances[0] -= value

        @invariant()
        def balances_are_the_mirrors(self):
            if hasattr(self, "mirror"):
                assert street.balances() == self.mirror.balances

        @invariant()
        def the_money_held_is_that_of_all_accounts_and_covers_what_may_be_withdrawn(self):
            if hasattr(self, "mirror"):
                balances = street.balances()
                assert street.held() == sum(balances) >= sum(max(balance, 0) for balance in balances[1:])
                assert street.market.debt() == -sum(min(balance, 0) for balance in balances[1:])

    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=checks),
    )
