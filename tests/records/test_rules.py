"""The replay of the records: an honest history is clean; each lie of a row is found and named."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from liggare.ledger.reader import Reader
from liggare.records.client import Organisation
from liggare.records.messages import Terms
from tests.records.conftest import EVER, EVERYTHING, SALT, role
from tests.support import FOREVER, isolated


@pytest.fixture(scope="module")
def story(accredited, client, carrier, give, anna, bo, institute, insurer, hospital_sender):
    """Grants, a change, a revoke, a revoke-all, an anchor, two log heads; a suspension that ended."""
    terms = Terms.of(["Observation", "Condition"], ["HRESCH"], 0, EVER)
    with isolated():
        give(anna, institute, terms)
        give(anna, insurer, Terms.of(["Claim"], ["HPAYMT"], 0, EVER))
        client.post_log_head(hospital_sender, 2, b"\x51" * 32)
        give(anna, institute, Terms.of(["Condition"], ["HRESCH"], 0, EVER))
        client.carry(client.revoke(anna, institute.address, SALT), carrier)
        client.post_log_head(hospital_sender, 3, b"\x52" * 32)
        give(bo, insurer, terms)
        client.carry(client.revoke_all(bo), carrier)
        client.anchor(hospital_sender, b"\xc3" * 32)
        for verb in (accredited.suspend, accredited.resume):
            verb(institute.address, {"from": accredited.accreditor()})
        yield


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


def test_an_honest_history_is_clean(story, replay):
    report = replay()
    assert report.findings == []
    assert report.checked["grants made and changed"] == 4
    assert report.checked["grants revoked"] == 1
    assert report.checked["log heads"] == 2
    assert report.checked["accreditations"] == 3


def test_a_dropped_row_is_found(story, rows, replay, insurer):
    # all but the only one about a key: nobody can look for a grant, an anchor or an organisation that nothing tells of
    only = [row for row in rows if row.event == "RecordAnchored"]
    granted = [row for row in rows if row.event in ("Granted", "Revoked")]
    keys = Counter((row.arguments["patient"], row.arguments["blinded"]) for row in granted)
    only += [row for row in granted if keys[row.arguments["patient"], row.arguments["blinded"]] == 1]
    only += [row for row in rows if row.arguments.get("organisation") == insurer.address]
    assert len(only) == 4
    for row in rows:
        if row.contract in ("CareRegistry", "RecordAccess") and row not in only:
            assert replay([other for other in rows if other != row]).findings, row


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
