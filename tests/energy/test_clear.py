"""`clear`: anyone proposes, the contract derives price and fills, all of a slot is settled at once."""

from __future__ import annotations

import pytest

from tests.energy.street import FIRST, KRONA

ANNA, BO, CIA = 1, 2, 3


@pytest.fixture
def evening(trading):
    """Slot 11 has ended: Anna gave 800 Wh, Bo took 500, Cia took 600."""
    trading.end_of(FIRST)
    return trading


@pytest.fixture
def readings(evening):
    """What the three meters signed of slot 11."""
    return evening.read(FIRST, {ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)})


def test_the_price_is_the_margins_and_everybody_pays_it(evening, readings):
    receipt = evening.clear(readings)
    # supply 800 meets demand 500 up to 2,000 and 600 more up to 1,500: the price is Cia's limit
    event = receipt.events["SlotCleared"]
    assert [event[name] for name in ("slot", "price", "lo", "hi", "volume")] == [FIRST, 1500, 1500, 1500, 800]
    anna, bo, cia = 800 * 1500, 500 * 1500, 300 * 1500 + 300 * 2500
    assert evening.balances() == [1000 * KRONA + 300 * 2500, anna, 100 * KRONA - bo, 100 * KRONA - cia]
    assert evening.held() == sum(evening.balances())
    assert evening.market.nextSlot() == FIRST + 1
    assert evening.market.countersOf(ANNA) == (0, 800)


@pytest.mark.parametrize("low", range(1497, 1503))
def test_a_hint_shifted_either_way_is_refused(evening, readings, low):
    batch = evening.batch(readings)
    for high in range(1497, 1503):
        if (low, high) != (1500, 1500):
            with pytest.raises(Exception, match=r"Energy(LowToo|HighToo|HintOutside)"):
                evening.send(FIRST, [(low, high)], batch)
