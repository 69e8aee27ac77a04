"""What is written down of a release: a FHIR AuditEvent by BALP's profiles, and an entry that says the release again."""

from __future__ import annotations

import base64
import json

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from liggare.errors import DataError
from liggare.records.audit import audit_event, entry, index_entry, opened
from liggare.records.tree import canonical
from tests.records.releases import person, plain_desk, plain_release, plain_share

VREAD = {"interaction": "vread", "records": ("Observation/o0/_history/2",)}
EVERYTHING = {"interaction": "everything", "query": "Patient/p1/$everything", "records": ("Patient/p1", "Claim/c")}
SEARCH = {"interaction": "search", "query": "Observation?code=å|1", "records": ("Observation/a", "Practitioner/b")}
EMPTY = {**SEARCH, "records": ()}
WAYS = {"read": {}, "vread": VREAD, "search": SEARCH, "empty search": EMPTY, "everything": EVERYTHING}


@pytest.fixture(params=WAYS, ids=list(WAYS))
def release(request):
    """A release by each way."""
    return plain_release(**WAYS[request.param])


def emergency():
    patient = person(100).address
    return plain_desk().release(person(2), patient, "Observation/a", purpose="BTG", emergency=True)


def own():
    patient = person(100)
    return plain_desk().release(patient, patient.address, "Observation/a", purpose="PATRQT")


def test_it_is_a_valid_fhir_resource(release):
    event = audit_event(release)
    assert AuditEvent.model_validate(event).model_dump(mode="json") == {**event, "recorded": event["recorded"]}


# ------------------------------------------------------------------ BALP's profiles

DCM = "http://dicom.nema.org/resources/ontology/DCM"
ASKS, SERVES = "110153", "110152"  # of a query; of a read it is the other way round
REST = "http://hl7.org/fhir/restful-interaction"
ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
READS, SEARCHES = {"read", "vread"}, {"search", "search-type", "search-system"}


def agents(event, code, system=DCM):
    return [one for one in event["agent"] if one["type"]["coding"][0] == {"system": system, "code": code}]


def entities(event, code):
    return [one for one in event["entity"] if one["type"] == {"system": ENTITY, "code": code}]


def user(event):
    return agents(event, "IRCP", "http://terminology.hl7.org/CodeSystem/v3-ParticipationType")


BOTH = {
    "type is rest": lambda e: (
        e["type"] == {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"}
    ),
    "recorded 1..1": lambda e: "recorded" in e,
    "outcome is success": lambda e: e["outcome"] == "0",
    "one client, one server": lambda e: len(agents(e, ASKS)) == len(agents(e, SERVES)) == 1,
    "client and server: who 1..1, network 1..1, media 0..0": lambda e: all(
        one["who"] and one["network"] and "media" not in one for one in agents(e, ASKS) + agents(e, SERVES)
    ),
    "user 0..1: who 1..1, requestor, network 0..0, media 0..0": lambda e: (
        len(user(e)) == 1
        and user(e)[0]["who"]
        and user(e)[0]["requestor"] is True
        and not {"network", "media"} & user(e)[0].keys()
    ),
    "user's purpose of use": lambda e: (
        user(e)[0]["purposeOfUse"][0]["coding"][0]["system"] == "http://terminology.hl7.org/CodeSystem/v3-ActReason"
        and user(e)[0]["purposeOfUse"] == e["purposeOfEvent"]
    ),
    "entity 2..": lambda e: len(e["entity"]) >= 2,
    "patient 1..1: role, what is a Patient": lambda e: (
        len(entities(e, "1")) == 1
        and entities(e, "1")[0]["role"] == {"system": ROLE, "code": "1"}
        and entities(e, "1")[0]["what"]["type"] == "Patient"
    ),
}
READ = {
    "profile": lambda e: e["meta"]["profile"][0].endswith("/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead"),
    "subtype anyRead 1..1": lambda e: len([c for c in e["subtype"] if c["system"] == REST and c["code"] in READS]) == 1,
    "action R": lambda e: e["action"] == "R",
    "client is the destination": lambda e: agents(e, SERVES)[0]["network"]["address"] == "192.0.2.7",
    "data 1..1: role, what": lambda e: (
        len(entities(e, "2")) == 1
        and entities(e, "2")[0]["role"]["code"] in {"3", "4", "20"}
        and entities(e, "2")[0]["what"]["reference"].startswith("Observation/o0")
    ),
}
QUERY = {
    "profile": lambda e: e["meta"]["profile"][0].endswith("/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientQuery"),
    "subtype anySearch 1..1": lambda e: (
        len([c for c in e["subtype"] if c["system"] == REST and c["code"] in SEARCHES]) == 1
    ),
    "action E": lambda e: e["action"] == "E",
    "client is the source": lambda e: agents(e, ASKS)[0]["network"]["address"] == "192.0.2.7",
    "query 1..1: role, the raw request, no what, lifecycle or detail": lambda e: (
        len(entities(e, "2")) == 1
        and entities(e, "2")[0]["role"] == {"system": ROLE, "code": "24"}
        and base64.b64decode(entities(e, "2")[0]["query"])
        and not {"what", "lifecycle", "detail"} & entities(e, "2")[0].keys()
    ),
}


def test_it_has_what_the_profile_requires(release):
    event = audit_event(release)
    table = {**BOTH, **(READ if release.interaction in READS else QUERY)}
    assert [rule for rule, holds in table.items() if not holds(event)] == []


def broken_in_one_place(event):
    """The event without each of its members, and its agents without each of theirs."""
    for member in event:
        yield {name: value for name, value in event.items() if name != member}
    for member in ("who", "network", "requestor", "purposeOfUse"):
        agents = [{name: value for name, value in one.items() if name != member} for one in event["agent"]]
        yield {**event, "agent": agents}
    yield {**event, "outcome": "8"}
    yield {**event, "entity": event["entity"][:1]}


def test_each_rule_of_the_table_can_fail():
    """A table whose rules hold of anything would say nothing."""

    def fails(holds, event):
        try:
            return not holds(event)
        except LookupError:
            return True

    read, query = audit_event(plain_release()), audit_event(plain_release(**SEARCH))
    assert all(fails(holds, query) for holds in READ.values())
    assert all(fails(holds, read) for holds in QUERY.values())
    for rule, holds in BOTH.items():
        assert any(fails(holds, bare) for bare in broken_in_one_place(read)), rule


def test_it_tells_who_what_why_and_when():
    event = audit_event(plain_release(**SEARCH))
    assert event["recorded"] == "2026-11-30T00:53:20Z"
    assert [one["what"]["reference"] for one in event["entity"][2:]] == ["Observation/a", "Practitioner/b"]
    assert base64.b64decode(event["entity"][1]["query"]).decode() == "Observation?code=å|1"
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "HRESCH"
    assert event["source"]["observer"]["identifier"]["value"] == person(1).address
    assert event["agent"][2]["who"]["identifier"]["value"] == person(2).address


# ------------------------------------------------------------------ entries


@pytest.mark.parametrize("make", [plain_release, emergency, own], ids=["share", "emergency", "own"])
def test_an_entry_says_the_release_again(make):
    release = make()
    kept = json.loads(canonical(entry(release, 3, b"\x09" * 32)))
    assert opened(kept) == (release, 3, b"\x09" * 32)


def test_an_entry_of_each_way_says_the_release_again(release):
    assert opened(json.loads(canonical(entry(release, 1, bytes(32))))).release == release


def changed(path, value):
    kept = json.loads(canonical(entry(plain_release(), 1, bytes(32))))
    inner = kept
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return kept


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("liggare",), "access/2"),
        (("kind",), "index"),
        (("serial",), True),
        (("serial",), 1.0),
        (("block",), 7.0),
        (("previous",), "0x" + "AA" * 32),
        (("shares",), []),  # the event says otherwise
        (("more",), 1),
        (("event",), None),
        (("event", "outcome"), "8"),
        (("event", "recorded"), "yesterday"),
        (("event", "purposeOfEvent", 0, "coding", 0, "code"), "TREAT"),  # in one place of two
        (("event", "agent", 2, "policy"), []),
        (("event", "entity"), []),
        (("event", "subtype"), []),
        (("event", "note"), "x"),
        (("signIn", "signature"), "0xzz"),
    ],
)
def test_an_entry_that_is_not_as_it_is_written_is_none(path, value):
    with pytest.raises(DataError):
        opened(changed(path, value))


def test_what_is_no_entry_is_none():
    for nothing in ({}, [], None, 5, "x", index_entry(bytes(32))):
        with pytest.raises(DataError):
            opened(nothing)


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "FUN"},
        {"interaction": "delete"},
        {"records": ()},
        {"records": ("Observation/a", "Observation/b")},
        {"records": ("Observation",)},
        {"records": ("../etc/passwd",)},
        {"query": "Observation?x"},
        {"interaction": "search"},
        {"interaction": "vread"},
        {"patient": person(5).address},
        {"reader": person(5).address},
        {"reader": person(2).address.lower()},
        {"emergency": True},
        {"block_hash": "0x11"},
        {"time": -1},
        {"client": ""},
        {"message": ""},
    ],
)
def test_a_release_that_cannot_be_is_refused(changes):
    with pytest.raises(DataError):
        plain_release(**changes)


def test_a_client_by_name_is_one():
    event = audit_event(plain_release(client="ward.example"))
    assert event["agent"][0]["network"] == {"address": "ward.example", "type": "1"}


def test_two_shares_may_stand_under_one_release():
    patient, reader = person(100).address, person(2)
    shares = plain_share(patient, reader.address), plain_share(patient, reader.address)
    made = plain_release(shares=shares)
    assert opened(entry(made, 1, bytes(32))).release.shares == shares
