"""What the vault costs, by name in gas.json: with a plain token, and everybody has had money and tokens before."""

from __future__ import annotations

import pytest

from tests.payments.conftest import KRONA

pytestmark = pytest.mark.gas


@pytest.fixture
def busy_bank(bank, anna):
    """Anna has withdrawn before; Dan has more tokens, and more allowed, than he brings."""
    bank.withdraw(bank.wish(anna, KRONA, salt=b"\1" * 32))
    bank.give(200 * KRONA)
    return bank


def test_gas_of_a_deposit(busy_bank, gas, anna):
    receipt = busy_bank.contract.deposit(anna.address, 120 * KRONA, {"from": busy_bank.dan})
    gas("payments.vault.deposit", receipt.gas_used)


def test_gas_of_a_withdrawal(busy_bank, gas, anna):
    gas("payments.vault.withdraw", busy_bank.withdraw(busy_bank.wish(anna, 120 * KRONA)).gas_used)
