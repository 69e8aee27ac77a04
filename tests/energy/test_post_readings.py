"""`postReadings`: a home puts its own readings on the chain, so that no operator can leave them out."""

from __future__ import annotations

import pytest
from brownie import EnergyMarket
from brownie.exceptions import VirtualMachineError

from liggare.energy.codec import Entry, Tag, encode_readings, entry
from tests.energy.street import FIRST, KRONA
from tests.support import refused

ANNA, BO, CIA = 1, 2, 3


def post(street, signed):
    """Carry posted readings with the operator's gas."""
    return street.market.postReadings(
        tuple(signed.message.values().values()), signed.signature, {"from": street.operator}
    )


def test_posted_readings_are_cleared_like_any_other(trading):
    trading.end_of(FIRST + 1)
    readings = trading.read(FIRST, *2 * [{ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)}])
    event = post(trading, readings[CIA]).events["ReadingsPosted"]
    assert (event["home"], event["firstSlot"]) == (CIA, FIRST)
    assert trading.market.isPosted(CIA, FIRST + 1)
    again = {home: trading.meters[home] for home in (ANNA, BO)}
    for meter in again.values():
        meter.imported = meter.exported = 0
    for t in range(2):  # the operator leaves Cia out, and what it posted is used
        one = {ANNA: again[ANNA].read(FIRST + t, [(0, 800)]), BO: again[BO].read(FIRST + t, [(500, 0)])}
        assert trading.clear(one).events["SlotCleared"]["price"] == 1500
    assert trading.market.countersOf(CIA) == (1200, 0)
    assert trading.balances()[CIA] == 100 * KRONA - 2 * (300 * 1500 + 300 * 2500)


def test_a_meter_that_contradicts_itself_counts_as_missing_and_blocks_nobody(trading):
    trading.end_of(FIRST + 1, 700)
    low = trading.meters[CIA].read(FIRST + 1, [(5, 0)])
    post(trading, low)  # from counter 0 in slot 12, but in slot 11 it says that it counted 600
    trading.meters[CIA].imported = 0
    trading.clear(trading.read(FIRST, {ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)}))
    following = trading.read(FIRST + 1, {ANNA: (0, 800), BO: (500, 0), CIA: (0, 0)})
    receipt = trading.clear({home: following[home] for home in (ANNA, BO)})
    assert receipt.events["ReadingMissing"]["home"] == CIA
    assert trading.market.nextSlot() == FIRST + 2


def test_readings_are_posted_after_their_slots(street):
    signed = street.meters[CIA].read(FIRST, [(5, 0)])
    with pytest.raises(VirtualMachineError, match=f"EnergyTooEarly: {street.energy.begins(FIRST + 1)}, "):
        post(street, signed)


def test_readings_of_settled_slots_are_refused(trading):
    trading.end_of(FIRST)
    readings = trading.read(FIRST, {ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)})
    trading.clear(readings)
    with refused(EnergyMarket, "EnergyWrongSlot", FIRST, FIRST + 1):
        post(trading, readings[CIA])


def test_readings_of_a_foreign_meter_are_refused(trading, mallory):
    trading.end_of(FIRST)
    forged = trading.meters[CIA].read(FIRST, [(5, 0)]).message.sign(mallory)
    with refused(EnergyMarket, "EnergyForeignReading", CIA, trading.meters[CIA].address):
        post(trading, forged)


def test_misaligned_deltas_are_refused(trading):
    trading.end_of(FIRST)
    for deltas in (b"", bytes(5)):
        with refused(EnergyMarket, "EnergyMalformedDeltas", len(deltas)):
            trading.market.postReadings((CIA, FIRST, 0, 0, deltas), bytes(65), {"from": trading.operator})


def test_what_nobody_posted_cannot_be_used(trading):
    trading.end_of(FIRST)
    readings = trading.read(FIRST, {ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)})
    batch = encode_readings([*(entry(readings[home], (0, 0)) for home in (ANNA, BO)), Entry(Tag.POSTED)])
    with refused(EnergyMarket, "EnergyReadingNotPosted", CIA, FIRST):
        trading.attempt(FIRST, [(1500, 1500)], batch)


def test_posted_readings_are_cleared_one_slot_at_a_time(trading):
    trading.end_of(FIRST + 1)
    readings = trading.read(FIRST, *2 * [{ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)}])
    post(trading, readings[CIA])
    batch = encode_readings([*(entry(readings[home], (0, 0)) for home in (ANNA, BO)), Entry(Tag.POSTED)])
    with refused(EnergyMarket, "EnergyPostedInBatch", CIA, 2):
        trading.attempt(FIRST, [(1500, 1500)] * 2, batch)
