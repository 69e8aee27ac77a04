"""`fund`: one signature of the buyer, which binds all terms, and the money waits in the escrow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import Escrow, OwnedWallet, ZeroFeePayments
from hexbytes import HexBytes

from liggare.messages import address
from liggare.payments.escrow import State
from liggare.payments.messages import CancelAuthorization
from liggare.payments.purchase import Purchase, Release
from tests.payments.conftest import KRONA, vrs
from tests.payments.escrow.shop import ORDER, PRICE, mine_at, values
from tests.support import FOREVER, now, refused

CHANGES = {
    "seller": lambda shop, cia: {"seller": cia.address},
    "value": lambda shop, cia: {"value": PRICE - 1},
    "claimAfter": lambda shop, cia: {"claim_after": shop.claim_after - 1},
    "reclaimAfter": lambda shop, cia: {"reclaim_after": shop.reclaim_after + 1},
    "order": lambda shop, cia: {"order_hash": b"\x0e" * 32},
}


def test_the_money_waits_in_the_escrow(shop, payments, anna, bo):
    purchase = shop.terms()
    shop.fund(purchase)
    assert shop.state(purchase) == State.OPEN
    assert (payments.balanceOf(anna.address), shop.held(), payments.balanceOf(bo.address)) == (
        880 * KRONA,
        120 * KRONA,
        1000 * KRONA,
    )


def test_the_event_tells_all_terms(shop, anna, bo):
    purchase = shop.terms()
    told = shop.fund(purchase).events["PurchaseFunded"]
    assert HexBytes(told["id"]) == purchase.id
    terms = {name: told[name] for name in purchase.values()}
    assert terms == purchase.values() | {"orderHash": "0x" + ORDER.hex()}


def test_the_contract_knows_the_id_of_any_terms(shop, cia):
    for purchase in (shop.terms(), shop.terms(arbiter=cia.address), shop.terms(value=2**255, claim_after=0)):
        assert HexBytes(shop.contract.idOf(values(purchase))) == purchase.id


def test_the_id_is_the_payments_nonce_and_never_a_counter(shop, bought, payments, anna):
    assert payments.authorizationState(anna.address, bought.id)
    assert int.from_bytes(bought.id, "big") >= 2**64
    assert payments.nonceState(anna.address) == (0, 0)


def test_anyone_carries_it(shop, stranger):
    purchase = shop.terms()
    shop.fund(purchase, sender=stranger)
    assert shop.state(purchase) == State.OPEN


def test_the_short_form_of_a_signature_works(shop, anna):
    purchase = shop.terms()
    signature = shop.payment(purchase).sign(anna).signature
    vs = (int.from_bytes(signature[32:64], "big") | (signature[64] - 27) << 255).to_bytes(32, "big")
    shop.contract.fund(values(purchase), 0, FOREVER, signature[:32] + vs, b"", {"from": shop.operator})
    assert shop.state(purchase) == State.OPEN


def test_a_wallet_buys_by_its_owners_signature(shop, payments, operator, anna):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet, PRICE, {"from": operator})
    purchase = shop.terms(buyer=address(wallet.address))
    shop.fund(purchase, anna)
    shop.end(Release(shop.escrow.domain, purchase), anna)
    assert shop.state(purchase) == State.RELEASED


@pytest.mark.parametrize("change", CHANGES)
def test_no_carrier_can_alter_a_term(shop, anna, cia, change):
    """The attacker brings Anna's payment with terms that she never saw."""
    signed = shop.payment(shop.terms()).sign(anna)
    other = shop.terms(**CHANGES[change](shop, cia))
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        shop.contract.fund(*shop.words(other, signed), {"from": shop.operator})
    assert shop.state(other) == State.NONE


def test_no_carrier_can_name_an_arbiter(shop, anna, mallory, bo):
    """Even one that the seller named: Anna signed terms without one."""
    signed = shop.payment(shop.terms()).sign(anna)
    other = shop.terms(arbiter=mallory.address)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        shop.contract.fund(*shop.words(other, signed, other.sign(bo).signature), {"from": shop.operator})


@pytest.mark.parametrize("who", ["anna", "cia", "nobody", "bo, of other terms"])
def test_an_arbiter_that_the_seller_did_not_name_is_none(shop, anna, bo, cia, who):
    purchase = shop.terms(arbiter=cia.address)
    offers = {
        "anna": purchase.sign(anna).signature,
        "cia": purchase.sign(cia).signature,
        "nobody": b"",
        "bo, of other terms": replace(purchase, arbiter=anna.address).sign(bo).signature,
    }
    with refused(Escrow, "EscrowInvalidSignature", bo.address):
        shop.fund(purchase, offer=offers[who])
    assert shop.held() == 0


def test_a_stranger_cannot_land_the_payment_outside_the_escrow(shop, payments, anna, stranger):
    """Front-running with the payment alone would put the money into the escrow without a purchase."""
    purchase = shop.terms()
    signed = shop.payment(purchase).sign(anna)
    with refused(ZeroFeePayments, "PaymentsCallerNotPayee", stranger.address, shop.contract.address):
        payments.receiveWithAuthorization(*signed.message.values().values(), *vrs(signed.signature), {"from": stranger})
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        payments.transferWithAuthorization(
            *signed.message.values().values(), *vrs(signed.signature), {"from": stranger}
        )
    shop.fund(purchase)
    assert shop.held() == PRICE


def test_a_purchase_is_paid_in_once(shop, bought):
    with refused(Escrow, "EscrowFundedBefore", bought.id, State.OPEN):
        shop.fund(bought)


@pytest.mark.parametrize("end", [State.RELEASED, State.RECLAIMED])
def test_an_ended_purchase_is_not_paid_in_again(shop, bought, anna, end):
    if end == State.RELEASED:
        shop.end(Release(shop.escrow.domain, bought), anna)
        with refused(Escrow, "EscrowFundedBefore", bought.id, end):
            shop.fund(bought)
    else:
        shop.go_to(bought.reclaim_after)
        shop.reclaim(bought)
        with pytest.raises(Exception, match=f"EscrowTooLate: {bought.claim_after}, "):
            shop.fund(bought)
    assert shop.state(bought) == end


def test_a_payment_that_the_buyer_gave_up_is_not_taken(shop, payments, anna):
    purchase = shop.terms()
    signed = CancelAuthorization(shop.escrow.payments.domain, anna.address, bytes(purchase.id)).sign(anna)
    payments.cancelAuthorization(anna.address, purchase.id, *vrs(signed.signature), {"from": shop.operator})
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, purchase.id):
        shop.fund(purchase)
    assert shop.state(purchase) == State.NONE


def test_a_nonce_of_the_buyers_own_choice_does_not_fund(shop, anna):
    purchase = shop.terms()
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        shop.fund(purchase, payment=shop.payment(purchase, nonce=b"\xab" * 32))


def test_another_value_than_the_terms_say_does_not_fund(shop, anna):
    purchase = shop.terms()
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        shop.fund(purchase, payment=shop.payment(purchase, value=1))


def test_money_that_is_not_there_does_not_fund(shop, anna):
    purchase = shop.terms(value=1001 * KRONA)
    with refused(ZeroFeePayments, "PaymentsInsufficientBalance", anna.address, 1000 * KRONA, 1001 * KRONA):
        shop.fund(purchase)
    assert shop.state(purchase) == State.NONE


def test_an_expired_payment_does_not_fund(shop):
    purchase = shop.terms()
    end = now() - 5
    with pytest.raises(Exception, match=f"PaymentsExpired: {end}, "):
        shop.fund(purchase, payment=shop.payment(purchase, valid_before=end))


def test_a_payment_before_its_time_does_not_fund(shop):
    purchase = shop.terms()
    start = now() + 500
    with pytest.raises(Exception, match=f"PaymentsNotYetValid: {start}, "):
        shop.fund(purchase, payment=shop.payment(purchase, valid_after=start))


@pytest.mark.parametrize("field", ["chain_id", "verifying_contract"])
def test_a_payment_for_another_chain_or_money_is_refused(shop, anna, bo, field):
    purchase = shop.terms()
    elsewhere = replace(shop.escrow.payments.domain, **{field: {"chain_id": 5}.get(field, bo.address)})
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        shop.fund(purchase, payment=shop.payment(purchase, domain=elsewhere))


@pytest.mark.parametrize("field", ["chain_id", "verifying_contract"])
def test_terms_for_another_chain_or_escrow_are_refused(shop, anna, bo, field):
    domain = replace(shop.escrow.domain, **{field: {"chain_id": 5}.get(field, bo.address)})
    elsewhere = shop.terms(domain=domain)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        shop.fund(elsewhere)


def test_an_escrow_of_the_same_code_takes_no_payment_meant_for_this_one(shop, payments, operator, anna):
    twin = Escrow.deploy(payments, {"from": operator})
    signed = shop.payment(shop.terms()).sign(anna)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        twin.fund(*shop.words(shop.terms(), signed), {"from": operator})


@pytest.mark.parametrize("who", ["zero", "escrow", "money"])
def test_a_seller_who_cannot_be_paid_is_refused(shop, payments, who):
    seller = {"zero": "0x" + "0" * 40, "escrow": shop.contract.address, "money": payments.address}[who]
    with refused(Escrow, "EscrowInvalidSeller", seller):
        shop.fund(shop.terms(seller=address(seller)))


@pytest.mark.parametrize("who", ["zero", "escrow", "money"])
def test_a_buyer_who_cannot_be_paid_cannot_buy(shop, payments, anna, who):
    buyer = {"zero": "0x" + "0" * 40, "escrow": shop.contract.address, "money": payments.address}[who]
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", buyer):
        shop.fund(shop.terms(buyer=address(buyer)), anna)


def test_deadlines_in_the_wrong_order_are_refused(shop):
    purchase = shop.terms(claim_after=shop.reclaim_after + 1)
    with refused(Escrow, "EscrowBadDeadlines", shop.reclaim_after + 1, shop.reclaim_after):
        shop.fund(purchase)


def test_the_last_moment_to_pay_in_is_claim_after(shop, anna):
    time = now() + 1000
    mine_at(time)
    good, late = shop.terms(claim_after=time), shop.terms(claim_after=time - 1)
    shop.contract.fund.call(*shop.words(good, shop.payment(good).sign(anna)), {"from": shop.operator})
    with refused(Escrow, "EscrowTooLate", time - 1, time):
        shop.contract.fund.call(*shop.words(late, shop.payment(late).sign(anna)), {"from": shop.operator})


def test_a_purchase_of_nothing_and_from_oneself_harms_nobody(shop, payments, anna):
    for purchase in (shop.terms(value=0), shop.terms(seller=anna.address)):
        shop.fund(purchase)
        shop.end(Release(shop.escrow.domain, purchase), anna)
        assert isinstance(purchase, Purchase)
        assert (shop.held(), payments.balanceOf(anna.address)) == (0, 1000 * KRONA)
