"""`EnergyRules`: an honest history leaves no finding; whatever is changed in it is found and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liggare.energy.codec import Tag, decode_readings, encode_readings
from liggare.energy.meter import Meter
from liggare.energy.rules import EnergyRules
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from tests.energy.street import FIRST, KRONA, key

ANNA, BO, CIA = 1, 2, 3
DAY = 96


@pytest.fixture
def history(trading, dora, bo, operator, w3, deployments):
    """Everything that can happen: trade, a gap, posted readings, closed slots, money out, an empty utility."""
    street = trading
    home = street.move_in(dora)
    street.end_of(FIRST + 2, 700)
    counts = {ANNA: (0, 800), BO: (500, 0), CIA: (600, 0), home: (30, 90)}
    readings = street.read(FIRST, counts, counts)
    street.clear(readings, count=2)
    readings = street.read(FIRST + 2, counts)
    signed = readings[CIA]
    street.market.postReadings(tuple(signed.message.values().values()), signed.signature, {"from": operator})
    street.clear({BO: readings[BO], ANNA: readings[ANNA]})  # Cia's as posted, Dora's missing
    street.place(BO, seq=2, from_slot=FIRST + 5, until_slot=FIRST + 9, buy_limit=1_800, cap=700)
    out = street.energy.withdrawal(bo, BO, 50 * KRONA, nonce=bytes(32), valid_before=2**40)
    street.market.withdraw(tuple(out.message.values().values()), out.signature, {"from": operator})
    street.go_to(FIRST + 6 + DAY)
    street.market.closeSlots(FIRST + 5, {"from": operator})
    values = (0, operator.address, 1000 * KRONA, 2**40, bytes(32))
    street.market.withdraw(values, b"", {"from": operator})
    street.clear(street.read(FIRST + 5, {**counts, ANNA: (0, 9_000)}))
    return list(Reader(w3, deployments).rows())


def changed(rows, event: str, place: int = 0, **arguments):
    """The rows with arguments of one event changed."""
    index = [i for i, row in enumerate(rows) if row.event == event][place]
    row = rows[index]
    return [*rows[:index], replace(row, arguments={**row.arguments, **arguments}), *rows[index + 1 :]]


def rules_broken(rows, deployments, state=None) -> str:
    """What is off, as one text."""
    return "\n".join(map(str, verify(rows, [EnergyRules(deployments)], state).findings))


def test_an_honest_history_leaves_no_finding(history, deployments, w3):
    state = ChainState(w3, deployments, w3.eth.block_number)
    rules = EnergyRules(deployments)
    report = verify(history, [rules], state)
    assert report.findings == []
    assert report.events["EnergyMarket.FeedInUnpaid"] == 1
    assert rules.checked() == {
        "homes": 4, "deposits": 3, "orders": 4, "readings": 16 - 4 + 2, "slots cleared": 4, "Wh traded": 3500,
        "readings posted": 1, "withdrawals": 2, "slots closed": 2, "accounts": 5,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "by"), [("price", 1), ("lo", -1), ("hi", 1), ("volume", 1)])
def test_a_shifted_price_or_volume_is_named(history, deployments, name, by):
    value = next(row for row in history if row.event == "SlotCleared").arguments[name]
    rows = changed(history, "SlotCleared", **{name: value + by})
    assert f"{name} is what orders and readings imply; expected {value}, found {value + by}" in rules_broken(
        rows, deployments
    )


def test_a_changed_order_is_named(history, deployments):
    assert "an order's id is its digest" in rules_broken(
        changed(history, "OrderPlaced", buyLimit=1, cap=9), deployments
    )


def test_a_changed_reading_is_named(history, deployments):
    row = next(row for row in history if row.event == "ReadingsTaken")
    tampered = bytearray(row.arguments["readings"])
    tampered[70] ^= 1
    broken = rules_broken(changed(history, "ReadingsTaken", readings=bytes(tampered)), deployments)
    assert "home 1: its meter signed the reading" in broken
    assert "what orders and readings imply" in broken


def test_an_omitted_home_is_named(history, deployments):
    row = next(row for row in history if row.event == "ReadingsTaken")
    entries = decode_readings(row.arguments["readings"], 4, 2)
    rows = changed(history, "ReadingsTaken", homes=3, readings=encode_readings(entries[:3]))
    broken = rules_broken(rows, deployments)
    assert "every home is in the batch; expected 4, found 3" in broken
    assert "the readings can be decoded" in broken


def test_a_silent_gap_and_an_unused_posted_reading_are_named(history, deployments):
    rows = [row for row in history if row.event != "ReadingMissing"]
    assert "each home without a reading is told" in rules_broken(rows, deployments)
    row = [row for row in history if row.event == "ReadingsTaken"][1]
    entries = [
        replace(item, tag=Tag.MISSING) if item.tag == Tag.POSTED else item
        for item in decode_readings(row.arguments["readings"], 4, 1)
    ]
    rows = changed(history, "ReadingsTaken", 1, readings=encode_readings(entries))
    assert "home 3: a posted reading is used" in rules_broken(rows, deployments)


def test_a_missing_slot_is_named(history, deployments):
    index = next(i for i, row in enumerate(history) if row.event == "SlotCleared")
    assert "each slot is told" in rules_broken([*history[:index], *history[index + 1 :]], deployments)


def test_a_clearing_before_its_time_is_named(history, deployments):
    index = next(i for i, row in enumerate(history) if row.event == "ReadingsTaken")
    early = replace(history[index], timestamp=history[index].timestamp - 3_000)
    assert "cleared after its gate" in rules_broken([*history[:index], early, *history[index + 1 :]], deployments)


def test_money_that_moved_otherwise_is_named(history, deployments, w3):
    state = ChainState(w3, deployments, w3.eth.block_number)
    broken = rules_broken(changed(history, "Deposited", value=99 * KRONA), deployments, state)
    assert "home 2: the balance is what was settled" in broken
    withdrawn = rules_broken(changed(history, "Withdrawn", value=5_000 * KRONA), deployments)
    assert "nobody withdraws more than is free" in withdrawn


def test_feed_in_told_unpaid_that_was_not_is_named(history, deployments):
    assert "the feed-in that was not covered is told" in rules_broken(
        changed(history, "FeedInUnpaid", unpaid=1), deployments
    )


def test_orders_and_homes_out_of_turn_are_named(history, deployments):
    annas = next(row for row in history if row.event == "HomeRegistered").arguments["meter"]
    rows = changed(history, "HomeRegistered", 1, meter=annas, fromSlot=FIRST + 3)
    broken = rules_broken(rows, deployments)
    assert "a meter belongs to one home" in broken
    assert "a home joins in the next slot" in broken
    late = changed(history, "OrderPlaced", 3, fromSlot=FIRST, seq=1)
    broken = rules_broken(late, deployments)
    assert "an order begins in a slot that has not begun" in broken
    assert "an order's number is higher than the last" in broken
    assert "closed after its time-out" in rules_broken(
        changed(history, "SlotsClosed", nextSlot=FIRST + 50), deployments
    )


@pytest.fixture
def moved(trading, bo, cia, operator, w3, deployments):
    """Bo gets another meter and Cia moves out, from slot 12 on; two slots are cleared."""
    street, energy = trading, trading.energy
    street.go_to(FIRST)
    terms = {"last": (900, 0), "valid_before": 2**40}
    replacement = energy.replacement(bo, BO, key(0xBEEF).address, imported=7, exported=8, **terms)
    departure = energy.departure(cia, CIA, **terms)
    for signed, send in ((replacement, street.market.replaceMeter), (departure, street.market.moveOut)):
        send(tuple(signed.message.values().values()), signed.signature, {"from": operator})
    street.end_of(FIRST + 1)
    street.clear(street.read(FIRST, {ANNA: (0, 800), BO: (500, 0), CIA: (600, 0)}))
    street.meters[BO] = Meter(key(0xBEEF), BO, street.domain, imported=7, exported=8)
    street.clear({home: street.meters[home].read(FIRST + 1, [(30, 40)]) for home in (ANNA, BO)})
    return list(Reader(w3, deployments).rows())


def test_changes_of_meters_leave_no_finding(moved, deployments, w3):
    report = verify(moved, [EnergyRules(deployments)], ChainState(w3, deployments, w3.eth.block_number))
    assert report.findings == []
    assert report.checked["meters changed"] == 2


def test_changes_of_meters_that_were_altered_are_named(moved, deployments, w3):
    state = ChainState(w3, deployments, w3.eth.block_number)
    annas = next(row for row in moved if row.event == "HomeRegistered").arguments["meter"]
    broken = rules_broken(changed(moved, "MeterReplaced", meter=annas), deployments)
    assert "a meter belongs to one home" in broken
    assert "home 2: its meter signed the reading" in broken
    broken = rules_broken(changed(moved, "HomeMovedOut", last=950 << 48), deployments, state)
    assert "home 3: the balance is what was settled" in broken
    broken = rules_broken(changed(moved, "HomeMovedOut", fromSlot=FIRST + 4), deployments)
    assert "a meter changes in the next slot" in broken
    assert "each home without a reading is told" in broken
    broken = rules_broken([row for row in moved if row.event != "MeterReplaced"], deployments)
    assert "home 2: its meter signed the reading" in broken
