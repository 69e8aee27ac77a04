"""`moveOut`: a home takes leave; its account stays its owner's, its meter goes to whoever moves in."""

from __future__ import annotations

import pytest
from brownie import EnergyMarket
from brownie.exceptions import VirtualMachineError

from liggare.energy.meter import Meter
from liggare.energy.rules import EnergyRules
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from tests.energy.street import FIRST, KRONA, key
from tests.support import now, refused

ANNA, BO, CIA, DORA = 1, 2, 3, 4


def wish(street, owner, home=BO, last=(900, 0), valid_before=2**40):
    """A signed departure; what is not said is: Bo's, whose meter stands at 900 Wh imported."""
    return street.energy.departure(owner, home, last=last, valid_before=valid_before)


def carry(street, signed, by=None):
    """Send it, as the registrar unless said otherwise; return Brownie's receipt."""
    values = tuple(signed.message.values().values())
    return street.market.moveOut(values, signed.signature, {"from": by or street.operator})


def zero(street, slot, *homes):
    """Readings of nothing."""
    return {home: street.meters[home].read(slot, [(0, 0)]) for home in homes}


@pytest.fixture
def left(trading, bo):
    """Bo left in slot 11, so from slot 12 on; slots 11 and 12 have ended."""
    trading.go_to(FIRST)
    event = carry(trading, wish(trading, bo)).events["HomeMovedOut"]
    assert (event["home"], event["fromSlot"], event["last"]) == (BO, FIRST + 1, 900 << 48)
    trading.end_of(FIRST + 1)
    return trading


def test_it_takes_part_up_to_the_next_slot_and_nobody_waits_for_it_afterwards(left, w3, deployments):
    first = {ANNA: left.meters[ANNA].read(FIRST, [(0, 500)]), BO: left.meters[BO].read(FIRST, [(500, 0)])}
    assert left.clear({**first, **zero(left, FIRST, CIA)}).events["SlotCleared"]["volume"] == 500
    before = left.balances()[BO]
    due = left.energy.due()
    assert (due.first_slot, due.count, due.homes) == (FIRST + 1, 1, [ANNA, CIA])
    receipt = left.clear(zero(left, FIRST + 1, ANNA, CIA))  # before the grace: nobody is missing
    assert "ReadingMissing" not in receipt.events
    assert left.balances()[BO] == before - 400 * 2500  # what its meter counted and no reading told
    assert left.market.homeOf(BO)[3] == FIRST + 1
    assert left.held() == sum(left.balances())
    state = ChainState(w3, deployments, w3.eth.block_number)
    assert verify(Reader(w3, deployments).rows(), [EnergyRules(deployments)], state).findings == []


def test_its_money_can_be_withdrawn_to_the_last_unit(left, bo):
    left.clear({**zero(left, FIRST, ANNA, CIA), BO: left.meters[BO].read(FIRST, [(900, 0)])})
    value = left.balances()[BO]
    assert value == 100 * KRONA - 900 * 2500
    assert left.market.reserved(BO) == 0  # its order would go on, but no slot of its is open
    signed = left.energy.withdrawal(bo, BO, value, valid_before=2**40, nonce=bytes(32))
    left.market.withdraw(tuple(signed.message.values().values()), signed.signature, {"from": left.operator})
    assert left.balances()[BO] == 0


def test_whoever_moves_in_has_its_meter_under_a_number_of_their_own(left, dora):
    meter = left.meters[BO].account
    assert left.market.homeOfMeter(meter.address) == 0
    left.market.registerHome(dora.address, meter.address, 900, 0, {"from": left.operator})
    left.meters[DORA] = Meter(meter, DORA, left.domain, imported=900)
    left.end_of(FIRST + 3)
    left.clear({**zero(left, FIRST, ANNA, CIA), BO: left.meters[BO].read(FIRST, [(900, 0)])})
    left.clear(zero(left, FIRST + 1, ANNA, CIA))
    left.clear(zero(left, FIRST + 2, ANNA, CIA))
    left.clear({**zero(left, FIRST + 3, ANNA, CIA), DORA: left.meters[DORA].read(FIRST + 3, [(70, 0)])})
    assert left.balances()[DORA] == -70 * 2500
    assert left.balances()[BO] == 100 * KRONA - 900 * 2500


def test_its_meter_can_read_for_it_no_more(left):
    left.clear({**zero(left, FIRST, ANNA, CIA), BO: left.meters[BO].read(FIRST, [(900, 0)])})
    batch = left.batch({**zero(left, FIRST + 1, ANNA, CIA), BO: left.meters[BO].read(FIRST + 1, [(5, 0)])})
    with refused(EnergyMarket, "EnergyForeignReading", BO, "0x" + "0" * 39 + "1"):
        left.attempt(FIRST + 1, [(1000, 1500)], batch)
    with refused(EnergyMarket, "EnergyForeignReading", BO, "0x" + "0" * 39 + "1"):
        posted = left.meters[BO].read(FIRST + 1, [(5, 0)])
        values = tuple(posted.message.values().values())
        left.market.postReadings.call(values, posted.signature, {"from": left.operator})


def test_a_signature_of_zeros_reads_for_no_vacant_home(left):
    left.clear({**zero(left, FIRST, ANNA, CIA), BO: left.meters[BO].read(FIRST, [(900, 0)])})
    batch = bytearray(left.batch(zero(left, FIRST + 1, ANNA, CIA)))
    batch[71:72] = b"\1" + bytes(64) + b"\0\0\5\0\0\0"
    with refused(EnergyMarket, "EnergyForeignReading", BO, "0x" + "0" * 39 + "1"):
        left.attempt(FIRST + 1, [(1000, 1500)], bytes(batch))


def test_neither_the_registrar_nor_the_owner_can_do_it_alone(trading, bo, mallory, stranger):
    with refused(EnergyMarket, "EnergyInvalidSignature", bo.address):
        carry(trading, wish(trading, mallory))
    with refused(EnergyMarket, "EnergyCallerNotRegistrar", stranger.address, trading.operator.address):
        carry(trading, wish(trading, bo), by=stranger)


def test_it_leaves_once_orders_nothing_and_gets_no_other_meter(left, bo):
    with refused(EnergyMarket, "EnergyHomeLeft", BO, FIRST + 1):
        carry(left, wish(left, bo))
    with refused(EnergyMarket, "EnergyHomeLeft", BO, FIRST + 1):
        left.place(BO, seq=2, from_slot=FIRST + 5, buy_limit=2_000)
    signed = left.energy.replacement(bo, BO, key(0xBEEF).address, last=(0, 0), valid_before=2**40)
    with refused(EnergyMarket, "EnergyHomeLeft", BO, FIRST + 1):
        values = tuple(signed.message.values().values())
        left.market.replaceMeter.call(values, signed.signature, {"from": left.operator})


def test_a_departure_that_has_expired_is_refused(trading, bo):
    before = now() - 1
    with pytest.raises(VirtualMachineError, match=f"EnergyExpired: {before}, "):
        carry(trading, wish(trading, bo, valid_before=before))


def test_a_meter_of_a_running_home_is_not_freed_by_anothers_leave(left, mallory):
    with refused(EnergyMarket, "EnergyMeterTaken", left.meters[CIA].address, CIA):
        left.market.registerHome(mallory.address, left.meters[CIA].address, 0, 0, {"from": left.operator})


def test_a_number_that_was_left_costs_a_clearing_half_a_home(left, dora):
    left.clear({**zero(left, FIRST, ANNA, CIA), BO: left.meters[BO].read(FIRST, [(900, 0)])})
    left.clear(zero(left, FIRST + 1, ANNA, CIA))
    left.end_of(FIRST + 2)
    one = left.clear(zero(left, FIRST + 2, ANNA, CIA)).gas_used
    carry(left, wish(left, dora, left.move_in(dora), last=(0, 0)))
    left.end_of(FIRST + 5)
    for t in range(3, 5):
        left.clear(zero(left, FIRST + t, ANNA, CIA))
    two = left.clear(zero(left, FIRST + 5, ANNA, CIA)).gas_used
    assert 7_000 < two - one < 8_000
