"""`liggare records consent`: a grant as a FHIR Consent, and back into words."""

from __future__ import annotations

import json

import pytest

from tests.support import ROOT


def test_a_grant_is_shown_as_a_consent_and_comes_back(liggare, granted, institute, tmp_path):
    code, out, err = liggare("records", "consent", granted, "--organization", "Organization/1", "--json")
    assert (code, err, out["consent"]["resourceType"]) == (0, "", "Consent")
    path = tmp_path / "consent.json"
    path.write_text(json.dumps(out["consent"]))
    code, out, _ = liggare("records", "consent", path)
    words = "Observation --purpose HRESCH --until 2099-12-31T00:00:00"
    assert (code, out) == (0, f"liggare records grant {institute.address} {words}\n")
    (given,) = liggare("records", "consent", path, "--json")[1]["grants"]
    assert (given["grantee"], given["categories"]) == (institute.address, ["Observation"])


def consent(**provision):
    """A Consent that names its recipient by a reference."""
    actor = {
        "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
        "reference": {"reference": "Organization/f001"},
    }
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]},
        "provision": {
            "type": "permit",
            "actor": [actor],
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
            "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}],
            **provision,
        },
    }


def test_a_reference_becomes_an_address_by_the_patients_word(liggare, tmp_path, institute):
    path = tmp_path / "consent.json"
    path.write_text(json.dumps(consent()))
    code, out, err = liggare("records", "consent", path, "--grantee", f"Organization/f001={institute.address}")
    assert code == 0, err
    assert f"grant {institute.address} Observation --purpose TREAT --until 9999-12-31T23:59:59" in out


def test_a_consent_that_no_grant_can_say_is_refused(liggare, tmp_path):
    path = tmp_path / "consent.json"
    path.write_text(json.dumps(consent(type="deny")))
    code, out, _ = liggare("records", "consent", path, "--json")
    assert (code, out["error"]) == (1, "ConsentUnmappable")


@pytest.mark.parametrize("name", ["Observation-f001.json", "nothing.json"])
def test_what_is_no_consent(liggare, name):
    code, out, _ = liggare("records", "consent", ROOT / "scripts" / "data" / "fhir" / name, "--json")
    assert (code, out["error"]) in ((1, "ConsentUnmappable"), (1, "ResourceInvalid"), (1, "DataError"))
