"""Creating and updating: by the custodian's staff alone, valid or not at all, and never over what was not known."""

from __future__ import annotations

import json

import httpx

from tests.web.gatekeeper.conftest import FHIR, example, logged, refusal
from tests.web.gatekeeper.test_read import observation, seen

JSON = {"content-type": "application/fhir+json"}


def send(who, method, path, resource, **headers):
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    return who.http.request(method, f"/fhir/{path}", content=body, headers={**JSON, **headers})


def test_a_record_is_created_and_its_reader_finds_it(staff, signed_in, served):
    answer = send(staff, "POST", "Observation", observation("ours"))
    assert answer.status_code == 201
    made = answer.json()
    assert made["id"] != "ours"  # the server names what it creates
    assert answer.headers["location"] == f"{served.url}/fhir/Observation/{made['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert signed_in.get(f"Observation/{made['id']}").json() == made


def test_a_record_is_put_under_a_name_and_updated_by_version(staff, signed_in):
    answer = send(staff, "PUT", "Observation/ours", observation("ours", valueString="first"))
    assert (answer.status_code, answer.headers["etag"]) == (201, 'W/"1"')
    answer = send(staff, "PUT", "Observation/ours", observation("ours", valueString="second"), **{"if-match": 'W/"1"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert signed_in.get("Observation/ours").json()["valueString"] == "second"
    late = observation("ours", valueString="late")
    refusal(send(staff, "PUT", "Observation/ours", late, **{"if-match": 'W/"1"'}), 412, "VersionConflict")
    refusal(send(staff, "PUT", "Observation/ours", late), 428, "VersionMissing")
    refusal(
        send(staff, "PUT", "Observation/none", observation("none"), **{"if-match": 'W/"1"'}), 412, "VersionConflict"
    )
    for odd in ("1", "*", 'W/"x"', 'W/"1", W/"2"', ""):
        refusal(send(staff, "PUT", "Observation/ours", late, **{"if-match": odd}), 400, "Malformed")
    assert signed_in.get("Observation/ours").json()["valueString"] == "second"


def test_the_answer_may_be_short(staff):
    answer = send(staff, "POST", "Observation", observation("ours"), prefer="return=minimal")
    assert (answer.status_code, answer.content) == (201, b"")


def test_a_reader_writes_nothing(signed_in, served, reader_of, anna):
    patient = reader_of(served, anna)
    patient.sign_in("PATRQT", patient=anna.address)
    for who in (signed_in, patient):
        refusal(send(who, "POST", "Observation", observation("mine")), 403, "StaffOnly")
        refusal(send(who, "PUT", "Observation/f001", observation("f001"), **{"if-match": 'W/"1"'}), 403, "StaffOnly")
    assert signed_in.get("Observation/f001").headers["etag"] == 'W/"1"'
    answer = httpx.post(f"{served.url}/fhir/Observation", json=observation("x"), headers=JSON)
    refusal(answer, 401, "SessionEnded")


def test_the_staff_writes_within_its_scopes(served, reader_of, hospital):
    staff = reader_of(served, hospital)
    staff.sign_in("HOPERAT", ["user/Observation.c", "patient/*.cruds"])
    assert send(staff, "POST", "Observation", observation("x")).status_code == 201
    refusal(send(staff, "PUT", "Observation/x", observation("x")), 403, "StaffOnly")
    refusal(send(staff, "POST", "Condition", example("Condition-f001")), 403, "StaffOnly")


def test_the_staff_reads_back_only_what_is_of_no_patient(staff, served):
    practitioner = {"resourceType": "Practitioner", "id": "p", "name": [{"text": "Dr Dolittle"}]}
    assert send(staff, "PUT", "Practitioner/p", practitioner).status_code == 201
    assert staff.get("Practitioner/p").status_code == 200
    staff.refused("Practitioner/none", 404, "RecordUnavailable")
    about = {
        **practitioner,
        "id": "q",
        "extension": [{"url": "http://x.example", "valueReference": {"reference": "Patient/f001"}}],
    }
    assert send(staff, "PUT", "Practitioner/q", about).status_code == 201
    assert seen(staff.get("Practitioner/q")) == seen(staff.get("Practitioner/none"))
    for path in ("Observation/f001", "Observation/none", "Observation", "Patient/f001/$everything", "Practitioner"):
        staff.refused(path, 403, "StaffReadsNobody")
    assert logged(served) == []


INVALID = [
    (b"", 400, None),
    (b"{", 400, None),
    (b"[]", 400, None),
    (b"\xff", 400, None),
    (b'{"resourceType": "Nonsense"}', 422, "resourceType"),
    (b'{"resourceType": "Observation", "status": "final"}', 422, "Observation.code"),
    (b'{"resourceType": "Observation", "status": 5, "code": {"text": "x"}}', 422, "Observation.status"),
    (b'{"resourceType": "Observation", "status": "final", "code": {}}', 422, "Observation.code"),
    (b'{"resourceType": "Basic", "code": {"text": "x"}, "colour": "red"}', 422, "Basic.colour"),
    (b'{"resourceType": "Observation", "status": "final", "status": "final"}', 422, "status"),
    (b'{"resourceType": "Condition", "subject": {"reference": "Patient/f001"}}', 422, "resourceType"),
]


def test_an_invalid_resource_is_refused_with_its_path(staff):
    for body, status, where in INVALID:
        answer = refusal(send(staff, "POST", "Observation", body), status, "ResourceInvalid")
        assert answer.json()["issue"][0].get("expression", [None])[0] == where


def test_an_id_that_is_not_the_requests_is_refused(staff):
    for resource in (observation("other"), {k: v for k, v in observation("x").items() if k != "id"}):
        answer = refusal(send(staff, "PUT", "Observation/ours", resource), 422, "ResourceInvalid")
        assert answer.json()["issue"][0]["expression"] == ["Observation.id"]


def test_another_media_type_is_refused(staff):
    for kind in ("application/fhir+xml", "text/plain", "", "application/x-www-form-urlencoded"):
        answer = staff.http.post("/fhir/Observation", content=b"{}", headers={"content-type": kind})
        refusal(answer, 415, "MediaTypeUnknown")


def test_a_body_too_large_is_refused_before_it_is_read(staff):
    def endless():
        while True:
            yield b" " * 65_536

    for content in (endless(), b" " * 5_000_000):
        answer = staff.http.post("/fhir/Observation", content=content, headers=JSON)
        refusal(answer, 413, "TooLarge")


def test_every_example_goes_in_over_http(serve, reader_of, hospital):
    with serve(filled=False) as served:
        staff = reader_of(served, hospital)
        staff.sign_in("HOPERAT", ["user/*.cu"])
        for path in sorted(FHIR.glob("*.json")):
            resource = json.loads(path.read_text())
            answer = send(staff, "PUT", f"{resource['resourceType']}/{resource['id']}", path.read_bytes())
            assert answer.status_code == 201, path.name
            shown = answer.json()
            meta = shown.pop("meta")
            assert {**resource.pop("meta", {}), **meta} == meta
            assert shown == resource
