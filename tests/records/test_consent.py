"""Grants as FHIR Consents: what is written is valid R4 and IHE's PCF and comes back; nothing is read into one."""

from __future__ import annotations

import copy
import random

import pytest

from liggare.errors import ConsentUnmappable, ResourceInvalid, UnknownName
from liggare.records.categories import CATEGORIES, INSURER_CAP, PURPOSES, RESTRICTED, mask
from liggare.records.consent import FOREVER, Granted, from_consent, to_consent
from liggare.records.fhir import chart_of, dump, parse
from liggare.records.messages import Terms
from liggare.records.share import Share
from tests.support import HL7

CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
PATIENT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
GRANTEE = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
MADE = 1_790_000_000
EVERYTHING = mask(CATEGORIES, CATEGORIES)


def shared(terms):
    return Share(1337, CONTRACT, PATIENT, GRANTEE, bytes(32), terms)


def written(terms, **words):
    return to_consent(
        shared(terms), MADE, **{"organization": "Organization/hospital", "patient": "Patient/anna", **words}
    )


def treat(start=0, end=FOREVER):
    return Terms.of(["Observation", "Condition"], ["TREAT"], start, end)


# ---------------------------------------------------------------------- what is written


@pytest.mark.parametrize(
    "terms",
    [
        treat(),
        treat(1_700_000_000, 1_800_000_000),
        treat(1_700_000_000),
        treat(0, 1),
        Terms(INSURER_CAP, mask(PURPOSES, ["HPAYMT", "COVAUTH"]), 0, 2_000_000_000),
        Terms(EVERYTHING, mask(PURPOSES, PURPOSES), 5, 253_402_300_800),
        Terms(EVERYTHING | RESTRICTED, mask(PURPOSES, ["TREAT"]), 0, FOREVER),
    ],
    ids=str,
)
def test_a_grant_comes_back_from_its_consent(terms):
    consent = written(terms)
    assert parse(dump(consent)) == consent
    assert from_consent(consent) == [Granted(GRANTEE, terms)]


def test_random_grants_come_back():
    chance = random.Random(4)
    for _ in range(200):
        start = chance.randrange(2**31)
        end = start + chance.randrange(1, 2**33)
        categories, purposes = chance.randrange(1, EVERYTHING + 1), chance.randrange(1, mask(PURPOSES, PURPOSES) + 1)
        categories |= chance.choice([0, RESTRICTED])
        terms = Terms(categories, purposes, start, end)
        assert from_consent(parse(dump(written(terms)))) == [Granted(GRANTEE, terms)]


def test_what_ends_after_the_year_9999_is_without_end():
    assert "period" not in written(treat(0, 2**63))["provision"]
    assert from_consent(written(treat(0, 2**63)))[0].terms == treat()


def test_what_is_written_is_the_patients():
    assert chart_of(written(treat())) == "Patient/anna"
    assert chart_of(written(treat(), patient=None)) is None


def test_nothing_secret_of_the_share_is_written():
    share = Share(1337, CONTRACT, PATIENT, GRANTEE, bytes(range(32)), treat())
    consent = dump(to_consent(share, MADE, organization="Organization/1", patient="Patient/anna"))
    assert bytes(range(32)).hex().encode() not in consent
    assert PATIENT.encode() not in consent  # who has the chart's name needs no pseudonym
    assert PATIENT.encode() in dump(to_consent(share, MADE, organization="Organization/1"))


def codes(concept):
    return [(each["system"], each["code"]) for each in concept["coding"]]


@pytest.mark.parametrize("patient", ["Patient/anna", None])
@pytest.mark.parametrize("performer", ["RelatedPerson/mother", None])
def test_a_grant_of_all_types_is_a_basic_consent_of_pcf(patient, performer):
    """The constraints of IHE.PCF.consentBasic, one by one."""
    terms = Terms(EVERYTHING, mask(PURPOSES, ["TREAT"]), 5, 1_800_000_000)
    consent = written(terms, patient=patient, performer=performer)
    parse(dump(consent))
    assert consent["meta"]["profile"] == ["https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentBasic"]
    assert consent["status"] == "active"
    assert codes(consent["scope"]) == [("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")]
    assert [codes(each) for each in consent["category"]] == [[("http://loinc.org", "59284-0")]]
    assert {"patient", "dateTime", "sourceAttachment"} <= set(consent)
    assert consent["performer"] == [{"reference": performer} if performer else consent["patient"]]
    assert consent["organization"] == [{"reference": "Organization/hospital"}]
    assert all(each["uri"] for each in consent["policy"])
    assert "verification" not in consent
    provision = consent["provision"]
    assert provision["type"] == "permit"
    assert set(provision) <= {"type", "period", "purpose", "actor"}
    role = ("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")
    assert [codes(each["role"]) for each in provision["actor"]] == [[role]]
    purposes = [(each["system"], each["code"]) for each in provision["purpose"]]
    assert purposes == [("http://terminology.hl7.org/CodeSystem/v3-ActReason", "TREAT")]


def test_a_grant_of_some_types_does_not_claim_the_profile():
    consent = written(treat())
    assert "meta" not in consent
    assert {each["code"] for each in consent["provision"]["class"]} == {"Observation", "Condition"}


def test_a_grant_with_restricted_is_an_advanced_consent_of_pcf():
    consent = written(Terms(EVERYTHING | RESTRICTED, 1, 0, FOREVER))
    assert parse(dump(consent)) == consent
    assert consent["meta"]["profile"] == [
        "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentAdvanced"
    ]
    assert set(consent["provision"]) == {"type", "purpose", "actor", "securityLabel"}
    labels = [(each["system"], each["code"]) for each in consent["provision"]["securityLabel"]]
    assert labels == [(CONFIDENTIALITY, code) for code in "NRV"]
    some = written(Terms.of(["Observation", "RESTRICTED"], ["TREAT"], 0, FOREVER))
    assert "meta" not in some
    assert [each["code"] for each in some["provision"]["class"]] == ["Observation"]
    assert some["provision"]["securityLabel"] == consent["provision"]["securityLabel"]


def test_bits_without_a_meaning_are_not_written():
    for terms in (Terms(1, 1 << 31, 0, 1), Terms(1, 1 | 1 << 30, 0, 1)):
        with pytest.raises(ConsentUnmappable) as caught:
            written(terms)
        assert caught.value.reason == "terms"


# ---------------------------------------------------------------------- HL7's examples

AS_IF = ["PATRQT"]
HL7_SAY = {
    "Emergency": "nested",
    "Out": "grantee",  # withholds all: nobody is named who may
    "basic": "policy",
    "grantor": [Granted("Patient/example", Terms(EVERYTHING, mask(PURPOSES, AS_IF), 0, FOREVER))],
    "notAuthor": "policy",
    "notOrg": "deny",
    "notThem": "policy",
    "notThis": "policy",
    "notTime": "policy",
    "pkb": "label",
    "signature": "policy",
    "smartonfhir": "policy",
}
"""HL7's R4 examples -> what they give, or why no grant says the same. `policy`: all may but for what it speaks of."""


def hl7(name):
    if not HL7.exists():
        pytest.skip("HL7's examples are not in ../shared/data")
    return parse((HL7 / f"Consent-consent-example-{name}.json").read_bytes())


@pytest.mark.parametrize("name", HL7_SAY)
def test_an_example_of_hl7s_maps_and_comes_back_or_is_refused_by_name(name):
    expected = HL7_SAY[name]
    consent = hl7(name)
    if isinstance(expected, str):
        with pytest.raises(ConsentUnmappable) as caught:
            from_consent(consent, purposes=AS_IF)
        assert caught.value.reason == expected
        return
    given = from_consent(consent, purposes=AS_IF)
    assert given == expected
    again = from_consent(written(given[0].terms))
    assert [each.terms for each in again] == [each.terms for each in given]


def test_every_consent_example_of_hl7s_is_in_the_table():
    if not HL7.exists():
        pytest.skip("HL7's examples are not in ../shared/data")
    assert {path.stem.rpartition("-")[2] for path in HL7.glob("Consent-*.json")} == set(HL7_SAY)


# ---------------------------------------------------------------------- what a grant can't say

CODE = {"coding": [{"system": "http://loinc.org", "code": "34133-9"}]}
V3 = "http://terminology.hl7.org/CodeSystem/v3-"
CONFIDENTIALITY = V3 + "Confidentiality"
ACTIONS = "http://terminology.hl7.org/CodeSystem/consentaction"
MODIFIER = [{"url": "urn:x", "valueBoolean": True}]


def rule(code, system="http://terminology.hl7.org/CodeSystem/v3-ActCode"):
    return {"coding": [{"system": system, "code": code}]}


def action(code):
    return {"coding": [{"system": ACTIONS, "code": code}]}


def actor(code, **who):
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": code}]}
    return {"role": role, "reference": who or {"reference": "Organization/clinic"}}


@pytest.mark.parametrize(
    ("top", "provision", "reason"),
    [
        ({"status": "draft"}, {}, "status"),
        ({"status": "inactive"}, {}, "status"),
        ({"scope": rule("research", "http://terminology.hl7.org/CodeSystem/consentscope")}, {}, "scope"),
        ({"scope": rule("patient-privacy", "urn:other")}, {}, "scope"),
        ({"modifierExtension": MODIFIER}, {}, "modifier"),
        ({"implicitRules": "urn:rules"}, {}, "modifier"),
        ({"verification": [{"verified": False}]}, {}, "verification"),
        ({"policyRule": rule("OPTIN")}, {}, "policy"),
        ({"policyRule": {"text": "as agreed"}}, {}, "policy"),
        ({}, {"type": "deny"}, "deny"),
        ({}, {"type": None}, "type"),
        ({}, {"modifierExtension": MODIFIER}, "modifier"),
        ({}, {"provision": [{"type": "deny", "purpose": [{"code": "HRESCH"}]}]}, "nested"),
        ({}, {"provision": [{"type": "permit"}]}, "nested"),
        ({}, {"securityLabel": [{"system": CONFIDENTIALITY, "code": "L"}]}, "label"),
        ({}, {"securityLabel": [{"system": CONFIDENTIALITY, "code": "NR"}]}, "label"),
        ({}, {"securityLabel": [{"code": "N"}]}, "label"),
        ({}, {"securityLabel": [{"display": "normal"}]}, "label"),
        ({}, {"securityLabel": [{"system": V3 + "ActCode", "code": "PSY"}]}, "label"),
        (
            {},
            {"provision": [{"type": "permit", "securityLabel": [{"system": V3 + "ActCode", "code": "HIV"}]}]},
            "label",
        ),
        (
            {},
            {"provision": [{"type": "permit", "securityLabel": [{"system": CONFIDENTIALITY, "code": "R"}]}]},
            "nested",
        ),
        ({}, {"code": [CODE]}, "code"),
        ({}, {"data": [{"meaning": "instance", "reference": {"reference": "Observation/1"}}]}, "data"),
        ({}, {"dataPeriod": {"start": "2022-01-01"}}, "data-period"),
        ({}, {"action": [action("correct")]}, "action"),
        ({}, {"action": [action("access"), action("disclose")]}, "action"),
        ({}, {"action": [{"text": "look"}]}, "action"),
        ({}, {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Group"}]}, "class"),
        ({}, {"class": [{"system": "urn:ietf:bcp:13", "code": "application/hl7-cda+xml"}]}, "class"),
        ({}, {"class": [{"code": "Observation"}]}, "class"),
        (
            {},
            {"purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "MARKT"}]},
            "purpose",
        ),
        ({}, {"purpose": [{"system": "urn:own", "code": "TREAT"}]}, "purpose"),
        ({}, {"purpose": None}, "purpose"),
        ({}, {"actor": None}, "grantee"),
        ({}, {"actor": [actor("IRCP", display="the clinic")]}, "grantee"),
        ({}, {"actor": [actor("IRCP", reference="#clinic")]}, "grantee"),
        ({}, {"actor": [actor("IRCP", identifier={"value": f"did:pkh:eip155:1:{GRANTEE[:-1]}A"})]}, "grantee"),
        ({}, {"actor": [actor("AUT")]}, "role"),
        ({}, {"actor": [actor("CST"), actor("IRCP")]}, "role"),
        ({}, {"period": {"start": "2026-01-02", "end": "2026-01-01"}}, "period"),
        ({}, {"period": {"end": "1969"}}, "period"),
    ],
    ids=str,
)
def test_what_no_grant_says_is_refused_by_name(top, provision, reason):
    consent = written(treat())
    consent = {**consent, **top, "provision": {**consent["provision"], **provision}}
    consent["provision"] = {name: value for name, value in consent["provision"].items() if value is not None}
    parse(dump(consent))
    with pytest.raises(ConsentUnmappable) as caught:
        from_consent(consent)
    assert caught.value.reason == reason
    assert caught.value.path.startswith("Consent")


def test_a_consent_that_only_names_a_policy_is_refused():
    consent = written(treat())
    del consent["provision"]
    with pytest.raises(ConsentUnmappable, match="only names a policy"):
        from_consent(consent)


def test_what_is_no_consent_is_refused():
    with pytest.raises(ResourceInvalid):
        from_consent({"resourceType": "Contract"})


def test_purposes_that_stand_in_must_exist_and_never_widen():
    consent = written(treat())
    assert from_consent(consent, purposes=["HRESCH"])[0].terms == treat()
    del consent["provision"]["purpose"]
    assert from_consent(consent, purposes=["HRESCH"])[0].terms.purpose_names == ("HRESCH",)
    with pytest.raises(UnknownName):
        from_consent(consent, purposes=["MARKT"])


# ---------------------------------------------------------------------- what is read


def test_several_recipients_are_several_grants():
    consent = written(treat())
    clinic, bo = actor("PRCP"), actor("IRCP", reference="Practitioner/bo")
    custodian = actor("CST", reference="Organization/hospital")
    consent["provision"]["actor"] += [clinic, custodian, bo, copy.deepcopy(clinic)]
    assert parse(dump(consent)) == consent
    names = [GRANTEE, "Organization/clinic", "Practitioner/bo"]
    assert from_consent(consent) == [Granted(name, treat()) for name in names]


def test_an_exception_to_an_opt_out_is_a_permission():
    consent = {**written(treat()), "policyRule": rule("OPTOUT")}
    del consent["provision"]["type"]
    assert from_consent(consent) == [Granted(GRANTEE, treat())]


def test_a_consent_without_types_is_of_all():
    consent = written(treat())
    del consent["provision"]["class"]
    assert from_consent(consent)[0].terms.categories == EVERYTHING


@pytest.mark.parametrize(
    ("codes", "restricted"),
    [("N", False), ("LN", False), ("MUN", False), ("R", True), ("NR", True), ("V", True), ("LR", True), ("NRV", True)],
)
def test_levels_of_confidentiality_are_a_high_water_mark(codes, restricted):
    consent = written(treat())
    consent["provision"]["securityLabel"] = [{"system": CONFIDENTIALITY, "code": code} for code in codes]
    expected = treat().categories | (RESTRICTED if restricted else 0)
    assert from_consent(parse(dump(consent)))[0].terms.categories == expected


def test_reading_is_the_only_action():
    consent = written(treat())
    consent["provision"]["action"] = [action("access")]
    assert from_consent(consent)[0].terms == treat()


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ({"start": "2026", "end": "2026"}, 1_767_225_600, 1_798_761_600),
        ({"start": "2026-02", "end": "2026-02"}, 1_769_904_000, 1_772_323_200),
        ({"start": "2024-02-29", "end": "2024-02-29"}, 1_709_164_800, 1_709_251_200),
        ({"start": "2026-12", "end": "2026-12"}, 1_796_083_200, 1_798_761_600),
        ({"start": "2016-06-23T17:02:33+10:00", "end": "2016-06-23T17:32:33+10:00"}, 1_466_665_353, 1_466_667_154),
        ({"start": "2016-06-23T07:02:33.5Z", "end": "2016-06-23T07:32:33.5Z"}, 1_466_665_354, 1_466_667_154),
        ({"start": "1950-01-01"}, 0, FOREVER),
        ({"end": "1970-01-01"}, 0, 86_400),
        ({"end": "9999-12-31"}, 0, FOREVER),
        ({"end": "9999-12"}, 0, FOREVER),
        ({"end": "9999"}, 0, FOREVER),
        ({}, 0, FOREVER),
    ],
    ids=str,
)
def test_a_period_lasts_to_the_end_of_its_end(period, start, end):
    consent = written(treat())
    consent["provision"]["period"] = period
    terms = from_consent(consent)[0].terms
    assert (terms.not_before, terms.expiry) == (start, end)


@pytest.mark.parametrize("text", ["yesterday", "2026-13", "2026-02-30", "2026-02-03T25:00:00Z", "0000"])
def test_a_date_that_is_none_is_refused(text):
    consent = written(treat())
    consent["provision"]["period"] = {"end": text}
    with pytest.raises(ConsentUnmappable) as caught:
        from_consent(consent)
    assert caught.value.reason == "period"
