"""The replay of the money: an honest history is clean, and each lie is found and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.payments.messages import counter
from liggare.payments.rules import PaymentRules
from tests.payments.conftest import KRONA


@pytest.fixture
def history(payments, carry, payment, client, operator, anna, bo, w3, deployments):
    """Minting, payments by both kinds of nonce, a cancellation, a burn; its rows."""
    carry(payment().sign(anna))
    carry(payment(nonce=b"\xab" * 32, value=5).sign(anna))
    carry(payment(from_=bo.address, to=anna.address, nonce=counter(70), value=7).sign(bo))
    payments.mint(operator, 3 * KRONA, {"from": operator})
    payments.burn(KRONA, {"from": operator})
    return [row for row in Reader(w3, deployments).rows() if row.contract == "ZeroFeePayments"]


@pytest.fixture
def state(history, w3, deployments):
    """The chain's own state after the history."""
    return ChainState(w3, deployments, w3.eth.block_number)


def rules_broken(rows, state=None):
    return [finding.rule for finding in verify(rows, [PaymentRules()], state).findings]


def find(rows, event, skip=0):
    return [i for i, row in enumerate(rows) if row.event == event][skip]


def altered(rows, index, **values):
    row = rows[index]
    return [*rows[:index], replace(row, arguments={**row.arguments, **values}), *rows[index + 1 :]]


def test_an_honest_history_is_clean(history, state):
    report = verify(history, [PaymentRules()], state)
    assert report.findings == []
    assert report.checked["payments"] == 3
    assert report.checked["authorizations"] == 3


def test_a_changed_amount_is_found(history, state):
    rows = altered(history, find(history, "Transfer", 3), value=121 * KRONA)
    assert "the balance is what its payments make" in rules_broken(rows, state)


def test_a_redirected_payment_is_found(history, state, mallory):
    rows = altered(history, find(history, "Transfer", 3), to=mallory.address)
    assert "the balance is what its payments make" in rules_broken(rows, state)


def test_a_payment_of_another_than_the_signer_is_found(history, cia):
    rows = altered(history, find(history, "Transfer", 3), **{"from": cia.address})
    assert "the payment right after an authorization is its signer's" in rules_broken(rows)


def test_an_overdraft_is_found(history):
    rows = altered(history, find(history, "Transfer", 3), value=2000 * KRONA)
    assert "nobody pays more than they have" in rules_broken(rows)


def test_a_nonce_used_twice_is_found(history, anna):
    index = find(history, "AuthorizationUsed", 1)
    assert "a nonce works once" in rules_broken(altered(history, index, nonce=counter(1)))


def test_money_out_of_nowhere_is_found(history, state):
    rows = altered(history, find(history, "Transfer", 0), value=1001 * KRONA)
    assert "the supply is what was minted less what was burned" in rules_broken(rows, state)


def test_a_doubled_row_is_found(history):
    assert "each event follows the one before it, once" in rules_broken([*history, history[-1]])


def test_rows_out_of_order_are_found(history):
    assert "each event follows the one before it, once" in rules_broken([history[1], history[0], *history[2:]])


def test_a_dropped_row_is_found(history, state):
    # all but the use of a random nonce: events and state alone don't tell that one from a plain transfer;
    # and a vault that was added, which the vault's own rules find
    random = [row for row in history if row.arguments.get("nonce") == b"\xab" * 32 or row.event == "VaultAdded"]
    assert len(random) == 2
    for row in history[1:]:
        if row not in random:
            assert rules_broken([other for other in history if other != row], state), row


def test_a_stolen_issuers_role_is_found(history, mallory, w3, deployments):
    rows = altered(history, 0, newIssuer=mallory.address)
    state = ChainState(w3, deployments, w3.eth.block_number)
    assert "the issuer is the last one named" in rules_broken(rows, state)


def test_a_vault_that_was_never_added_is_found(history, state, mallory):
    rows = altered(history, find(history, "VaultAdded"), vault=mallory.address)
    assert rules_broken(rows, state) == ["a vault that was added may mint"]
