"""A street: Anna has the sun on her roof, Bo and Cia consume; the utility's account is funded."""

from __future__ import annotations

import pytest
from brownie import ZeroFeePayments

from liggare.energy.client import Energy
from tests.conftest import _person
from tests.energy.street import KRONA, Street, market_at

UTILITY = 0
ANNA, BO, CIA = 1, 2, 3


@pytest.fixture(scope="session")
def energy(w3, deployments):
    """The package's client of the market."""
    return Energy(w3, deployments)


@pytest.fixture(scope="session")
def domain(energy):
    """What orders and readings are signed for."""
    return energy.domain


@pytest.fixture(scope="session")
def dora():
    """A member who moves in later: a key, no ether."""
    return _person("dora")


@pytest.fixture
def market(deployments):
    """The market, as Brownie sees it."""
    return market_at(deployments)


@pytest.fixture
def empty_street(deployments, energy, market, operator):
    """A street without homes, five seconds into slot 10."""
    money = ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address)
    street = Street(energy, market, money, operator)
    street.go_to(10)
    return street


@pytest.fixture
def street(empty_street, anna, bo, cia):
    """Slot 10: Anna is home 1, Bo 2, Cia 3, from slot 11 on; Bo and Cia have 100 each, the utility 1,000. No orders."""
    street = empty_street
    for owner in (anna, bo, cia):
        street.move_in(owner)
    for home, payer in ((BO, bo), (CIA, cia)):
        street.pay_in(home, payer, 100 * KRONA)
    street.pay_in(UTILITY, anna, 1000 * KRONA)
    return street


@pytest.fixture
def trading(street):
    """The street with orders from slot 11 on: Anna sells from 1,000 on, Bo buys up to 2,000, Cia up to 1,500."""
    street.place(ANNA, sell_limit=1_000)
    street.place(BO, buy_limit=2_000)
    street.place(CIA, buy_limit=1_500)
    return street
