"""The package's own client of the escrow, against the chain."""

from __future__ import annotations

import pytest

from liggare.errors import ContractRefused
from liggare.payments.escrow import State
from liggare.payments.purchase import Arbitration, Claim, Refund, Release, hash_order
from tests.payments.conftest import KRONA
from tests.payments.escrow.shop import DAY, PRICE
from tests.support import now, pass_time

pytestmark = pytest.mark.usefixtures("payments")


@pytest.fixture
def offer(escrow, anna, bo):
    """Bo's offer to Anna."""
    start = now()
    terms = {"claim_after": start + 14 * DAY, "reclaim_after": start + 28 * DAY}
    return escrow.offer(bo, anna.address, PRICE, hash_order("a bicycle", b"\1" * 32), **terms)


@pytest.fixture
def funded(escrow, offer, anna, carrier):
    """Anna has taken it; its terms."""
    escrow.fund(offer, escrow.payment(anna, offer.message), carrier)
    return offer.message


def test_an_offer_has_its_id_before_anything_is_paid(escrow, offer, bo):
    offer.check(bo.address)
    assert escrow.state(offer.message) == State.NONE
    assert escrow.payment(bo, offer.message).message.nonce == bytes(offer.id)


@pytest.mark.parametrize(
    ("word", "state", "to_seller"), [(Release, State.RELEASED, PRICE), (Refund, State.REFUNDED, 0)]
)
def test_a_purchase_ends_by_a_word(escrow, funded, client, carrier, anna, bo, word, state, to_seller):
    assert escrow.state(funded) == State.OPEN
    escrow.carry(word(escrow.domain, funded).sign(anna if word is Release else bo), carrier)
    assert escrow.state(funded) == state
    assert client.balance(bo.address) == 1000 * KRONA + to_seller


def test_a_silent_buyer_and_two_silent_people(escrow, funded, client, carrier, anna, bo):
    claim = Claim(escrow.domain, funded).sign(bo)
    with pytest.raises(ContractRefused, match="EscrowTooEarly"):
        escrow.carry(claim, carrier)
    pass_time(28 * DAY + 2)
    with pytest.raises(ContractRefused) as caught:
        escrow.carry(claim, carrier)
    assert caught.value.name == "EscrowClaimOver"
    assert caught.value.arguments["reclaimAfter"] == funded.reclaim_after
    escrow.reclaim(funded, carrier)
    assert client.balance(anna.address) == 1000 * KRONA


def test_an_arbiter_divides(escrow, client, carrier, anna, bo, cia):
    start = now()
    offer = escrow.offer(
        bo,
        anna.address,
        PRICE,
        bytes(32),
        claim_after=start + DAY,
        reclaim_after=start + DAY,
        arbiter=cia.address,
    )
    escrow.fund(offer, escrow.payment(anna, offer.message), carrier)
    escrow.carry(Arbitration(escrow.domain, offer.message, 20 * KRONA, 100 * KRONA).sign(cia), carrier)
    assert escrow.state(offer.message) == State.ARBITRATED
    assert client.balance(bo.address) == 1100 * KRONA


def test_a_refusal_of_the_money_arrives_by_its_name(escrow, offer, carrier, cia):
    with pytest.raises(ContractRefused) as caught:
        escrow.fund(offer, escrow.payment(cia, offer.message), carrier)
    assert caught.value.name == "PaymentsInvalidSignature"
