"""What a purchase costs, by name in gas.json: one of many, so that no account and no counter is new."""

from __future__ import annotations

import pytest

from liggare.payments.purchase import Arbitration, Claim, Refund, Release
from tests.payments.conftest import KRONA
from tests.payments.escrow.shop import PRICE

pytestmark = pytest.mark.gas


@pytest.fixture
def busy_shop(shop):
    """A shop in which somebody has bought before."""
    shop.fund(shop.terms(order_hash=b"\x0e" * 32))
    return shop


def test_gas_of_paying_in(busy_shop, gas):
    gas("payments.escrow.fund", busy_shop.fund(busy_shop.terms()).gas_used)


def test_gas_of_paying_in_with_an_arbiter(busy_shop, gas, bo, cia):
    purchase = busy_shop.terms(arbiter=cia.address)
    offer = purchase.sign(bo).signature
    gas("payments.escrow.fund.arbiter", busy_shop.fund(purchase, offer=offer).gas_used)


def test_gas_of_a_release(busy_shop, bought, gas, anna):
    gas("payments.escrow.release", busy_shop.end(Release(bought.domain, bought), anna).gas_used)


def test_gas_of_a_refund(busy_shop, bought, gas, bo):
    gas("payments.escrow.refund", busy_shop.end(Refund(bought.domain, bought), bo).gas_used)


def test_gas_of_a_claim(busy_shop, bought, gas, bo):
    busy_shop.go_to(bought.claim_after)
    gas("payments.escrow.claim", busy_shop.end(Claim(bought.domain, bought), bo).gas_used)


def test_gas_of_a_reclaim(busy_shop, bought, gas):
    busy_shop.go_to(bought.reclaim_after)
    gas("payments.escrow.reclaim", busy_shop.reclaim(bought).gas_used)


def test_gas_of_an_arbitration(busy_shop, judged, gas, cia):
    word = Arbitration(judged.domain, judged, 20 * KRONA, PRICE - 20 * KRONA)
    gas("payments.escrow.arbitrate", busy_shop.end(word, cia).gas_used)
