"""`reclaim`: where both were silent the money goes back, and nobody's word is needed."""

from __future__ import annotations

from brownie import Escrow
from hexbytes import HexBytes

from liggare.payments.escrow import State
from tests.payments.conftest import KRONA
from tests.payments.escrow.shop import PRICE, mine_at, values
from tests.support import refused


def test_the_money_goes_back_whoever_sends_it(shop, bought, payments, anna, stranger):
    shop.go_to(bought.reclaim_after)
    told = shop.reclaim(bought, sender=stranger).events["PurchaseReclaimed"]
    assert HexBytes(told["id"]) == bought.id
    assert (payments.balanceOf(anna.address), shop.held()) == (1000 * KRONA, 0)
    assert (shop.state(bought), payments.balanceOf(stranger)) == (State.RECLAIMED, 0)


def test_it_opens_to_the_second(shop, bought):
    last = bought.reclaim_after
    mine_at(last)
    with refused(Escrow, "EscrowTooEarly", last, last):
        shop.contract.reclaim.call(values(bought), {"from": shop.operator})
    mine_at(last + 1)
    shop.contract.reclaim.call(values(bought), {"from": shop.operator})


def test_it_works_once(shop, bought):
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    shop.go_to(bought.reclaim_after)
    shop.reclaim(bought)
    with refused(Escrow, "EscrowNotOpen", bought.id, State.RECLAIMED):
        shop.reclaim(bought)
    assert shop.held() == PRICE


def test_altered_terms_reclaim_nothing(shop, bought, mallory):
    """Mallory names herself as the buyer, or more than was paid in, or an earlier deadline."""
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    shop.go_to(bought.reclaim_after)
    for change in ({"buyer": mallory.address}, {"value": 2 * PRICE}, {"reclaim_after": bought.reclaim_after - 1}):
        forged = shop.terms(**change)
        with refused(Escrow, "EscrowNotOpen", forged.id, State.NONE):
            shop.reclaim(forged)
