"""`withdraw`: one signature, and the money is tokens again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import OwnedWallet, StablecoinVault, ZeroFeePayments

from liggare.messages import address
from tests.payments.conftest import KRONA, vrs
from tests.payments.vault.bank import SALT
from tests.support import FOREVER, now, refused


def test_the_tokens_arrive_whole_and_the_money_is_burned(bank, anna):
    told = bank.withdraw(bank.wish(anna, 120 * KRONA)).events["Withdrawn"]
    assert (told["from"], told["to"], told["value"]) == (anna.address, anna.address, 120 * KRONA)
    assert bank.token.balanceOf(anna.address) == 120 * 10**18
    assert bank.money.balanceOf(anna.address) == 380 * KRONA
    assert bank.money.totalSupply() == 680 * KRONA
    assert bank.standing() == (680 * KRONA, 680 * KRONA, 0)


def test_everybody_can_take_everything_out(bank, anna, bo):
    bank.withdraw(bank.wish(anna, 500 * KRONA))
    bank.withdraw(bank.wish(bo, 300 * KRONA))
    assert bank.standing() == (0, 0, 0)
    assert bank.money.totalSupply() == 0


def test_money_that_went_from_hand_to_hand_is_paid_out_too(bank, anna, cia, client, carrier):
    client.carry(client.pay(anna, cia.address, 50 * KRONA), carrier)
    bank.withdraw(bank.wish(cia, 50 * KRONA))
    assert bank.token.balanceOf(cia.address) == 50 * 10**18


def test_anyone_carries_it(bank, anna, stranger):
    bank.withdraw(bank.wish(anna, KRONA), sender=stranger)
    assert (bank.token.balanceOf(anna.address), bank.token.balanceOf(stranger)) == (10**18, 0)


def test_it_goes_to_whom_the_owner_named(bank, anna, cia):
    bank.withdraw(bank.wish(anna, KRONA, to=cia))
    assert bank.token.balanceOf(cia.address) == 10**18


def test_a_carrier_cannot_send_it_elsewhere(bank, anna, stranger):
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        bank.withdraw(bank.wish(anna, KRONA), to=stranger.address, sender=stranger)


def test_a_carrier_cannot_change_the_salt(bank, anna):
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        bank.withdraw(bank.wish(anna, KRONA), salt=b"\1" * 32)


def test_a_stranger_cannot_land_the_payment_outside_the_vault(bank, anna, stranger):
    """Landed alone it would leave Anna's money in the vault's account, and her without tokens."""
    signed = bank.wish(anna, KRONA).signed
    with refused(ZeroFeePayments, "PaymentsCallerNotPayee", stranger.address, bank.contract.address):
        bank.money.receiveWithAuthorization(
            *signed.message.values().values(), *vrs(signed.signature), {"from": stranger}
        )


def test_it_works_once(bank, anna):
    wish = bank.wish(anna, KRONA)
    bank.withdraw(wish)
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, wish.signed.message.nonce):
        bank.withdraw(wish)


@pytest.mark.parametrize("field", ["chain_id", "verifying_contract"])
def test_one_for_another_chain_or_money_is_refused(bank, anna, bo, field):
    wish = bank.wish(anna, KRONA)
    domain = replace(bank.vault.payments.domain, **{field: {"chain_id": 5}.get(field, bo.address)})
    elsewhere = replace(wish, signed=replace(wish.signed.message, domain=domain).sign(anna))
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        bank.withdraw(elsewhere)


def test_one_for_another_vault_is_refused(bank, anna, operator):
    twin = StablecoinVault.deploy(bank.money, bank.token, {"from": operator})
    bank.money.addVault(twin, {"from": operator})
    bank.token.mint(bank.dan, 10**18, {"from": bank.dan})
    bank.token.approve(twin, 10**18, {"from": bank.dan})
    twin.deposit(anna.address, KRONA, {"from": bank.dan})
    wish = bank.wish(anna, KRONA)
    terms = (anna.address, anna.address, KRONA, 0, FOREVER, SALT, wish.signed.signature)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        twin.withdraw(*terms, {"from": operator})


def test_one_that_has_expired_is_refused(bank, anna):
    before = now() - 5
    wish = bank.vault.withdrawal(anna, anna.address, KRONA, salt=SALT, valid_before=before)
    terms = (anna.address, anna.address, KRONA, 0, before, SALT, wish.signed.signature)
    with pytest.raises(Exception, match=f"PaymentsExpired: {before}, "):
        bank.contract.withdraw(*terms, {"from": bank.operator})


def test_more_than_one_has_is_refused(bank, bo):
    with refused(ZeroFeePayments, "PaymentsInsufficientBalance", bo.address, 300 * KRONA, 301 * KRONA):
        bank.withdraw(bank.wish(bo, 301 * KRONA))
    assert bank.standing() == (800 * KRONA, 800 * KRONA, 0)


def test_the_vault_pays_out_no_more_than_it_issued(bank, mallory, operator):
    """Money of the issuer's own, or of another vault's, is no claim on what is not there."""
    bank.money.mint(mallory.address, 1000 * KRONA, {"from": operator})
    bank.token.mint(bank.contract, 1000 * 10**18, {"from": bank.dan})  # not even on a gift
    with refused(StablecoinVault, "VaultExhausted", 800 * KRONA, 801 * KRONA):
        bank.withdraw(bank.wish(mallory, 801 * KRONA))


def test_money_sent_to_the_vault_by_mistake_opens_nothing(bank, anna, bo, client, carrier):
    client.carry(client.pay(anna, bank.contract.address, 50 * KRONA), carrier)
    bank.withdraw(bank.wish(bo, 300 * KRONA))
    assert bank.standing() == (500 * KRONA, 500 * KRONA, 50 * KRONA)


@pytest.mark.parametrize("who", ["zero", "vault", "money"])
def test_a_receiver_who_could_not_use_it_is_refused(bank, anna, who):
    to = {"zero": "0x" + "0" * 40, "vault": bank.contract.address, "money": bank.money.address}[who]
    wish = bank.vault.withdrawal(anna, to, KRONA, salt=SALT, valid_before=FOREVER)
    with refused(StablecoinVault, "VaultInvalidReceiver", to):
        bank.withdraw(wish)


def test_a_wallet_withdraws_by_its_owners_signature(bank, operator, anna, mallory):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    bank.deposit(wallet, KRONA)
    wish = bank.wish(anna, KRONA)
    message = replace(wish.signed.message, from_=address(wallet.address))
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", wallet.address):
        bank.withdraw(replace(wish, signed=message.sign(mallory)))
    bank.withdraw(replace(wish, signed=message.sign(anna)))
    assert bank.token.balanceOf(anna.address) == 10**18


def test_the_issuer_can_end_its_role_and_deposits_still_come_out(bank, operator, anna):
    bank.money.changeIssuer("0x" + "0" * 40, {"from": operator})
    bank.deposit(anna, KRONA)
    bank.withdraw(bank.wish(anna, 501 * KRONA))
    assert bank.token.balanceOf(anna.address) == 501 * 10**18
