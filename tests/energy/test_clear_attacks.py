"""What a cheating operator, meter or home tries with `clear`, and which error stops it."""

from __future__ import annotations

import pytest
from brownie import EnergyMarket
from brownie.exceptions import VirtualMachineError

from liggare.energy.codec import Entry, Tag, encode_readings, entry, pack
from liggare.energy.messages import Readings
from liggare.messages import compact
from tests.energy.street import FIRST, key
from tests.support import now, refused

ANNA, BO, CIA = 1, 2, 3
PRICE = [(1500, 1500)]
"""The one true interval of the evening."""


@pytest.fixture
def evening(trading):
    """Slot 11 has ended: its readings may be cleared."""
    trading.end_of(FIRST)
    return trading


@pytest.fixture
def readings(evening):
    """What the meters signed of slot 11: Anna gave 800 Wh, Bo took 500, Cia took 600."""
    return evening.read(FIRST, {ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)})


@pytest.fixture
def batch(evening, readings):
    """The readings as calldata."""
    return evening.batch(readings)


def entries(readings, **changed):
    """The homes' entries, some changed: `bo=Entry(...)`."""
    names = {"anna": ANNA, "bo": BO, "cia": CIA}
    found = {home: entry(readings[home], (0, 0)) for home in names.values()}
    return encode_readings([changed.get(name, found[home]) for name, home in names.items()])


def test_the_true_interval_is_taken_and_no_other(evening, batch):
    supply, both, bo = 800, 1100, 500
    with refused(EnergyMarket, "EnergyLowTooLow", FIRST, 1499, both, supply):
        evening.attempt(FIRST, [(1499, 1500)], batch)
    with refused(EnergyMarket, "EnergyLowTooHigh", FIRST, 1501, bo, supply):
        evening.attempt(FIRST, [(1501, 1501)], batch)
    with refused(EnergyMarket, "EnergyHighTooHigh", FIRST, 1501, bo, supply):
        evening.attempt(FIRST, [(1500, 1501)], batch)
    with refused(EnergyMarket, "EnergyLowTooLow", FIRST, 1499, both, supply):
        evening.attempt(FIRST, [(1499, 1499)], batch)
    evening.attempt(FIRST, PRICE, batch)


def test_an_interval_cut_short_is_refused(evening):
    batch = evening.batch(evening.read(FIRST, {ANNA: (0, 500), BO: (500, 0), CIA: (600, 0)}))
    with refused(EnergyMarket, "EnergyHighTooLow", FIRST, 1999, 500, 500):
        evening.attempt(FIRST, [(1500, 1999)], batch)
    with refused(EnergyMarket, "EnergyLowTooHigh", FIRST, 1501, 500, 500):
        evening.attempt(FIRST, [(1501, 2000)], batch)
    evening.attempt(FIRST, [(1500, 2000)], batch)


@pytest.mark.parametrize("hint", [(1501, 1500), (599, 1500), (1500, 2501)])
def test_an_interval_outside_the_tariffs_or_upside_down_is_refused(evening, batch, hint):
    with refused(EnergyMarket, "EnergyHintOutside", FIRST, *hint):
        evening.attempt(FIRST, [hint], batch)


def test_no_home_can_be_omitted(evening, readings):
    without_cia = encode_readings([entry(readings[home], (0, 0)) for home in (ANNA, BO)])
    with refused(EnergyMarket, "EnergyReadingsTruncated", CIA, len(without_cia) + 1, len(without_cia)):
        evening.attempt(FIRST, [(1000, 1000)], without_cia)


def test_a_home_marked_as_without_reading_has_time_until_the_grace_to_post_it(evening, readings):
    marked = entries(readings, cia=Entry(Tag.MISSING))
    opens = evening.energy.begins(FIRST + 1) + evening.energy.grace
    with pytest.raises(VirtualMachineError, match="EnergyTooEarly"):
        evening.attempt(FIRST, [(1000, 1000)], marked)
    assert opens > now()
    evening.market.postReadings(
        tuple(readings[CIA].message.values().values()), readings[CIA].signature, {"from": evening.operator}
    )
    evening.end_of(FIRST, 700)
    with refused(EnergyMarket, "EnergyReadingPosted", CIA, FIRST):
        evening.attempt(FIRST, [(1000, 1000)], marked)
    evening.attempt(FIRST, PRICE, entries(readings, cia=Entry(Tag.POSTED)))


def test_clearing_opens_at_the_gate(evening, batch):
    evening.send(FIRST, PRICE, batch)
    evening.end_of(FIRST + 1, evening.energy.gate - 30)
    counts = {ANNA: (0, 1), BO: (1, 0), CIA: (0, 0)}
    following = evening.batch(evening.read(FIRST + 1, counts))
    opens = evening.energy.begins(FIRST + 2) + evening.energy.gate
    with pytest.raises(VirtualMachineError, match=f"EnergyTooEarly: {opens}, "):
        evening.attempt(FIRST + 1, [(1000, 2000)], following)
    evening.end_of(FIRST + 1, evening.energy.gate)
    evening.attempt(FIRST + 1, [(1000, 2000)], following)


def test_a_reading_from_the_future_is_refused(evening):
    tomorrow = evening.meters[ANNA].read(FIRST + 96, [(0, 800)])
    zero = {home: evening.meters[home].read(FIRST, [(0, 0)]) for home in (BO, CIA)}
    batch = encode_readings([entry(each, (0, 0)) for each in (tomorrow, zero[BO], zero[CIA])])
    with refused(EnergyMarket, "EnergyForeignReading", ANNA, evening.meters[ANNA].address):
        evening.attempt(FIRST, [(600, 1000)], batch)


def test_a_slot_is_cleared_once(evening, batch):
    evening.send(FIRST, PRICE, batch)
    with refused(EnergyMarket, "EnergyWrongSlot", FIRST, FIRST + 1):
        evening.attempt(FIRST, PRICE, batch)


def test_slots_are_cleared_in_sequence(evening, batch):
    with refused(EnergyMarket, "EnergyWrongSlot", FIRST + 1, FIRST):
        evening.attempt(FIRST + 1, PRICE, batch)


def test_a_reading_is_taken_once(evening, batch, readings):
    evening.send(FIRST, PRICE, batch)
    evening.end_of(FIRST + 1)
    with refused(EnergyMarket, "EnergyForeignReading", ANNA, evening.meters[ANNA].address):
        evening.attempt(FIRST + 1, PRICE, batch)


def test_a_counter_cannot_go_back(evening, batch):
    evening.send(FIRST, PRICE, batch)
    evening.end_of(FIRST + 1)
    evening.meters[BO].imported -= 1
    following = evening.batch(evening.read(FIRST + 1, {ANNA: (0, 8), BO: (5, 0), CIA: (6, 0)}))
    with refused(EnergyMarket, "EnergyCounterBack", BO, 500, 499):
        evening.attempt(FIRST + 1, PRICE, following)


def test_a_counter_near_its_end_is_refused(evening, readings):
    meter = evening.meters[BO]
    meter.imported = 2**47
    late = entry(meter.read(FIRST, [(5, 0)]), (0, 0))
    with refused(EnergyMarket, "EnergyCounterTooHigh", BO, 2**47, 0):
        evening.attempt(FIRST, PRICE, entries(readings, bo=late))


def test_a_foreign_key_cannot_read_a_meter(evening, readings, mallory):
    forged = readings[BO].message.sign(mallory)
    with refused(EnergyMarket, "EnergyForeignReading", BO, evening.meters[BO].address):
        evening.attempt(FIRST, PRICE, entries(readings, bo=entry(forged, (0, 0))))


def test_a_meter_reads_for_its_own_home_only(evening, readings):
    swapped = encode_readings([entry(readings[home], (0, 0)) for home in (ANNA, CIA, BO)])
    with refused(EnergyMarket, "EnergyForeignReading", BO, evening.meters[BO].address):
        evening.attempt(FIRST, PRICE, swapped)


def test_a_reading_of_another_market_or_chain_is_refused(evening, readings):
    at = readings[BO].message
    for domain in (
        at.domain.__class__("Liggare Energy", "1", 1, at.domain.verifying_contract),
        at.domain.__class__("Liggare Energy", "1", at.domain.chain_id, key(5).address),
    ):
        other = Readings(domain, BO, FIRST, 0, 0, at.deltas).sign(evening.meters[BO].account)
        with refused(EnergyMarket, "EnergyForeignReading", BO, evening.meters[BO].address):
            evening.attempt(FIRST, PRICE, entries(readings, bo=entry(other, (0, 0))))


def test_a_changed_watt_hour_is_refused(evening, readings):
    changed = Entry(Tag.CONTINUES, compact(readings[BO].signature), pack([(501, 0)]))
    with refused(EnergyMarket, "EnergyForeignReading", BO, evening.meters[BO].address):
        evening.attempt(FIRST, PRICE, entries(readings, bo=changed))


def test_a_signature_of_zeros_is_nobodys(evening, readings):
    empty = Entry(Tag.CONTINUES, bytes(64), readings[BO].message.deltas)
    with refused(EnergyMarket, "EnergyForeignReading", BO, evening.meters[BO].address):
        evening.attempt(FIRST, PRICE, entries(readings, bo=empty))


def test_padded_readings_are_refused(evening, batch):
    with refused(EnergyMarket, "EnergyReadingsPadded", len(batch), len(batch) + 1):
        evening.attempt(FIRST, PRICE, batch + b"\0")


@pytest.mark.parametrize("cut", [1, 70, 71])
def test_truncated_readings_are_refused(evening, batch, cut):
    length = len(batch) - cut
    # all but the last home's tag may be there: then its whole entry is missed, or only the mark
    needed = len(batch) if cut < 71 else len(batch) - 71 + 1
    with refused(EnergyMarket, "EnergyReadingsTruncated", CIA, needed, length):
        evening.attempt(FIRST, PRICE, batch[:-cut])


def test_an_unknown_form_of_entry_is_refused(evening, batch):
    with refused(EnergyMarket, "EnergyUnknownTag", ANNA, 4):
        evening.attempt(FIRST, PRICE, b"\4" + batch[1:])


@pytest.mark.parametrize("hints", [b"", bytes(5), bytes(7)])
def test_misaligned_hints_are_refused(evening, batch, hints):
    with refused(EnergyMarket, "EnergyMalformedHints", len(hints)):
        evening.market.clear.call(FIRST, hints, batch, {"from": evening.operator})


def test_cutting_the_calldata_itself_is_refused(evening, batch):
    data = evening.market.clear.encode_input(FIRST, pack(PRICE), batch)
    with pytest.raises(VirtualMachineError, match="revert"):
        evening.operator.transfer(evening.market.address, 0, data=data[:-64])


def test_anyone_may_clear(evening, batch, stranger):
    evening.market.clear(FIRST, pack(PRICE), batch, {"from": stranger})
    assert evening.market.nextSlot() == FIRST + 1
