"""`grantBatch`: many patients' grants and revokes in one transaction; a bad one is skipped by its reason, no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import OwnedWallet, RecordAccess
from brownie.convert.utils import build_function_selector
from brownie.exceptions import VirtualMachineError
from eth_account import Account

from liggare.errors import SignatureMalformed, UsageError
from liggare.messages import Signed
from liggare.records.messages import RevokeAll, blind
from tests.records.conftest import NOBODY, SALT
from tests.support import FOREVER, now, rpc

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SELECTORS = {item["name"]: build_function_selector(item) for item in RecordAccess.abi if item["type"] == "error"}
BAD, LATE, TURN = (SELECTORS[name] for name in ("RecordsInvalidSignature", "RecordsExpired", "RecordsWrongVersion"))
CARRIED = "0x00000000"


@pytest.fixture(scope="module")
def items(client):
    """Signed messages as a batch has them: `items(signed, …)` returns the words of each."""
    return lambda *signed: client.batch(signed).arguments[0]


@pytest.fixture(scope="module")
def carry_batch(access, operator):
    """Carry a batch and return the reasons that the events tell, None for what was carried out, in order."""

    def carry_batch(words):
        dry = [str(reason) for reason in access.grantBatch.call(words, {"from": operator})]
        events = access.grantBatch(words, {"from": operator}).events
        skipped = {event["index"]: event for event in events if event.name == "Skipped"}
        reasons = [str(skipped[place]["reason"]) if place in skipped else CARRIED for place in range(len(words))]
        assert reasons == dry  # what a carrier is told beforehand
        assert len(events) - len(skipped) == reasons.count(CARRIED)
        return reasons

    return carry_batch


@pytest.fixture
def version(access, hospital):
    """The version that stands for a patient and the hospital."""
    return lambda patient: access.grants(patient.address, blind(hospital.address, SALT))[2]


def test_many_patients_grants_and_revokes_land_at_once(
    access, accredited, items, grant, revoke, operator, anna, bo, cia
):
    messages = [
        grant().sign(anna),
        grant(patient=bo.address).sign(bo),
        revoke(patient=bo.address).sign(bo),
        revoke(patient=cia.address, version=1).sign(cia),
    ]
    events = access.grantBatch(items(*messages), {"from": operator}).events
    told = [event["id"] for name in ("Granted", "Revoked") for event in events[name]]
    assert told == [signed.id.to_0x_hex() for signed in messages]
    words = ("0x" + grant().terms[:22].hex(), 0, 1)
    assert access.grants(anna.address, grant().blinded) == words
    assert access.grants(bo.address, grant().blinded) == ("0x" + "00" * 22, 0, 2)
    assert access.grants(cia.address, grant().blinded) == ("0x" + "00" * 22, 0, 1)


def test_what_lands_in_a_batch_may_be_read(accredited, carry_batch, items, grant, anna, why_not):
    assert carry_batch(items(grant().sign(anna))) == [CARRIED]
    assert why_not() == 0


def test_a_batch_of_nothing_does_nothing(access, operator):
    assert len(access.grantBatch([], {"from": operator}).events) == 0


def test_each_bad_item_is_skipped_by_its_reason_and_the_others_land(
    carry_batch, items, grant, revoke, anna, bo, cia, mallory, version
):
    late = now() - 1
    words = items(
        grant().sign(mallory),
        grant(deadline=late).sign(anna),
        grant(version=2).sign(anna),
        grant().sign(anna),
        grant().sign(anna),
        revoke(version=9).sign(anna),
        revoke(version=2, deadline=late).sign(anna),
        revoke(version=2).sign(mallory),
        grant(patient=bo.address).sign(bo),
        grant(patient=cia.address, version=0).sign(cia),
    )
    assert carry_batch(words) == [BAD, LATE, TURN, CARRIED, TURN, TURN, LATE, BAD, CARRIED, TURN]
    assert (version(anna), version(bo), version(cia)) == (1, 1, 0)


def test_a_reason_is_the_error_by_which_the_item_alone_is_refused(carry_batch, items, carry, grant, anna, mallory):
    for signed in (grant().sign(mallory), grant(deadline=5).sign(anna), grant(version=7).sign(anna)):
        with pytest.raises(VirtualMachineError) as caught:
            carry(signed)
        name = caught.value.revert_msg.partition(":")[0]
        assert carry_batch(items(signed)) == [SELECTORS[name]]


@pytest.mark.parametrize(
    "member", range(8), ids=["patient", "blinded", "terms", "epoch", "version", "deadline", "r", "vs"]
)
def test_an_altered_item_is_skipped(carry_batch, items, grant, anna, bo, member, version):
    (word,) = items(grant().sign(anna))
    others = (bo.address, b"\x01" * 32, b"\x02" * 32, 1, 2, FOREVER - 1, b"\x03" * 32, b"\x04" * 32)
    assert carry_batch([[*word[:member], others[member], *word[member + 1 :]]]) == [BAD]
    assert version(anna) == 0


@pytest.mark.parametrize(
    "other", [{"chain_id": 1}, {"verifying_contract": "0x" + "11" * 20}, {"name": "Liggare Krona"}, {"version": "2"}]
)
def test_an_item_for_another_domain_is_skipped(carry_batch, items, grant, domain, anna, other):
    assert carry_batch(items(grant(domain=replace(domain, **other)).sign(anna))) == [BAD]


def test_a_grant_of_another_epoch_lands_and_reads_nothing(
    access, accredited, carry, carry_batch, items, grant, domain, anna, why_not
):
    carry(RevokeAll(domain, anna.address, 0, FOREVER).sign(anna))
    assert carry_batch(items(grant().sign(anna))) == [CARRIED]
    assert why_not() == 3


def test_a_signature_of_one_kind_does_not_pass_as_the_other(carry_batch, items, grant, revoke, anna, version):
    as_revoke = Signed(revoke(version=1), grant(terms=bytes(31) + b"\1").sign(anna).signature)
    as_grant = Signed(grant(), revoke(version=1).sign(anna).signature)
    assert carry_batch(items(as_revoke, as_grant)) == [BAD, BAD]
    # a grant of zero terms is no revoke either: the words are those of a revoke, what was signed is not
    zero = grant(terms=bytes(32)).sign(anna)
    assert carry_batch(items(Signed(revoke(version=1), zero.signature))) == [BAD]
    assert version(anna) == 0


def test_the_high_s_twin_is_skipped(carry_batch, items, grant, anna, version):
    (word,) = items(grant().sign(anna))
    vs = int.from_bytes(word[7], "big")
    for twin in (ORDER - (vs & 2**255 - 1), (ORDER - (vs & 2**255 - 1)) % 2**255 | ~vs & 1 << 255):
        assert carry_batch([[*word[:7], twin.to_bytes(32, "big")]]) == [BAD]
    assert version(anna) == 0


def test_nobody_signs_for_the_zero_address(carry_batch, items, grant, anna):
    (word,) = items(grant(patient=NOBODY).sign(anna))
    for r, vs in ((bytes(32), bytes(32)), (b"\xff" * 32, b"\x01" * 32)):
        assert carry_batch([[*word[:6], r, vs]]) == [BAD]


def test_a_wallet_does_not_fit_into_a_batch(carry_batch, items, grant, operator, anna):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    assert carry_batch(items(grant(patient=wallet.address).sign(anna))) == [BAD]


def test_an_item_that_a_stranger_lands_first_is_skipped(access, carry_batch, items, grant, anna, bo, stranger, version):
    first, second = grant().sign(anna), grant(patient=bo.address).sign(bo)
    access.grantBatch(items(first), {"from": stranger})
    assert carry_batch(items(first, second)) == [TURN, CARRIED]
    assert (version(anna), version(bo)) == (1, 1)


def test_an_item_is_not_replayed_after_a_revoke(carry, carry_batch, items, grant, revoke, anna, version):
    signed = grant().sign(anna)
    assert carry_batch(items(signed)) == [CARRIED]
    carry(revoke().sign(anna))
    assert carry_batch(items(signed, grant(version=2).sign(anna))) == [TURN, TURN]
    assert version(anna) == 2


def test_the_order_within_a_batch_counts(carry_batch, items, grant, revoke, anna, version):
    words = items(revoke(version=2).sign(anna), grant().sign(anna), grant(version=2).sign(anna))
    assert carry_batch(words) == [TURN, CARRIED, CARRIED]
    assert version(anna) == 2


def test_a_batch_short_of_gas_reverts_whole_and_never_skips(access, items, grant, operator, anna, bo, mallory):
    """Swept over 250 limits: carried out whole, or reverted; a good item is never taken for a bad one."""
    people = [Account.from_key(bytes([5] * 31 + [number])) for number in range(1, 4)]
    good = [grant(patient=person.address).sign(person) for person in (anna, *people)]
    words = items(*good, grant(patient=bo.address).sign(mallory))
    seen = set()
    for limit in range(30_000, 205_000, 700):
        try:
            reasons = access.grantBatch.call(words, {"from": operator, "gas_limit": limit})
        except (VirtualMachineError, ValueError):
            seen.add("reverted")
        else:
            assert [str(reason) for reason in reasons] == [CARRIED] * 4 + [BAD], limit
            seen.add("whole")
    assert seen == {"reverted", "whole"}


def test_calldata_that_is_no_batch_reverts(access, items, grant, operator, anna):
    whole = bytes.fromhex(access.grantBatch.encode_input(items(grant().sign(anna)))[2:])

    def call(data):
        fields = {"from": operator.address, "to": access.address, "data": "0x" + data.hex()}
        return bytes.fromhex(rpc("eth_call", fields, "latest")[2:])

    assert call(whole)[64:] == bytes(32)  # one reason: none
    cut = [whole[:size] for size in (4, 35, 36, 67, 68, 99, len(whole) - 32, len(whole) - 1)]
    lying = [whole[:36] + count.to_bytes(32, "big") + whole[68:] for count in (2, 2**64, 2**256 - 1)]
    astray = [whole[:4] + place.to_bytes(32, "big") + whole[36:] for place in (64, 2**64, 2**256 - 32)]
    no_patient = whole[:68] + b"\1" + whole[69:]
    for altered in (*cut, *lying, *astray, no_patient):
        with pytest.raises((RuntimeError, ValueError, VirtualMachineError)):
            call(altered)
    for member in (3, 4, 5):  # a bit beyond epoch, version, deadline: signed by nobody
        at = 68 + 32 * member
        assert call(whole[:at] + b"\1" + whole[at + 1 :])[64:68].hex() == BAD[2:]


def test_the_client_carries_a_batch_and_tells_what_was_skipped(client, carrier, grant, revoke, anna, bo, mallory):
    good, forged = grant().sign(anna), grant(patient=bo.address).sign(mallory)
    receipt, skipped = client.carry_batch([good, forged, revoke().sign(anna)], carrier)
    assert receipt["status"] == 1
    assert [(each.index, each.id, each.reason) for each in skipped] == [
        (1, bytes(forged.id), "RecordsInvalidSignature")
    ]
    assert client.version(anna.address, grant().blinded) == 2


def test_the_client_batches_nothing_else(client, domain, grant, anna):
    with pytest.raises(UsageError):
        client.batch([RevokeAll(domain, anna.address, 0, FOREVER).sign(anna)])
    with pytest.raises(UsageError):  # the batch would take it for a revoke
        client.batch([grant(terms=bytes(32)).sign(anna)])
    with pytest.raises(SignatureMalformed):
        client.batch([Signed(grant(), b"wallet")])
