"""`receiveWithAuthorization`: only the payee can collect, as part of what it then does."""

from __future__ import annotations

import pytest
from brownie import ZeroFeePayments
from brownie import accounts as brownie_accounts

from liggare.payments.messages import ReceiveWithAuthorization, counter
from tests.payments.conftest import KRONA, vrs
from tests.support import FOREVER, refused


@pytest.fixture
def shop():
    """A payee that sends transactions of its own."""
    return brownie_accounts[3]


@pytest.fixture
def receipt(domain, anna, shop):
    """Anna's signed payment of 50 for the shop to collect."""
    return ReceiveWithAuthorization(domain, anna.address, shop.address, 50 * KRONA, 0, FOREVER, counter(1)).sign(anna)


def test_the_payee_collects(payments, receipt, shop):
    payments.receiveWithAuthorization(*receipt.message.values().values(), *vrs(receipt.signature), {"from": shop})
    assert payments.balanceOf(shop) == 50 * KRONA


def test_the_payee_collects_by_bytes(payments, receipt, shop):
    method = payments.receiveWithAuthorization["address,address,uint256,uint256,uint256,bytes32,bytes"]
    method(*receipt.message.values().values(), receipt.signature, {"from": shop})
    assert payments.balanceOf(shop) == 50 * KRONA


def test_a_stranger_cannot_land_it_outside_the_payees_context(payments, receipt, shop, stranger):
    with refused(ZeroFeePayments, "PaymentsCallerNotPayee", stranger.address, shop.address):
        payments.receiveWithAuthorization(
            *receipt.message.values().values(), *vrs(receipt.signature), {"from": stranger}
        )


def test_it_is_no_transfer_authorization(payments, carry, receipt, anna):
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry(receipt)
