"""What a purchase costs, by name in gas.json: one of many, so that no account and no counter is new."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from liggare.messages import Signed
from liggare.payments.purchase import Arbitration, Claim, Purchase, Refund, Release
from tests.payments.conftest import KRONA
from tests.payments.escrow.shop import PRICE, Shop

pytestmark = pytest.mark.gas


@pytest.fixture
def busy_shop(shop):
    """A shop in which somebody has bought before."""
    shop.fund(shop.terms(order_hash=b"\xfe" * 32))
    return shop


def plain(shop: Shop, sign: Callable[[Purchase], Signed], **changes) -> tuple[Purchase, Signed]:
    """A purchase and a word about it whose signature has no zero byte, which would cost less gas.

    The deadlines are as late as the shop opened, so each run has signatures of its own.
    """
    for number in range(1, 254):
        purchase = shop.terms(order_hash=bytes([number]) * 32, **changes)
        signed = sign(purchase)
        if 0 not in signed.signature + shop.payment(purchase).sign(shop.buyer).signature:
            return purchase, signed
    raise AssertionError("of 253 signatures each has a zero byte")


def test_gas_of_paying_in(busy_shop, gas, bo):
    purchase, _ = plain(busy_shop, lambda terms: terms.sign(bo))
    gas("payments.escrow.fund", busy_shop.fund(purchase).gas_used)


def test_gas_of_paying_in_with_an_arbiter(busy_shop, gas, bo, cia):
    purchase, offer = plain(busy_shop, lambda terms: terms.sign(bo), arbiter=cia.address)
    gas("payments.escrow.fund.arbiter", busy_shop.fund(purchase, offer=offer.signature).gas_used)


def test_gas_of_a_release(busy_shop, gas, anna):
    purchase, signed = plain(busy_shop, lambda terms: Release(terms.domain, terms).sign(anna))
    busy_shop.fund(purchase)
    gas("payments.escrow.release", busy_shop.end(signed.message, anna).gas_used)


def test_gas_of_a_refund(busy_shop, gas, bo):
    purchase, signed = plain(busy_shop, lambda terms: Refund(terms.domain, terms).sign(bo))
    busy_shop.fund(purchase)
    gas("payments.escrow.refund", busy_shop.end(signed.message, bo).gas_used)


def test_gas_of_a_claim(busy_shop, gas, bo):
    purchase, signed = plain(busy_shop, lambda terms: Claim(terms.domain, terms).sign(bo))
    busy_shop.fund(purchase)
    busy_shop.go_to(purchase.claim_after)
    gas("payments.escrow.claim", busy_shop.end(signed.message, bo).gas_used)


def test_gas_of_a_reclaim(busy_shop, bought, gas):
    busy_shop.go_to(bought.reclaim_after)
    gas("payments.escrow.reclaim", busy_shop.reclaim(bought).gas_used)


def test_gas_of_an_arbitration(busy_shop, gas, bo, cia):
    def split(terms):
        return Arbitration(terms.domain, terms, 20 * KRONA, PRICE - 20 * KRONA).sign(cia)

    purchase, signed = plain(busy_shop, split, arbiter=cia.address)
    busy_shop.fund(purchase, offer=purchase.sign(bo).signature)
    gas("payments.escrow.arbitrate", busy_shop.end(signed.message, cia).gas_used)
