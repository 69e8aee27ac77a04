"""`withdraw`: a home's money goes out by its owner's signature, up to what its running orders need."""

from __future__ import annotations

import pytest
from brownie import EnergyMarket, accounts
from brownie.exceptions import VirtualMachineError

from liggare.energy.messages import Withdrawal
from tests.energy.street import FIRST, KRONA, key
from tests.support import isolated, now, refused

UTILITY, ANNA, BO, CIA = 0, 1, 2, 3


def wish(street, owner, home, value, **fields):
    """A signed withdrawal to the owner, valid for ever."""
    fields = {"to": owner.address, "valid_before": 2**40, "nonce": bytes(32)} | fields
    return street.energy.withdrawal(owner, home, value, **fields)


def carry(street, signed):
    """Carry a withdrawal with the operator's gas."""
    values = tuple(signed.message.values().values())
    return street.market.withdraw(values, signed.signature, {"from": street.operator})


def test_the_money_goes_out_to_whom_the_owner_named(street, bo, cia):
    signed = wish(street, bo, BO, 30 * KRONA, to=cia.address)
    event = carry(street, signed).events["Withdrawn"]
    assert (event["home"], event["to"], event["value"]) == (BO, cia.address, 30 * KRONA)
    assert event["id"] == signed.id.to_0x_hex()
    assert street.balances()[BO] == 70 * KRONA
    assert street.money.balanceOf(cia.address) == 30 * KRONA


def test_it_works_once(street, bo):
    signed = wish(street, bo, BO, KRONA)
    carry(street, signed)
    with refused(EnergyMarket, "EnergyWithdrawalUsed", signed.id):
        carry(street, signed)


def test_nobody_withdraws_more_than_there_is(street, bo, anna):
    with refused(EnergyMarket, "EnergyInsufficientBalance", BO, 100 * KRONA, 100 * KRONA + 1):
        carry(street, wish(street, bo, BO, 100 * KRONA + 1))
    with refused(EnergyMarket, "EnergyInsufficientBalance", ANNA, 0, 1):
        carry(street, wish(street, anna, ANNA, 1))


def test_what_begun_slots_may_cost_is_reserved_until_they_are_settled(trading, bo):
    trading.end_of(FIRST)  # slot 12 runs, 11 is not settled: two slots of 5,000 Wh at 2,000
    assert trading.market.reserved(BO) == 2 * 5_000 * 2_000
    free = 100 * KRONA - 20 * KRONA
    with refused(EnergyMarket, "EnergyInsufficientBalance", BO, free, free + 1):
        carry(trading, wish(trading, bo, BO, free + 1))
    with isolated():
        carry(trading, wish(trading, bo, BO, free))
    trading.clear(trading.read(FIRST, {ANNA: (0, 0), BO: (0, 0), CIA: (0, 0)}))
    assert trading.market.reserved(BO) == 5_000 * 2_000


def test_the_reserve_follows_each_order_of_the_open_slots(trading):
    trading.place(BO, seq=2, from_slot=FIRST + 1, until_slot=FIRST + 2, buy_limit=9_999, cap=100)
    trading.place(BO, seq=3, from_slot=FIRST + 3, buy_limit=599, cap=100)
    trading.go_to(FIRST + 4)
    # 5,000 at 2,000; 100 at 9,999, which counts as the tariff; then none; then below feed-in, never heard
    assert trading.market.reserved(BO) == 5_000 * 2_000 + 100 * 2_500


def test_a_debtor_withdraws_nothing(street, anna):
    street.end_of(FIRST)
    street.clear(street.read(FIRST, {ANNA: (1000, 0), BO: (0, 0), CIA: (0, 0)}))
    with refused(EnergyMarket, "EnergyInsufficientBalance", ANNA, -1000 * 2500, 1):
        carry(street, wish(street, anna, ANNA, 1))


def test_the_utility_withdraws_what_is_not_owed_to_it(street, operator):
    street.end_of(FIRST)
    street.clear(street.read(FIRST, {ANNA: (1000, 0), BO: (0, 0), CIA: (0, 0)}))
    assert street.balances()[UTILITY] == 1000 * KRONA + 1000 * 2500
    values = (UTILITY, operator.address, 1000 * KRONA + 1, 2**40, bytes(32))
    with refused(EnergyMarket, "EnergyInsufficientBalance", UTILITY, 1000 * KRONA, 1000 * KRONA + 1):
        street.market.withdraw(values, b"", {"from": operator})
    street.market.withdraw((UTILITY, operator.address, 1000 * KRONA, 2**40, bytes(32)), b"", {"from": operator})
    assert street.held() == 200 * KRONA  # all that Bo and Cia have


def test_the_owner_needs_no_signature(street, bo):
    home = street.move_in(accounts[7])
    street.pay_in(home, bo, KRONA)
    street.market.withdraw((home, accounts[7].address, KRONA, 2**40, bytes(32)), b"", {"from": accounts[7]})
    assert street.money.balanceOf(accounts[7].address) == KRONA


def test_nobody_withdraws_for_another(street, mallory, bo):
    with refused(EnergyMarket, "EnergyInvalidSignature", bo.address):
        carry(street, wish(street, mallory, BO, KRONA))


def test_a_withdrawal_from_another_market_is_refused(street, bo):
    at = street.domain
    other = at.__class__(at.name, at.version, at.chain_id, key(5).address)
    with refused(EnergyMarket, "EnergyInvalidSignature", bo.address):
        carry(street, Withdrawal(other, BO, bo.address, KRONA, 2**40, bytes(32)).sign(bo))


def test_a_withdrawal_of_nobody_is_refused(street, bo):
    with refused(EnergyMarket, "EnergyUnknownHome", 4, 3):
        carry(street, wish(street, bo, 4, 1))


def test_a_withdrawal_that_has_expired_is_refused(street, bo):
    before = now() - 1
    with pytest.raises(VirtualMachineError, match=f"EnergyExpired: {before}, "):
        carry(street, wish(street, bo, BO, KRONA, valid_before=before))
