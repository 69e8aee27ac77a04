"""`registerHome`: the registrar names a home's owner and meter, once."""

from __future__ import annotations

from brownie import EnergyMarket

from liggare.energy.messages import NEVER
from tests.energy.street import FIRST, key
from tests.support import refused

ZERO = "0x" + "0" * 40


def test_a_home_takes_part_from_the_next_slot_with_its_meters_counters(empty_street, anna):
    market = empty_street.market
    meter = key(77).address
    event = market.registerHome(anna.address, meter, 1_234, 56, {"from": empty_street.operator}).events[0]
    assert (event["home"], event["fromSlot"]) == (1, FIRST)
    assert market.homeOf(1) == (anna.address, meter, FIRST, NEVER)
    assert market.countersOf(1) == (1_234, 56)
    assert market.homeOfMeter(meter) == 1
    assert market.nextSlot() == FIRST  # slots without any home need no clearing


def test_only_the_registrar_registers(empty_street, anna, stranger):
    with refused(EnergyMarket, "EnergyCallerNotRegistrar", stranger.address, empty_street.operator.address):
        empty_street.market.registerHome(anna.address, key(77).address, 0, 0, {"from": stranger})


def test_a_running_home_cannot_be_registered_again(street, mallory):
    meter = street.meters[1].address
    with refused(EnergyMarket, "EnergyMeterTaken", meter, 1):
        street.market.registerHome(mallory.address, meter, 0, 0, {"from": street.operator})


def test_nobody_is_no_owner_and_no_meter(empty_street, anna):
    for people in ((ZERO, anna.address), (anna.address, ZERO)):
        with refused(EnergyMarket, "EnergyZeroAddress"):
            empty_street.market.registerHome(*people, 0, 0, {"from": empty_street.operator})


def test_a_market_needs_sensible_tariffs_and_times(empty_street, operator):
    people = empty_street.money.address, operator.address, operator.address
    bad = ((2_500, 0, 0), (600, 601, 0), (2**24 - 1, 600, 0), (2_500, 600, 1_901), (9, 1, 2**256 - 1))
    for retail, feed_in, fee in bad:
        with refused(EnergyMarket, "EnergyBadTariffs", feed_in, fee, retail):
            EnergyMarket.deploy(*people, retail, feed_in, fee, 0, [1, 2, 3], {"from": operator})
    with refused(EnergyMarket, "EnergyBadTimes", 3, 2, 9):
        EnergyMarket.deploy(*people, 2_500, 600, 0, 0, [3, 2, 9], {"from": operator})
