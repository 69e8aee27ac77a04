"""`replaceMeter`: a home gets another meter where registrar and owner both want it, and no Wh is lost or doubled."""

from __future__ import annotations

import pytest
from brownie import EnergyMarket
from brownie.exceptions import VirtualMachineError

from liggare.energy.messages import Replacement
from liggare.energy.meter import Meter
from liggare.energy.rules import EnergyRules
from liggare.errors import InvalidReadings
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from tests.energy.street import FIRST, KRONA, key
from tests.support import isolated, now, refused

ANNA, BO, CIA = 1, 2, 3
NEW = key(0xBEEF)


def wish(street, owner, home=BO, meter=NEW.address, **fields):
    """A signed replacement; unless said, the new meter begins at 7,000 and 50, the old one ends at 900 and 0."""
    fields = {"imported": 7_000, "exported": 50, "last": (900, 0), "valid_before": 2**40} | fields
    return street.energy.replacement(owner, home, meter, **fields)


def carry(street, signed, by=None):
    """Send it, as the registrar unless said otherwise; return Brownie's receipt."""
    values = tuple(signed.message.values().values())
    return street.market.replaceMeter(values, signed.signature, {"from": by or street.operator})


def replaced(street, owner, **fields):
    """Replace Bo's meter; from now on the street's meter of Bo is the new one."""
    receipt = carry(street, wish(street, owner, **fields))
    street.meters[BO] = Meter(NEW, BO, street.domain, imported=7_000, exported=50)
    return receipt


def counts(anna=800, bo=500, cia=0):
    return {ANNA: (0, anna), BO: (bo, 0), CIA: (cia, 0)}


def test_the_old_meter_measures_up_to_the_next_slot_and_the_new_one_from_it_on(trading, bo, w3, deployments):
    trading.go_to(FIRST + 1)
    old = trading.meters[BO]
    event = replaced(trading, bo).events["MeterReplaced"]
    assert (event["home"], event["meter"], event["fromSlot"]) == (BO, NEW.address, FIRST + 2)
    assert (event["counters"], event["last"]) == ((7_000 << 48) | 50, 900 << 48)
    trading.end_of(FIRST + 2)
    with pytest.raises(InvalidReadings, match=f"a meter changes in slot {FIRST + 2}"):
        trading.energy.propose({}, 3)
    due = trading.energy.due()
    assert (due.first_slot, due.count, due.cut, due.meters[BO]) == (FIRST, 2, FIRST + 2, old.address)
    readings = {ANNA: trading.meters[ANNA].read(FIRST, [(0, 800)] * 2), BO: old.read(FIRST, [(500, 0), (300, 0)])}
    trading.clear({**readings, CIA: trading.meters[CIA].read(FIRST, [(0, 0)] * 2)}, 2)
    assert tuple(trading.market.countersOf(BO)) == (800, 0)
    before = trading.balances()[BO]
    assert trading.energy.due().meters[BO] == NEW.address
    receipt = trading.clear(trading.read(FIRST + 2, counts(bo=100)))
    # 100 Wh that the old meter counted and no reading told, at the tariff; then 100 Wh on the market
    assert trading.balances()[BO] == before - 100 * 2500 - 100 * receipt.events["SlotCleared"]["price"]
    assert tuple(trading.market.countersOf(BO)) == (7_100, 50)
    assert trading.market.changesApplied() == 1
    assert trading.market.homeOf(BO)[1] == NEW.address
    assert trading.held() == sum(trading.balances())
    state = ChainState(w3, deployments, w3.eth.block_number)
    assert verify(Reader(w3, deployments).rows(), [EnergyRules(deployments)], state).findings == []


def test_neither_the_registrar_nor_the_owner_can_do_it_alone(trading, bo, mallory, stranger):
    with refused(EnergyMarket, "EnergyInvalidSignature", bo.address):
        carry(trading, wish(trading, mallory))
    with refused(EnergyMarket, "EnergyCallerNotRegistrar", stranger.address, trading.operator.address):
        carry(trading, wish(trading, bo), by=stranger)


def test_an_altered_replacement_is_refused(trading, bo):
    signed = wish(trading, bo)
    values = list(signed.message.values().values())
    for place, other in ((0, CIA), (1, key(5).address), (2, 7_001), (3, 51), (4, 901), (5, 1), (6, 2**40 + 1)):
        changed = [*values[:place], other, *values[place + 1 :]]
        with pytest.raises(VirtualMachineError, match="EnergyInvalidSignature"):
            trading.market.replaceMeter.call(changed, signed.signature, {"from": trading.operator})


def test_a_meter_that_some_home_has_or_had_is_refused(trading, bo, cia):
    with refused(EnergyMarket, "EnergyMeterTaken", trading.meters[ANNA].address, ANNA):
        carry(trading, wish(trading, bo, meter=trading.meters[ANNA].address))
    signed = wish(trading, bo)
    old = trading.meters[BO]
    replaced(trading, bo)
    trading.end_of(FIRST)
    trading.clear(trading.read(FIRST, counts(0, 0, 0)))
    with refused(EnergyMarket, "EnergyMeterTaken", NEW.address, BO):
        carry(trading, signed)  # once more
    with refused(EnergyMarket, "EnergyMeterTaken", old.address, BO):
        carry(trading, wish(trading, cia, home=CIA, meter=old.address))


def test_nobodys_address_is_no_meter_and_the_utility_has_none(trading, bo, operator):
    for nobody in ("0x" + "0" * 40, "0x" + "0" * 39 + "1"):
        with refused(EnergyMarket, "EnergyZeroAddress"):
            carry(trading, wish(trading, bo, meter=nobody))
    with refused(EnergyMarket, "EnergyUnknownHome", 0, 3):
        values = (0, NEW.address, 0, 0, 0, 0, 2**40)  # the utility is the operator, and needs no signature
        trading.market.replaceMeter.call(values, b"", {"from": operator})
    with refused(EnergyMarket, "EnergyUnknownHome", 4, 3):
        carry(trading, wish(trading, bo, home=4))


def test_a_second_change_waits_for_the_first(trading, bo):
    replaced(trading, bo)
    with refused(EnergyMarket, "EnergyMeterChanges", BO, FIRST):
        carry(trading, wish(trading, bo, meter=key(0xBEF0).address))


def test_a_replacement_that_has_expired_is_refused(trading, bo):
    before = now() - 1
    with pytest.raises(VirtualMachineError, match=f"EnergyExpired: {before}, "):
        carry(trading, wish(trading, bo, valid_before=before))


def test_no_batch_and_no_posted_reading_goes_across_the_change(trading, bo):
    trading.go_to(FIRST)
    old = trading.meters[BO]
    replaced(trading, bo)
    trading.end_of(FIRST + 1)
    with refused(EnergyMarket, "EnergyMeterChanges", BO, FIRST + 1):
        trading.attempt(FIRST, [(1000, 1000)] * 2, b"")
    across = old.read(FIRST, [(5, 0), (5, 0)])
    with refused(EnergyMarket, "EnergyMeterChanges", BO, FIRST + 1):
        post(trading, across)
    late = old.read(FIRST + 1, [(5, 0)])
    with refused(EnergyMarket, "EnergyForeignReading", BO, NEW.address):
        post(trading, late)
    early = trading.meters[BO].read(FIRST, [(5, 0)])
    with refused(EnergyMarket, "EnergyForeignReading", BO, old.address):
        post(trading, early)
    with isolated():
        post(trading, trading.meters[BO].read(FIRST + 1, [(5, 0)]))


def post(street, signed):
    """Carry posted readings."""
    values = tuple(signed.message.values().values())
    return street.market.postReadings(values, signed.signature, {"from": street.operator})


def test_a_last_counter_that_readings_have_passed_tells_nothing(trading, bo):
    trading.go_to(FIRST)
    old = trading.meters[BO]
    replaced(trading, bo, last=(400, 0))
    trading.end_of(FIRST + 1)
    readings = {home: trading.meters[home].read(FIRST, [(0, 0)]) for home in (ANNA, CIA)}
    trading.clear({**readings, BO: old.read(FIRST, [(500, 0)])})
    before = trading.balances()
    trading.clear(trading.read(FIRST + 1, counts(0, 0, 0)))
    assert trading.balances() == before
    assert before[BO] == 100 * KRONA - 500 * 2500


def test_a_replacement_for_another_market_is_refused(trading, bo):
    at = trading.domain
    other = at.__class__(at.name, at.version, at.chain_id, key(5).address)
    with refused(EnergyMarket, "EnergyInvalidSignature", bo.address):
        carry(trading, Replacement(other, BO, NEW.address, 7_000, 50, 900, 0, 2**40).sign(bo))
