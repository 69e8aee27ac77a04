"""`transferWithAuthorization`: a member signs, anyone carries, the amount arrives whole."""

from __future__ import annotations

import pytest
from brownie import ZeroFeePayments

from liggare.payments.messages import TransferWithAuthorization, counter
from tests.support import FOREVER, refused

KRONA = 10**6


@pytest.fixture
def payment(domain, anna, bo):
    """Anna's payment of 120 to Bo, valid for ever, by her counter nonce 1."""
    return TransferWithAuthorization(domain, anna.address, bo.address, 120 * KRONA, 0, FOREVER, counter(1))


def test_the_amount_arrives_whole(payments, carry, payment, anna, bo):
    carry(payment.sign(anna))
    assert payments.balanceOf(anna.address) == 880 * KRONA
    assert payments.balanceOf(bo.address) == 1120 * KRONA


def test_an_expired_payment_is_refused(payments, carry, domain, anna, bo):
    late = TransferWithAuthorization(domain, anna.address, bo.address, 1, 0, 1, counter(1))
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry(payment_altered := late.__class__(domain, anna.address, bo.address, 2, 0, FOREVER, counter(1)).sign(bo))
    assert payment_altered
