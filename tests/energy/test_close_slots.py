"""`closeSlots`: what nobody cleared in time settles at the grid's tariffs."""

from __future__ import annotations

import pytest
from brownie import EnergyMarket
from brownie.exceptions import VirtualMachineError

from tests.energy.street import FIRST, KRONA
from tests.support import refused

ANNA, BO, CIA = 1, 2, 3
DAY = 96


def test_closed_slots_settle_with_the_grid_when_the_counters_are_read(trading, stranger):
    for meter, counts in zip(trading.meters.values(), ((0, 800), (500, 0), (600, 0)), strict=True):
        meter.count([counts])
    trading.go_to(FIRST + 1 + DAY, 5)
    event = trading.market.closeSlots(FIRST + 1, {"from": stranger}).events["SlotsClosed"]
    assert (event["firstSlot"], event["nextSlot"]) == (FIRST, FIRST + 1)
    trading.clear(trading.read(FIRST + 1, {ANNA: (0, 0), BO: (0, 0), CIA: (0, 0)}))
    grid = [800 * 600, 100 * KRONA - 500 * 2500, 100 * KRONA - 600 * 2500]
    assert trading.balances()[1:] == grid
    assert trading.held() == sum(trading.balances())


def test_any_number_of_slots_closes_at_the_same_cost(trading, stranger):
    trading.go_to(FIRST + 50 * DAY)
    receipt = trading.market.closeSlots(FIRST + 49 * DAY, {"from": stranger})
    assert receipt.gas_used < 50_000
    assert trading.market.nextSlot() == FIRST + 49 * DAY


def test_a_slot_is_closed_after_its_time_out(trading):
    trading.go_to(FIRST + DAY, 800)
    opens = trading.energy.begins(FIRST + 1) + trading.energy.timeout
    with pytest.raises(VirtualMachineError, match=f"EnergyTooEarly: {opens}, "):
        trading.market.closeSlots(FIRST + 1, {"from": trading.operator})


def test_settled_slots_cannot_be_closed(trading):
    trading.go_to(FIRST + 2 * DAY)
    with refused(EnergyMarket, "EnergyWrongSlot", FIRST, FIRST):
        trading.market.closeSlots(FIRST, {"from": trading.operator})
