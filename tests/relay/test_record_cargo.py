"""The records' messages as cargo: the gas that is reckoned always suffices, and a batch keeps to the aim of issue 4."""

from __future__ import annotations

import itertools

import pytest

from liggare.chain.sender import Sender
from liggare.records import wire
from liggare.records.cargo import TRIES, function
from liggare.records.messages import Terms
from liggare.records.wire import Approved
from tests.nodes import funded, wallet
from tests.relay.conftest import PATIENT

TERMS = Terms(2**64 - 1, 2**32 - 1, 0, 2**40)
LATER = 2**40


def entries_of(cargo, items):
    return [cargo.read(wire.document(item)) for item in items]


def carry(anvil, cargo, entries) -> tuple[int, int]:
    """Carry them; return what was used and what had been reckoned."""
    freight = cargo.load(entries)
    sent = anvil.w3.eth.send_transaction(
        {"from": funded(1).address, "to": freight.to, "data": freight.data, "gas": freight.gas}
    )
    receipt = anvil.w3.eth.wait_for_transaction_receipt(sent)
    assert receipt["status"] == 1
    return receipt["gasUsed"], freight.gas


@pytest.mark.parametrize("count", [1, 7, 50, 200])
def test_the_gas_reckoned_suffices_for_grants_and_they_keep_to_the_aim(anvil, record_cargo, grant, count):
    items = [grant(number, number) for number in range(count)]
    used, reckoned = carry(anvil, record_cargo, entries_of(record_cargo, items))
    assert used <= reckoned <= 1.5 * used
    if count == 50:
        assert used <= 34_000 * count  # issue 4: 50 new grants relayed


def test_what_is_skipped_costs_no_more_than_was_reckoned(anvil, record_cargo, grant, revoke):
    forged = grant(1, 1).message.sign(wallet(3))
    items = [grant(0, 1, 5), forged, revoke(2, 1, 7), grant(3, 1, deadline=1)] * 10
    assert len({item.id for item in items}) == 4
    entries = [entry for entry in entries_of(record_cargo, items) if not entry.alone]
    used, reckoned = carry(anvil, record_cargo, entries)
    assert used <= reckoned


def everything(anvil, records, hospital):
    """Yield one of each message that goes alone, each valid once those before it landed; the dearest of its kind."""
    carrier = Sender(anvil.w3, funded(5))
    patient, successor = wallet(PATIENT), wallet(700)
    grants = [(wallet(number).address, bytes([number]) * 32, TERMS) for number in range(1, 41)]
    yield records.bundle(patient, grants)[0]
    yield records.bundle(patient, [(who, salt, None) for who, salt, _ in grants])[0]
    chain = [patient, *(wallet(710 + number) for number in range(4))]
    for appointer, guardian in itertools.pairwise(chain):
        yield records.appoint(appointer, patient.address, guardian.address, ["grant", "appoint"], LATER)
    deepest = chain[-1]
    yield records.grant_for(deepest, patient.address, wallet(1).address, b"\1" * 32, TERMS)[0]
    blinded = records.share(patient.address, wallet(1).address, b"\1" * 32, TERMS).blinded
    yield records.revoke_for(deepest, patient.address, deepest.address, blinded)
    yield records.dismiss(chain[-2], patient.address, deepest.address)
    yield records.set_emergency(patient, False)
    yield records.set_emergency(patient, True)
    yield records.break_glass(hospital, patient.address, "BTG", records.now() + 3600)
    yield records.revoke_all(patient)
    friends = [wallet(720 + number) for number in range(16)]
    for friend in friends:
        yield records.appoint(patient, patient.address, friend.address, ["recover"], LATER)
    yield records.set_recovery(patient, 16, 86_400)
    yield Approved.of([records.recover(friend, patient.address, successor.address) for friend in friends])
    yield records.stop_recovery(patient)
    yield Approved.of([records.recover(friend, patient.address, successor.address) for friend in friends])
    anvil.rpc("evm_increaseTime", 86_401)
    anvil.rpc("evm_mine")
    records.complete_recovery(patient.address, carrier)
    yield records.revoke_all(successor, patient=patient.address)
    yield records.grant_for(successor, patient.address, wallet(1).address, b"\1" * 32, TERMS)[0]
    yield records.revoke_for(successor, patient.address, successor.address, blinded)


def test_the_gas_reckoned_suffices_for_every_message_that_goes_alone(anvil, records, record_cargo, hospital):
    kinds = set()
    for item in everything(anvil, records, hospital):
        (entry,) = entries_of(record_cargo, [item])
        assert entry.alone
        assert record_cargo.dry_run([entry]) == [None], item.message.TYPE
        used, reckoned = carry(anvil, record_cargo, [entry])
        assert used <= reckoned <= 9 * used, item.message.TYPE  # a successor's key might be a wallet
        assert entry.gas == TRIES * reckoned
        assert record_cargo.find([entry]).keys() == {entry.id}
        kinds.add(item.message.TYPE)
    assert kinds == wire.MESSAGES.keys() - {"Grant", "Revoke"}


def test_every_message_comes_back_from_its_json(anvil, records, record_cargo, hospital, grant, revoke):
    carrier = Sender(anvil.w3, funded(5))
    items = [grant(0, 1), revoke(0, 2)]
    for item in everything(anvil, records, hospital):
        items.append(item)
        carrier.send(function(records, item))
    for item in items:
        again = wire.item(wire.read(wire.document(item)), records.domain)
        assert again == item
        assert again.id == item.id


def test_a_grant_whose_patient_holds_no_key_goes_alone(record_cargo, grant, records):
    """A contract wallet's signature has no form in a batch."""
    item = grant(0, 1)
    wallets = type(item)(item.message, b"\2" * 96)
    (entry,) = entries_of(record_cargo, [wallets])
    assert entry.alone
    assert entry.account == item.message.patient
