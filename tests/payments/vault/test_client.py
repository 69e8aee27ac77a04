"""The package's own client of the vault, against the chain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import StablecoinVault, ZeroFeePayments
from brownie import accounts as brownie_accounts

from liggare.chain.deployments import Deployment
from liggare.chain.sender import Sender
from liggare.errors import ContractRefused, UsageError
from liggare.payments.vault import Vault
from tests.payments.conftest import KRONA


@pytest.fixture
def ella(bank, w3):
    """A member with ether and tokens for 100; her Sender."""
    from tests.conftest import _person

    account = _person("ella")
    brownie_accounts[7].transfer(account.address, "1 ether")
    bank.token.mint(account.address, 100 * 10**18, {"from": bank.dan})
    return Sender(w3, account)


def test_a_deposit_approves_what_it_needs_and_no_more(bank, vault, ella, bo):
    vault.deposit(bo.address, 40 * KRONA, ella)
    assert bank.money.balanceOf(bo.address) == 340 * KRONA
    assert bank.token.allowance(ella.account.address, bank.contract) == 0
    assert (vault.issued(), vault.held()) == (840 * KRONA, 840 * 10**18)


def test_an_old_allowance_that_is_too_small_is_set_to_zero_first(bank, vault, ella, bo, w3):
    ella.send(vault.token.functions.approve(bank.contract.address, 5))
    seen = w3.eth.get_transaction_count(ella.account.address)
    vault.deposit(bo.address, KRONA, ella)
    assert w3.eth.get_transaction_count(ella.account.address) == seen + 3
    assert bank.money.balanceOf(bo.address) == 301 * KRONA


def test_a_deposit_of_more_than_one_has_is_refused_by_name(vault, ella, bo):
    with pytest.raises(ContractRefused, match="VaultTokenRefused"):
        vault.deposit(bo.address, 101 * KRONA, ella)


def test_a_withdrawal_by_one_signature(bank, vault, carrier, anna, cia):
    wish = vault.withdrawal(anna, cia.address, 20 * KRONA)
    vault.withdraw(wish, carrier)
    assert bank.token.balanceOf(cia.address) == 20 * 10**18
    with pytest.raises(ContractRefused, match="PaymentsNonceUsed"):
        vault.withdraw(wish, carrier)


def test_two_withdrawals_have_two_salts(vault, anna):
    one, two = (vault.withdrawal(anna, anna.address, 1) for _ in range(2))
    assert one.signed.message.nonce != two.signed.message.nonce


def test_a_token_without_signed_deposits_is_named(bank, vault, anna):
    with pytest.raises(UsageError, match="takes no signed deposits"):
        vault.authorization(anna, anna.address, KRONA)


@pytest.fixture
def signed_vault(bank, deployments, w3, operator, anna):
    """The client of a vault whose token takes signatures; Anna has 100 of it."""
    token = ZeroFeePayments.deploy("Signed Dollar", "SGD", operator, {"from": operator})
    token.mint(anna.address, 100 * KRONA, {"from": operator})
    contract = StablecoinVault.deploy(bank.money, token, {"from": operator})
    bank.money.addVault(contract, {"from": operator})
    place = Deployment(contract.address, contract.tx.txid, contract.tx.block_number, [], "")
    return Vault(w3, replace(deployments, contracts={**deployments.contracts, "StablecoinVault": place}))


def test_a_member_without_ether_brings_tokens_by_one_signature(bank, signed_vault, carrier, anna, bo):
    wish = signed_vault.authorization(anna, bo.address, 30 * KRONA)
    signed_vault.deposit_by_authorization(wish, carrier)
    assert bank.money.balanceOf(bo.address) == 330 * KRONA
    assert signed_vault.held() == 30 * KRONA
