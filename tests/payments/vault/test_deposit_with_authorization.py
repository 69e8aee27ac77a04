"""`depositWithAuthorization`: a member without ether brings tokens by one signature (ERC-3009)."""

from __future__ import annotations

import pytest
from brownie import AgreeableToken, StablecoinVault, ZeroFeePayments
from brownie import accounts as brownie_accounts

from liggare.messages import Domain
from liggare.payments.messages import ReceiveWithAuthorization
from tests.payments.conftest import KRONA, vrs
from tests.payments.vault.bank import SALT, Bank, answer
from tests.support import FOREVER, refused


@pytest.fixture
def signed_bank(vault, deployments, operator, anna):
    """A vault of a token that takes signatures: another ZeroFeePayments, with 6 decimals. Anna has 100 of it."""
    money = ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address)
    token = ZeroFeePayments.deploy("Signed Dollar", "SGD", operator, {"from": operator})
    token.mint(anna.address, 100 * KRONA, {"from": operator})
    contract = StablecoinVault.deploy(money, token, {"from": operator})
    money.addVault(contract, {"from": operator})
    return Bank(vault, contract, token, money, operator, brownie_accounts[4])


def authorization(bank, owner, to, value, salt=SALT, **changes):
    members = {
        "domain": Domain("Signed Dollar", "1", 1337, bank.token.address),
        "from_": owner.address,
        "to": bank.contract.address,
        "value": value,
        "valid_after": 0,
        "valid_before": FOREVER,
        "nonce": bytes(bank.contract.nonceOf(to.address, salt)),
    }
    return ReceiveWithAuthorization(**{**members, **changes}).sign(owner)


def carry(bank, signed, to, value, salt=SALT):
    words = (signed.message.from_, to.address, value, 0, FOREVER, salt, *vrs(signed.signature))
    return bank.contract.depositWithAuthorization(*words, {"from": bank.operator})


def test_one_to_one_with_six_decimals(signed_bank, anna, bo):
    signed = authorization(signed_bank, anna, bo, 40 * KRONA)
    told = carry(signed_bank, signed, bo, 40 * KRONA).events["Deposited"]
    assert (told["from"], told["to"], told["value"]) == (anna.address, bo.address, 40 * KRONA)
    assert signed_bank.money.balanceOf(bo.address) == 40 * KRONA
    assert signed_bank.contract.held() == signed_bank.contract.issued() == 40 * KRONA


def test_a_carrier_cannot_give_it_to_another(signed_bank, anna, mallory):
    signed = authorization(signed_bank, anna, anna, 40 * KRONA)
    why = answer("PaymentsInvalidSignature", anna.address, container=ZeroFeePayments)
    with refused(StablecoinVault, "VaultTokenRefused", signed_bank.token.address, why):
        carry(signed_bank, signed, mallory, 40 * KRONA)


def test_a_carrier_cannot_change_the_amount(signed_bank, anna):
    signed = authorization(signed_bank, anna, anna, 40 * KRONA)
    why = answer("PaymentsInvalidSignature", anna.address, container=ZeroFeePayments)
    with refused(StablecoinVault, "VaultTokenRefused", signed_bank.token.address, why):
        carry(signed_bank, signed, anna, 39 * KRONA)


def test_it_works_once(signed_bank, anna):
    signed = authorization(signed_bank, anna, anna, 40 * KRONA)
    carry(signed_bank, signed, anna, 40 * KRONA)
    nonce = signed.message.nonce
    why = answer("PaymentsNonceUsed", anna.address, nonce, container=ZeroFeePayments)
    with refused(StablecoinVault, "VaultTokenRefused", signed_bank.token.address, why):
        carry(signed_bank, signed, anna, 40 * KRONA)


def test_a_token_that_takes_no_signatures_refuses(bank, anna):
    """OddToken has no such function: nothing comes back but the refusal."""
    signed = authorization(bank, anna, anna, KRONA * bank.scale)
    with refused(StablecoinVault, "VaultTokenRefused", bank.token.address, b""):
        carry(bank, signed, anna, KRONA)


def test_a_token_that_agrees_to_every_call_gets_no_money_minted(signed_bank, operator, anna):
    """As wrapped ether with `permit`: a call that does nothing succeeds, and nothing has come."""
    token = AgreeableToken.deploy({"from": operator})
    contract = StablecoinVault.deploy(signed_bank.money, token, {"from": operator})
    signed_bank.money.addVault(contract, {"from": operator})
    lured = Bank(signed_bank.vault, contract, token, signed_bank.money, operator, signed_bank.dan)
    signed = authorization(lured, anna, anna, 10**12 * KRONA)
    with refused(StablecoinVault, "VaultAmountDiffers", 10**12 * KRONA, 0):
        carry(lured, signed, anna, KRONA)
