"""`client`: what a command or a demo does, in a few lines and through the package alone."""

from __future__ import annotations

import pytest

from liggare.energy.homes import HomeSeries, read, wheel
from liggare.energy.rules import EnergyRules
from liggare.errors import ContractRefused, DataMissing, InvalidReadings
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from tests.energy.street import FIRST, KRONA, key
from tests.support import FOREVER

ANNA, BO, CIA = 1, 2, 3
DAY = 300


@pytest.fixture(scope="module")
def series() -> list[HomeSeries]:
    """The 17 real homes."""
    try:
        return read(wheel())
    except DataMissing as reason:
        pytest.skip(str(reason))


def test_half_a_day_of_seventeen_real_homes_is_cleared_and_verified(empty_street, series, carrier, w3, deployments):
    street, energy = empty_street, empty_street.energy
    for number, _ in enumerate(series, 1):
        home = street.move_in(key(number))
        signed = energy.order(key(number), home, buy=1_000 + 50 * number, sell=700 + 20 * number, cap=5_000)
        energy.carry_order(signed, carrier)
        street.pay_in(home, key(number), 100 * KRONA)
    street.pay_in(0, key(1), 1000 * KRONA)
    street.end_of(FIRST + 47)
    days = [home.day(DAY)[36:84] for home in series]
    for start in range(0, 48, 16):
        readings = {
            home: street.meters[home].read(FIRST + start, day[start : start + 16]) for home, day in enumerate(days, 1)
        }
        energy.clear(readings, carrier, count=16)
    report = verify(
        Reader(w3, deployments).rows(), [EnergyRules(deployments)], ChainState(w3, deployments, w3.eth.block_number)
    )
    assert report.findings == []
    assert report.checked["slots cleared"] == 48
    assert report.checked["Wh traded"] > 10_000
    assert street.held() == sum(street.balances())


def test_a_wish_is_known_before_and_after_it_lands(trading, bo, carrier):
    energy = trading.energy
    signed = energy.order(bo, BO, buy=1_700, cap=300)
    assert (signed.message.seq, signed.message.from_slot) == (2, FIRST)
    assert not energy.is_used(signed)
    energy.carry_order(signed, carrier)
    assert energy.is_used(signed)
    found = energy.order_of(BO, FIRST)
    assert (found.buy_limit, found.cap) == (1_700, 300)
    assert energy.order_of(BO) is None  # in the slot that runs


def test_money_in_and_out(trading, bo, carrier):
    energy = trading.energy
    trading.money.mint(bo.address, KRONA, {"from": trading.operator})
    energy.deposit(BO, b"\7" * 32, trading.payment(BO, bo, KRONA, b"\7" * 32), carrier)
    assert energy.balance(BO) == 101 * KRONA
    assert energy.reserved(BO) == 0
    signed = energy.withdrawal(bo, BO, KRONA, valid_before=FOREVER)
    assert not energy.is_used(signed)
    energy.withdraw(signed, carrier)
    assert energy.is_used(signed)
    with pytest.raises(ContractRefused, match="EnergyWithdrawalUsed"):
        energy.withdraw(signed, carrier)


def test_readings_of_other_slots_are_refused_before_anything_is_sent(trading):
    trading.end_of(FIRST + 1)
    readings = trading.read(FIRST + 1, {ANNA: (0, 1), BO: (1, 0), CIA: (0, 0)})
    with pytest.raises(InvalidReadings, match=f"home 1: 1 slots from {FIRST} on are due"):
        trading.energy.propose(readings)


def test_the_client_closes_and_posts(trading, carrier):
    trading.go_to(FIRST + 97)
    trading.energy.post(trading.meters[CIA].read(FIRST, [(5, 0)]), carrier)
    assert trading.market.isPosted(CIA, FIRST)
    trading.energy.close(FIRST + 1, carrier)
    assert trading.energy.next_slot() == FIRST + 1


def test_what_is_due_ends_at_the_gate_and_where_somebody_joins(trading, dora):
    energy = trading.energy
    trading.end_of(FIRST, energy.gate - 20)
    due = energy.due()
    assert (due.first_slot, due.count, due.cut, due.homes) == (FIRST, 0, None, [ANNA, BO, CIA])
    trading.end_of(FIRST)
    home = trading.move_in(dora)  # in slot 12, so from slot 13 on
    due = energy.due()
    assert (due.count, due.cut, due.missing_from) == (1, None, energy.begins(FIRST + 1) + energy.grace)
    assert due.meters == {home: trading.meters[home].address for home in (ANNA, BO, CIA)}
    trading.end_of(FIRST + 5)
    assert (energy.due().count, energy.due().cut) == (2, FIRST + 2)
    assert energy.due(most=1).count == 1
    with pytest.raises(InvalidReadings, match=f"in slot {FIRST + 2}: clear up to it first"):
        energy.propose({}, 3)
    idle = {ANNA: (0, 0), BO: (0, 0), CIA: (0, 0)}
    trading.clear(trading.read(FIRST, idle, idle), 2)
    due = energy.due()
    assert (due.first_slot, due.count, due.cut, due.homes) == (FIRST + 2, 4, None, [ANNA, BO, CIA, home])
    assert not energy.posted(CIA, FIRST + 2)
    signed = trading.meters[CIA].read(FIRST + 2, [(5, 0)])
    trading.market.postReadings(tuple(signed.message.values().values()), signed.signature, {"from": trading.operator})
    assert energy.posted(CIA, FIRST + 2)
