"""`deposit`: one signature of the payer, and the money is in the home's account that the payer named."""

from __future__ import annotations

from brownie import EnergyMarket, ZeroFeePayments

from tests.energy.street import FIRST, KRONA
from tests.support import refused

UTILITY, ANNA, BO, CIA = 0, 1, 2, 3


def test_the_money_is_in_the_account_and_in_the_market(street, bo):
    held = street.held()
    event = street.pay_in(BO, bo, 5 * KRONA, b"\1" * 32).events["Deposited"]
    assert (event["home"], event["from"], event["value"]) == (BO, bo.address, 5 * KRONA)
    assert street.balances()[BO] == 105 * KRONA
    assert street.held() == held + 5 * KRONA


def test_anyone_may_pay_for_a_home(street, mallory):
    street.pay_in(ANNA, mallory, KRONA)
    assert street.balances()[ANNA] == KRONA


def test_a_carrier_cannot_credit_another_home(street, bo):
    street.money.mint(bo.address, KRONA, {"from": street.operator})
    signed = street.payment(BO, bo, KRONA, b"\1" * 32)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", bo.address):
        street.carry_payment(CIA, signed, b"\1" * 32)


def test_a_payment_arrives_once(street, bo):
    signed = street.payment(BO, bo, KRONA, b"\1" * 32)
    street.money.mint(bo.address, 2 * KRONA, {"from": street.operator})
    street.carry_payment(BO, signed, b"\1" * 32)
    with refused(ZeroFeePayments, "PaymentsNonceUsed", bo.address, street.energy.deposit_nonce(BO, b"\1" * 32)):
        street.carry_payment(BO, signed, b"\1" * 32)


def test_a_payment_to_nobody_is_refused(street, bo):
    with refused(EnergyMarket, "EnergyUnknownHome", 4, 3):
        street.carry_payment(4, street.payment(4, bo, KRONA))


def test_a_payment_that_is_not_covered_is_refused(street, mallory):
    with refused(ZeroFeePayments, "PaymentsInsufficientBalance", mallory.address, 0, KRONA):
        street.carry_payment(BO, street.payment(BO, mallory, KRONA))


def test_an_account_has_a_limit_so_that_no_clearing_can_overflow(street, bo):
    with refused(EnergyMarket, "EnergyBalanceTooHigh", BO, 2**94):
        street.carry_payment(BO, street.payment(BO, bo, 2**94 - 100 * KRONA + 1))


def test_a_deposit_pays_debt_back(street, cia):
    street.end_of(FIRST)
    street.clear(street.read(FIRST, {ANNA: (1000, 0), BO: (0, 0), CIA: (0, 0)}))
    assert (street.balances()[ANNA], street.market.debt()) == (-1000 * 2500, 1000 * 2500)
    street.pay_in(ANNA, cia, 1_000_000, b"\2" * 32)
    assert (street.balances()[ANNA], street.market.debt()) == (-1_500_000, 1_500_000)
    street.pay_in(ANNA, cia, 2_000_000, b"\3" * 32)
    assert (street.balances()[ANNA], street.market.debt()) == (500_000, 0)
