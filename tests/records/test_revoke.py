"""`revoke` and `revokeAll`: at once, for good, and for every older signature too."""

from __future__ import annotations

from dataclasses import replace

from brownie import RecordAccess

from liggare.messages import Signed
from liggare.records.messages import RevokeAll, blind
from tests.records.conftest import refused_late
from tests.support import FOREVER, refused

REVOKED, ALL_REVOKED, NOTHING = 2, 3, 0


def test_a_revoked_grant_reads_nothing(access, accredited, carry, grant, revoke, anna, why_not):
    carry(grant().sign(anna))
    assert why_not() == NOTHING
    receipt = carry(revoke().sign(anna))
    assert why_not() == REVOKED
    assert receipt.events["Revoked"]["id"] == revoke().id.to_0x_hex()
    assert access.grants(anna.address, grant().blinded) == ("0x" + "00" * 22, 0, 2)


def test_a_grant_is_not_replayed_after_its_revoke(carry, grant, revoke, anna):
    first = grant().sign(anna)
    carry(first)
    carry(revoke().sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 1, 3):
        carry(first)


def test_a_revoke_kills_a_change_that_was_signed_before_and_not_sent(carry, grant, revoke, anna):
    carry(grant().sign(anna))
    unsent = grant(version=2).sign(anna)
    carry(revoke().sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 2, 3):
        carry(unsent)


def test_a_first_grant_that_was_not_sent_is_killed_by_a_revoke(carry, grant, revoke, anna):
    unsent = grant().sign(anna)
    carry(revoke(version=1).sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(unsent)


def test_a_revoked_grant_can_be_granted_again(accredited, carry, grant, revoke, anna, why_not):
    carry(grant().sign(anna))
    carry(revoke().sign(anna))
    carry(grant(version=3).sign(anna))
    assert why_not() == NOTHING


def test_a_stranger_cannot_revoke(carry, grant, revoke, anna, mallory):
    carry(grant().sign(anna))
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(revoke().sign(mallory))


def test_a_revoke_is_not_replayed_against_a_later_grant(carry, grant, revoke, anna):
    carry(grant().sign(anna))
    signed = revoke().sign(anna)
    carry(signed)
    carry(grant(version=3).sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 2, 4):
        carry(signed)


def test_a_late_revoke_is_refused(access, carry, grant, revoke, anna):
    carry(grant().sign(anna))
    with refused_late(5):
        carry(revoke(deadline=5).sign(anna))
    assert access.grants(anna.address, grant().blinded)[2] == 1


def test_a_revoke_for_another_chain_is_refused(carry, grant, revoke, domain, anna):
    carry(grant().sign(anna))
    signed = revoke(domain=replace(domain, chain_id=1)).sign(anna)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(revoke(), signed.signature))


def test_revoke_all_begins_an_epoch_for_the_patient_and_nobody_else(access, accredited, carry, grant, domain, anna, bo):
    other = blind(accredited.address, b"\x02" * 32)
    carry(grant().sign(anna))
    carry(grant(blinded=other).sign(anna))
    carry(grant(patient=bo.address).sign(bo))
    signed = RevokeAll(domain, anna.address, 0, FOREVER).sign(anna)
    receipt = carry(signed)
    assert receipt.events["AllRevoked"]["id"] == signed.id.to_0x_hex()
    epoch = access.epochs(anna.address)
    assert receipt.events["AllRevoked"]["epoch"] == epoch != 0
    assert access.epochs(bo.address) == 0


def test_after_revoke_all_only_grants_of_the_new_epoch_count(access, accredited, carry, grant, domain, anna, why_not):
    unsent = grant(version=2).sign(anna)
    carry(grant().sign(anna))
    carry(RevokeAll(domain, anna.address, 0, FOREVER).sign(anna))
    assert why_not() == ALL_REVOKED
    carry(unsent)  # lands, and lets nobody read anything
    assert why_not() == ALL_REVOKED
    carry(grant(version=3, epoch=access.epochs(anna.address)).sign(anna))
    assert why_not() == NOTHING


def test_revoke_all_works_once(access, carry, domain, anna):
    signed = RevokeAll(domain, anna.address, 0, FOREVER).sign(anna)
    carry(signed)
    with refused(RecordAccess, "RecordsWrongEpoch", 0, access.epochs(anna.address)):
        carry(signed)


def test_a_stranger_cannot_revoke_all(carry, domain, anna, mallory):
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(RevokeAll(domain, anna.address, 0, FOREVER).sign(mallory))


def test_a_late_revoke_all_is_refused(access, carry, domain, anna):
    with refused_late(9):
        carry(RevokeAll(domain, anna.address, 0, 9).sign(anna))
    assert access.epochs(anna.address) == 0


def test_the_next_epoch_cannot_be_known_before(access, carry, domain, anna, bo):
    for patient in (anna, bo):
        carry(RevokeAll(domain, patient.address, 0, FOREVER).sign(patient))
    assert access.epochs(anna.address) != access.epochs(bo.address)
