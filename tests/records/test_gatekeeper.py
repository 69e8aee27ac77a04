"""The gatekeeper: releases as the ledger lets it, writes first, tells nothing of what it keeps."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from liggare.chain.connection import connect
from liggare.errors import (
    AccessRefused,
    ChainError,
    ChainUnreachable,
    DataError,
    RecordUnavailable,
    RequestExpired,
    RequestInvalid,
    RequestReplayed,
    SignatureMalformed,
    WrongSigner,
)
from liggare.messages import Signed
from liggare.records.client import Records
from liggare.records.gatekeeper import Gatekeeper
from liggare.records.logfile import LogFile
from liggare.records.messages import Terms
from tests.records.conftest import EVER, FHIR
from tests.support import now, pass_time

RECORD, ELSEWHERE, NOWHERE = "Observation/f001", "Observation/example", "Observation/none"


@pytest.fixture
def share(give, anna, institute, terms):
    """Anna's grant to the institute stands: Observation and Condition, to treat or for research."""
    return give(anna, institute, terms)


@pytest.fixture
def ask(client, institute, hospital, share):
    """Let the institute ask the hospital's door for one of Anna's records, for research."""

    def ask(record=RECORD, purpose="HRESCH", by=institute, share=share, **changes):
        signed = client.request(by, share, hospital.address, record, purpose)
        return replace(signed.message, **changes).sign(by) if changes else signed

    return ask


def test_a_granted_record_is_released_as_it_is(gatekeeper, ask, share):
    assert gatekeeper.read(ask(), share) == json.loads((FHIR / "Observation-f001.json").read_text())


def test_the_release_is_in_the_log_before_the_record_is_out(gatekeeper, ask, share, log, w3):
    signed = ask()
    gatekeeper.read(signed, share)
    (entry,) = log.entries
    assert entry["id"] == signed.id.to_0x_hex()
    assert entry["request"]["record"] == RECORD
    assert entry["share"] == share.document()
    assert entry["blockHash"] == w3.eth.get_block(entry["block"])["hash"].to_0x_hex()
    assert log.path.read_bytes().count(b"\n") == 1


def test_nothing_is_released_where_the_log_cannot_be_written(gatekeeper, ask, share, monkeypatch):
    def full(entry):
        raise OSError("no space")

    monkeypatch.setattr(gatekeeper.log, "append", full)
    with pytest.raises(OSError, match="no space"):
        gatekeeper.read(ask(), share)


def test_a_refused_read_leaves_no_entry(gatekeeper, ask, share, log):
    with pytest.raises(AccessRefused):
        gatekeeper.read(ask(purpose="HPAYMT"), share)
    assert log.entries == []


def test_a_revoke_ends_reading_at_once(gatekeeper, ask, share, client, carrier, anna, institute):
    gatekeeper.read(ask(), share)
    client.carry(client.revoke(anna, institute.address, share.salt), carrier)
    with pytest.raises(AccessRefused, match="revoked") as caught:
        gatekeeper.read(ask(), share)
    assert caught.value.reason == "Revoked"


def test_a_suspension_ends_reading_at_once(gatekeeper, ask, share, registry, operator, institute):
    registry.suspend(institute.address, {"from": operator})
    with pytest.raises(AccessRefused) as caught:
        gatekeeper.read(ask(), share)
    assert caught.value.reason == "GranteeSuspended"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"purpose": "HPAYMT"}, "PurposeNotGranted"),
        ({"record": "Claim/100150"}, "CategoryNotGranted"),
        ({"record": "Practitioner/f001"}, "CategoryNotGranted"),
    ],
)
def test_a_read_beyond_the_grant_is_refused_by_name(gatekeeper, ask, share, words, reason):
    with pytest.raises(AccessRefused) as caught:
        gatekeeper.read(ask(**words), share)
    assert caught.value.reason == reason


def test_widened_terms_are_refused(gatekeeper, ask, share):
    wide = replace(share, terms=Terms.of(["Observation", "Claim"], ["HRESCH", "HPAYMT"], 0, EVER))
    with pytest.raises(AccessRefused) as caught:
        gatekeeper.read(ask(record="Claim/100150", share=wide), wide)
    assert caught.value.reason == "OtherTerms"


def test_a_record_that_may_not_be_read_cannot_be_told_from_one_that_is_not_there(gatekeeper, ask, share, bo):
    """The same error, word for word but for the reference asked for, in each of the two situations."""

    def told(record, **words):
        with pytest.raises((AccessRefused, RecordUnavailable)) as caught:
            gatekeeper.read(ask(record=record, **words), words.get("share", share))
        return type(caught.value), str(caught.value).replace(record, "…"), vars(caught.value)

    assert told(ELSEWHERE) == told(NOWHERE)  # another patient's, and nobody's
    assert told("Claim/100150") == told("Claim/none")  # Anna's but not granted, and nobody's
    foreign = replace(share, patient=bo.address)
    assert told(RECORD, share=foreign) == told(NOWHERE, share=foreign)  # no grant at all
    assert told(RECORD, share=foreign)[0] is AccessRefused


def test_a_patient_that_nobody_linked_has_no_records(give, gatekeeper, ask, bo, institute, terms):
    share = give(bo, institute, terms)
    with pytest.raises(RecordUnavailable):
        gatekeeper.read(ask(share=share), share)


def test_a_stolen_share_opens_nothing(gatekeeper, ask, share, mallory):
    with pytest.raises(RequestInvalid, match="grantee"):
        gatekeeper.read(ask(by=mallory), share)
    stolen = replace(ask(by=mallory).message, grantee=share.grantee)
    with pytest.raises(WrongSigner):
        gatekeeper.read(stolen.sign(mallory), share)


def test_a_request_is_served_once(gatekeeper, ask, share, log):
    signed = ask()
    gatekeeper.read(signed, share)
    with pytest.raises(RequestReplayed):
        gatekeeper.read(signed, share)
    assert len(log.entries) == 1


def test_a_request_is_served_once_to_many_at_the_same_moment(gatekeeper, ask, share, log):
    def read(signed):
        try:
            return gatekeeper.read(signed, share)["id"]
        except RequestReplayed:
            return None

    with ThreadPoolExecutor(8) as pool:
        served = list(pool.map(read, [ask()] * 8))
    assert sorted(filter(None, served)) == ["f001"]
    assert len(log.entries) == 1


def test_a_request_is_served_once_over_a_restart_too(gatekeeper, ask, share, client, hospital, vault, log):
    signed = ask()
    gatekeeper.read(signed, share)
    log.close()
    with LogFile(log.path) as reopened:
        fresh = Gatekeeper(client, hospital.address, vault, reopened)
        with pytest.raises(RequestReplayed):
            fresh.read(signed, share)


def test_the_high_s_twin_of_a_request_is_refused(gatekeeper, ask, share):
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    signed = ask()
    s = order - int.from_bytes(signed.signature[32:64], "big")
    twin = signed.signature[:32] + s.to_bytes(32, "big") + bytes([55 - signed.signature[64]])
    with pytest.raises(SignatureMalformed):
        gatekeeper.read(Signed(signed.message, twin), share)


def test_a_request_dies_with_its_lifetime(gatekeeper, ask, share):
    signed = ask()
    pass_time(121)
    with pytest.raises(RequestExpired) as caught:
        gatekeeper.read(signed, share)
    assert caught.value.expiry == signed.message.expiry <= caught.value.now


def test_a_request_from_the_future_or_for_too_long_is_refused(gatekeeper, ask, share):
    time = now()
    for issued_at, expiry in ((time + 60, time + 100), (time, time + 1000), (time, time), (time + 5, time + 1)):
        with pytest.raises(RequestExpired):
            gatekeeper.read(ask(issued_at=issued_at, expiry=expiry), share)


def test_a_request_for_another_chain_contract_or_custodian_is_refused(gatekeeper, ask, share, domain, bo):
    for change in (
        {"domain": replace(domain, chain_id=1)},
        {"domain": replace(domain, verifying_contract=bo.address)},
        {"custodian": bo.address},
    ):
        with pytest.raises(RequestInvalid):
            gatekeeper.read(ask(**change), share)
    with pytest.raises(RequestInvalid):
        gatekeeper.read(ask(), replace(share, chain_id=1))


@pytest.mark.parametrize("record", ["Observation/../f001", "Observation", "../Observation-f001", "Observation/a b", ""])
def test_what_names_no_record_is_refused(gatekeeper, ask, share, record):
    with pytest.raises(RequestInvalid, match="names no record"):
        gatekeeper.read(ask(record=record), share)


def test_an_unknown_purpose_is_refused(gatekeeper, ask, share):
    with pytest.raises(RequestInvalid, match="is 'HRESCH' meant"):
        gatekeeper.read(ask(purpose="HRESC"), share)


def test_a_grant_that_ended_by_our_clock_is_refused_though_no_block_came(
    w3, deployments, gatekeeper, give, ask, anna, institute
):
    time = now()
    share = give(anna, institute, Terms.of(["Observation"], ["HRESCH"], 0, time + 100), salt=b"\x09" * 32)
    ahead = Records(w3, deployments, clock=lambda: time + 100)
    gatekeeper.records = ahead
    with pytest.raises(AccessRefused) as caught:
        gatekeeper.read(ask(share=share), share)
    assert caught.value.reason == "Expired"


def test_nothing_is_released_where_the_chain_does_not_answer(gatekeeper, ask, share, deployments, client, log):
    signed = ask()
    dead = Records(client.w3, deployments, clock=lambda: 0)
    dead.w3 = connect(client.w3.provider.endpoint_uri)
    dead.w3.provider.endpoint_uri = "http://127.0.0.1:9"
    gatekeeper.records = dead
    with pytest.raises(ChainUnreachable):
        gatekeeper.read(signed, share)
    assert log.entries == []


def test_nothing_is_released_on_a_chain_without_our_contracts(gatekeeper, ask, share, client, monkeypatch, log, bo):
    elsewhere = client.w3.eth.contract(address=bo.address, abi=client.contract.abi)
    monkeypatch.setattr(client, "contract", elsewhere)
    with pytest.raises(ChainError):
        gatekeeper.read(ask(), share)
    assert log.entries == []


def test_a_file_that_holds_another_record_is_named(vault, anna):
    (vault.folder / "Observation-odd.json").write_text('{"resourceType": "Observation", "id": "even"}')
    with pytest.raises(DataError, match="holds another resource"):
        vault.find(anna.address, "Observation/odd")


def test_a_record_about_two_patients_is_released_to_neither_alone(vault, anna):
    both = {"resourceType": "Claim", "id": "two", "patient": {"reference": "Patient/f001"}}
    both["subject"] = {"reference": "Patient/example"}
    (vault.folder / "Claim-two.json").write_text(json.dumps(both))
    assert vault.find(anna.address, "Claim/two") is None
    vault.link(anna.address, "Patient/example")
    assert vault.find(anna.address, "Claim/two") == both


def test_a_chart_is_a_patient(vault, anna):
    with pytest.raises(DataError, match="no chart"):
        vault.link(anna.address, "Observation/f001")


def test_every_example_record_is_found_under_its_patient(vault, anna, bo):
    vault.link(bo.address, "Patient/example")
    for path in FHIR.glob("*.json"):
        record = path.stem.replace("-", "/", 1)
        holders = [one for one in (anna, bo) if vault.find(one.address, record)]
        assert len(holders) == 1, record
