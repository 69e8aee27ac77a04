"""`bulk`: a block of slots settles to the unit as the twin of the contract does slot by slot, rich or poor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from liggare.energy import bulk
from liggare.energy.bulk import Wishes, settle_block
from liggare.energy.settlement import Tariffs, Terms, Till

TARIFFS = Tariffs(2_500, 600, 100)


def a_block(seed: int, slots: int, homes: int):
    """Nets and wishes: limits beyond the tariffs too, small caps, homes that do nothing."""
    random = np.random.default_rng(seed)
    nets = random.integers(-60, 61, (slots, homes)) * random.integers(0, 2, (slots, homes))
    limits = random.integers(400, 2_800, (2, slots, homes)) // 100 * 100
    return nets, Wishes(*limits, random.integers(0, 80, (slots, homes)))


def one_by_one(till: Till, nets, wishes: Wishes):
    """Settle by the twin alone; the outcome of each slot."""
    homes = list(till.balances)
    found = []
    for slot, row in enumerate(nets.tolist()):
        orders = {
            home: Terms(*(int(each[slot, column]) for each in (wishes.buy, wishes.sell, wishes.cap)))
            for column, home in enumerate(homes)
        }
        found.append(till.settle_slot(dict(zip(homes, row, strict=True)), orders))
    return found


def a_till(deposit: int, funds: int, homes: int) -> Till:
    return Till(TARIFFS, dict.fromkeys(range(1, homes + 1), deposit), utility=funds)


@pytest.mark.parametrize("homes", [1, 5, 17])
@pytest.mark.parametrize(
    ("deposit", "funds"), [(10**9, 10**9), (2 * 10**6, 10**9), (10**9, 0), (10**5, 10**5), (0, 0), (10**30, 10**30)]
)
def test_a_block_is_what_the_twin_makes_of_it(deposit, funds, homes):
    for seed in range(12):
        nets, wishes = a_block(seed, 20, homes)
        fast, slow = a_till(deposit, funds, homes), a_till(deposit, funds, homes)
        total = slow.total()
        block, slots = settle_block(fast, nets, wishes), one_by_one(slow, nets, wishes)
        assert (fast.balances, fast.utility, fast.debt) == (slow.balances, slow.utility, slow.debt)
        assert fast.total() == total
        for name in ("lo", "hi", "price", "volume"):
            assert getattr(block.clearings, name).tolist() == [getattr(each.clearing, name) for each in slots]
        assert block.unpaid.tolist() == [each.unpaid for each in slots]
        for slot, each in enumerate(slots):
            traded = [each.traded.get(home, 0) for home in fast.balances]
            assert (block.clearings.bought[slot] - block.clearings.sold[slot]).tolist() == traded
        assert [deposit + int(earned) for earned in block.earned.sum(axis=0)] == list(fast.balances.values())


def test_the_two_ways_are_both_taken(monkeypatch):
    """So that the comparison above is one of both."""
    taken = []
    for name in ("_settle_rich", "_settle_poor"):
        way = getattr(bulk, name)
        monkeypatch.setattr(bulk, name, lambda *words, way=way, name=name: taken.append(name) or way(*words))
    nets, wishes = a_block(1, 20, 5)
    settle_block(a_till(10**9, 10**9, 5), nets, wishes)
    assert taken == ["_settle_rich"]
    settle_block(a_till(10**4, 10**9, 5), nets, wishes)
    assert taken == ["_settle_rich", "_settle_rich", "_settle_poor"]


def test_a_block_that_money_was_short_in_leaves_nothing_behind():
    nets, wishes = a_block(1, 20, 5)
    till = a_till(10**4, 10**9, 5)
    before = replace(till, balances=dict(till.balances))
    assert bulk._settle_rich(till, nets, wishes) is None
    assert till == before


def test_one_row_of_wishes_is_for_all_slots():
    nets, wishes = a_block(3, 20, 5)
    row = Wishes(wishes.buy[:1], wishes.sell[:1], wishes.cap[:1])
    rows = Wishes(*(np.repeat(each, 20, axis=0) for each in (row.buy, row.sell, row.cap)))
    for deposit in (10**9, 10**4):
        first, second = a_till(deposit, 10**6, 5), a_till(deposit, 10**6, 5)
        settle_block(first, nets, row)
        settle_block(second, nets, rows)
        assert first == second
