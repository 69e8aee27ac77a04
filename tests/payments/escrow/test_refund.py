"""`refund`: the seller's word gives the money back."""

from __future__ import annotations

import pytest
from brownie import Escrow
from hexbytes import HexBytes

from liggare.payments.escrow import State
from liggare.payments.purchase import Refund, Release
from tests.payments.conftest import KRONA
from tests.support import refused


def test_the_buyer_has_the_money_again(shop, bought, payments, anna, bo):
    told = shop.end(Refund(shop.escrow.domain, bought), bo).events["PurchaseRefunded"]
    assert HexBytes(told["id"]) == bought.id
    assert (payments.balanceOf(anna.address), shop.held()) == (1000 * KRONA, 0)
    assert shop.state(bought) == State.REFUNDED


@pytest.mark.parametrize("when", ["claim_after", "reclaim_after"])
def test_the_seller_may_refund_at_any_time(shop, bought, bo, when):
    shop.go_to(getattr(bought, when))
    shop.end(Refund(shop.escrow.domain, bought), bo)
    assert shop.state(bought) == State.REFUNDED


@pytest.mark.parametrize("who", ["anna", "cia", "mallory"])
def test_nobody_else_refunds(request, shop, judged, bo, who):
    with refused(Escrow, "EscrowInvalidSignature", bo.address):
        shop.end(Refund(shop.escrow.domain, judged), request.getfixturevalue(who))


def test_what_was_released_is_not_refunded(shop, bought, anna, bo):
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    shop.end(Release(shop.escrow.domain, bought), anna)
    with refused(Escrow, "EscrowNotOpen", bought.id, State.RELEASED):
        shop.end(Refund(shop.escrow.domain, bought), bo)
