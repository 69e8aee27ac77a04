"""`arbitrate`: the arbiter, where both named one, divides the money between the two and nobody else."""

from __future__ import annotations

import pytest
from brownie import Escrow
from hexbytes import HexBytes

from liggare.messages import address
from liggare.payments.escrow import State
from liggare.payments.purchase import Arbitration, Release
from tests.payments.conftest import KRONA
from tests.payments.escrow.shop import PRICE, values
from tests.support import refused


@pytest.mark.parametrize("to_buyer", [0, 1, 50 * KRONA, PRICE])
def test_the_two_get_their_parts_and_the_arbiter_nothing(shop, judged, payments, anna, bo, cia, to_buyer):
    word = Arbitration(shop.escrow.domain, judged, to_buyer, PRICE - to_buyer)
    told = shop.end(word, cia).events["PurchaseArbitrated"]
    assert (HexBytes(told["id"]), told["toBuyer"], told["toSeller"]) == (judged.id, to_buyer, PRICE - to_buyer)
    balances = [payments.balanceOf(each.address) for each in (anna, bo, cia)]
    assert balances == [880 * KRONA + to_buyer, 1120 * KRONA - to_buyer, 1000 * KRONA]
    assert (shop.state(judged), shop.held()) == (State.ARBITRATED, 0)


@pytest.mark.parametrize("who", ["anna", "bo", "mallory"])
def test_nobody_else_divides(request, shop, judged, cia, who):
    with refused(Escrow, "EscrowInvalidSignature", cia.address):
        shop.end(Arbitration(shop.escrow.domain, judged, PRICE, 0), request.getfixturevalue(who))


def test_where_none_was_named_nobody_divides(shop, bought, mallory):
    with refused(Escrow, "EscrowNoArbiter", bought.id):
        shop.end(Arbitration(shop.escrow.domain, bought, PRICE, 0), mallory)


def test_an_arbiter_put_into_the_terms_afterwards_divides_nothing(shop, bought, mallory):
    forged = shop.terms(arbiter=mallory.address)
    with refused(Escrow, "EscrowNotOpen", forged.id, State.NONE):
        shop.end(Arbitration(shop.escrow.domain, forged, PRICE, 0), mallory)


@pytest.mark.parametrize(
    "parts",
    [(PRICE, 1), (1, PRICE), (0, 0), (PRICE + 1, 0), (0, PRICE - 1), (2**256 - 1, PRICE + 1), (PRICE + 1, 2**256 - 1)],
)
def test_parts_that_are_not_the_whole_are_refused(shop, judged, cia, parts):
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))  # there is money that a larger part could take
    with refused(Escrow, "EscrowBadSplit", *parts, PRICE):
        shop.end(Arbitration(shop.escrow.domain, judged, *parts), cia)


def test_other_parts_than_the_arbiter_signed_are_refused(shop, judged, cia):
    signature = Arbitration(shop.escrow.domain, judged, 0, PRICE).sign(cia).signature
    with refused(Escrow, "EscrowInvalidSignature", cia.address):
        shop.contract.arbitrate(values(judged), PRICE, 0, signature, {"from": shop.operator})


def test_what_has_ended_is_not_divided(shop, judged, anna, cia):
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    shop.end(Release(shop.escrow.domain, judged), anna)
    with refused(Escrow, "EscrowNotOpen", judged.id, State.RELEASED):
        shop.end(Arbitration(shop.escrow.domain, judged, PRICE, 0), cia)


def test_an_arbiters_word_about_one_purchase_is_none_about_another(shop, judged, bo, cia):
    other = shop.terms(arbiter=address(cia.address), order_hash=b"\x0e" * 32)
    shop.fund(other, offer=other.sign(bo).signature)
    signature = Arbitration(shop.escrow.domain, other, PRICE, 0).sign(cia).signature
    with refused(Escrow, "EscrowInvalidSignature", cia.address):
        shop.contract.arbitrate(values(judged), PRICE, 0, signature, {"from": shop.operator})
