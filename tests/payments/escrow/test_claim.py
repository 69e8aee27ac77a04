"""`claim`: the seller takes the money while the buyer is silent, between the two deadlines."""

from __future__ import annotations

import pytest
from brownie import Escrow
from brownie.exceptions import VirtualMachineError
from hexbytes import HexBytes

from liggare.payments.escrow import State
from liggare.payments.purchase import Claim, Refund, Release
from tests.payments.conftest import KRONA
from tests.payments.escrow.shop import mine_at, values
from tests.support import refused


def test_the_seller_of_a_silent_buyer_is_paid_whole(shop, bought, payments, bo):
    shop.go_to(bought.claim_after)
    told = shop.end(Claim(shop.escrow.domain, bought), bo).events["PurchaseClaimed"]
    assert HexBytes(told["id"]) == bought.id
    assert (payments.balanceOf(bo.address), shop.held()) == (1120 * KRONA, 0)
    assert shop.state(bought) == State.CLAIMED


def test_the_claim_opens_and_closes_to_the_second(shop, bought, bo):
    words = (values(bought), Claim(shop.escrow.domain, bought).sign(bo).signature, {"from": shop.operator})
    first, last = bought.claim_after, bought.reclaim_after
    mine_at(first)
    with refused(Escrow, "EscrowTooEarly", first, first):
        shop.contract.claim.call(*words)
    for time in (first + 1, last):
        mine_at(time)
        shop.contract.claim.call(*words)
    mine_at(last + 1)
    with refused(Escrow, "EscrowClaimOver", last, last + 1):
        shop.contract.claim.call(*words)


def possible(method, *words) -> bool:
    """Whether a call would succeed at the newest block; if not, only a deadline may be the reason."""
    try:
        method.call(*words)
    except VirtualMachineError as exc:
        if "EscrowTooEarly" not in str(exc) and "EscrowClaimOver" not in str(exc):
            raise
        return False
    return True


def test_of_claim_and_reclaim_at_most_one_is_possible(shop, bought, bo):
    terms, sender = values(bought), {"from": shop.operator}
    signature = Claim(shop.escrow.domain, bought).sign(bo).signature
    first, last = bought.claim_after, bought.reclaim_after
    found = []
    for time in (first, first + 1, last, last + 1):
        mine_at(time)
        claim = possible(shop.contract.claim, terms, signature, sender)
        found.append((claim, possible(shop.contract.reclaim, terms, sender)))
    assert found == [(False, False), (True, False), (True, False), (False, True)]


def test_terms_with_one_deadline_leave_no_claim(shop, bo):
    """The seller then depends on the buyer's word, as both knew."""
    purchase = shop.terms(claim_after=shop.reclaim_after)
    shop.fund(purchase)
    words = (values(purchase), Claim(shop.escrow.domain, purchase).sign(bo).signature, {"from": shop.operator})
    mine_at(purchase.claim_after)
    with refused(Escrow, "EscrowTooEarly", purchase.claim_after, purchase.claim_after):
        shop.contract.claim.call(*words)
    mine_at(purchase.claim_after + 1)
    with refused(Escrow, "EscrowClaimOver", purchase.reclaim_after, purchase.claim_after + 1):
        shop.contract.claim.call(*words)


@pytest.mark.parametrize("who", ["anna", "cia", "mallory"])
def test_nobody_else_claims(request, shop, bought, bo, who):
    shop.go_to(bought.claim_after)
    with refused(Escrow, "EscrowInvalidSignature", bo.address):
        shop.end(Claim(shop.escrow.domain, bought), request.getfixturevalue(who))


def test_both_claimed_and_reclaimed_is_impossible(shop, bought, bo):
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    shop.go_to(bought.claim_after)
    shop.end(Claim(shop.escrow.domain, bought), bo)
    shop.go_to(bought.reclaim_after)
    with refused(Escrow, "EscrowNotOpen", bought.id, State.CLAIMED):
        shop.reclaim(bought)


@pytest.mark.parametrize("word", [Release, Refund])
def test_what_has_ended_is_not_claimed(shop, bought, anna, bo, word):
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    shop.end(word(shop.escrow.domain, bought), anna if word is Release else bo)
    shop.go_to(bought.claim_after)
    with refused(Escrow, "EscrowNotOpen", bought.id, shop.state(bought)):
        shop.end(Claim(shop.escrow.domain, bought), bo)
