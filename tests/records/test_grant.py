"""`grant`: the patient signs, anyone carries, the chain holds a commitment; every forgery is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import OwnedWallet, RecordAccess
from eth_utils.crypto import keccak

from liggare.messages import Signed
from liggare.records.messages import Terms, blind, grant_key
from tests.records.conftest import EVER, SALT, refused_late
from tests.support import FOREVER, now, refused, rpc

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_a_grant_stands_on_the_chain(access, carry, grant, anna, hospital, terms):
    carry(grant().sign(anna))
    expected = ("0x" + terms.commitment(SALT, 1)[:22].hex(), 0, 1)
    assert access.grants(anna.address, blind(hospital.address, SALT)) == expected


def test_the_event_tells_the_messages_id(carry, grant, anna):
    signed = grant().sign(anna)
    event = carry(signed).events["Granted"]
    assert event["id"] == signed.id.to_0x_hex()
    assert event["patient"] == anna.address
    assert event["blinded"] == "0x" + signed.message.blinded.hex()
    assert event["slot"] == "0x" + (signed.message.terms[:22] + bytes(9) + b"\x01").hex()


def test_a_grant_is_one_word_of_storage(access, carry, grant, anna):
    signed = grant().sign(anna)
    carry(signed)
    key = grant_key(anna.address, signed.message.blinded)
    # the mapping is in slot 8: after two of OpenZeppelin's EIP712, and those of Guardians and Emergencies
    slot = "0x" + keccak(key + (8).to_bytes(32, "big")).hex()
    word = int(rpc("eth_getStorageAt", access.address, slot, "latest"), 16)
    assert word == int.from_bytes(signed.message.terms[:22], "big") << 80 | 1


def test_a_stranger_may_carry(access, grant, anna, stranger):
    signed = grant().sign(anna)
    method = access.grant[",".join([*signed.message.FIELDS.values(), "bytes"])]
    method(*signed.message.values().values(), signed.signature, {"from": stranger})
    assert access.grants(anna.address, signed.message.blinded)[2] == 1


def test_a_grant_is_changed_by_the_next_version(access, carry, grant, anna, why_not):
    narrow = Terms.of(["Condition"], ["TREAT"], 0, EVER)
    carry(grant().sign(anna))
    carry(grant(version=2, terms=narrow.commitment(SALT, 2)).sign(anna))
    assert access.grants(anna.address, grant().blinded)[2] == 2
    assert why_not() == 4  # the old terms are no longer those of the grant


def test_a_stranger_cannot_grant_in_a_patients_name(carry, grant, anna, mallory):
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(grant().sign(mallory))


def test_a_stranger_cannot_change_a_grant(access, carry, grant, anna, mallory):
    carry(grant().sign(anna))
    wide = Terms.of(["Observation", "Condition", "Claim"], ["TREAT"], 0, EVER)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(grant(version=2, terms=wide.commitment(SALT, 2)).sign(mallory))
    assert access.grants(anna.address, grant().blinded)[2] == 1


def test_the_operator_cannot_change_a_grant_in_flight(carry, grant, anna):
    signed = grant().sign(anna)
    wide = Terms.of(["Observation", "Claim"], ["TREAT"], 0, EVER)
    for altered in (
        replace(signed.message, terms=wide.commitment(SALT, 1)),
        replace(signed.message, blinded=b"\x01" * 32),
        replace(signed.message, epoch=1),
        replace(signed.message, deadline=FOREVER - 1),
    ):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(Signed(altered, signed.signature))


def test_a_grant_works_once(carry, grant, anna):
    signed = grant().sign(anna)
    carry(signed)
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(signed)


@pytest.mark.parametrize("version", [0, 2, 2**40 - 1])
def test_a_version_out_of_turn_is_refused(carry, grant, anna, version):
    with refused(RecordAccess, "RecordsWrongVersion", version, 1):
        carry(grant(version=version).sign(anna))


def test_the_high_s_twin_is_refused(carry, grant, anna):
    signed = grant().sign(anna)
    r, s, v = signed.signature[:32], int.from_bytes(signed.signature[32:64], "big"), signed.signature[64]
    twin = r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(signed, twin)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(signed.message, twin))


@pytest.mark.parametrize("cut", [0, 1, 63, 66])
def test_a_signature_of_another_length_is_refused(carry, grant, anna, cut):
    signed = grant().sign(anna)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(signed, (signed.signature + b"\0")[:cut])


def test_a_short_signature_is_taken(access, carry, grant, anna):
    signed = grant().sign(anna)
    r, s, v = signed.signature[:32], signed.signature[32:64], signed.signature[64]
    carry(signed, r + (int.from_bytes(s, "big") | (v - 27) << 255).to_bytes(32, "big"))
    assert access.grants(anna.address, signed.message.blinded)[2] == 1


@pytest.mark.parametrize(
    "other",
    [
        {"chain_id": 1},
        {"verifying_contract": "0x" + "11" * 20},
        {"name": "Liggare Krona"},
        {"version": "2"},
    ],
    ids=["chain", "contract", "name", "version"],
)
def test_a_grant_for_another_domain_is_refused(carry, grant, domain, anna, other):
    signed = grant(domain=replace(domain, **other)).sign(anna)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(replace(signed.message, domain=domain), signed.signature))


def test_a_grant_past_its_deadline_is_refused(access, carry, grant, anna):
    with refused_late(1_700_000_000):
        carry(grant(deadline=1_700_000_000).sign(anna))
    assert access.grants(anna.address, grant().blinded)[2] == 0


def test_a_grant_lands_up_to_its_deadline(access, carry, grant, anna):
    carry(grant(deadline=now() + 100).sign(anna))
    assert access.grants(anna.address, grant().blinded)[2] == 1


def test_a_revoke_is_no_grant(carry, grant, revoke, anna):
    signature = revoke(version=1).sign(anna).signature
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(grant(), signature))


def test_the_zero_address_grants_nothing(carry, grant, anna):
    with refused(RecordAccess, "RecordsInvalidSignature", "0x" + "0" * 40):
        carry(Signed(grant(patient="0x" + "0" * 40), b"\0" * 64 + b"\x1b"))


def test_a_contract_wallet_grants(access, carry, grant, operator, anna, mallory):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    message = grant(patient=wallet.address)
    for signed in (message.sign(mallory), message.sign(anna)):
        with refused(RecordAccess, "RecordsInvalidSignature", wallet.address):
            carry(signed)  # the short form is for keys only
    with refused(RecordAccess, "RecordsInvalidSignature", wallet.address):
        carry(message.sign(mallory), message.sign(mallory).signature)
    carry(message.sign(anna), message.sign(anna).signature)
    assert access.grants(wallet.address, message.blinded)[2] == 1
