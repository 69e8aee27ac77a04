"""The replay of purchases: an honest history is clean, and each lie is found and named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.payments.escrow_rules import EscrowRules
from liggare.payments.purchase import Arbitration, Claim, Purchase, Refund, Release
from tests.payments.conftest import KRONA
from tests.payments.escrow.shop import DAY

CONTRACTS = ("Escrow", "ZeroFeePayments")


@pytest.fixture
def history(shop, client, carrier, operator, anna, bo, cia, w3, deployments):
    """Purchases that end in each way and one that stays open, a gift to the escrow; their rows."""
    domain, terms = shop.escrow.domain, {}
    for number, name in enumerate(["released", "refunded", "claimed", "reclaimed", "arbitrated", "open"]):
        arbiter = {"arbiter": cia.address} if name == "arbitrated" else {}
        terms[name] = shop.terms(order_hash=bytes([number + 1]) * 32, value=(number + 1) * KRONA, **arbiter)
        shop.fund(terms[name], offer=terms[name].sign(bo).signature)
    client.carry(client.pay(cia, shop.contract.address, 7), carrier)
    shop.end(Release(domain, terms["released"]), anna)
    shop.end(Refund(domain, terms["refunded"]), bo)
    shop.end(Arbitration(domain, terms["arbitrated"], 2 * KRONA, 3 * KRONA), cia)
    shop.go_to(shop.claim_after)
    shop.end(Claim(domain, terms["claimed"]), bo)
    shop.go_to(shop.reclaim_after)
    shop.reclaim(terms["reclaimed"])
    return [row for row in Reader(w3, deployments).rows() if row.contract in CONTRACTS]


@pytest.fixture
def check(history, deployments, w3):
    """Replay rows and return the rules that they break; with `chain`, against the chain's own state too."""

    def check(rows, *, chain=False):
        state = ChainState(w3, deployments, w3.eth.block_number) if chain else None
        return [finding.rule for finding in verify(rows, [EscrowRules(deployments)], state).findings]

    return check


def find(rows, event, skip=0):
    return [i for i, row in enumerate(rows) if row.event == event][skip]


def altered(rows, index, **values):
    row = rows[index]
    return [*rows[:index], replace(row, arguments={**row.arguments, **values}), *rows[index + 1 :]]


def without(rows, index):
    return [*rows[:index], *rows[index + 1 :]]


def test_an_honest_history_is_clean(history, shop, deployments, w3):
    state = ChainState(w3, deployments, w3.eth.block_number)
    rules = EscrowRules(deployments)
    report = verify(history, [rules], state)
    assert report.findings == []
    assert report.checked == {"purchases": 6, "purchases ended": 5}
    assert rules.gifts == 7
    assert shop.held() == 6 * KRONA + 7


@pytest.mark.parametrize(
    "change", [{"value": 1}, {"seller": "0x" + "11" * 20}, {"claimAfter": 1}, {"orderHash": bytes(32)}]
)
def test_altered_terms_are_found(history, check, change):
    rows = altered(history, find(history, "PurchaseFunded"), **change)
    assert "a purchase's id is the hash of its terms" in check(rows)


def test_altered_terms_with_the_id_to_them_are_found(history, check, shop, mallory):
    """The liar recomputes the id; the buyer's authorization names another."""
    index = find(history, "PurchaseFunded")
    told = history[index].arguments
    names = ("buyer", "seller", "arbiter", "value", "claimAfter", "reclaimAfter", "orderHash")
    terms = {name: told[name] for name in names} | {"seller": mallory.address}
    forged = Purchase(shop.escrow.domain, *terms.values())
    broken = check(altered(history, index, seller=mallory.address, id=bytes(forged.id)), chain=True)
    assert "the buyer's signature binds the terms" in broken
    assert "a purchase stands where its events lead" in broken


def test_a_funding_told_twice_is_found(history, check):
    index = find(history, "PurchaseFunded")
    rows = [*history[: index + 3], *history[index : index + 3], *history[index + 3 :]]
    assert "a purchase is paid in once" in check(rows)


def test_a_late_funding_is_found(history, check, shop):
    index = find(history, "PurchaseFunded")
    rows = [*history[:index], replace(history[index], timestamp=shop.claim_after + 1), *history[index + 1 :]]
    assert "a purchase is paid in before its deadlines" in check(rows)


@pytest.mark.parametrize("event", ["PurchaseReleased", "PurchaseRefunded", "PurchaseClaimed", "PurchaseReclaimed"])
def test_an_end_of_a_purchase_that_is_not_open_is_found(history, check, event):
    ended = history[find(history, "PurchaseArbitrated")].arguments["id"]
    index = find(history, event)
    assert "an open purchase ends, once" in check(altered(history, index, id=ended))


def test_an_end_told_otherwise_is_found(history, check):
    """A release told as a refund: the money went to the seller."""
    index = find(history, "PurchaseReleased")
    rows = [*history[:index], replace(history[index], event="PurchaseRefunded"), *history[index + 1 :]]
    broken = check(rows, chain=True)
    assert "money leaves the escrow for a purchase only" in broken
    assert "the money moves that an event announces" in broken
    assert "a purchase stands where its events lead" in broken


@pytest.mark.parametrize(("event", "shift"), [("PurchaseClaimed", -15 * DAY), ("PurchaseClaimed", 20 * DAY)])
def test_a_claim_out_of_its_time_is_found(history, check, event, shift):
    index = find(history, event)
    row = history[index]
    rows = [*history[:index], replace(row, timestamp=row.timestamp + shift), *history[index + 1 :]]
    assert "the seller claims between the deadlines" in check(rows)


def test_an_early_reclaim_is_found(history, check):
    index = find(history, "PurchaseReclaimed")
    row = history[index]
    rows = [*history[:index], replace(row, timestamp=row.timestamp - DAY), *history[index + 1 :]]
    assert "the money goes back after the last deadline" in check(rows)


def test_a_division_that_does_not_add_up_is_found(history, check):
    index = find(history, "PurchaseArbitrated")
    assert "the parts are the whole" in check(altered(history, index, toSeller=4 * KRONA))


def test_a_division_by_nobody_is_found(history, check):
    opened = history[find(history, "PurchaseFunded", 5)].arguments["id"]
    index = find(history, "PurchaseArbitrated")
    assert "who divides was named by both" in check(altered(history, index, id=opened))


def test_a_payout_to_another_is_found(history, check, mallory):
    index = find(history, "PurchaseReleased") + 1
    assert history[index].event == "Transfer"
    broken = check(altered(history, index, to=mallory.address))
    assert "money leaves the escrow for a purchase only" in broken


def test_money_that_leaves_without_a_purchase_is_found(history, check):
    index = find(history, "PurchaseReleased")
    broken = check(without(history, index), chain=True)
    assert "money leaves the escrow for a purchase only" in broken
    assert "a purchase stands where its events lead" in broken


def test_each_dropped_row_that_touches_the_escrow_is_found(history, check, shop):
    """But for the gift's authorization, which is the money's rules' to find."""
    ours = [
        index
        for index, row in enumerate(history)
        if row.contract == "Escrow" or shop.contract.address in (row.arguments.get("from"), row.arguments.get("to"))
    ]
    assert len(ours) == 6 * 2 + 1 + 4 * 2 + 3
    for index in ours:
        assert check(without(history, index), chain=True), history[index]


def test_the_last_payout_missing_is_found(history, check):
    assert history[-1].event == "Transfer"
    assert "the money moves that an event announces" in check(history[:-1], chain=True)


def test_a_purchase_that_hides_from_the_chain_is_found(history, check, deployments, w3):
    """The chain's own state is asked: a purchase told as open that the chain knows as ended."""
    index = find(history, "PurchaseReclaimed")
    broken = check(history[:index], chain=True)
    assert "a purchase stands where its events lead" in broken
    assert "the escrow holds all open purchases" in broken
