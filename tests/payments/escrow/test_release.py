"""`release`: the buyer's word gives the money to the seller."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import Escrow, OwnedWallet, ReentrantWallet
from hexbytes import HexBytes

from liggare.messages import address
from liggare.payments.escrow import State
from liggare.payments.purchase import Claim, Refund, Release
from tests.payments.conftest import KRONA
from tests.payments.escrow.shop import PRICE, values
from tests.support import refused


def test_the_seller_is_paid_whole(shop, bought, payments, anna, bo):
    told = shop.end(Release(shop.escrow.domain, bought), anna).events["PurchaseReleased"]
    assert HexBytes(told["id"]) == bought.id
    assert (payments.balanceOf(bo.address), shop.held()) == (1120 * KRONA, 0)
    assert shop.state(bought) == State.RELEASED


@pytest.mark.parametrize("when", ["claim_after", "reclaim_after"])
def test_the_buyer_may_release_at_any_time(shop, bought, anna, when):
    shop.go_to(getattr(bought, when))
    shop.end(Release(shop.escrow.domain, bought), anna)
    assert shop.state(bought) == State.RELEASED


@pytest.mark.parametrize("who", ["bo", "cia", "mallory"])
def test_nobody_else_releases(request, shop, judged, anna, who):
    with refused(Escrow, "EscrowInvalidSignature", anna.address):
        shop.end(Release(shop.escrow.domain, judged), request.getfixturevalue(who))


def test_another_word_of_the_buyer_is_no_release(shop, bought, anna):
    for word in (Refund(shop.escrow.domain, bought), Claim(shop.escrow.domain, bought), bought):
        with refused(Escrow, "EscrowInvalidSignature", anna.address):
            shop.contract.release(values(bought), word.sign(anna).signature, {"from": shop.operator})


def test_a_release_of_another_purchase_is_refused(shop, bought, anna):
    other = shop.terms(order_hash=b"\x0e" * 32)
    shop.fund(other)
    signature = Release(shop.escrow.domain, other).sign(anna).signature
    with refused(Escrow, "EscrowInvalidSignature", anna.address):
        shop.contract.release(values(bought), signature, {"from": shop.operator})


@pytest.mark.parametrize("field", ["chain_id", "verifying_contract"])
def test_a_release_for_another_chain_or_escrow_is_refused(shop, bought, anna, bo, field):
    domain = replace(shop.escrow.domain, **{field: {"chain_id": 5}.get(field, bo.address)})
    with refused(Escrow, "EscrowInvalidSignature", anna.address):
        shop.end(Release(domain, replace(bought, domain=domain)), anna)


def test_terms_that_were_never_paid_in_release_nothing(shop, bought, anna, mallory):
    """The escrow holds Anna's money; Mallory signs both sides of a purchase that never was."""
    forged = shop.terms(buyer=mallory.address, seller=mallory.address)
    with refused(Escrow, "EscrowNotOpen", forged.id, State.NONE):
        shop.end(Release(shop.escrow.domain, forged), mallory)
    assert shop.held() == PRICE


def test_a_purchase_is_released_once(shop, bought, anna):
    word = Release(shop.escrow.domain, bought)
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))  # there is money that a second release could take
    shop.end(word, anna)
    with refused(Escrow, "EscrowNotOpen", bought.id, State.RELEASED):
        shop.end(word, anna)
    assert shop.held() == PRICE


def test_a_release_after_the_money_went_back_is_refused(shop, bought, anna):
    shop.go_to(bought.reclaim_after)
    shop.reclaim(bought)
    with refused(Escrow, "EscrowNotOpen", bought.id, State.RECLAIMED):
        shop.end(Release(shop.escrow.domain, bought), anna)


def test_a_wallet_that_reenters_while_it_is_asked_changes_nothing(shop, payments, operator, anna):
    """Its own refund would pay it a second time; while it is asked it can't write."""
    wallet = ReentrantWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet, PRICE, {"from": operator})
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    purchase = shop.terms(buyer=address(wallet.address), seller=address(anna.address))
    shop.fund(purchase, anna)
    refund = Refund(shop.escrow.domain, purchase).sign(anna).signature
    wallet.aim(shop.contract, shop.contract.refund.encode_input(values(purchase), refund), {"from": operator})
    shop.end(Release(shop.escrow.domain, purchase), anna)
    assert (payments.balanceOf(wallet), shop.held()) == (0, PRICE)


def test_the_reentrants_call_would_work_if_it_were_not_inside(shop, payments, operator, anna):
    """So the test above fails for the reason that it names."""
    wallet = ReentrantWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet, PRICE, {"from": operator})
    purchase = shop.terms(buyer=address(wallet.address), seller=address(anna.address))
    shop.fund(purchase, anna)
    refund = Refund(shop.escrow.domain, purchase).sign(anna).signature
    operator.transfer(shop.contract, 0, data=shop.contract.refund.encode_input(values(purchase), refund))
    assert shop.state(purchase) == State.REFUNDED


def test_a_wallet_that_reenters_while_it_pays_in_changes_nothing(shop, payments, operator, anna):
    wallet = ReentrantWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet, PRICE, {"from": operator})
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    purchase = shop.terms(buyer=address(wallet.address), seller=address(anna.address))
    refund = Refund(shop.escrow.domain, purchase).sign(anna).signature
    wallet.aim(shop.contract, shop.contract.refund.encode_input(values(purchase), refund), {"from": operator})
    shop.fund(purchase, anna)
    assert (shop.state(purchase), shop.held()) == (State.OPEN, 2 * PRICE)


def test_a_wallet_releases_by_its_owners_signature(shop, payments, operator, anna, mallory):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet, PRICE, {"from": operator})
    purchase = shop.terms(buyer=address(wallet.address))
    shop.fund(purchase, anna)
    with refused(Escrow, "EscrowInvalidSignature", wallet.address):
        shop.end(Release(shop.escrow.domain, purchase), mallory)
    shop.end(Release(shop.escrow.domain, purchase), anna)
    assert shop.state(purchase) == State.RELEASED
