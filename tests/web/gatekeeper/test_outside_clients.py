"""FHIR clients that are not ours, as they are: they sign in, read, search, page, and take refusals as their own errors.

Signed in is by libraries that are not ours either: `siwe` and eth-account in Python, viem and ethers in JavaScript.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import fhirclient.client
import fhirclient.server
import fhirpy
import httpx
import pytest
import siwe
from eth_account.messages import encode_defunct
from fhirclient.models.bundle import Bundle
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirpy.base.exceptions import AuthorizationError, ForbiddenError, MultipleResourcesFound, ResourceNotFound
from fhirpy.base.exceptions import OperationOutcome as FhirpyOutcome

from liggare.records.consent import FOREVER
from liggare.records.signin import digest
from tests.support import ROOT
from tests.web.gatekeeper.conftest import CLINICAL
from tests.web.gatekeeper.test_read import observation, put

CODES = {"a": "8867-4", "b": "8867-4", "c": "8867-4", "d": "8867-4", "e": "8867-4", "f": "9279-1"}
"""Observations of Anna's beside the example, of a day each: heart rates, and one of the breath."""
PULSE = "http://loinc.org|8867-4"
SPRING = ["b", "c", "d", "f001"]
"""Those of 2 to 4 March 2020: the example's period has no end."""


@pytest.fixture
def filled(served):
    """The gatekeeper, with more to find."""
    for day, (name, code) in enumerate(CODES.items(), 1):
        when = f"2020-03-0{day}T09:30:00Z"
        coded = {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "effectiveDateTime": when}
        put(served, **observation(name, **coded))
        if name == "a":
            put(served, **observation(name, **coded, valueString="corrected"))
    return served


@pytest.fixture
def bearer(filled, doctor, share, clock):
    """A token by a message of the library `siwe`, as anyone might write it, signed by eth-account."""
    told = httpx.post(f"{filled.url}/auth/nonce", json={"address": doctor.address}).json()
    issued = datetime.fromtimestamp(int(clock()), timezone.utc)
    message = siwe.SiweMessage(
        domain=told["domain"],
        address=doctor.address,
        uri=told["uri"],
        version="1",
        chain_id=told["chainId"],
        nonce=told["nonce"],
        issued_at=siwe.ISO8601Datetime.from_datetime(issued),
        expiration_time=siwe.ISO8601Datetime.from_datetime(issued + timedelta(minutes=10)),
        resources=[
            f"urn:liggare:custodian:{told['custodian']}",
            "urn:liggare:purpose:TREAT",
            "urn:liggare:scope:patient/*.read",
            f"urn:liggare:share:0x{digest(share).hex()}",
        ],
    ).prepare_message()
    signature = doctor.sign_message(encode_defunct(text=message)).signature.to_0x_hex()
    body = {"message": message, "signature": signature, "shares": [share.document()]}
    answer = httpx.post(f"{filled.url}/auth/token", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


@pytest.fixture
def revoke(client, carrier, anna):
    """Let Anna take back all that she granted."""
    return lambda: client.carry(client.revoke_all(anna), carrier)


def refusal_of(text):
    """The name of a refusal, in an OperationOutcome as text."""
    return json.loads(text)["issue"][0]["details"]["coding"][0]["code"]


# ---------------------------------------------------------------------- fhirpy


def test_fhirpy(filled, bearer, revoke):
    client = fhirpy.SyncFHIRClient(f"{filled.url}/fhir", authorization=f"Bearer {bearer}")
    assert client.get("Observation", "f001").code.coding[0].code == "15074-8"
    assert client.reference("Patient", "f001").to_resource()["name"][0]["family"] == "van de Heuvel"
    first = client.execute("Observation/a/_history/1", method="get")
    assert (first.meta.versionId, "valueString" in first) == ("1", False)

    pulses = client.resources("Observation").search(code=PULSE, patient="f001").sort("-date").limit(2)
    assert [each.id for each in pulses] == ["e", "d", "c", "b", "a"]  # three pages
    assert [each.id for each in pulses.fetch()] == ["e", "d"]
    assert pulses.count() == 5
    assert pulses.first()["id"] == "e"
    spring = client.resources("Observation").search(date__ge="2020-03-02", date__lt="2020-03-05")
    assert sorted(each.id for each in spring) == SPRING
    assert client.resources("Observation").search(_id="f").get().id == "f"
    along = client.resources("Observation").search(_id="f001").include("Observation", "subject").fetch_raw()
    assert [each.resource.resourceType for each in along.entry] == ["Observation", "Patient"]
    with pytest.raises(FhirpyOutcome) as caught:
        client.resources("Observation").search(date="soon").fetch()
    assert refusal_of(str(caught.value)) == "SearchInvalid"

    kinds = {"Patient": 1, "Observation": 7, "Condition": 1}
    for words in ({"method": "get"}, {}):  # by default it posts
        everything = client.reference("Patient", "f001").execute("$everything", **words)
        shown = [entry.resource.resourceType for entry in everything.entry]
        assert {kind: shown.count(kind) for kind in shown} == kinds

    for kind, identity in (("Observation", "example"), ("Observation", "none"), ("Patient", "example")):
        with pytest.raises(ResourceNotFound) as caught:
            client.get(kind, identity)
        assert refusal_of(str(caught.value)) == "RecordUnavailable"
    with pytest.raises(ForbiddenError) as caught:
        client.resources("Claim").fetch()
    assert refusal_of(str(caught.value)) == "CategoryNotGranted"
    nobody = fhirpy.SyncFHIRClient(f"{filled.url}/fhir", authorization="Bearer none")
    with pytest.raises(AuthorizationError):
        nobody.get("Observation", "f001")

    pages = iter(pulses)
    assert next(pages).id == "e"
    revoke()
    with pytest.raises(ForbiddenError) as caught:
        list(pages)  # the next page
    assert refusal_of(str(caught.value)) == "AllRevoked"
    with pytest.raises(ForbiddenError):
        client.get("Observation", "f001")


def test_fhirpy_writes_for_the_staff(staff, served):
    client = fhirpy.SyncFHIRClient(f"{served.url}/fhir", authorization=staff.http.headers["authorization"])
    made = client.resource("Practitioner", name=[{"text": "Dr Dolittle"}]).create()
    assert client.get("Practitioner", made.id).name[0].text == "Dr Dolittle"
    named = client.resource("Organization", id="ward", name="Ward").save()
    assert (named.id, named.meta.versionId) == ("ward", "1")
    with pytest.raises(FhirpyOutcome) as caught:  # it knows no If-Match
        client.resource("Organization", id="ward", name="Other").save()
    assert refusal_of(str(caught.value)) == "VersionMissing"
    client.extra_headers = {"If-Match": 'W/"2"'}
    with pytest.raises(MultipleResourcesFound) as caught:  # its word for 412
        client.resource("Organization", id="ward", name="Other").save()
    assert refusal_of(str(caught.value)) == "VersionConflict"


# ---------------------------------------------------------------------- fhirclient


def test_fhirclient(filled, bearer, revoke):
    base = f"{filled.url}/fhir"
    smart = fhirclient.client.FHIRClient(settings={"app_id": "a test", "api_base": base})
    assert not smart.prepare()  # it reads the CapabilityStatement; nobody is signed in
    state = smart.state
    assert state["server"]["auth"]["token_uri"] == f"{filled.url}/auth/token"
    assert smart.server.capabilityStatement.fhirVersion == "4.0.1"
    state["server"]["auth"]["access_token"] = bearer
    server = fhirclient.client.FHIRClient(state=state).server
    assert server.ready

    assert Observation.read("f001", server).code.coding[0].code == "15074-8"
    assert Patient.read("f001", server).name[0].family == "van de Heuvel"
    assert Observation.read_from("Observation/a/_history/1", server).meta.versionId == "1"

    pulses = Observation.where({"code": PULSE, "patient": "f001", "_sort": "-date", "_count": "2"})
    pages = list(pulses.perform_iter(server))
    assert [[entry.resource.id for entry in page.entry] for page in pages] == [["e", "d"], ["c", "b"], ["a"]]
    assert {page.total for page in pages} == {5}
    spring = Observation.where({"date": {"$and": ["ge2020-03-02", "lt2020-03-05"]}})
    assert sorted(each.id for each in spring.perform_resources_iter(server)) == SPRING
    along = Observation.where({"_id": "f001"}).include("subject").perform_resources_iter(server)
    assert [each.resource_type for each in along] == ["Observation", "Patient"]

    everything = Bundle.read_from("Patient/f001/$everything?_count=4", server)
    assert (everything.total, len(everything.entry)) == (9, 4)
    following = Bundle.read_from(next(link.url for link in everything.link if link.relation == "next"), server)
    assert len(following.entry) == 4

    for read in (lambda: Observation.read("example", server), lambda: Observation.read("none", server)):
        with pytest.raises(fhirclient.server.FHIRNotFoundException) as caught:
            read()
        assert refusal_of(caught.value.response.text) == "RecordUnavailable"
    with pytest.raises(fhirclient.server.FHIRPermissionDeniedException) as caught:
        server.request_json("Claim/100150")
    assert refusal_of(caught.value.response.text) == "CategoryNotGranted"
    with pytest.raises(fhirclient.server.FHIRUnauthorizedException):
        Observation.read("f001", smart.server)

    open_pages = pulses.perform_iter(server)
    next(open_pages)
    revoke()
    with pytest.raises(fhirclient.server.FHIRPermissionDeniedException) as caught:
        next(open_pages)
    assert refusal_of(caught.value.response.text) == "AllRevoked"
    with pytest.raises(fhirclient.server.FHIRPermissionDeniedException):
        Observation.read("f001", server)
    smart.server.session.close()
    server.session.close()


# ---------------------------------------------------------------------- fhir-kit-client


def kit(served, calls, **words):
    """What fhir-kit-client answers to calls; `fhir_kit.mjs` says how to ask."""
    asked = {"url": served.url, "calls": [{"do": name, "words": more} for name, more in calls], **words}
    script = ROOT / "tests" / "fhir_kit.mjs"
    ran = subprocess.run(["node", script], input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def shown(page):
    return [entry["resource"]["id"] for entry in page["entry"]]


def test_fhir_kit_client(filled, give, anna, doctor, clock, revoke):
    share = give(anna, doctor, replace(CLINICAL, expiry=FOREVER))
    what = {"code": PULSE, "patient": "Patient/f001", "_sort": "-date", "_count": 2}
    calls = [
        ("found", {}),
        ("capabilityStatement", {}),
        ("read", {"resourceType": "Observation", "id": "f001"}),
        ("vread", {"resourceType": "Observation", "id": "a", "version": "1"}),
        ("pages", {"resourceType": "Observation", "searchParams": what}),
        ("pages", {"resourceType": "Observation", "searchParams": what, "options": {"postSearch": True}}),
        ("search", {"resourceType": "Observation", "searchParams": {"date": ["ge2020-03-02", "lt2020-03-05"]}}),
        ("resolve", {"reference": "Patient/f001"}),
        ("operation", {"resourceType": "Patient", "id": "f001", "name": "everything", "method": "GET"}),
        ("operation", {"resourceType": "Patient", "id": "f001", "name": "everything"}),  # by default it posts
        ("operation", {"resourceType": "Patient", "id": "f001", "name": "everything", "input": PARAMETERS}),
        ("read", {"resourceType": "Observation", "id": "example"}),
        ("read", {"resourceType": "Claim", "id": "100150"}),
        ("create", {"resourceType": "Observation", "body": observation("x")}),
    ]
    signed_in = {
        "key": doctor.key.to_0x_hex(),
        "purpose": "TREAT",
        "scopes": ["patient/*.rs"],
        "shares": [share.document()],
        "now": int(clock()) * 1000,
    }
    told = kit(filled, calls, signIn=signed_in)
    where, statement, read, first, pages, posted, spring, patient, *everything, other, claim, create = told["answers"]
    assert where == f"{filled.url}/auth/token"
    assert statement["fhirVersion"] == "4.0.1"
    assert read["code"]["coding"][0]["code"] == "15074-8"
    assert (first["meta"]["versionId"], "valueString" in first) == ("1", False)
    for found in (pages, posted):
        assert [shown(page) for page in found] == [["e", "d"], ["c", "b"], ["a"]]
        assert {page["total"] for page in found} == {5}
    assert sorted(shown(spring)) == SPRING
    assert patient["name"][0]["family"] == "van de Heuvel"
    assert [(bundle["total"], len(bundle["entry"])) for bundle in everything] == [(9, 9), (9, 9), (7, 3)]
    for refused, status, name in (
        (other, 404, "RecordUnavailable"),
        (claim, 403, "CategoryNotGranted"),
        (create, 403, "StaffOnly"),
    ):
        assert refused["error"].startswith(f"HTTP {status}")
        assert (refused["status"], refusal_of(json.dumps(refused["outcome"]))) == (status, name)

    revoke()
    calls = [calls[2], ("nextPage", {"bundle": pages[0]})]
    read, page = kit(filled, calls, token=told["token"])["answers"]
    for refused in (read, page):
        assert (refused["status"], refusal_of(json.dumps(refused["outcome"]))) == (403, "AllRevoked")


def test_the_manuals_javascript_works(filled, give, anna, doctor):
    share = give(anna, doctor, replace(CLINICAL, expiry=FOREVER))
    script = re.search(r"^```js\n(.*?)^```", (ROOT / "docs" / "gatekeeper.md").read_text(), re.DOTALL | re.MULTILINE)[1]
    who = {"GATE": filled.url, "KEY": doctor.key.to_0x_hex(), "SHARE": share.to_json()}
    command = ["node", "--input-type=module", "-"]
    words = {"input": script, "capture_output": True, "text": True, "check": False, "cwd": ROOT}
    ran = subprocess.run(command, env={**os.environ, **who}, **words)
    assert (ran.stdout, ran.stderr) == ("7\n", "")


PARAMETERS = {
    "resourceType": "Parameters",
    "parameter": [{"name": "_type", "valueCode": "Observation"}, {"name": "_count", "valueInteger": 3}],
}


def test_a_patient_reads_its_own_with_fhir_kit_client(filled, anna, clock):
    signed_in = {
        "key": anna.key.to_0x_hex(),
        "purpose": "PATRQT",
        "scopes": ["patient/*.rs"],
        "patient": anna.address,
        "now": int(clock()) * 1000,
    }
    calls = [("search", {"resourceType": "Claim", "searchParams": {"patient": anna.address}})]
    [claims] = kit(filled, calls, signIn=signed_in)["answers"]
    assert shown(claims) == ["100150"]
