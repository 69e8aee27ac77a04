"""Members with money: Anna, Bo and Cia hold 1,000 each."""

from __future__ import annotations

import pytest
from brownie import ZeroFeePayments

from liggare.payments.client import Payments
from liggare.payments.messages import TransferWithAuthorization, counter
from tests.support import FOREVER

KRONA = 10**6


@pytest.fixture(scope="session")
def client(w3, deployments):
    """The package's client of the money."""
    return Payments(w3, deployments)


@pytest.fixture(scope="session")
def domain(client):
    """What the payments are signed for."""
    return client.domain


@pytest.fixture
def payments(deployments, operator, anna, bo, cia):
    """The money, as Brownie sees it; the three hold 1,000 each."""
    contract = ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address)
    for member in (anna, bo, cia):
        contract.mint(member.address, 1000 * KRONA, {"from": operator})
    return contract


@pytest.fixture
def payment(domain, anna, bo):
    """Make Anna's payment of 120 to Bo by her counter nonce 1, valid for ever; any member can be changed."""

    def payment(**changes):
        members = {
            "domain": domain,
            "from_": anna.address,
            "to": bo.address,
            "value": 120 * KRONA,
            "valid_after": 0,
            "valid_before": FOREVER,
            "nonce": counter(1),
        }
        return TransferWithAuthorization(**{**members, **changes})

    return payment


def vrs(signature: bytes):
    """A signature as the three words that ERC-3009 takes."""
    return signature[64], signature[:32], signature[32:64]


@pytest.fixture
def carry(payments, operator):
    """Carry a signed payment with the operator's gas: `carry(signed)` returns Brownie's receipt."""

    def carry(signed):
        words = signed.message.values().values()
        return payments.transferWithAuthorization(*words, *vrs(signed.signature), {"from": operator})

    return carry


@pytest.fixture
def carry_bytes(payments, operator):
    """Carry a payment with whatever bytes stand for its signature."""

    def carry_bytes(message, signature: bytes):
        key = "address,address,uint256,uint256,uint256,bytes32,bytes"
        method = payments.transferWithAuthorization[key]
        return method(*message.values().values(), signature, {"from": operator})

    return carry_bytes
