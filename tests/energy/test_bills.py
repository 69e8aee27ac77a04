"""`bills`: to the unit what the balances went down by, gaps and unpaid feed-in too, from events alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liggare.chain.sender import Sender
from liggare.energy.bills import Line, Price, frame, prices, read_book, slot_at
from liggare.energy.meter import Meter
from liggare.errors import LedgerError, UsageError
from liggare.ledger.reader import Reader
from scripts.nodes import funded
from tests.energy.street import FIRST, KRONA, key

ANNA, BO, CIA = 1, 2, 3
PAID_IN = {ANNA: 0, BO: 100 * KRONA, CIA: 100 * KRONA}


@pytest.fixture
def rows(w3, deployments):
    """The ledger as it stands."""
    return lambda: list(Reader(w3, deployments).rows())


@pytest.fixture
def lived(trading):
    """Five slots: all traded, Cia's meter silent for one and read again, one closed, all traded."""
    street = trading
    street.end_of(FIRST + 1, 700)
    street.clear(street.read(FIRST, {ANNA: (0, 900), BO: (500, 0), CIA: (300, 0)}))
    silent = street.read(FIRST + 1, {ANNA: (0, 400), BO: (700, 0), CIA: (250, 50)})
    del silent[CIA]
    street.clear(silent)
    street.end_of(FIRST + 2)
    street.clear(street.read(FIRST + 2, {ANNA: (100, 0), BO: (0, 0), CIA: (0, 200)}))
    for home, pair in ((ANNA, (40, 10)), (BO, (0, 0)), (CIA, (60, 0))):
        street.meters[home].count([pair])
    street.go_to(FIRST + 4 + 97)
    street.energy.contract.functions.closeSlots(FIRST + 4).transact({"from": street.operator.address})
    street.clear(street.read(FIRST + 4, {ANNA: (0, 1_000), BO: (10, 0), CIA: (20, 0)}))
    return street


def test_every_homes_bill_is_what_its_balance_went_down_by(lived, rows, deployments):
    book = read_book(rows(), deployments)
    for home, paid_in in PAID_IN.items():
        bill = book.bill(home)
        assert paid_in - bill.cost == lived.energy.balance(home)
        assert bill.cost == bill.bought_for - bill.sold_for + bill.fee + bill.grid - bill.feed_in + bill.unpaid
        counted = lived.energy.contract.functions.countersOf(home).call()
        assert bill.bought + bill.from_grid - bill.sold - bill.to_grid == counted[0] - counted[1]
    assert sum(book.bill(home).bought for home in PAID_IN) == sum(book.bill(home).sold for home in PAID_IN) > 0
    assert sum(book.bill(home).bought_for - book.bill(home).sold_for for home in PAID_IN) == 0


def test_a_bill_says_what_was_bought_from_whom(lived, rows, deployments):
    """Bo alone takes Anna's 400 in the second slot, since Cia's meter is silent."""
    book, slot = read_book(rows(), deployments, BO), FIRST + 1
    bill = book.bill(BO, slot, slot + 1)
    price = next(line.price for line in book.lines if line.slot == slot)
    assert (bill.slots, bill.bought, bill.from_grid, bill.sold, bill.to_grid) == (1, 400, 300, 0, 0)
    assert (bill.bought_for, bill.grid, bill.alone) == (400 * price, 300 * 2_500, 700 * 2_500)
    assert bill.saved == 400 * (2_500 - price) == bill.alone - bill.cost
    assert {line.home for line in book.lines} == {BO}


def test_a_gap_is_billed_by_the_grid_when_the_readings_go_on(lived, rows, deployments):
    book = read_book(rows(), deployments, CIA)
    gaps = [line for line in book.lines if line.is_gap]
    assert [(line.slot, line.imported, line.exported) for line in gaps] == [(FIRST + 2, 250, 50), (FIRST + 4, 60, 0)]
    assert gaps[0].cost == 250 * 2_500 - 50 * 600
    bill = book.bill(CIA)
    assert (bill.slots, bill.gap_imported, bill.gap_exported) == (3, 310, 50)
    nothing = book.bill(CIA, FIRST + 1, FIRST + 2)
    assert (nothing.slots, nothing.cost, nothing.alone) == (0, 0, 0)


def test_what_a_replaced_meter_counted_at_last_is_billed(trading, rows, deployments, bo):
    """Bo's meter counts 70 Wh in slot 10 that no reading tells; another one counts from slot 11 on."""
    street, energy = trading, trading.energy
    before = energy.balance(BO)
    other = Meter(key(0x2000), BO, energy.domain, imported=5_000)
    signed = energy.replacement(bo, BO, other.address, imported=5_000, last=(70, 0))
    energy.replace_meter(signed, Sender(energy.w3, funded(0)))
    street.meters[BO] = other
    street.end_of(FIRST)
    street.clear(street.read(FIRST, {ANNA: (0, 100), BO: (400, 0), CIA: (0, 0)}))
    book = read_book(rows(), deployments, BO)
    assert [(line.slot, line.is_gap, line.imported) for line in book.lines] == [(FIRST, True, 70), (FIRST, False, 400)]
    assert book.bill(BO).cost == before - energy.balance(BO)
    assert book.bill(BO).gap_imported == 70


def test_periods_add_up(lived, rows, deployments):
    book = read_book(rows(), deployments)
    for home in PAID_IN:
        parts = [book.bill(home, slot, slot + 1) for slot in range(FIRST, FIRST + 5)]
        whole = book.bill(home, FIRST, FIRST + 5)
        for name in ("cost", "alone", "saved", "bought", "to_grid", "slots"):
            assert sum(getattr(part, name) for part in parts) == getattr(whole, name)


def test_feed_in_that_the_utility_could_not_pay_is_told_apart(empty_street, anna, rows, deployments):
    street = empty_street
    street.move_in(anna)
    street.end_of(FIRST)
    street.clear(street.read(FIRST, {ANNA: (0, 500)}))
    bill = read_book(rows(), deployments, ANNA).bill(ANNA)
    assert (bill.feed_in, bill.unpaid, bill.cost, bill.alone) == (300_000, 300_000, 0, -300_000)
    assert bill.saved == 0


def test_a_ledger_that_is_off_gives_no_bill(lived, rows, deployments):
    told = rows()
    place = next(n for n, row in enumerate(told) if row.event == "SlotCleared")
    told[place] = replace(told[place], arguments={**told[place].arguments, "price": 1})
    with pytest.raises(LedgerError, match="price is what orders and readings imply"):
        read_book(told, deployments, BO)


def test_an_unknown_home_is_named(lived, rows, deployments):
    with pytest.raises(UsageError, match="no home 4: homes are 1 to 3"):
        read_book(rows(), deployments, 4)


def test_prices_are_those_of_the_slots_that_were_cleared(lived, rows):
    genesis = lived.energy.genesis
    found = prices(rows(), genesis)
    assert [each.slot for each in found] == [FIRST, FIRST + 1, FIRST + 2, FIRST + 4]
    assert [each.volume_wh for each in found] == [800, 400, 0, 30]
    assert found[0].begins == genesis + FIRST * 900
    assert [each.slot for each in prices(rows(), genesis, FIRST + 1, FIRST + 4)] == [FIRST + 1, FIRST + 2]


def test_lines_and_prices_are_tables(lived, rows, deployments):
    genesis = lived.energy.genesis
    lines = read_book(rows(), deployments, BO).lines
    table = frame(lines, genesis, Line)
    assert table["slot"].tolist() == [line.slot for line in lines]
    assert table["time"].iloc[0].timestamp() == genesis + lines[0].slot * 900
    told = frame(prices(rows(), genesis), genesis, Price)
    assert list(told) == ["slot", "time", "price", "lo", "hi", "volume_wh"]
    assert frame([], genesis, Price).empty


@pytest.mark.parametrize(
    ("words", "slot"),
    [
        ("17", 17),
        ("1970-01-02", 84),
        ("1970-01-01T03:00:01", 1),
        ("1970-01-01T03:15", 1),
        ("1970-01-01T04:15+01:00", 1),
        ("1969-01-01", 0),
    ],
)
def test_a_time_is_the_first_slot_that_begins_then_or_later(words, slot):
    assert slot_at(words, 3 * 3_600) == slot


def test_what_is_no_time_is_refused():
    with pytest.raises(UsageError, match="neither a slot's number nor a date"):
        slot_at("noon", 0)
