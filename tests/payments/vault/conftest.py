"""Dan has brought 500 tokens for Anna and 300 for Bo; nobody else has money of the vault's."""

from __future__ import annotations

import pytest
from brownie import StablecoinVault, ZeroFeePayments
from brownie import accounts as brownie_accounts

from liggare.payments.vault import Vault
from tests.payments.conftest import KRONA
from tests.payments.vault.bank import Bank


@pytest.fixture(scope="session")
def vault(w3, deployments):
    """The package's client of the vault."""
    return Vault(w3, deployments)


@pytest.fixture
def empty_bank(vault, deployments, token, operator):
    """The bank before anything was brought."""
    contract = StablecoinVault.at(deployments.contracts["StablecoinVault"].address)
    money = ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address)
    return Bank(vault, contract, token, money, operator, brownie_accounts[4])


@pytest.fixture
def bank(empty_bank, anna, bo):
    """The bank with the deposits of Anna (500) and Bo (300)."""
    empty_bank.deposit(anna, 500 * KRONA)
    empty_bank.deposit(bo, 300 * KRONA)
    return empty_bank
