"""The replay of the vault: an honest history is clean, and each lie is found and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.payments.vault_rules import VaultRules
from tests.payments.conftest import KRONA
from tests.support import isolated

CONTRACTS = ("StablecoinVault", "ZeroFeePayments")


@pytest.fixture
def history(bank, client, carrier, anna, bo, w3, deployments):
    """Two deposits, a payment between, a gift of money to the vault, two withdrawals; their rows."""
    client.carry(client.pay(anna, bo.address, 50 * KRONA), carrier)
    client.carry(client.pay(anna, bank.contract.address, 7), carrier)
    bank.withdraw(bank.wish(bo, 320 * KRONA))
    bank.withdraw(bank.wish(anna, 20 * KRONA))
    return [row for row in Reader(w3, deployments).rows() if row.contract in CONTRACTS]


@pytest.fixture
def check(history, deployments, w3):
    """Replay rows and return the rules that they break; with `chain`, against the chain's own state too."""

    def check(rows, *, chain=False):
        state = ChainState(w3, deployments, w3.eth.block_number) if chain else None
        return [finding.rule for finding in verify(rows, [VaultRules(deployments)], state).findings]

    return check


def find(rows, event, skip=0):
    return [i for i, row in enumerate(rows) if row.event == event][skip]


def altered(rows, index, **values):
    row = rows[index]
    return [*rows[:index], replace(row, arguments={**row.arguments, **values}), *rows[index + 1 :]]


def without(rows, index):
    return [*rows[:index], *rows[index + 1 :]]


def test_an_honest_history_is_clean(history, deployments, w3):
    rules = VaultRules(deployments)
    report = verify(history, [rules], ChainState(w3, deployments, w3.eth.block_number))
    assert report.findings == []
    assert report.checked == {"deposits into the vault": 2, "withdrawals from the vault": 2}
    assert rules.issued == 460 * KRONA


def test_a_changed_deposit_is_found(history, check):
    broken = check(altered(history, find(history, "Deposited"), value=501 * KRONA), chain=True)
    assert "the money moves that an event announces" in broken
    assert "what is issued is what deposits and withdrawals make" in broken


def test_a_deposit_minted_to_another_is_found(history, check, mallory):
    index = find(history, "Deposited") + 1
    assert history[index].event == "Transfer"
    assert "the money moves that an event announces" in check(altered(history, index, to=mallory.address))


def test_a_payout_of_more_than_was_issued_is_found(history, check):
    rows = altered(history, find(history, "Withdrawn"), value=801 * KRONA)
    assert "the vault pays out what it issued" in check(rows)


def test_money_that_leaves_the_vault_without_a_withdrawal_is_found(history, check):
    rows = without(history, find(history, "Withdrawn"))
    assert "money leaves the vault to be burned for a withdrawal" in check(rows)


def test_a_vault_that_was_never_added_is_found(history, check):
    assert "a vault issues once the issuer added it" in check(without(history, find(history, "VaultAdded")))


def test_each_dropped_row_that_touches_the_vault_is_found(history, check, bank):
    mints = [i + 1 for i, row in enumerate(history) if row.event == "Deposited"]
    ours = [
        index
        for index, row in enumerate(history)
        if row.event in ("Deposited", "Withdrawn") or bank.contract.address == row.arguments.get("from")
    ]
    assert len(mints) == 2
    assert len(ours) == 6
    for index in [*mints, *ours]:
        assert check(without(history, index), chain=True), history[index]


def test_tokens_that_are_gone_are_found(history, check, bank):
    with isolated():
        bank.token.shrink(bank.contract, 1, {"from": bank.dan})
        assert check(history, chain=True) == ["the vault holds tokens for all that it issued"]
    assert check(history, chain=True) == []
