"""Members with money: Anna, Bo and Cia hold 1,000 each."""

from __future__ import annotations

import pytest
from brownie import ZeroFeePayments

from liggare.payments.client import Payments

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
def carry(payments, operator):
    """Carry a signed payment with the operator's gas: `carry(signed)` returns Brownie's receipt."""

    def carry(signed):
        values = signed.message.values()
        v, r, s = signed.signature[64], signed.signature[:32], signed.signature[32:64]
        return payments.transferWithAuthorization(*values.values(), v, r, s, {"from": operator})

    return carry
