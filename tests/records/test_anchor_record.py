"""`anchorRecord`: a provider puts a record's salted hash down, once; a later change of the record shows."""

from __future__ import annotations

import pytest
from brownie import RecordAccess
from brownie import accounts as brownie_accounts

from liggare.errors import ContractRefused
from liggare.records.client import anchor_hash
from tests.records.conftest import EVERYTHING, FHIR, role
from tests.support import FOREVER, now, refused

HASH = bytes.fromhex("c3" * 32)


def test_an_anchor_keeps_custodian_and_time(access, anchor):
    receipt = anchor(HASH)
    assert access.anchors(HASH) == (brownie_accounts[6], now())
    assert receipt.events["RecordAnchored"] == {"saltedHash": "0x" + HASH.hex(), "custodian": brownie_accounts[6]}


def test_a_hash_is_anchored_once(anchor):
    anchor(HASH)
    with refused(RecordAccess, "RecordsAlreadyAnchored", HASH, brownie_accounts[6].address):
        anchor(HASH)


def test_who_is_no_accredited_provider_anchors_nothing(access, registry, operator, stranger):
    with refused(RecordAccess, "RecordsCallerNotProvider", stranger.address, 0, 0):
        access.anchorRecord(HASH, {"from": stranger})
    registry.accredit(stranger, role("research"), EVERYTHING, 0, FOREVER, 0, {"from": operator})
    with refused(RecordAccess, "RecordsCallerNotProvider", stranger.address, 4, 4):
        access.anchorRecord(HASH, {"from": stranger})


def test_a_suspended_provider_anchors_nothing(registry, operator, anchor):
    registry.suspend(brownie_accounts[6], {"from": operator})
    with refused(RecordAccess, "RecordsCallerNotProvider", brownie_accounts[6].address, 1, 1):
        anchor(HASH)


def test_a_changed_record_no_longer_matches_its_anchor(client, hospital_sender, accredited, hospital):
    content = (FHIR / "Observation-f001.json").read_bytes()
    salted = anchor_hash(hospital.address, b"\x07" * 32, content)
    client.anchor(hospital_sender, salted)
    assert client.anchored(salted) == (hospital.address, now())
    assert client.anchored(anchor_hash(hospital.address, b"\x07" * 32, content.replace(b"6.3", b"5.3"))) is None
    with pytest.raises(ContractRefused) as caught:
        client.anchor(hospital_sender, salted)
    assert caught.value.name == "RecordsAlreadyAnchored"
