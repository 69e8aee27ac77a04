"""The replay of the records: an honest history is clean; each lie, of a row or of a custodian, is found and named."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from liggare.ledger.reader import Reader
from liggare.records.client import Organisation
from liggare.records.gatekeeper import Gatekeeper
from liggare.records.log import canonical
from liggare.records.logfile import LogFile
from liggare.records.messages import ReadRequest, Terms
from tests.records.conftest import EVER, EVERYTHING, SALT, role, vault_in
from tests.support import FOREVER, isolated


@pytest.fixture(scope="module")
def story(tmp_path_factory, accredited, client, carrier, give, anna, bo, institute, insurer, hospital, hospital_sender):
    """Grants, a change, reads, a revoke, a revoke-all, an anchor, two log heads; a suspension that ended. The log."""
    folder = tmp_path_factory.mktemp("story")
    terms = Terms.of(["Observation", "Condition"], ["HRESCH"], 0, EVER)
    with isolated(), LogFile(folder / "log") as log:
        gatekeeper = Gatekeeper(client, hospital.address, vault_in(folder / "fhir", anna), log)

        def read(by, share, record, purpose):
            return gatekeeper.read(client.request(by, share, hospital.address, record, purpose), share)

        share = give(anna, institute, terms)
        claims = give(anna, insurer, Terms.of(["Claim"], ["HPAYMT"], 0, EVER))
        read(institute, share, "Observation/f001", "HRESCH")
        read(insurer, claims, "Claim/100150", "HPAYMT")
        client.post_log_head(hospital_sender, 2, log.tree.root())
        share = give(anna, institute, Terms.of(["Condition"], ["HRESCH"], 0, EVER))
        read(institute, share, "Condition/f001", "HRESCH")
        client.carry(client.revoke(anna, institute.address, SALT), carrier)
        client.post_log_head(hospital_sender, 3, log.tree.root())
        give(bo, insurer, terms)
        client.carry(client.revoke_all(bo), carrier)
        client.anchor(hospital_sender, b"\xc3" * 32)
        for verb in (accredited.suspend, accredited.resume):
            verb(institute.address, {"from": accredited.accreditor()})
        yield log


@pytest.fixture(scope="module")
def rows(story, w3, deployments):
    """The story's rows."""
    return list(Reader(w3, deployments).rows())


def broken(report):
    return [finding.rule for finding in report.findings]


def altered(rows, event, number=0, **values):
    index = [i for i, row in enumerate(rows) if row.event == event][number]
    row = rows[index]
    return [*rows[:index], replace(row, arguments={**row.arguments, **values}), *rows[index + 1 :]]


def test_an_honest_history_is_clean(story, replay, hospital):
    report = replay(logs={hospital.address: story.lines})
    assert report.findings == []
    assert report.checked["grants made and changed"] == 4
    assert report.checked["grants revoked"] == 1
    assert report.checked["reads in access logs"] == 3
    assert report.checked["log roots"] == 2
    assert report.checked["accreditations"] == 3


def test_a_dropped_row_is_found(story, rows, replay, hospital, bo):
    # all but the only one about a key: nobody can look for a grant or an anchor that nothing tells of
    only = [row for row in rows if row.event == "RecordAnchored"]
    only += [row for row in rows if row.event == "Granted" and row.arguments["patient"] == bo.address]
    assert len(only) == 2
    for row in rows:
        if row.contract in ("CareRegistry", "RecordAccess") and row not in only:
            assert replay([other for other in rows if other != row], {hospital.address: story.lines}).findings, row


@pytest.mark.parametrize(
    ("event", "number", "values", "rule"),
    [
        (
            "Granted",
            0,
            {"slot": b"\1" * 22 + bytes(9) + b"\5"},
            "each message about a grant names the version after its last",
        ),
        ("Granted", 1, {"slot": b"\1" * 22 + bytes(9) + b"\1"}, "it is as its last message says"),
        ("Granted", 1, {"blinded": b"\1" * 32}, "it is as its last message says"),
        ("Revoked", 0, {"version": 7}, "each message about a grant names the version after its last"),
        ("AllRevoked", 0, {"epoch": 0}, "a revoke-all or a recovery begins another epoch"),
        ("AllRevoked", 0, {"epoch": 5}, "the epoch is the last one begun"),
        ("RecordAnchored", 0, {"saltedHash": b"\4" * 32}, "it is as put down"),
        ("LogHeadPosted", 1, {"predecessor": b"\4" * 32}, "a log head names the one before it"),
        ("LogHeadPosted", 1, {"size": 2}, "a log only grows"),
        ("LogHeadPosted", 1, {"head": b"\4" * 32}, "the head is the last one posted"),
        ("AccreditorChanged", 0, {"newAccreditor": "0x" + "11" * 20}, "the accreditor is the last one named"),
        ("AccreditorChanged", 0, {"previousAccreditor": "0x" + "11" * 20}, "the accreditor hands the role on"),
    ],
)
def test_a_tampered_row_is_found(rows, replay, event, number, values, rule):
    assert rule in broken(replay(altered(rows, event, number, **values)))


def packed(**values):
    fields = {
        "categories": 14,
        "valid_from": 0,
        "valid_until": FOREVER,
        "break_glass_quota": 0,
        "roles": 2,
        "suspended": 0,
    }
    fields.update(values)
    shifts = {
        "categories": 121,
        "valid_from": 73,
        "valid_until": 25,
        "break_glass_quota": 9,
        "roles": 1,
        "suspended": 0,
    }
    slot = sum(fields[name] << shift for name, shift in shifts.items()).to_bytes(32, "big")
    assert Organisation.unpack(slot) == Organisation(**{**fields, "suspended": bool(fields["suspended"])})
    return slot


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"categories": EVERYTHING}, "an insurer's cap is claims, coverage and explanation of benefit at most"),
        ({"roles": 0}, "an organisation has a role, and only known ones"),
        ({"roles": 16}, "an organisation has a role, and only known ones"),
        ({"valid_until": 0}, "an accreditation ends after it begins"),
        ({"suspended": 1}, "a renewal leaves a suspension as it is"),
        ({"break_glass_quota": 9}, "it is as accredited last"),
    ],
)
def test_a_forged_accreditation_is_found(rows, replay, values, rule):
    assert rule in broken(replay(altered(rows, "Accredited", 1, slot=packed(**values))))


def test_an_insurer_that_turned_into_a_provider_is_found(rows, replay, insurer):
    index = max(i for i, row in enumerate(rows) if row.contract == "CareRegistry")
    forged = replace(
        rows[index],
        event="Accredited",
        log_index=rows[index].log_index + 1,
        arguments={"organisation": insurer.address, "slot": packed(roles=role("provider"))},
    )
    assert "an insurer stays one" in broken(replay([*rows[: index + 1], forged, *rows[index + 1 :]]))


def test_a_suspension_that_never_ended_or_began_is_found(rows, replay):
    without = [row for row in rows if row.event != "Suspended"]
    assert "a suspension begins once and ends once" in broken(replay(without))
    assert "it is as accredited last" in broken(replay([row for row in rows if row.event != "Resumed"]))


def test_an_anchor_by_no_provider_is_found(rows, replay, insurer):
    found = broken(replay(altered(rows, "RecordAnchored", custodian=insurer.address)))
    assert "providers in good standing anchor" in found


def test_a_message_that_landed_twice_is_found(rows, replay):
    first = next(row for row in rows if row.event == "Granted")
    assert "a signed message lands once" in broken(replay(altered(rows, "Granted", 1, id=first.arguments["id"])))


# ---------------------------------------------------------------------- what a custodian may try


def rewritten(lines, number, change):
    entry = json.loads(lines[number])
    change(entry)
    return [*lines[:number], canonical(entry), *lines[number + 1 :]]


def test_an_uncovered_read_is_found_and_named(story, replay, client, hospital, institute):
    """The custodian released a Claim to the institute, whose grant is for Condition and revoked, and logged it."""
    entry = json.loads(story.lines[2])
    share = client.share(
        *(entry["share"][key] for key in ("patient", "grantee")), SALT, Terms.of(["Claim"], ["HRESCH"], 0, EVER)
    )
    signed = client.request(institute, share, hospital.address, "Claim/100150", "HRESCH")
    block = client.newest()
    entry |= {
        "id": signed.id.to_0x_hex(),
        "request": signed.message.typed_data()["message"],
        "signature": "0x" + signed.signature.hex(),
        "share": share.document(),
        "block": block["number"],
        "blockHash": block["hash"].to_0x_hex(),
        "time": block["timestamp"],
    }
    report = replay(logs={hospital.address: [*story.lines, canonical(entry)]})
    (finding,) = report.findings
    assert finding.rule == "every read is covered by a grant at its block"
    assert finding.actual == "Revoked"
    assert f"entry 3, request {signed.id.to_0x_hex()}" in finding.place
    assert "Claim" not in str(finding)


def test_a_read_dated_back_into_its_grant_is_found(story, replay, hospital):
    """The third read was under the changed grant; at the first entry's block it was not covered."""
    first = json.loads(story.lines[0])
    lines = rewritten(story.lines, 2, lambda entry: entry.update(block=first["block"], blockHash=first["blockHash"]))
    found = replay(logs={hospital.address: lines}).findings
    assert "every read is covered by a grant at its block" in [finding.rule for finding in found]
    assert any("entry 2" in finding.place and finding.actual == "OtherTerms" for finding in found)


def test_a_rewritten_entry_is_found(story, replay, hospital):
    def other_record(entry):
        entry["request"]["record"] = "Observation/f002"

    found = broken(replay(logs={hospital.address: rewritten(story.lines, 0, other_record)}))
    assert "an entry holds a request, signed by its grantee" in found
    assert any("entries have the root posted" in rule for rule in found)


def test_a_left_out_entry_is_found(story, replay, hospital):
    found = broken(replay(logs={hospital.address: [story.lines[0], story.lines[2]]}))
    assert "the access log has every entry that its posted heads count" in found
    assert any("first 2 entries have the root posted" in rule for rule in found)


def test_entries_out_of_order_are_found(story, replay, hospital):
    lines = [story.lines[1], story.lines[0], story.lines[2]]
    assert any("entries have the root posted" in rule for rule in broken(replay(logs={hospital.address: lines})))


def test_a_forged_head_is_found(story, client, hospital_sender, replay, hospital):
    client.post_log_head(hospital_sender, 4, b"\x66" * 32)
    found = broken(replay(logs={hospital.address: [*story.lines, story.lines[0]]}))
    assert any("first 4 entries have the root posted" in rule for rule in found)
    assert "a request is served once, under its own id" in found


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"blockHash": "0x" + "11" * 32}, "an entry names a block of this chain"),
        ({"time": 5}, "a request is served in its lifetime, at the block's time or after"),
        ({"time": FOREVER}, "a request is served in its lifetime, at the block's time or after"),
        ({"id": "0x" + "11" * 32}, "a request is served once, under its own id"),
        ({"signature": "0x11"}, "an entry holds a request, signed by its grantee"),
        ({"share": {}}, "an entry holds a request, signed by its grantee"),
        ({"block": None}, "an entry holds a request, signed by its grantee"),
    ],
)
def test_an_entry_that_is_off_is_found(story, replay, hospital, change, rule):
    lines = rewritten(story.lines, 2, lambda entry: entry.update(change))
    assert rule in broken(replay(logs={hospital.address: lines}))


def test_a_log_of_another_custodian_is_found(story, replay, insurer):
    assert "a request is for the custodian who serves it" in broken(replay(logs={insurer.address: story.lines}))


def test_a_request_for_another_contract_is_found(story, replay, client, hospital, institute, bo):
    entry = json.loads(story.lines[2])
    elsewhere = replace(client.domain, verifying_contract=bo.address)
    values = entry["request"]
    message = ReadRequest(
        elsewhere,
        values["grantee"],
        values["custodian"],
        values["patient"],
        values["record"],
        values["purpose"],
        values["issuedAt"],
        values["expiry"],
        bytes(32),
    )
    signed = message.sign(institute)
    entry["share"]["contract"] = bo.address
    entry |= {
        "id": signed.id.to_0x_hex(),
        "signature": "0x" + signed.signature.hex(),
        "request": message.typed_data()["message"],
    }
    found = broken(replay(logs={hospital.address: [*story.lines[:2], canonical(entry)]}))
    assert "a request is for this chain and contract" in found
