"""Payments on the ledger are found by the ids that their payers signed, whichever way they came."""

from __future__ import annotations

import pytest

from liggare.chain.sender import Sender
from liggare.ledger.follower import Follower
from liggare.ledger.index import Index
from liggare.ledger.queries import Ledger
from liggare.payments.client import Payments, random_nonce
from liggare.payments.ids import PaymentIds
from scripts.nodes import funded

KRONA = 10**6


@pytest.fixture
def payments(w3, deployments):
    return Payments(w3, deployments)


@pytest.fixture
def look(w3, deployments, tmp_path):
    """Follow the chain and return what the index has: `look()`."""
    with Index(f"sqlite:///{tmp_path}/index.db") as index:
        follower = Follower(w3, deployments, index, ids=PaymentIds(deployments))

        def look():
            follower.look()
            return Ledger(index, follower.ledger)

        yield look


@pytest.fixture
def issuer(w3, operator):
    """The suite's issuer, as a Sender."""
    return Sender(w3, funded(0))


@pytest.fixture
def rich(payments, issuer, anna, bo):
    """Anna and Bo have money."""
    for member in (anna, bo):
        payments.mint(member.address, 100 * KRONA, issuer)


def events(ledger, signed):
    return [row.event for row in ledger.about(signed.id.to_0x_hex()).rows]


def test_one_by_one_in_a_batch_and_in_a_bundle(payments, rich, look, carrier, anna, bo, cia):
    single = payments.pay(anna, bo.address, 3 * KRONA)
    payments.carry(single, carrier)
    batch = [payments.pay(anna, cia.address, KRONA), payments.pay(bo, cia.address, KRONA, nonce=random_nonce())]
    bundle = payments.bundle(bo, [(anna.address, 5), (cia.address, 6)])
    poor = payments.pay(cia, anna.address, 1000 * KRONA)
    payments.carry_batch([*batch, bundle, poor], carrier)
    ledger = look()
    for signed in (single, *batch, bundle):
        assert events(ledger, signed) == ["AuthorizationUsed"]
        (used,) = ledger.about(signed.id.to_0x_hex()).rows
        found = ledger.payment(used.transaction, used.log_index + 1)
        assert (found.id, found.authorization) == (signed.id.to_0x_hex(), used)
        assert found.row.arguments["from"] == signed.message.from_
    (used,) = ledger.about(bundle.id.to_0x_hex()).rows
    last = ledger.payment(used.transaction, used.log_index + 2)
    assert (last.row.arguments["value"], last.id) == (6, bundle.id.to_0x_hex())
    assert events(ledger, poor) == ["PaymentSkipped"]


def test_what_is_canceled_or_sent_directly(payments, rich, look, carrier, anna, issuer, bo):
    canceled = payments.cancel(anna, random_nonce())
    payments.carry_cancel(canceled, carrier)
    receipt = payments.mint(bo.address, 7, issuer)
    ledger = look()
    assert events(ledger, canceled) == ["AuthorizationCanceled"]
    minted = ledger.payment(receipt["transactionHash"].to_0x_hex(), receipt["logs"][0]["logIndex"])
    assert (minted.row.arguments["value"], minted.authorization, minted.id) == (7, None, None)


def test_the_last_of_a_long_payroll(payments, rich, look, carrier, anna, bo):
    bundle = payments.bundle(anna, [(bo.address, value) for value in range(1, 31)])
    payments.carry_batch([payments.pay(bo, anna.address, 5), bundle], carrier)
    ledger = look()
    (used,) = ledger.about(bundle.id.to_0x_hex()).rows
    for place in (1, 7, 8, 9, 30):
        found = ledger.payment(used.transaction, used.log_index + place)
        assert (found.row.arguments["value"], found.authorization, found.id) == (place, used, bundle.id.to_0x_hex())


@pytest.mark.parametrize("change", [lambda data: data[:80], lambda data: "0x", lambda data: data[:-64] + "f" * 64])
def test_calldata_of_another_form_gives_no_id(payments, rich, look, carrier, deployments, w3, anna, bo, change):
    signed = payments.pay(anna, bo.address, KRONA)
    receipt = payments.carry_batch([signed], carrier)[0]
    (used, *_) = look().about(signed.id.to_0x_hex()).rows
    found = w3.provider.make_request("eth_getTransactionByHash", [receipt["transactionHash"].to_0x_hex()])["result"]
    ids = PaymentIds(deployments)
    assert ids.of(found, [used]) == {used.log_index: signed.id.to_0x_hex()}
    changed = {**found, "input": change(found["input"])}
    assert ids.of(changed, [used]).get(used.log_index) != signed.id.to_0x_hex()
    assert ids.of({**found, "to": bo.address}, [used]) == {}
