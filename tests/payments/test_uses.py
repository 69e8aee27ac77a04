"""Uses of a nonce, read from the chain: by whom, where, and what exactly it paid."""

from __future__ import annotations

import pytest

from liggare.payments.client import random_nonce
from liggare.payments.messages import counter
from liggare.payments.uses import Uses
from tests.payments.conftest import KRONA

pytestmark = pytest.mark.usefixtures("payments")
LATER = 2**32 - 1


@pytest.fixture
def uses(w3, deployments):
    """What this chain shows of nonces' uses."""
    return Uses(w3, deployments)


def test_an_unused_nonce_and_a_canceled_one_have_no_use(uses, client, carrier, anna):
    nonce = random_nonce()
    assert uses.find(nonce) == []
    client.carry_cancel(client.cancel(anna, nonce), carrier)
    assert uses.find(nonce) == []


def test_a_payments_use_has_its_one_transfer(uses, client, carrier, anna, bo):
    nonce = random_nonce()
    receipt = client.carry(client.pay(anna, bo.address, KRONA, nonce=nonce), carrier)
    (use,) = uses.find(nonce)
    assert (use.payer, use.transfers) == (anna.address, ((bo.address, KRONA),))
    assert (use.transaction, use.block) == (receipt["transactionHash"].to_0x_hex(), receipt["blockNumber"])


def test_a_bundles_use_has_all_its_transfers_and_no_neighbours(uses, client, carrier, anna, bo, cia):
    """Between payments of others, and of Anna's own, in one batch."""
    nonce = random_nonce()
    rows = [(bo.address, 1), (cia.address, 2), (bo.address, 1)]
    items = [
        client.pay(bo, cia.address, 7, valid_before=LATER),
        client.bundle(anna, rows, nonce=nonce, valid_before=LATER),
        client.pay(anna, bo.address, 9, valid_before=LATER),
    ]
    client.carry_batch(items, carrier)
    (use,) = uses.find(nonce)
    assert list(use.transfers) == rows


def test_one_nonce_of_two_payers_has_two_uses_or_the_one_asked_for(uses, client, carrier, anna, bo, cia):
    for payer in (anna, bo):
        client.carry(client.pay(payer, cia.address, KRONA, nonce=counter(5)), carrier)
    assert [use.payer for use in uses.find(counter(5))] == [anna.address, bo.address]
    assert [use.payer for use in uses.find(counter(5), bo.address)] == [bo.address]
    assert uses.find(counter(5), cia.address) == []
