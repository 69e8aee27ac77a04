"""Attacks that no action's file tries: orders left out, Wh moved, bytes changed, other markets, gas, odd meters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from brownie import EnergyMarket, accounts
from brownie.exceptions import VirtualMachineError
from web3.exceptions import ContractLogicError, Web3RPCError

from liggare.energy.codec import Entry, Tag, encode_hints, encode_readings, entry, pack
from liggare.energy.settlement import Tariffs, Till
from liggare.messages import compact
from tests.energy.street import FIRST, KRONA, Street, market_at
from tests.support import isolated, refused

ANNA, BO, CIA = 1, 2, 3
COUNTS = {ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)}
PRICE = (1500, 1500)
"""The one true interval of the evening."""


@pytest.fixture
def evening(trading):
    """Slot 11 has ended: its readings may be cleared."""
    trading.end_of(FIRST)
    return trading


def settled(street, counts, *, without=(), orders=None):
    """The interval that a slot would have with other orders than those on the chain."""
    till = Till(Tariffs(2_500, 600), dict.fromkeys(counts, 100 * KRONA))
    found = orders or {home: street.energy.order_of(home, FIRST) for home in counts if home not in without}
    clearing = till.settle_slot({home: pair[0] - pair[1] for home, pair in counts.items()}, found).clearing
    return clearing.lo, clearing.hi


# ---------------------------------------------------------------------- the operator


@pytest.mark.parametrize("left_out", [ANNA, BO, CIA])
def test_a_clearing_that_ignores_an_order_is_refused(evening, left_out):
    batch = evening.batch(evening.read(FIRST, COUNTS))
    other = settled(evening, COUNTS, without=(left_out,))
    assert other != PRICE
    with pytest.raises(VirtualMachineError, match=r"Energy(Low|High)Too(Low|High)"):
        evening.attempt(FIRST, [other], batch)
    evening.attempt(FIRST, [PRICE], batch)


def test_a_clearing_under_an_old_order_is_refused(trading):
    old = {home: trading.energy.order_of(home, FIRST) for home in COUNTS}
    trading.place(CIA, seq=2, buy_limit=1_200)  # still in slot 10: takes the first one's place
    trading.end_of(FIRST)
    batch = trading.batch(trading.read(FIRST, COUNTS))
    assert settled(trading, COUNTS, orders=old) == PRICE
    with pytest.raises(VirtualMachineError, match="EnergyLowTooHigh"):
        trading.attempt(FIRST, [PRICE], batch)
    trading.attempt(FIRST, [(1200, 1200)], batch)


def test_a_wh_cannot_be_moved_between_two_homes_at_the_margin(trading):
    """Bo and Cia bid the same; of 801 Wh each gets what the running sums say, and there is nothing to say otherwise."""
    trading.place(BO, seq=2, buy_limit=1_500)
    trading.end_of(FIRST)
    readings = trading.read(FIRST, {ANNA: (0, 801), BO: (600, 0), CIA: (600, 0)})
    batch = trading.batch(readings)
    swapped = encode_readings([entry(readings[home], (0, 0)) for home in (ANNA, CIA, BO)])
    with refused(EnergyMarket, "EnergyForeignReading", BO, trading.meters[BO].address):
        trading.attempt(FIRST, [PRICE], swapped)
    moved = encode_readings([
        entry(readings[ANNA], (0, 0)),
        Entry(Tag.CONTINUES, compact(readings[BO].signature), pack([(601, 0)])),
        Entry(Tag.CONTINUES, compact(readings[CIA].signature), pack([(599, 0)])),
    ])  # fmt: skip
    with refused(EnergyMarket, "EnergyForeignReading", BO, trading.meters[BO].address):
        trading.attempt(FIRST, [PRICE], moved)
    trading.send(FIRST, [PRICE], batch)
    for home, fill in ((BO, 400), (CIA, 401)):
        assert trading.balances()[home] == 100 * KRONA - fill * 1500 - (600 - fill) * 2500


def test_a_home_cannot_be_in_the_batch_twice(evening):
    readings = evening.read(FIRST, COUNTS)
    for homes in ((ANNA, BO, BO), (ANNA, ANNA, BO), (ANNA, BO, CIA, CIA)):
        batch = encode_readings([entry(readings[home], (0, 0)) for home in homes])
        with pytest.raises(VirtualMachineError, match=r"EnergyForeignReading|EnergyReadingsPadded"):
            evening.attempt(FIRST, [PRICE], batch)


def test_a_slot_cleared_late_settles_as_in_time_and_a_closed_one_not_at_all(evening):
    readings = evening.read(FIRST, COUNTS)
    batch = evening.batch(readings)
    with isolated():
        evening.send(FIRST, [PRICE], batch)
        in_time = evening.balances()
    evening.go_to(FIRST + 200)
    with isolated():
        evening.send(FIRST, [PRICE], batch)
        assert evening.balances() == in_time
    evening.market.closeSlots(FIRST + 1, {"from": evening.operator})
    with refused(EnergyMarket, "EnergyWrongSlot", FIRST, FIRST + 1):
        evening.attempt(FIRST, [PRICE], batch)


def test_a_batch_of_another_market_is_refused(evening, deployments, operator):
    """The same homes, meters and orders on a market beside: its readings are worth nothing here, and the reverse."""
    people = evening.money.address, operator.address, operator.address
    terms = 2_500, 600, 0, evening.energy.genesis, [60, 600, 86_400]
    with isolated():
        batch = evening.batch(evening.read(FIRST, COUNTS))
        other = EnergyMarket.deploy(*people, *terms, {"from": operator})
        for home in (ANNA, BO, CIA):
            owner, meter = evening.owners[home].address, evening.meters[home].address
            other.registerHome(owner, meter, 0, 0, {"from": operator})
        slot = other.nextSlot()
        Street(evening.energy, other, evening.money, operator).go_to(slot + 1, 100)
        with refused(EnergyMarket, "EnergyForeignReading", ANNA, evening.meters[ANNA].address):
            other.clear.call(slot, encode_hints([PRICE]), batch, {"from": operator})


def test_nobody_clears_where_no_market_is(evening, deployments):
    """A call of `clear` at another contract of the suite finds nothing to run."""
    data = evening.market.clear.encode_input(FIRST, encode_hints([PRICE]), b"")
    with pytest.raises(VirtualMachineError, match="revert"):
        evening.operator.transfer(evening.money.address, 0, data=data)
    assert market_at(deployments).nextSlot() == FIRST


@pytest.mark.timeout(600)
def test_of_a_thousand_altered_batches_none_is_taken(evening, record_property):
    """Each byte changed in one bit, left out or doubled; each cut; each hint bit; each other slot number nearby."""
    function, random = evening.energy.contract.functions.clear, np.random.default_rng(5)
    batch, hints = evening.batch(evening.read(FIRST, COUNTS)), encode_hints([PRICE])
    altered = []
    for i, byte in enumerate(batch):
        flipped = bytes([byte ^ 1 << int(random.integers(0, 8))])
        altered.append((FIRST, hints, batch[:i] + flipped + batch[i + 1 :]))
        altered.append((FIRST, hints, batch[:i] + batch[i + 1 :]))
        altered.append((FIRST, hints, batch[:i] + batch[i : i + 1] + batch[i:]))
        altered.append((FIRST, hints, batch[:i]))
    for bit in range(48):
        altered.append((FIRST, (int.from_bytes(hints, "big") ^ 1 << bit).to_bytes(6, "big"), batch))
    altered += [(FIRST, hints[:length], batch) for length in range(6)]
    altered += [(slot, hints, batch) for slot in range(FIRST + 3) if slot != FIRST]
    function(FIRST, hints, batch).call()
    taken = []
    for each in altered:
        try:
            function(*each).call()
        except (ContractLogicError, Web3RPCError):
            continue
        taken.append(each)
    assert taken == []
    assert len(altered) > 900
    record_property("altered batches", len(altered))
    print(f"{len(altered)} altered batches, none taken")


# ---------------------------------------------------------------------- the meter


def test_a_jump_settles_with_the_grid_and_stops_nobody(evening):
    evening.meters[BO].count([(90_000, 0)])  # counted, it says, in slots that nobody saw
    receipt = evening.clear(evening.read(FIRST, COUNTS))
    assert receipt.events["SlotCleared"]["slot"] == FIRST
    assert evening.balances()[BO] < 100 * KRONA - 90_000 * 2500 < 0  # on the utility's credit
    assert evening.balances()[ANNA] > 0
    assert evening.held() == sum(evening.balances())


def test_of_two_readings_for_a_slot_one_counts(evening):
    readings = evening.read(FIRST, COUNTS)
    other = replace(readings[BO].message, deltas=pack([(100, 0)])).sign(evening.meters[BO].account)
    evening.clear({**readings, BO: other})
    assert tuple(evening.market.countersOf(BO)) == (100, 0)
    evening.end_of(FIRST + 1)
    following = {home: evening.meters[home].read(FIRST + 1, [(0, 0)]) for home in (ANNA, CIA)}
    again = encode_readings([
        entry(following[ANNA], (0, 800)), entry(readings[BO], (0, 0)), entry(following[CIA], (600, 0))
    ])  # fmt: skip
    with refused(EnergyMarket, "EnergyForeignReading", BO, evening.meters[BO].address):
        evening.attempt(FIRST + 1, [(600, 2500)], again)


# ---------------------------------------------------------------------- gas


def test_a_batch_short_of_gas_changes_nothing_and_can_be_sent_again_or_in_parts(trading):
    slots = 96
    trading.end_of(FIRST + slots - 1)
    readings = trading.read(FIRST, *slots * [COUNTS])
    proposal = trading.energy.propose(readings, slots)
    before = trading.balances()
    needed = trading.market.clear.estimate_gas(FIRST, proposal.hints, proposal.readings, {"from": trading.operator})
    clear = trading.energy.contract.functions.clear(FIRST, proposal.hints, proposal.readings)
    for share in (20, 50, 80, 95, 99):
        with pytest.raises((ContractLogicError, Web3RPCError, ValueError)):
            clear.call({"from": trading.operator.address, "gas": 21_000 + (needed - 21_000) * share // 100})
        assert trading.balances() == before
        assert trading.market.nextSlot() == FIRST
    trading.market.clear(FIRST, proposal.hints, proposal.readings, {"from": trading.operator})
    assert trading.market.nextSlot() == FIRST + slots


def test_the_largest_batch_that_anybody_may_name_stops_nobody(evening):
    """2^16 slots can't have ended; as many bytes of readings as a block takes are refused, and the slot stays open."""
    with refused(EnergyMarket, "EnergyMalformedHints", 6 * (2**16 + 1)):
        evening.market.clear.call(FIRST, bytes(6 * (2**16 + 1)), b"", {"from": evening.operator})
    with pytest.raises(VirtualMachineError, match="EnergyTooEarly"):
        evening.market.clear.call(FIRST, bytes(6 * 2**16), b"", {"from": evening.operator})
    batch = evening.batch(evening.read(FIRST, COUNTS))
    with refused(EnergyMarket, "EnergyReadingsPadded", len(batch), len(batch) + 100_000):
        evening.attempt(FIRST, [PRICE], batch + bytes(100_000))
    evening.send(FIRST, [PRICE], batch)


def test_orders_piled_up_by_a_home_cost_a_clearing_little(street):
    """Fifteen orders that all begin before the home first has a net: what the others' operator pays for them."""
    for seq in range(1, 16):
        street.place(BO, seq=seq, from_slot=FIRST + seq, buy_limit=1_000 + seq)
    street.end_of(FIRST + 15)
    idle = dict.fromkeys(COUNTS, (0, 0))
    street.clear(street.read(FIRST, *15 * [idle]), 15)
    with isolated():
        meters = {home: (meter.imported, meter.exported) for home, meter in street.meters.items()}
        plain = street.clear(street.read(FIRST + 15, idle)).gas_used
        for home, meter in street.meters.items():
            meter.imported, meter.exported = meters[home]
    piled = street.clear(street.read(FIRST + 15, {**idle, BO: (5, 0)})).gas_used
    assert piled - plain < 50_000


# ---------------------------------------------------------------------- the registrar


def test_the_registrar_cannot_take_a_running_home_over(trading, mallory):
    """Neither its meter for a home of Mallory's, nor a meter of Mallory's for it, nor its leave."""
    market, operator, meter = trading.market, trading.operator, trading.meters[BO].address
    with refused(EnergyMarket, "EnergyMeterTaken", meter, BO):
        market.registerHome(mallory.address, meter, 0, 0, {"from": operator})
    owner = trading.owners[BO].address
    for signed, send in (
        (
            trading.energy.replacement(mallory, BO, mallory.address, last=(0, 0), valid_before=2**40),
            market.replaceMeter,
        ),
        (trading.energy.departure(mallory, BO, last=(0, 0), valid_before=2**40), market.moveOut),
    ):
        with refused(EnergyMarket, "EnergyInvalidSignature", owner):
            send.call(tuple(signed.message.values().values()), signed.signature, {"from": operator})
    home = trading.move_in(accounts[7], mallory)  # a home of its own is all that it can make
    assert home == 4
    assert market.homeOf(BO)[:2] == (owner, meter)
