"""`grantFor` and `revokeFor`: a guardian or the successor grants in the patient's stead, beside the patient's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import OwnedWallet, RecordAccess
from eth_utils.crypto import keccak

from liggare.errors import ContractRefused
from liggare.messages import Signed
from liggare.records.client import Refusal
from liggare.records.messages import RevokeAll, Terms, blind, grant_key_by, guardian_epoch
from liggare.records.share import Share
from tests.records.conftest import APPOINT, EVER, GRANT, READ, RECOVER, SALT, category, purpose, refused_late
from tests.support import FOREVER, now, pass_time, refused, rpc


@pytest.fixture
def guardian(accredited, carry, appoint, anna):
    """Vera is Anna's guardian, with all rights, for ever."""
    carry(appoint().sign(anna))


def test_a_guardian_grants(access, guardian, carry, grant_for, anna, vera, terms, why_not_by, why_not):
    signed = grant_for().sign(vera)
    event = carry(signed).events["GrantedFor"]
    assert (event["id"], event["patient"], event["author"]) == (signed.id.to_0x_hex(), anna.address, vera.address)
    slot = terms.commitment(SALT, 1)[:22] + signed.message.epoch.to_bytes(5, "big") + (1).to_bytes(5, "big")
    assert (event["blinded"], event["slot"]) == ("0x" + signed.message.blinded.hex(), "0x" + slot.hex())
    assert why_not_by() == Refusal.NOTHING
    assert why_not() == Refusal.NO_GRANT  # the patient's own is another


def test_a_guardians_epoch_is_that_of_its_appointment(access, guardian, anna, vera):
    serial = access.guardians(anna.address, vera.address)[4]
    assert access.epochOf(anna.address, vera.address) == guardian_epoch(0, serial)
    assert access.epochOf(anna.address, anna.address) == 0


def test_a_guardians_grant_lies_under_a_key_of_its_own(access, guardian, carry, grant_for, anna, vera):
    message = grant_for()
    carry(message.sign(vera))
    place = keccak(grant_key_by(anna.address, vera.address, message.blinded) + (8).to_bytes(32, "big"))
    word = bytes.fromhex(rpc("eth_getStorageAt", access.address, "0x" + place.hex(), "latest")[2:])
    assert word.rjust(32, b"\0")[:22] == message.terms[:22]


def test_a_guardian_never_touches_the_patients_own_grant(
    access, guardian, carry, grant, grant_for, revoke_for, anna, vera, why_not
):
    """Same patient, same grantee, same salt: granted, narrowed, revoked by the guardian; the patient's stands."""
    carry(grant().sign(anna))
    narrow = Terms.of(["Claim"], ["HPAYMT"], 0, EVER)
    carry(grant_for(terms=narrow.commitment(SALT, 1)).sign(vera))
    assert why_not() == Refusal.NOTHING
    carry(revoke_for().sign(vera))
    assert why_not() == Refusal.NOTHING
    assert access.grants(anna.address, grant().blinded)[2] == 1


def test_a_guardian_cannot_sign_for_the_patient(guardian, carry, grant, revoke, domain, anna, vera):
    for message in (grant(), revoke(version=1), RevokeAll(domain, anna.address, 0, FOREVER)):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(message.sign(vera))


def test_the_patient_has_the_short_way_only(access, guardian, carry, grant_for, revoke_for, anna):
    for message in (grant_for(author=anna.address), revoke_for(author=anna.address)):
        with refused(RecordAccess, "RecordsMayNotAct", anna.address, GRANT):
            carry(message.sign(anna))


def test_a_stranger_grants_for_nobody(access, accredited, carry, grant_for, anna, mallory, why_not_by):
    with refused(RecordAccess, "RecordsMayNotAct", mallory.address, GRANT):
        carry(grant_for(author=mallory.address, epoch=0).sign(mallory))
    assert why_not_by(author=mallory.address) == Refusal.NOT_AUTHOR


def test_a_guardian_without_the_right_grants_nothing(accredited, carry, appoint, grant_for, anna, vera, why_not_by):
    carry(appoint(rights=APPOINT | RECOVER | READ).sign(anna))
    with refused(RecordAccess, "RecordsMayNotAct", vera.address, GRANT):
        carry(grant_for(epoch=0).sign(vera))
    assert why_not_by() == Refusal.NOT_AUTHOR


def test_a_guardian_of_one_patient_grants_nothing_for_another(guardian, carry, grant_for, bo, vera):
    with refused(RecordAccess, "RecordsMayNotAct", vera.address, GRANT):
        carry(grant_for(patient=bo.address, epoch=0).sign(vera))


def test_one_guardian_cannot_overwrite_anothers_grant(
    accredited, carry, appoint, grant_for, revoke_for, anna, vera, olle, why_not_by
):
    for guardian in (vera, olle):
        carry(appoint(guardian=guardian.address).sign(anna))
    carry(grant_for().sign(vera))
    for message in (grant_for(version=2), revoke_for()):
        with refused(RecordAccess, "RecordsInvalidSignature", vera.address):
            carry(message.sign(olle))
    carry(grant_for(author=olle.address, terms=b"\x07" * 32).sign(olle))
    assert why_not_by() == Refusal.NOTHING


def test_what_a_guardian_granted_ends_with_its_time(accredited, carry, appoint, grant_for, anna, vera, why_not_by):
    carry(appoint(until=now() + 500).sign(anna))
    carry(grant_for().sign(vera))
    later = grant_for(version=2)
    assert why_not_by() == Refusal.NOTHING
    pass_time(600)
    assert why_not_by() == Refusal.NOT_AUTHOR
    with refused(RecordAccess, "RecordsMayNotAct", vera.address, GRANT):
        carry(later.sign(vera))


def test_revoke_all_ends_what_guardians_granted_and_leaves_them_guardians(
    access, guardian, carry, grant_for, domain, anna, vera, why_not_by
):
    carry(grant_for().sign(vera))
    unsent = grant_for(version=2)
    carry(RevokeAll(domain, anna.address, 0, FOREVER).sign(anna))
    assert why_not_by() == Refusal.ALL_REVOKED
    with refused(RecordAccess, "RecordsWrongEpoch", unsent.epoch, access.epochOf(anna.address, vera.address)):
        carry(unsent.sign(vera))
    carry(grant_for(version=2).sign(vera))
    assert why_not_by() == Refusal.NOTHING


def test_dismissing_a_guardian_and_appointing_it_again_revives_nothing(
    access, guardian, carry, appoint, dismiss, grant_for, anna, vera, why_not_by
):
    carry(grant_for().sign(vera))
    unsent = grant_for(version=2)
    carry(dismiss().sign(anna))
    assert why_not_by() == Refusal.NOT_AUTHOR
    with refused(RecordAccess, "RecordsMayNotAct", vera.address, GRANT):
        carry(unsent.sign(vera))
    carry(appoint(version=3).sign(anna))
    assert why_not_by() == Refusal.ALL_REVOKED
    with refused(RecordAccess, "RecordsWrongEpoch", unsent.epoch, access.epochOf(anna.address, vera.address)):
        carry(unsent.sign(vera))


def test_a_guardians_grant_works_once_and_in_turn(guardian, carry, grant_for, vera):
    signed = grant_for().sign(vera)
    carry(signed)
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(signed)
    with refused(RecordAccess, "RecordsWrongVersion", 3, 2):
        carry(grant_for(version=3).sign(vera))


def test_an_altered_guardians_grant_is_refused(guardian, carry, appoint, grant_for, anna, vera, olle):
    signed = grant_for().sign(vera)
    carry(appoint(guardian=olle.address).sign(anna))
    for change in ({"blinded": b"\x01" * 32}, {"terms": b"\x01" * 32}, {"epoch": 1}, {"version": 2}, {"deadline": 1}):
        with refused(RecordAccess, "RecordsInvalidSignature", vera.address):
            carry(Signed(replace(signed.message, **change), signed.signature))
    with refused(RecordAccess, "RecordsInvalidSignature", olle.address):
        carry(Signed(replace(signed.message, author=olle.address), signed.signature))


@pytest.mark.parametrize("other", [{"chain_id": 1}, {"verifying_contract": "0x" + "11" * 20}])
def test_a_guardians_grant_for_another_domain_is_refused(guardian, carry, grant_for, domain, vera, other):
    signed = grant_for(domain=replace(domain, **other)).sign(vera)
    with refused(RecordAccess, "RecordsInvalidSignature", vera.address):
        carry(Signed(grant_for(), signed.signature))


def test_late_messages_of_a_guardian_are_refused(guardian, access, carry, grant_for, revoke_for, anna, vera):
    for message in (grant_for(deadline=9), revoke_for(version=1, deadline=9)):
        with refused_late(9):
            carry(message.sign(vera))
    assert access.grantsBy(anna.address, vera.address, grant_for().blinded)[2] == 0


def test_a_guardian_revokes_what_it_granted(access, guardian, carry, grant_for, revoke_for, anna, vera, why_not_by):
    carry(grant_for().sign(vera))
    unsent = grant_for(version=2)
    signed = revoke_for().sign(vera)
    event = carry(signed).events["RevokedFor"]
    assert (event["id"], event["author"], event["version"]) == (signed.id.to_0x_hex(), vera.address, 2)
    assert why_not_by() == Refusal.REVOKED
    for replayed in (signed, unsent.sign(vera)):
        with refused(RecordAccess, "RecordsWrongVersion", 2, 3):
            carry(replayed)


def test_the_patient_revokes_what_a_guardian_granted(guardian, carry, grant_for, revoke_for, anna, vera, why_not_by):
    carry(grant_for().sign(vera))
    carry(revoke_for().sign(anna))
    assert why_not_by() == Refusal.REVOKED


def test_nobody_else_revokes_what_a_guardian_granted(
    guardian, carry, grant_for, revoke_for, bo, vera, mallory, why_not_by
):
    carry(grant_for().sign(vera))
    for stranger in (mallory, bo):
        with refused(RecordAccess, "RecordsInvalidSignature", vera.address):
            carry(revoke_for().sign(stranger))
    assert why_not_by() == Refusal.NOTHING


def test_a_wallet_is_a_guardian(
    access, accredited, carry, appoint, grant_for, anna, vera, mallory, operator, why_not_by
):
    wallet = OwnedWallet.deploy(vera.address, {"from": operator})
    carry(appoint(guardian=wallet.address).sign(anna))
    message = grant_for(author=wallet.address)
    with refused(RecordAccess, "RecordsInvalidSignature", wallet.address):
        carry(message.sign(mallory))
    carry(message.sign(vera))
    assert why_not_by(author=wallet.address) == Refusal.NOTHING


def test_what_a_guardian_granted_is_bounded_as_any_grant(
    accredited, carry, appoint, grant_for, anna, vera, hospital, why_not_by, registry, operator, terms
):
    carry(appoint().sign(anna))
    carry(grant_for().sign(vera))
    assert why_not_by(category=category("Claim")) == Refusal.CATEGORY_NOT_GRANTED
    assert why_not_by(purpose=purpose("HPAYMT")) == Refusal.PURPOSE_NOT_GRANTED
    assert why_not_by(salt=b"\x01" * 32) == Refusal.NO_GRANT
    assert why_not_by(terms=replace(terms, expiry=EVER + 1)) == Refusal.OTHER_TERMS
    registry.suspend(hospital.address, {"from": operator})
    assert why_not_by() == Refusal.GRANTEE_SUSPENDED


def test_for_the_patient_itself_both_questions_are_one(guardian, carry, grant, anna, access, why_not_by, why_not):
    assert why_not_by(author=anna.address) == why_not() == Refusal.NO_GRANT
    carry(grant().sign(anna))
    assert why_not_by(author=anna.address) == why_not() == Refusal.NOTHING
    assert access.grantsBy(anna.address, anna.address, grant().blinded) == access.grants(anna.address, grant().blinded)


def test_the_client_grants_and_revokes_as_a_guardian(client, guardian, carrier, anna, vera, mallory, hospital, terms):
    asked = category("Observation"), purpose("TREAT")
    signed, share = client.grant_for(vera, anna.address, hospital.address, SALT, terms)
    assert client.why_not(share, *asked) is Refusal.NO_GRANT
    client.carry(signed, carrier)
    share = Share.from_json(share.to_json())
    assert share.author == vera.address != share.patient
    assert client.may_read(share, *asked)
    client.carry(client.revoke_for(vera, anna.address, vera.address, blind(hospital.address, SALT)), carrier)
    assert client.why_not(share, *asked) is Refusal.REVOKED
    assert client.state(anna.address, share.blinded, author=vera.address).version == 2
    with pytest.raises(ContractRefused) as caught:
        client.grant_for(mallory, anna.address, hospital.address, SALT, terms)
    assert caught.value.name == "RecordsMayNotAct"
