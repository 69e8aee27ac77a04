"""Anna buys from Bo; Cia is the arbiter where there is one. Each holds 1,000."""

from __future__ import annotations

import pytest
from brownie import Escrow as EscrowContract

from liggare.payments.escrow import Escrow
from liggare.payments.purchase import Purchase
from tests.payments.escrow.shop import Shop


@pytest.fixture(scope="session")
def escrow(w3, deployments):
    """The package's client of the escrow."""
    return Escrow(w3, deployments)


@pytest.fixture
def shop(deployments, escrow, payments, operator, anna, bo):
    """The shop, nothing bought yet."""
    contract = EscrowContract.at(deployments.contracts["Escrow"].address)
    return Shop(escrow, contract, payments, operator, anna, bo)


@pytest.fixture
def bought(shop) -> Purchase:
    """Anna has paid 120 in for her purchase from Bo, without an arbiter."""
    purchase = shop.terms()
    shop.fund(purchase)
    return purchase


@pytest.fixture
def judged(shop, bo, cia) -> Purchase:
    """Anna has paid 120 in for her purchase from Bo, and both named Cia as the arbiter."""
    purchase = shop.terms(arbiter=cia.address)
    shop.fund(purchase, offer=purchase.sign(bo).signature)
    return purchase
