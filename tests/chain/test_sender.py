"""Sending: refusals by name before anything is sent, and an honest word where a receipt does not come."""

from __future__ import annotations

import pytest
from eth_account import Account

from liggare.chain.sender import Sender
from liggare.errors import ChainError, ContractRefused, TransactionUncertain
from tests.support import rpc


@pytest.fixture
def money(w3, deployments):
    """The money, by the package's own connection."""
    return deployments.contract(w3, "ZeroFeePayments")


def test_a_receipt_comes_back(money, carrier, bo):
    receipt = carrier.send(money.functions.approve(bo.address, 5))
    assert receipt["status"] == 1
    assert money.functions.allowance(carrier.account.address, bo.address).call() == 5


def test_a_refusal_costs_nothing(w3, money, carrier, bo):
    address = carrier.account.address
    before = w3.eth.get_balance(address), w3.eth.get_transaction_count(address)
    with pytest.raises(ContractRefused) as caught:
        carrier.send(money.functions.transfer(bo.address, 5))
    assert caught.value.name == "PaymentsInsufficientBalance"
    assert caught.value.arguments == {"account": address, "balance": 0, "needed": 5}
    assert (w3.eth.get_balance(address), w3.eth.get_transaction_count(address)) == before


def test_who_has_no_ether_is_told_so(w3, money, bo):
    with pytest.raises(ChainError, match="the node refused"):
        Sender(w3, Account.from_key(b"\x09" * 32)).send(money.functions.approve(bo.address, 5))


def test_where_no_block_comes_the_transaction_is_uncertain_and_may_still_land(w3, money, carrier, bo, network_name):
    stop, go = (
        (("evm_setAutomine", False), ("evm_setAutomine", True))
        if network_name == "anvil"
        else (("miner_stop",), ("miner_start",))
    )
    rpc(*stop)
    try:
        with pytest.raises(TransactionUncertain) as caught:
            carrier.send(money.functions.approve(bo.address, 7), timeout=0.5)
    finally:
        rpc(*go)
    rpc("evm_mine")
    receipt = w3.eth.wait_for_transaction_receipt(caught.value.transaction, timeout=10)
    assert receipt["status"] == 1
    assert money.functions.allowance(carrier.account.address, bo.address).call() == 7


def test_a_failure_in_the_block_is_not_mistaken_for_a_reason(money, carrier, bo, monkeypatch):
    """Ganache answers the send with the transaction's hash, which is no contract's error."""
    monkeypatch.setattr(carrier, "_gas", lambda *_: 22_500)
    with pytest.raises(ChainError) as caught:
        carrier.send(money.functions.approve(bo.address, 7))
    assert not isinstance(caught.value, ContractRefused)
