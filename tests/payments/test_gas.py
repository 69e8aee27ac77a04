"""What payments cost, by name in gas.json."""

from __future__ import annotations

import pytest
from brownie import accounts as brownie_accounts

from liggare.payments.messages import counter
from tests.payments.conftest import KRONA

pytestmark = pytest.mark.gas


def test_gas_of_a_signed_payment_by_counter_nonce(gas, carry, payment, anna):
    carry(payment(nonce=counter(1)).sign(anna))
    gas("payments.transferWithAuthorization.counter", carry(payment(nonce=counter(2)).sign(anna)).gas_used)


def test_gas_of_a_signed_payment_by_random_nonce(gas, carry, payment, anna):
    gas("payments.transferWithAuthorization.random", carry(payment(nonce=b"\xab" * 32).sign(anna)).gas_used)


def test_gas_of_a_signed_payment_to_a_new_account(gas, carry, payment, anna, mallory):
    carry(payment(nonce=counter(1)).sign(anna))
    signed = payment(to=mallory.address, nonce=counter(2)).sign(anna)
    gas("payments.transferWithAuthorization.newAccount", carry(signed).gas_used)


def test_gas_of_an_erc20_transfer(gas, payments, operator, bo):
    dan = brownie_accounts[4]
    payments.mint(dan, 100 * KRONA, {"from": operator})
    gas("payments.transfer", payments.transfer(bo.address, KRONA, {"from": dan}).gas_used)
