"""FHIR resources: read strictly, unchanged on the way out, and never silent about a patient whom they name."""

from __future__ import annotations

import copy
import re
from decimal import Decimal

import pytest
import simplejson
from fhir.resources.R4B import get_fhir_model_class

from liggare.errors import ResourceInvalid
from liggare.records.categories import CATEGORIES, RESTRICTED, category_of
from liggare.records.fhir import (
    COMPARTMENT,
    SHARED,
    _is_type,
    categories_in,
    chart_of,
    charts_in,
    dump,
    load,
    parse,
)
from tests.support import HL7, ROOT

OURS = sorted((ROOT / "scripts" / "data" / "fhir").glob("*.json"))


def examples():
    """HL7's examples, or those of the repository where the others are not beside it."""
    return sorted(HL7.glob("*.json")) or OURS


def observation(**members):
    return {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}, **members}


def nested(levels):
    inner = {"url": "urn:x", "valueString": "x"}
    for _ in range(levels):
        inner = {"url": "urn:x", "extension": [inner]}
    return [inner]


def text(resource):
    return simplejson.dumps(resource).encode()


# ---------------------------------------------------------------------- in and out


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_an_example_comes_out_as_it_went_in(path):
    resource = parse(path.read_bytes())
    assert resource == simplejson.loads(path.read_text(), use_decimal=True)
    assert list(load(dump(resource)).items()) == list(resource.items())


def test_all_of_hl7s_examples_come_out_as_they_went_in():
    if not HL7.exists():
        pytest.skip("HL7's examples are not in ../shared/data")
    paths = sorted(HL7.glob("*.json"))
    assert len(paths) == 385
    for path in paths:
        resource = parse(path.read_bytes())
        assert load(dump(resource)) == resource == simplejson.loads(path.read_text(), use_decimal=True), path.name


def test_a_number_keeps_its_digits():
    resource = parse(text(observation())[:-1] + b',"valueQuantity":{"value":1.500}}')
    assert resource["valueQuantity"]["value"].as_tuple() == Decimal("1.500").as_tuple()
    assert b"1.500" in dump(resource)


@pytest.mark.parametrize(
    ("given", "path", "problem"),
    [
        (b"\xff", "", "no UTF-8"),
        (b"{", "", "no JSON"),
        (b"[1]", "", "no object"),
        (b"[" * 100_000, "", "deep|no JSON"),
        (text(observation(extension=nested(70))), "", "deep"),
        (b" " * (4 * 2**20 + 1), "", "more than"),
        (b"{}", "resourceType", "no resource type"),
        (text({"resourceType": "Nope"}), "resourceType", "no resource type"),
        (text({"resourceType": "HumanName"}), "resourceType", "no resource type"),
        (text({"resourceType": "DomainResource"}), "resourceType", "no resource type"),
        (text({"resourceType": 5}), "resourceType", "no resource type"),
        (b'{"resourceType":"Observation","status":"final","status":"final"}', "status", "twice"),
        (text(observation())[:-1] + b',"valueInteger":NaN}', "", "NaN"),
        (text(observation())[:-1] + b',"valueInteger":1e999999999}', "Observation.valueInteger", "too large"),
        (text(observation())[:-1] + b',"valueInteger":' + b"9" * 2000 + b"}", "Observation.valueInteger", "too large"),
        (text(observation(method=None)), "Observation.method", "empty"),
        (text(observation(category=[])), "Observation.category", "empty"),
        (text(observation(method={})), "Observation.method", "empty"),
        (text(observation(note=[{"text": ""}])), r"Observation.note\[0\].text", "empty"),
        (text(observation(class_fhir={"code": "x"})), "Observation", "no element"),
        (text(observation(code={"text__ext": {"id": "x"}})), "Observation.code", "no element"),
        (text(observation(weight=5)), "Observation.weight", "no such element"),
        (text({"resourceType": "Observation", "status": "final"}), "Observation.code", "required"),
        (text(observation(subject={"reference": 5})), "Observation.subject.reference", "text"),
        (text(observation(valueBoolean="true")), "Observation.valueBoolean", "JSON type"),
        (text(observation(valueInteger="5")), "Observation.valueInteger", "JSON type"),
        (text(observation(effectiveDateTime=5)), "Observation.effectiveDateTime", "JSON type"),
        (text(observation(effectiveDateTime="2020-13-01")), "Observation.effectiveDateTime", "form"),
        (text(observation(valueBoolean=True, valueInteger=1)), "Observation", "form"),
        (text(observation(id="a b")), "Observation.id", "form"),
        (text(observation(contained=[{"id": "p"}])), "Observation.contained", "resource type"),
        (text(observation(contained=[{"resourceType": "Nope"}])), "Observation.contained", "resource type"),
        (text(observation(contained=5)), "Observation.contained", "resource type"),
        (
            text(observation(contained=[{"resourceType": "Patient", "weight": 5}])),
            r"Observation.contained\[0\].weight",
            "no such",
        ),
        (text(observation(valueString="\ud800")), "Observation.valueString", "half a character"),
    ],
    ids=lambda word: str(word)[:60],
)
def test_what_is_no_resource_is_refused_by_its_element(given, path, problem):
    with pytest.raises(ResourceInvalid, match=problem) as caught:
        parse(given)
    assert caught.value.path == path.replace("\\", "")


def test_a_refusal_does_not_repeat_what_was_said():
    for members in ({"status": "SECRET  text"}, {"effectiveDateTime": "SECRET"}, {"valueInteger": "SECRET"}):
        with pytest.raises(ResourceInvalid) as caught:
            parse(text(observation(**members)))
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None


# ---------------------------------------------------------------------- the compartment


def test_the_compartment_has_the_categories_and_the_three_that_are_never_granted():
    assert set(COMPARTMENT) == set(CATEGORIES) | {"Group", "Person", "Schedule"}


def paths():
    return [(kind, path) for kind, groups in COMPARTMENT.items() for group in groups for path in group]


@pytest.mark.parametrize(("kind", "path"), paths(), ids=lambda word: word)
def test_an_element_of_the_compartment_is_one_of_the_type_and_may_name_a_patient(kind, path):
    model = get_fhir_model_class(kind)
    steps = path.split(".")
    for step in steps:
        field = next(field for name, field in model.model_fields.items() if (field.alias or name) == step)
        if step != steps[-1]:
            name = str(field.annotation).rpartition(kind)[2].partition("Type")[0]
            model = get_fhir_model_class(kind + name)
    assert {"Patient", "Resource"} & set(field.json_schema_extra["enum_reference_types"])


@pytest.mark.parametrize(("kind", "path"), paths(), ids=lambda word: word)
def test_a_patient_is_seen_at_every_element_of_the_compartment(kind, path):
    value = [{"reference": "Patient/anna"}]
    for step in reversed(path.split(".")):
        value = {step: value}
    resource = {"resourceType": kind, "id": "x", **value}
    assert "Patient/anna" in charts_in(resource)
    assert chart_of(resource) == ("Patient/x" if kind == "Patient" else "Patient/anna")


def test_the_shared_types_exist_and_are_of_no_patient():
    assert all(_is_type(kind) for kind in SHARED)
    assert not SHARED & set(COMPARTMENT)
    assert not SHARED & {"Bundle", "Parameters", "Binary", "Contract", "Task", "Slot", "Subscription", "Linkage"}


# ---------------------------------------------------------------------- whose


@pytest.mark.parametrize(
    ("members", "chart"),
    [
        ({"subject": {"reference": "Patient/anna"}}, "Patient/anna"),
        ({"subject": {"reference": "Patient/anna/_history/2"}}, "Patient/anna"),
        ({"subject": {"reference": "https://far.example/fhir/Patient/anna"}}, None),
        ({"subject": {"reference": "#p"}, "contained": [{"resourceType": "Patient", "id": "p"}]}, None),
        ({"subject": {"reference": "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"}}, None),
        ({"subject": {"reference": "Group/herd"}, "performer": [{"reference": "Patient/anna"}]}, None),
        ({"subject": {"display": "Anna"}, "performer": [{"reference": "Patient/anna"}]}, None),
        ({"performer": [{"reference": "Patient/anna"}, {"reference": "Practitioner/bo"}]}, "Patient/anna"),
        ({"performer": [{"reference": "Patient/anna"}, {"reference": "Patient/bo"}]}, None),
        ({"performer": [{"reference": "Patient/anna"}, {"reference": "https://far.example/Patient/bo"}]}, None),
        ({}, None),
    ],
)
def test_the_first_element_that_is_there_says_whose_it_is(members, chart):
    assert chart_of(observation(**members)) == chart


@pytest.mark.parametrize(
    ("resource", "chart"),
    [
        ({"resourceType": "Patient", "id": "anna"}, "Patient/anna"),
        ({"resourceType": "Patient"}, None),
        ({"resourceType": "Practitioner", "id": "bo"}, None),
        ({"resourceType": "Device", "patient": {"reference": "Patient/anna"}}, "Patient/anna"),
        ({"resourceType": "Contract", "subject": [{"reference": "Patient/anna"}]}, "Patient/anna"),
        ({"resourceType": "Contract", "subject": [{"reference": "Patient/anna"}, {"reference": "Patient/bo"}]}, None),
        ({"resourceType": "Provenance", "target": [{"reference": "Observation/1"}]}, None),
    ],
)
def test_whose_other_types_are(resource, chart):
    assert chart_of(resource) == chart


# ---------------------------------------------------------------------- whom it names

NOT_OURS = [
    {"reference": "https://far.example/fhir/Patient/bo"},
    {"reference": "http://far.example/Patient/bo/_history/1"},
    {"reference": "http://far.example/Patient/bo/Practitioner/1"},
    {"reference": "Patient?identifier=bo"},
    {"reference": "patient/bo"},
    {"reference": "Patient/bo#name"},
    {"reference": "Pa%74ient/bo?x"},
    {"reference": "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"},
    {"reference": "urn:oid:1.2.3"},
    {"reference": "#nowhere"},
    {"identifier": {"value": "19121212-1212"}},
    {"identifier": {"value": "19121212-1212"}, "type": "Patient"},
    {"display": "Bo", "type": "Patient"},
    {"display": "Bo", "type": "http://hl7.org/fhir/StructureDefinition/Patient"},
]


@pytest.mark.parametrize("reference", NOT_OURS, ids=str)
def test_a_patient_named_in_another_way_is_no_chart_of_ours(reference):
    named = charts_in(observation(subject={"reference": "Patient/anna"}, performer=[reference]))
    assert len(named) == 2
    (other,) = named - {"Patient/anna"}
    assert not re.fullmatch("Patient/[A-Za-z0-9.-]+", other)


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Practitioner/bo"},
        {"reference": "Practitioner/bo", "type": "Practitioner"},
        {"reference": "https://far.example/fhir/Organization/bo"},
        {"reference": "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7", "type": "Practitioner"},
        {"identifier": {"value": "7"}, "type": "Organization"},
        {"display": "Dr. Bo"},
        {"reference": "#dr"},
        {"reference": "#"},
    ],
    ids=str,
)
def test_who_is_no_patient_is_not_counted(reference):
    doctor = {"resourceType": "Practitioner", "id": "dr"}
    resource = observation(subject={"reference": "Patient/anna"}, performer=[reference], contained=[doctor])
    assert charts_in(resource) == {"Patient/anna"}


def test_an_unclear_reference_counts_only_where_a_patient_may_stand():
    claim = {"resourceType": "Claim", "patient": {"reference": "Patient/anna"}}
    assert charts_in({**claim, "insurer": {"identifier": {"value": "7"}}}) == {"Patient/anna"}
    assert len(charts_in({**claim, "payee": {"party": {"identifier": {"value": "7"}}}})) == 2
    assert len(charts_in({**claim, "insurer": {"reference": "Patient/bo"}})) == 2


def test_a_lie_about_the_type_of_a_reference_does_not_help():
    lie = {"reference": "Patient/bo", "type": "Practitioner"}
    assert "Patient/bo" in charts_in(observation(performer=[lie]))


@pytest.mark.parametrize(
    "members",
    [
        {"extension": [{"url": "urn:x", "valueReference": {"reference": "Patient/bo"}}]},
        {"extension": [{"url": "urn:x", "valueUri": "Patient/bo"}]},
        {"extension": [{"url": "urn:x", "valueString": "/Patient/bo"}]},
        {"extension": [{"url": "urn:x", "valueUrl": "https://far.example/fhir/Patient/bo"}]},
        {"meta": {"source": "Patient/bo"}},
        {"_status": {"extension": [{"url": "urn:x", "valueReference": {"reference": "Patient/bo"}}]}},
        {"note": [{"text": "x", "authorReference": {"reference": "Patient/bo"}}]},
        {"text": {"status": "generated", "div": '<div><a href="Patient/bo">Bo</a></div>'}},
        {"text": {"status": "generated", "div": "<div><img src='https://far.example/Patient/bo/photo'/></div>"}},
        {"contained": [{"resourceType": "Patient", "id": "bo"}]},
        {"contained": [{"resourceType": "Observation", "subject": {"reference": "Patient/bo"}}]},
        {"contained": [{"resourceType": "Basic", "id": "b", "contained": [{"resourceType": "Patient"}]}]},
        {
            "contained": [
                {"resourceType": "DocumentReference", "content": [{"attachment": {"url": "Patient/bo/photo"}}]}
            ]
        },
    ],
    ids=str,
)
def test_a_patient_is_seen_in_every_corner(members):
    named = charts_in(observation(subject={"reference": "Patient/anna"}, **members))
    assert len(named) == 2
    assert "Patient/anna" in named


def test_of_two_contained_resources_with_one_id_the_patient_counts():
    two = [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Practitioner", "id": "p"}]
    assert "#p" in charts_in(observation(contained=two))
    assert "#p" in charts_in(observation(contained=two[::-1], performer=[{"reference": "#p"}]))


def places(value, path=()):
    """Yield the path of every object in a resource."""
    if isinstance(value, dict):
        yield path
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*path, number))


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_a_reference_planted_anywhere_in_an_example_is_found(path):
    resource = parse(path.read_bytes())
    planted = [{"url": "urn:x", "valueReference": {"reference": "Patient/planted"}}]
    found = list(places(resource))
    assert len(found) > 5
    for place in found:
        other = copy.deepcopy(resource)
        node = other
        for step in place:
            node = node[step]
        node["extension"] = planted
        assert "Patient/planted" in charts_in(other), place


def test_a_bundle_names_the_patients_of_its_entries():
    bundle = {"resourceType": "Bundle", "entry": [{"resource": observation(subject={"reference": "Patient/anna"})}]}
    assert charts_in(bundle) == {"Patient/anna"}
    assert charts_in({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]})
    assert charts_in({"resourceType": "Bundle", "entry": [{"fullUrl": "https://far.example/Patient/bo"}]})


def test_most_of_hl7s_examples_of_one_patient_name_nobody_else():
    alone = [
        r for r in map(parse, (p.read_bytes() for p in examples())) if chart_of(r) and charts_in(r) == {chart_of(r)}
    ]
    assert len(alone) >= (240 if HL7.exists() else 9)


# ---------------------------------------------------------------------- what reading it takes


@pytest.mark.parametrize(
    ("resource", "categories"),
    [
        (observation(), ["Observation"]),
        (observation(contained=[{"resourceType": "Condition"}]), ["Observation", "Condition"]),
        (observation(contained=[{"resourceType": "Practitioner"}]), ["Observation"]),
        ({"resourceType": "Organization"}, []),
        ({"resourceType": "Organization", "contained": [{"resourceType": "Claim"}]}, ["Claim"]),
    ],
)
def test_it_takes_the_categories_of_all_that_is_in_it(resource, categories):
    assert categories_in(resource) == sum(category_of(f"{name}/x") for name in categories)


V3 = "http://terminology.hl7.org/CodeSystem/v3-"


def labelled(*labels):
    made = [{"system": V3 + system, "code": code} if system else {"code": code} for system, code in labels]
    return {"meta": {"security": made}}


@pytest.mark.parametrize(
    "resource",
    [
        observation(**labelled(("Confidentiality", "R"))),
        observation(**labelled(("Confidentiality", "V"))),
        observation(**labelled(("Confidentiality", "N"), ("Confidentiality", "R"))),
        observation(**labelled(("Confidentiality", "r"))),  # no code that there is
        observation(**labelled((None, "N"))),
        observation(**labelled(("ActCode", "PSY"))),
        observation(**labelled(("ActCode", "NORDSCLCD"))),
        observation(meta={"security": [{"display": "secret"}]}),
        observation(meta={"security": [{"system": "https://hospital.example/labels", "code": "VIP"}]}),
        observation(contained=[{"resourceType": "Condition", **labelled(("Confidentiality", "R"))}]),
        {"resourceType": "Organization", **labelled(("Confidentiality", "R"))},
        {"resourceType": "Composition", "confidentiality": "R"},
        {"resourceType": "DocumentReference", "securityLabel": [{"coding": [{"system": V3 + "x", "code": "N"}]}]},
        {"resourceType": "DocumentReference", "securityLabel": [{"text": "secret"}]},
        {"resourceType": "AuditEvent", "entity": [{"securityLabel": [{"system": V3 + "ActCode", "code": "HIV"}]}]},
    ],
)  # fmt: skip
def test_a_label_higher_than_normal_takes_restricted(resource):
    assert categories_in(resource) & RESTRICTED


@pytest.mark.parametrize(
    "resource",
    [
        observation(),
        observation(meta={"tag": [{"system": V3 + "Confidentiality", "code": "R"}]}),  # a tag is no label
        *(observation(**labelled(("Confidentiality", code))) for code in "ULMN"),
        observation(**labelled(("ActReason", "HTEST"), ("ObservationValue", "SUBSETTED"))),
        {"resourceType": "Composition", "confidentiality": "N"},
        {"resourceType": "DocumentReference",
         "securityLabel": [{"coding": [{"system": V3 + "Confidentiality", "code": "N"}]}]},
        {"resourceType": "Consent",  # which speaks of labels and has none
         "provision": {"securityLabel": [{"system": V3 + "Confidentiality", "code": "R"}]}},
    ],
)  # fmt: skip
def test_no_other_label_does(resource):
    assert not categories_in(resource) & RESTRICTED


@pytest.mark.parametrize("kind", ["Group", "Person", "Schedule", "Bundle", "Parameters", "Binary", "Contract", "Task"])
def test_what_has_no_category_is_never_released_nor_what_contains_it(kind):
    assert categories_in({"resourceType": kind}) is None
    assert categories_in(observation(contained=[{"resourceType": kind}])) is None
