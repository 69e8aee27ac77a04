"""Reading by id: what is shown, what can't be told from nothing, and what is written down before."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from fhir.resources.R4B import get_fhir_model_class

from liggare.errors import SealBroken
from liggare.records.accesses import check_accesses
from liggare.records.audit import opened
from liggare.records.seal import new_private_key, open_sealed, public_key
from liggare.records.signin import parse
from tests.web.gatekeeper.conftest import example, logged, oauth_refusal, refusal


def seen(answer):
    """All that a client sees of an answer, but for the time."""
    return answer.status_code, sorted((k, v) for k, v in answer.headers.items() if k != "date"), answer.content


def put(served, **resource):
    """Put a resource into the store, behind the web's back."""
    return served.service.desk.archive.put(resource)


def observation(identity, subject="Patient/f001", **members):
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **members,
    }


def test_a_record_is_shown_as_it_was_put(signed_in):
    answer = signed_in.get("Observation/f001")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json"
    assert answer.headers["etag"] == 'W/"1"'
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["last-modified"])
    assert answer.headers["cache-control"] == "no-store"
    shown = answer.json()
    meta = shown.pop("meta")
    assert meta["versionId"] == "1"
    assert shown == {key: value for key, value in example("Observation-f001").items() if key != "meta"}


def test_decimals_keep_their_digits(served, signed_in):
    put(served, **observation("weight", valueQuantity={"value": 1.50}))
    text = json.dumps(observation("height", valueQuantity={"value": 0})).replace('"value": 0', '"value": 1.50')
    from liggare.records.fhir import parse as read

    served.service.desk.archive.put(read(text.encode()))
    assert '"value":1.50' in signed_in.get("Observation/height").text


def test_of_another_patient_is_as_none(signed_in, served):
    """Byte for byte: status, headers, body; also for a version of it."""
    nothing = seen(signed_in.refused("Observation/there-is-none", 404, "RecordUnavailable"))
    for path in (
        "Observation/example",
        "Observation/blood-pressure",
        "Observation/x' OR 1=1",
        "Observation/" + "x" * 65,
    ):
        assert seen(signed_in.get(path)) == nothing
    for version in ("example/_history/1", "f001/_history/2", "f001/_history/x", "f001/_history/0", "none/_history/1"):
        assert seen(signed_in.get(f"Observation/{version}")) == nothing
    assert seen(signed_in.get("Patient/example")) == seen(signed_in.get("Patient/there-is-none"))
    assert logged(served) == []


def test_a_type_that_is_not_granted_is_refused_whatever_the_id(signed_in, served):
    refusals = {
        seen(signed_in.get(path))[2]
        for path in ("Claim/100150", "Claim/there-is-none", "Claim", "Claim?_id=100150", "Claim/100150/_history/1")
    }
    assert len(refusals) == 1
    signed_in.refused("Claim/100150", 403, "CategoryNotGranted")
    assert logged(served) == []


NOT_SERVED = ["Nonsense", "Bundle", "Group", "observation", "%00", "Person"]


def test_types_that_are_not_served(signed_in):
    for kind in NOT_SERVED:
        for path in (kind, f"{kind}/1", f"{kind}/1/_history/1"):
            signed_in.refused(path, 404, "NotServed")


MIXED = [
    {"focus": [{"reference": "Patient/example"}]},
    {"performer": [{"reference": "Patient/example"}]},
    {
        "contained": [{"resourceType": "Patient", "id": "p", "name": [{"text": "Somebody"}]}],
        "focus": [{"reference": "#p"}],
    },
    {"contained": [{"resourceType": "Claim", "id": "c"}], "focus": [{"reference": "#c"}]},
    {"extension": [{"url": "http://x.example", "valueReference": {"reference": "Patient/example"}}]},
]


def test_what_names_another_or_contains_what_is_not_granted_is_as_none(served, signed_in):
    for members in MIXED:
        put(served, **observation("mixed", **members))
        nothing = seen(signed_in.get("Observation/there-is-none"))
        assert seen(signed_in.get("Observation/mixed")) == nothing
        answer = signed_in.get("Observation?_id=mixed").json()
        assert (answer["total"], "entry" in answer) == (0, False)
        everything = signed_in.get("Patient/f001/$everything").text
        assert "mixed" not in everything


def test_what_contains_what_is_granted_is_shown(served, signed_in):
    contained = [{"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/f001"}}]
    put(served, **observation("whole", contained=contained, focus=[{"reference": "#c"}]))
    assert signed_in.get("Observation/whole").status_code == 200


def test_versions_are_kept_and_shown(served, signed_in):
    put(served, **observation("changed", valueString="first"))
    put(served, **observation("changed", valueString="second"))
    newest = signed_in.get("Observation/changed")
    assert (newest.headers["etag"], newest.json()["valueString"]) == ('W/"2"', "second")
    first = signed_in.get("Observation/changed/_history/1")
    assert (first.headers["etag"], first.json()["valueString"]) == ('W/"1"', "first")
    signed_in.refused("Observation/changed/_history/3", 404, "RecordUnavailable")


def test_a_version_is_judged_by_itself(served, signed_in):
    """What named another patient once is not shown, though it does not any more."""
    put(served, **observation("moved", focus=[{"reference": "Patient/example"}]))
    put(served, **observation("moved"))
    assert signed_in.get("Observation/moved").status_code == 200
    signed_in.refused("Observation/moved/_history/1", 404, "RecordUnavailable")


def test_what_is_of_no_patient_goes_along(served, signed_in, reader_of, doctor):
    put(served, resourceType="Practitioner", id="f005", name=[{"text": "Dr Dolittle"}])
    assert signed_in.get("Practitioner/f005").status_code == 200
    [entry] = logged(served)
    assert opened(entry).release.shares == signed_in_shares(signed_in, served)
    signed_in.refused("Practitioner/none", 404, "RecordUnavailable")


def signed_in_shares(reader, served):
    token = reader.http.headers["authorization"].partition(" ")[2]
    return served.service.desk.session(token).shares


def test_what_is_of_no_patient_ends_with_the_grant(served, signed_in, client, carrier, anna):
    put(served, resourceType="Practitioner", id="f005", name=[{"text": "Dr Dolittle"}])
    client.carry(client.revoke_all(anna), carrier)
    signed_in.refused("Practitioner/f005", 403, "NothingGranted")


# ---------------------------------------------------------------------- written down


def test_each_release_is_written_down_before_with_its_evidence(served, signed_in, share, anna, doctor, client, w3):
    signed_in.get("Observation/f001")
    signed_in.get("Observation/f001/_history/1")
    signed_in.get("Observation?code=15074-8&colour=red")
    signed_in.get("Observation?code=nothing")
    kinds = ["Condition", "Observation"]
    both = ",".join(kinds)
    signed_in.get(f"Patient/f001/$everything?_type={both}")
    releases = [opened(entry).release for entry in logged(served)]
    assert [(each.interaction, each.query, each.records) for each in releases] == [
        ("read", "", ("Observation/f001",)),
        ("vread", "", ("Observation/f001/_history/1",)),
        ("search", "Observation?code=15074-8", ("Observation/f001",)),
        ("search", "Observation?code=nothing", ()),
        (
            "everything",
            "Patient/f001/$everything?_type=Condition%2CObservation",
            ("Condition/f001", "Observation/f001"),
        ),
    ]
    for release in releases:
        assert (release.reader, release.patient, release.purpose) == (doctor.address, anna.address, "TREAT")
        assert (release.shares, release.emergency, release.client) == ((share,), False, "127.0.0.1")
        assert release.block == w3.eth.block_number
        assert parse(release.message).purpose == "TREAT"
    for entry in logged(served):
        event = get_fhir_model_class("AuditEvent").model_validate(entry["event"])
        assert event.recorded.timestamp() > 0


def test_the_patient_checks_its_own_log_against_the_chain(served, signed_in, reader_of, anna, hospital, client):
    signed_in.get("Observation/f001")
    signed_in.get("Observation")
    served.service.poster.post()
    signed_in.get("Condition")
    patient = reader_of(served, anna)
    patient.sign_in("PATRQT", patient=anna.address)
    document = patient.http.get(f"/log/{anna.address}").json()
    checked = check_accesses(document, client, hospital.address, anna.address)
    assert [access.on_ledger for access in checked.accesses] == [True, True, False]
    again = patient.http.get(f"/log/{anna.address}?since={document['size']}")
    assert again.json()["size"] == document["size"]
    refusal(patient.http.get(f"/log/{anna.address}?since=-1"), 400, "Malformed")


def test_the_whole_log_passes_the_rules(served, signed_in, replay_logs):
    put(served, resourceType="Practitioner", id="f005", name=[{"text": "Dr Dolittle"}])
    for path in (
        "Observation/f001",
        "Observation",
        "Practitioner/f005",
        "Practitioner",
        "Patient/f001/$everything",
        "Condition?_id=0",
    ):
        assert signed_in.get(path).status_code == 200
    served.service.poster.post()
    signed_in.get("Observation/f001")
    report = replay_logs(served.service.desk)
    assert report.findings == []
    assert report.checked["reads in access logs"] == 7


@pytest.fixture
def replay_logs(w3, deployments, client):
    """Replay the ledger and an access log under all rules."""
    from liggare.ledger.reader import Reader
    from liggare.ledger.verify import ChainState, verify
    from liggare.records.rules import RecordRules

    def replay(desk):
        def blocks(number):
            block = w3.eth.get_block(number)
            return block["hash"].to_0x_hex(), block["timestamp"]

        rules = RecordRules({desk.door.custodian: list(desk.book.lines())}, blocks, client.domain)
        return verify(Reader(w3, deployments).rows(), [rules], ChainState(w3, deployments, w3.eth.block_number))

    return replay


# ---------------------------------------------------------------------- sealed


def test_a_sealed_release_opens_with_the_key_and_only_with_it(reader, share):
    private = new_private_key()
    text = reader.message(shares=[share], seal=public_key(private))
    reader.show(reader.post(text, [share]).json()["access_token"])
    answer = reader.get("Observation/f001")
    assert answer.headers["content-type"] == "application/vnd.liggare.sealed"
    assert b"Observation" not in answer.content
    use = b"liggare release/1" + parse(text).hash
    assert json.loads(open_sealed(private, answer.content, use))["id"] == "f001"
    for key, info in ((new_private_key(), use), (private, b""), (private, use + b"x")):
        with pytest.raises(SealBroken):
            open_sealed(key, answer.content, info)
    bundle = json.loads(open_sealed(private, reader.get("Observation").content, use))
    assert bundle["total"] == 1
    reader.refused("Observation/none", 404, "RecordUnavailable")  # a refusal holds nothing to seal


def test_a_key_that_hides_nothing_is_refused(reader, share):
    oauth_refusal(reader.sign_in(shares=[share], seal=bytes(32)), "SealUnusable")


# ---------------------------------------------------------------------- the server itself


def test_the_capability_statement_is_valid_and_needs_no_token(served):
    answer = httpx.get(f"{served.url}/fhir/metadata")
    assert answer.headers["content-type"] == "application/fhir+json"
    statement = get_fhir_model_class("CapabilityStatement").model_validate(answer.json())
    assert statement.fhirVersion == "4.0.1"
    kinds = {resource.type: resource for resource in statement.rest[0].resource}
    assert {"Patient", "Observation", "Practitioner"} <= kinds.keys()
    assert "code" in {parameter.name for parameter in kinds["Observation"].searchParam}


def test_smart_clients_find_the_way_in(served):
    for path in ("/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration"):
        told = httpx.get(f"{served.url}{path}").json()
        assert told["token_endpoint"] == f"{served.url}/auth/token"
        assert told["capabilities"]


NOT_SERVED_AT_ALL = [
    ("GET", "/", 404),
    ("GET", "/nowhere", 404),
    ("GET", "/fhir", 404),
    ("GET", "/fhir/Observation/", 404),
    ("GET", "/fhir/Observation/f001/extra", 404),
    ("GET", "/fhir/Patient/f001/$export", 404),
    ("GET", "/openapi.json", 404),
    ("GET", "/docs", 404),
    ("GET", "/fhir/Observation/../../log/x", 403),
    ("HEAD", "/fhir/Observation/f001", 405),
    ("OPTIONS", "/fhir/Observation/f001", 405),
    ("DELETE", "/fhir/Observation/f001", 405),
    ("PATCH", "/fhir/Observation/f001", 405),
    ("TRACE", "/fhir/Observation/f001", 405),
    ("POST", "/fhir/Observation/f001", 405),
    ("POST", "/fhir/metadata", 404),
    ("PUT", "/fhir/Observation", 405),
]


def test_what_the_server_itself_refuses(signed_in, served):
    for method, path, status in NOT_SERVED_AT_ALL:
        answer = signed_in.http.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/fhir+json"
        if method != "HEAD":
            assert answer.json()["resourceType"] == "OperationOutcome"
        assert logged(served) == []


OTHER_FORMS = ["application/fhir+xml", "text/html", "image/png"]


def test_other_forms_than_json_are_refused(signed_in, served):
    for accept in OTHER_FORMS:
        refusal(signed_in.get("Observation/f001", headers={"accept": accept}), 406, "NotAcceptable")
    refusal(signed_in.get("Observation/f001?_format=xml"), 406, "NotAcceptable")
    assert logged(served) == []
    for fine in ("application/json", "*/*", "application/fhir+xml, application/fhir+json;q=0.9"):
        assert signed_in.get("Observation/f001", headers={"accept": fine}).status_code == 200


def test_nothing_of_a_request_is_in_the_services_log(served, signed_in, caplog, monkeypatch):
    """No id, no pseudonym, no query, also where something breaks with a patient's data in its hands."""
    caplog.set_level("DEBUG", "liggare")
    signed_in.get("Observation/f001?secret=1")
    signed_in.get("Observation/example")

    secret = f"Observation/{'f001'} of a patient"

    def broken(*_, **__):
        raise KeyError(secret)

    monkeypatch.setattr(served.service.desk.archive, "get", broken)
    answer = signed_in.refused("Observation/f001", 500, "Faulty")
    assert "patient" not in answer.text
    told = "\n".join(
        record.getMessage() + str(record.exc_info) for record in caplog.records if record.name[:7] == "liggare"
    )
    assert "KeyError" in told
    assert not re.search(r"f001|of a patient|secret=|0x[0-9a-fA-F]{6}", told)
