"""`clear`: anyone proposes, the contract derives price and fills, all of a slot is settled at once."""

from __future__ import annotations

import pytest
from brownie import EnergyMarket

from liggare.energy.codec import encode_hints
from tests.energy.street import FIRST, KRONA
from tests.support import isolated, refused

UTILITY, ANNA, BO, CIA = 0, 1, 2, 3
FUND = 1000 * KRONA


@pytest.fixture
def evening(trading):
    """Slot 11 has ended: its readings may be cleared."""
    trading.end_of(FIRST)
    return trading


def sun(street, anna=800, bo=500, cia=600, slot=FIRST):
    """What the meters signed of a slot: Anna gave, Bo and Cia took."""
    return street.read(slot, {ANNA: (0, anna), BO: (bo, 0), CIA: (cia, 0)})


def told(receipt):
    """Price, interval and volume as the event tells them."""
    return [receipt.events["SlotCleared"][name] for name in ("price", "lo", "hi", "volume")]


def test_the_price_is_the_margins_and_everybody_pays_it(evening):
    receipt = evening.clear(sun(evening))
    # supply 800 meets demand 500 up to 2,000 and 600 more up to 1,500: the price is Cia's limit
    assert told(receipt) == [1500, 1500, 1500, 800]
    anna, bo, cia = 800 * 1500, 500 * 1500, 300 * 1500 + 300 * 2500
    assert evening.balances() == [FUND + 300 * 2500, anna, 100 * KRONA - bo, 100 * KRONA - cia]
    assert evening.held() == sum(evening.balances())
    assert evening.market.nextSlot() == FIRST + 1
    assert evening.market.countersOf(ANNA) == (0, 800)


def test_surplus_beyond_all_demand_goes_to_the_grid_and_the_price_falls_to_the_offer(evening):
    receipt = evening.clear(sun(evening, anna=3000))
    assert told(receipt) == [1000, 1000, 1000, 1100]
    assert evening.balances()[ANNA] == 1100 * 1000 + 1900 * 600


def test_equal_demand_and_supply_clear_in_the_middle(evening):
    assert told(evening.clear(sun(evening, anna=500))) == [1750, 1500, 2000, 500]


def test_the_middle_is_rounded_down(evening):
    evening.place(BO, seq=2, from_slot=FIRST + 2, buy_limit=2_001)
    evening.clear(sun(evening))
    evening.end_of(FIRST + 2)
    evening.clear(sun(evening, slot=FIRST + 1))
    assert told(evening.clear(sun(evening, anna=500, slot=FIRST + 2))) == [1750, 1500, 2001, 500]


def test_without_sun_the_price_is_an_indication_above_the_bids(evening):
    receipt = evening.clear(sun(evening, anna=0))
    assert told(receipt) == [2250, 2000, 2500, 0]
    assert evening.balances()[BO] == 100 * KRONA - 500 * 2500


def test_without_demand_the_price_is_an_indication_below_the_offers(evening):
    receipt = evening.clear(sun(evening, bo=0, cia=0))
    assert told(receipt) == [800, 600, 1000, 0]
    assert evening.balances()[ANNA] == 800 * 600


def test_a_slot_without_any_wish_settles_at_the_tariffs(street):
    street.end_of(FIRST)
    receipt = street.clear(sun(street))
    assert told(receipt) == [1550, 600, 2500, 0]
    assert street.balances()[1:] == [800 * 600, 100 * KRONA - 500 * 2500, 100 * KRONA - 600 * 2500]


def test_a_slot_in_which_nothing_is_measured_changes_no_balance(evening):
    before = evening.balances()
    evening.clear(sun(evening, 0, 0, 0))
    assert evening.balances() == before
    assert evening.market.nextSlot() == FIRST + 1


def test_the_last_watt_hour_goes_by_home_order(street):
    for home in (BO, CIA):
        street.place(home, buy_limit=1_500)
    street.place(ANNA, sell_limit=1_000)
    street.end_of(FIRST)
    assert told(street.clear(sun(street, anna=7, bo=10, cia=10))) == [1500, 1500, 1500, 7]
    # floor(7 * 10 / 20) = 3 for Bo, the other 4 for Cia
    assert street.balances()[BO] == 100 * KRONA - 3 * 1500 - 7 * 2500
    assert street.balances()[CIA] == 100 * KRONA - 4 * 1500 - 6 * 2500


def test_the_cap_bounds_what_is_traded(evening):
    evening.place(ANNA, seq=2, from_slot=FIRST + 2, sell_limit=1_000, cap=100)
    evening.end_of(FIRST + 2)
    receipt = evening.clear(evening.read(FIRST, *3 * [{ANNA: (0, 800), BO: (500, 0), CIA: (0, 0)}]), count=3)
    assert [event["volume"] for event in receipt.events["SlotCleared"]] == [500, 500, 100]


def test_an_order_that_has_ended_is_not_in_force(street):
    street.place(ANNA, sell_limit=1_000, until_slot=FIRST + 1)
    street.place(BO, buy_limit=2_000)
    street.end_of(FIRST + 1)
    receipt = street.clear(street.read(FIRST, *2 * [{ANNA: (0, 800), BO: (500, 0), CIA: (0, 0)}]), count=2)
    assert [event["volume"] for event in receipt.events["SlotCleared"]] == [500, 0]


def test_a_bid_without_money_is_not_heard_and_the_home_buys_from_the_grid_on_credit(trading, dora):
    home = trading.move_in(dora)
    trading.pay_in(home, dora, KRONA)
    trading.place(home, buy_limit=2_400)
    trading.end_of(FIRST + 1)
    rich, poor = ({ANNA: (0, 800), BO: (0, 0), CIA: (0, 0), home: (wh, 0)} for wh in (400, 600))
    receipt = trading.clear(trading.read(FIRST, rich, poor), count=2)
    # 400 Wh at its limit are 0.96 and paid; then 600 Wh at 2,400 are more than what is left
    assert [event["volume"] for event in receipt.events["SlotCleared"]] == [400, 0]
    assert trading.balances()[home] == KRONA - 400 * 1000 - 600 * 2500 == -900_000
    assert trading.market.debt() == 900_000
    assert trading.held() == sum(trading.balances())


def test_several_slots_at_once_settle_as_one_by_one(evening):
    counts = [{ANNA: (0, 700 * t), BO: (300 * t, 10), CIA: (2000, 90 * t)} for t in range(6)]
    evening.end_of(FIRST + 5)
    with isolated():
        meters = {home: (meter.imported, meter.exported) for home, meter in evening.meters.items()}
        evening.clear(evening.read(FIRST, *counts), count=6)
        at_once = evening.balances(), [evening.market.countersOf(home) for home in (1, 2, 3)]
        for home, meter in evening.meters.items():
            meter.imported, meter.exported = meters[home]
    for t, each in enumerate(counts):
        evening.clear(evening.read(FIRST + t, each))
    assert (evening.balances(), [evening.market.countersOf(home) for home in (1, 2, 3)]) == at_once


def test_a_dead_meter_stops_nobody_and_is_settled_with_the_grid_when_it_is_back(evening):
    readings = sun(evening)
    evening.end_of(FIRST, 700)
    receipt = evening.clear({home: readings[home] for home in (ANNA, BO)})
    assert receipt.events["ReadingMissing"]["home"] == CIA
    assert evening.balances()[CIA] == 100 * KRONA
    evening.end_of(FIRST + 1)
    receipt = evening.clear(sun(evening, anna=200, bo=0, cia=100, slot=FIRST + 1))
    # its 600 Wh of slot 11 at the tariff, and 100 Wh on the market
    assert evening.balances()[CIA] == 100 * KRONA - 600 * 2500 - 100 * receipt.events["SlotCleared"]["price"]
    assert evening.held() == sum(evening.balances())


def test_feed_in_that_the_utility_cannot_pay_stops_nobodys_trade(evening, operator):
    # the utility is the operator, and needs no signature for its own account
    values = (UTILITY, operator.address, FUND - KRONA, 2**40, bytes(32))
    evening.market.withdraw(values, b"", {"from": operator})
    receipt = evening.clear(sun(evening, anna=5000, bo=1000, cia=0))
    assert told(receipt)[3] == 1000
    assert receipt.events["FeedInUnpaid"]["unpaid"] == 4000 * 600
    assert evening.balances() == [KRONA, 1000 * 1000, 100 * KRONA - 1000 * 1000, 100 * KRONA]


def test_a_home_that_joins_later_is_in_the_batch_from_its_slot_on(evening, dora):
    home = evening.move_in(dora)  # in slot 12, so from slot 13 on
    evening.end_of(FIRST + 2)
    assert evening.clear(sun(evening)).events["ReadingsTaken"]["homes"] == 3
    assert evening.clear(sun(evening, slot=FIRST + 1)).events["ReadingsTaken"]["homes"] == 3
    counts = {ANNA: (0, 800), BO: (500, 0), CIA: (0, 0), home: (5, 0)}
    assert evening.clear(evening.read(FIRST + 2, counts)).events["ReadingsTaken"]["homes"] == 4
    assert evening.market.countersOf(home) == (5, 0)


def test_nobody_joins_inside_a_batch(evening, dora):
    home = evening.move_in(dora)
    evening.end_of(FIRST + 2)
    batch = evening.batch(evening.read(FIRST, *3 * [{ANNA: (0, 8), BO: (5, 0), CIA: (6, 0)}]))
    with refused(EnergyMarket, "EnergyHomeJoins", home, FIRST + 2):
        evening.market.clear.call(FIRST, encode_hints([(1000, 1000)] * 3), batch, {"from": evening.operator})
