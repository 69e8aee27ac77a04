"""All of HL7's 385 R4 examples through the service: in by the staff, out to whoever may read them, unchanged."""

from __future__ import annotations

import pytest
import simplejson
from eth_account import Account

from liggare.records.fhir import SHARED, chart_of
from tests.support import HL7
from tests.web.gatekeeper.conftest import refusal
from tests.web.gatekeeper.test_find import bundle
from tests.web.gatekeeper.test_write import send


def words(table):
    """The words of a table."""
    return table.split()


HIDDEN = words(
    """
    Contract-C-123 Contract-C-2121 Contract-INS-101 Contract-pcd-example-notAuthor Contract-pcd-example-notLabs
    Contract-pcd-example-notOrg Contract-pcd-example-notThem Contract-pcd-example-notThis
    Group-101 Group-102 Group-example-patientlist Group-herd1 Person-example Person-f002
    Person-grahame Person-pd Person-pp Subscription-example-error Subscription-example
"""
)
UNREAD = {
    "of a type that is shown to nobody": HIDDEN,
    "names somebody who may be a patient by an identifier alone": words(
        """
        AuditEvent-example AuditEvent-example-disclosure AuditEvent-example-login AuditEvent-example-logout
        AuditEvent-example-media AuditEvent-example-pixQuery AuditEvent-example-rest AuditEvent-example-search
        Claim-100154 Coverage-7547E CoverageEligibilityResponse-E2502 Provenance-example-biocompute-object
        Provenance-example-cwl Provenance-signature
    """
    ),
    "contains its patient, who is nobody's chart": words(
        """
        Claim-100152 Claim-100155 Claim-MED-00050 Observation-10minute-apgar-score Observation-1minute-apgar-score
        Observation-20minute-apgar-score Observation-2minute-apgar-score Observation-5minute-apgar-score
    """
    ),
    "of no patient, though of a type that is some patient's": words(
        """
        DiagnosticReport-gingival-mass Observation-decimal Observation-herd1 Observation-vp-oyster Procedure-education
        Procedure-ob Provenance-example ServiceRequest-appendectomy-narrative ServiceRequest-education
        ServiceRequest-ob Specimen-pooled-serum
    """
    ),
    "names two patients": ["Consent-consent-example-grantor", "Observation-trachcare"],
    "contains what is shown to nobody": ["AuditEvent-example-error"],
    "its patient is another server's": ["ServiceRequest-myringotomy"],
    "tells of a consent, whose patient it names as its signer only": ["Provenance-consent-signature"],
}
"""Why nobody may read an example -> which ones."""
ONE_PERSON = {"Patient/pat2": "Patient/pat1"}
"""Two charts that name each other: they are one person's, and are linked to one pseudonym."""


def text(resource):
    """A resource as text, the digits of its numbers kept; version and time of the server's apart."""
    meta = {key: value for key, value in resource.get("meta", {}).items() if key not in ("versionId", "lastUpdated")}
    return simplejson.dumps({**resource, "meta": meta}, use_decimal=True, sort_keys=True)


@pytest.fixture
def examples():
    """HL7's examples by their names."""
    if not HL7.exists():
        pytest.skip("HL7's examples are not in ../shared/data")
    return {path.stem: simplejson.loads(path.read_text(), use_decimal=True) for path in sorted(HL7.glob("*.json"))}


def sign_in(served, examples, reader_of):
    """The patient of each chart, signed in; a chart's own pseudonym, but for the one person's."""
    found = {}
    for number, chart in enumerate(sorted({chart for chart in map(chart_of, examples.values()) if chart})):
        person = Account.from_key((number + 1).to_bytes(2, "big").rjust(32, b"\x0b"))
        if chart in ONE_PERSON:
            found[chart] = found[ONE_PERSON[chart]]
            served.service.desk.archive.link(found[chart].account.address, chart)
            continue
        served.service.desk.archive.link(person.address, chart)
        found[chart] = reader_of(served, person)
        assert found[chart].sign_in("PATRQT", patient=person.address).status_code == 200
    return found


@pytest.mark.timeout(400)
def test_every_example_comes_out_as_it_went_in_to_whoever_may_read_it(serve, examples, reader_of, hospital):
    unread = {name for names in UNREAD.values() for name in names}
    assert (len(examples), len(unread), unread - examples.keys()) == (385, 57, set())
    with serve(filled=False) as served:
        staff = reader_of(served, hospital)
        staff.sign_in("HOPERAT", ["user/*.cru"])
        for name, resource in examples.items():
            body = simplejson.dumps(resource, use_decimal=True).encode()
            answer = send(staff, "PUT", f"{resource['resourceType']}/{resource['id']}", body)
            assert answer.status_code == 201, (name, answer.text)
            assert text(simplejson.loads(answer.text, use_decimal=True)) == text(resource), name
        patients = sign_in(served, examples, reader_of)
        come = {"a patient's": 0, "nobody's": 0}
        for name, resource in examples.items():
            if name in unread:
                continue
            shared = resource["resourceType"] in SHARED
            for reader in [staff, patients["Patient/example"]] if shared else [patients[chart_of(resource)]]:
                answer = reader.get(f"{resource['resourceType']}/{resource['id']}")
                assert answer.status_code == 200, (name, answer.text)
                assert text(simplejson.loads(answer.text, use_decimal=True)) == text(resource), name
            come["nobody's" if shared else "a patient's"] += 1
        assert come == {"a patient's": 258, "nobody's": 70}

        for name in unread:  # is as none to everybody, its patient and whom it names too
            kind, identity = examples[name]["resourceType"], examples[name]["id"]
            whole = simplejson.dumps(examples[name], use_decimal=True)
            for chart in {"Patient/example", *(chart for chart in patients if f'{chart}"' in whole)}:
                hidden = name in HIDDEN
                answer = patients[chart].get(f"{kind}/{identity}")
                refusal(answer, 404, "NotServed" if hidden else "RecordUnavailable")
                if not hidden:
                    found = bundle(patients[chart].get(f"{kind}?_id={identity}"))
                    assert (found["total"], "entry" in found) == (0, False), name


HAND = [
    ("example", "Observation?code=85354-9", "blood-pressure blood-pressure-cancel blood-pressure-dar"),
    ("example", "Observation?code=85354-9&status=final", "blood-pressure blood-pressure-dar"),
    ("example", "Observation?code=85354-9&status:not=final", "blood-pressure-cancel"),
    ("example", "Observation?code=http://loinc.org|3141-9", "example"),  # one of its three codes
    ("example", "Observation?code=http://snomed.info/sct|3141-9", ""),
    ("example", "Observation?code=8306-3,8867-4", "body-length heart-rate"),
    ("example", "Observation?code=8478-0", "map-sitting mbp"),
    ("example", "Observation?category=exam", "abdo-tender"),
    ("example", "Observation?status=unknown", "example-TPMT-haplotype-one example-TPMT-haplotype-two"),
    ("example", "Observation?date=2014-12", "alcohol-type gcs-qa glasgow satO2"),
    ("example", "Observation?date=2014-12-11", "alcohol-type gcs-qa glasgow"),
    ("example", "Observation?date=gt2016-03-28", "abdo-tender clinical-gender eye-color map-sitting"),
    ("example", "Observation?date=ge2016-03-28&date=lt2017", "example eye-color"),
    ("example", "Observation?date=lt2012-09-17&category=vital-signs&_count=0", 10),
    ("example", "Observation?date=sa2018-04-02", ""),  # both began on that day
    ("example", "Observation?date=sa2018-04-01", "abdo-tender map-sitting"),
    ("example", "Observation?date=ge2018-04-01&date=eb2018-04-06", "map-sitting"),  # the other has no end
    ("example", "Observation?date:missing=true&_count=0", 8),
    ("example", "Observation?encounter=Encounter/example", "abdo-tender clinical-gender example map-sitting"),
    ("example", "Observation?_sort=-date&_count=3", ["abdo-tender", "map-sitting", "clinical-gender"]),
    ("example", "Condition?onset-date=2012", "example"),  # the other says so in words
    ("example", "AllergyIntolerance?date=2015-08-06", "fishallergy nkla"),  # 21:37 UTC
    ("example", "AllergyIntolerance?date=lt2011", "medication"),
    ("example", "Encounter?date=2015-01-17", "home"),
    ("example", "Encounter?date=ge2017-01-31&date=lt2017-02-01", "emerg"),  # 07:15 in Brisbane
    ("example", "Immunization?date=2013-01-10", "example notGiven"),
    ("example", "Immunization?vaccine-code=104", "protocol"),
    ("example", "Procedure?date=2014", "biopsy"),
    ("f001", "Observation", "ekg f001 f002 f003 f004 f005 unsat"),
    ("f001", "Observation?date=2013-04", "f002 f003 f004 f005 unsat"),  # f001 has no end
    ("f001", "Observation?date=2013-04-05", "f005"),
    ("f001", "Condition?recorded-date=lt2012", "f001"),
    ("f001", "Condition?encounter=Encounter/f002", "f002"),
    ("f001", "Procedure?date=2013-03-24", "f003"),
    ("f001", "Procedure?date=ap2011-06-26T12:00:00Z&date=eb2013", "f001"),
    ("f201", "Observation?status=entered-in-error", "f202"),
    ("f201", "Observation?code=http://snomed.info/sct|365722008", "f203"),
    ("f201", "Condition?onset-date=2013-03", "f203 f204"),  # an age is no date
]
"""Whose, what is asked, and what the examples hold, looked up by eye; a list is in order, a number is the total."""


@pytest.mark.timeout(300)
def test_searches_find_what_one_finds_by_hand(serve, examples, reader_of):
    with serve(filled=False) as served:
        for resource in examples.values():
            served.service.desk.archive.put(resource)
        patients = sign_in(served, examples, reader_of)
        check_by_hand(patients)


def check_by_hand(patients):
    for whose, query, expected in HAND:
        found = bundle(patients[f"Patient/{whose}"].get(query))
        ids = [entry["resource"]["id"] for entry in found.get("entry", [])]
        if isinstance(expected, int):
            assert found["total"] == expected, query
        elif isinstance(expected, list):
            assert ids == expected, query
        else:
            assert sorted(ids) == sorted(expected.split()), query
            assert found["total"] == len(ids), query
