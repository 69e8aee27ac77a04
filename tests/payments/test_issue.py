"""Issuing: narrow, visible, and no power over anybody's money."""

from __future__ import annotations

from brownie import ZeroFeePayments

from tests.payments.conftest import KRONA
from tests.support import refused

NOBODY = "0x" + "0" * 40


def test_minting_raises_the_supply(payments, operator, anna):
    before = payments.totalSupply()
    payments.mint(anna.address, 5, {"from": operator})
    assert payments.totalSupply() == before + 5


def test_only_the_issuer_mints_burns_and_hands_on(payments, operator, stranger):
    for action in (
        lambda: payments.mint(stranger, 1, {"from": stranger}),
        lambda: payments.burn(0, {"from": stranger}),
        lambda: payments.changeIssuer(stranger, {"from": stranger}),
    ):
        with refused(ZeroFeePayments, "PaymentsCallerNotIssuer", stranger.address, operator.address):
            action()


def test_the_issuer_burns_only_its_own(payments, operator):
    with refused(ZeroFeePayments, "PaymentsInsufficientBalance", operator.address, 0, 1):
        payments.burn(1, {"from": operator})
    payments.mint(operator, 3 * KRONA, {"from": operator})
    before = payments.totalSupply()
    payments.burn(2 * KRONA, {"from": operator})
    assert (payments.balanceOf(operator), payments.totalSupply()) == (KRONA, before - 2 * KRONA)


def test_minting_to_nobody_is_refused(payments, operator):
    with refused(ZeroFeePayments, "PaymentsInvalidReceiver", NOBODY):
        payments.mint(NOBODY, 1, {"from": operator})


def test_the_supply_fits_a_balance(payments, operator, anna):
    supply = payments.totalSupply()
    room = 2**128 - 1 - supply
    with refused(ZeroFeePayments, "PaymentsSupplyOverflow", supply, room + 1):
        payments.mint(anna.address, room + 1, {"from": operator})
    payments.mint(anna.address, room, {"from": operator})
    assert payments.balanceOf(anna.address) == 1000 * KRONA + room


def test_the_role_can_be_handed_on_and_ended(payments, operator, stranger):
    payments.changeIssuer(stranger, {"from": operator})
    assert payments.issuer() == stranger
    payments.changeIssuer(NOBODY, {"from": stranger})
    with refused(ZeroFeePayments, "PaymentsCallerNotIssuer", stranger.address, NOBODY):
        payments.mint(stranger, 1, {"from": stranger})


def test_a_vault_mints_and_burns_its_own(payments, operator, stranger, anna):
    receipt = payments.addVault(stranger, {"from": operator})
    assert receipt.events["VaultAdded"]["vault"] == stranger
    assert payments.isKnownVault(stranger)
    payments.mint(stranger, 5, {"from": stranger})
    payments.burn(2, {"from": stranger})
    assert payments.balanceOf(stranger) == 3
    with refused(ZeroFeePayments, "PaymentsInsufficientBalance", stranger.address, 3, 4):
        payments.burn(4, {"from": stranger})


def test_only_the_issuer_adds_vaults_and_a_vault_none(payments, operator, stranger, anna):
    with refused(ZeroFeePayments, "PaymentsCallerNotIssuer", stranger.address, operator.address):
        payments.addVault(stranger, {"from": stranger})
    payments.addVault(stranger, {"from": operator})
    for action in (payments.addVault, payments.changeIssuer):
        with refused(ZeroFeePayments, "PaymentsCallerNotIssuer", stranger.address, operator.address):
            action(anna.address, {"from": stranger})


def test_nobody_can_take_a_vaults_role_back(payments, operator, stranger):
    """Else the issuer could lock the deposits in."""
    payments.addVault(stranger, {"from": operator})
    payments.changeIssuer(NOBODY, {"from": operator})
    payments.mint(stranger, 1, {"from": stranger})
    payments.burn(1, {"from": stranger})
    assert payments.isKnownVault(stranger)
    writers = {item["name"] for item in payments.abi if "ault" in item.get("name", "") and item["type"] == "function"}
    assert writers == {"addVault", "isKnownVault"}
