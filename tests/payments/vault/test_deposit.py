"""`deposit`: tokens in, as much of our money out."""

from __future__ import annotations

import pytest
from brownie import StablecoinVault

from tests.payments.conftest import KRONA
from tests.payments.vault.bank import answer
from tests.support import refused


def test_as_much_money_comes_out_as_tokens_went_in(empty_bank, anna):
    empty_bank.deposit(anna, 500 * KRONA)
    assert empty_bank.money.balanceOf(anna.address) == 500 * KRONA
    assert empty_bank.token.balanceOf(empty_bank.contract) == 500 * 10**18
    assert empty_bank.standing() == (500 * KRONA, 500 * KRONA, 0)
    assert empty_bank.money.totalSupply() == 500 * KRONA


def test_the_event_tells_who_gave_and_who_got(empty_bank, anna):
    told = empty_bank.deposit(anna, 7).events["Deposited"]
    assert (told["from"], told["to"], told["value"]) == (empty_bank.dan, anna.address, 7)


def test_the_smallest_unit_is_exact(empty_bank, anna):
    empty_bank.deposit(anna, 1)
    assert empty_bank.token.balanceOf(empty_bank.contract) == 10**12
    assert empty_bank.money.balanceOf(anna.address) == 1


def test_nobody_gives_what_another_allowed(bank, stranger):
    """Dan's allowance to the vault is Dan's to use."""
    bank.give(5 * KRONA)
    why = answer("ERC20InsufficientAllowance", bank.contract.address, 0, 5 * 10**18)
    with refused(StablecoinVault, "VaultTokenRefused", bank.token.address, why):
        bank.contract.deposit(stranger, 5 * KRONA, {"from": stranger})


def test_tokens_that_are_not_there_are_refused(bank, anna):
    bank.token.approve(bank.contract, 10**18, {"from": bank.dan})
    why = answer("ERC20InsufficientBalance", bank.dan.address, 0, 10**18)
    with refused(StablecoinVault, "VaultTokenRefused", bank.token.address, why):
        bank.contract.deposit(anna.address, KRONA, {"from": bank.dan})
    assert bank.standing() == (800 * KRONA, 800 * KRONA, 0)


@pytest.mark.parametrize("who", ["zero", "vault", "money"])
def test_a_receiver_who_could_not_use_it_is_refused(bank, who):
    to = {"zero": "0x" + "0" * 40, "vault": bank.contract.address, "money": bank.money.address}[who]
    bank.give(KRONA)
    with refused(StablecoinVault, "VaultInvalidReceiver", to):
        bank.contract.deposit(to, KRONA, {"from": bank.dan})


@pytest.mark.parametrize("value", [2**128 - 800 * KRONA, 2**256 - 1])
def test_more_than_a_balance_holds_is_refused_before_the_token_is_asked(bank, anna, value):
    with refused(StablecoinVault, "VaultOverflow", 800 * KRONA, value):
        bank.contract.deposit(anna.address, value, {"from": bank.dan})


def test_tokens_sent_to_the_vault_are_nobodys_and_change_nothing(bank, anna, bo):
    """No inflation: a deposit after a gift is worth the same, and the gift can't be taken out."""
    bank.token.mint(bank.contract, 10**24, {"from": bank.dan})
    bank.deposit(anna, KRONA)
    assert bank.money.balanceOf(anna.address) == 501 * KRONA
    assert bank.contract.issued() == 801 * KRONA


def test_a_gift_before_the_first_deposit_changes_nothing(empty_bank, anna):
    """The classic attack on vaults with shares: give first, so that the next depositor's share rounds to nothing."""
    empty_bank.token.mint(empty_bank.contract, 10**24 + 1, {"from": empty_bank.dan})
    empty_bank.deposit(anna, 1)
    assert empty_bank.money.balanceOf(anna.address) == 1
    empty_bank.withdraw(empty_bank.wish(anna, 1))
    assert empty_bank.token.balanceOf(anna.address) == 10**12


def test_a_vault_that_the_issuer_did_not_add_issues_nothing(bank, operator, anna):
    from brownie import ZeroFeePayments

    twin = StablecoinVault.deploy(bank.money, bank.token, {"from": operator})
    bank.token.mint(bank.dan, 10**18, {"from": bank.dan})
    bank.token.approve(twin, 10**18, {"from": bank.dan})
    with refused(ZeroFeePayments, "PaymentsCallerNotIssuer", twin.address, operator.address):
        twin.deposit(anna.address, KRONA, {"from": bank.dan})
    assert bank.token.balanceOf(twin) == 0
