"""Searching by FHIR R4's rules: the HL7 examples, and each rule at its edge."""

from __future__ import annotations

import json
import math
import re

import pytest
from fhir.resources.R4B import get_fhir_model_class

from liggare.errors import SearchInvalid
from liggare.records.parameters import PARAMETERS
from liggare.records.search import LARGEST_PAGE, Query, interval, parse, references
from tests.support import ROOT

FHIR = ROOT / "scripts" / "data" / "fhir"
BASE = "https://hospital.example/fhir"
ANNA = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
CHARTS = frozenset({"Patient/f001", "Patient/4"})
NOW = 1_400_000_000


def example(name):
    return json.loads((FHIR / f"{name}.json").read_text())


EXAMPLES = {path.stem: json.loads(path.read_text()) for path in FHIR.glob("*.json")}


def query(kind, *pairs, **changes) -> Query:
    return parse(kind, pairs, **{"base": BASE, "pseudonym": ANNA, "charts": CHARTS, "now": NOW, **changes})


def found(kind, *pairs, among=None):
    """The ids of what is found among the examples, or others."""
    given = [each for each in (among or EXAMPLES.values()) if each["resourceType"] == kind]
    return [each["id"] for each in query(kind, *pairs).page(given)[1]]


@pytest.mark.parametrize("kind", sorted(PARAMETERS))
def test_every_path_of_the_table_is_in_the_models(kind):
    for parameter in PARAMETERS[kind].values():
        for way in parameter.path.split("|"):
            model = get_fhir_model_class(kind)
            for step in way.split("."):
                members = {field.alias or name: field for name, field in model.model_fields.items()}
                stem = step.removesuffix("[x]")
                here = [f for name, f in members.items() if name == step or (stem != step and name.startswith(stem))]
                assert here, f"{kind} has no {way} ({parameter.name})"
                inner = re.search(r"(\w+?)Type\b", str(here[0].annotation))
                model = get_fhir_model_class(inner[1]) if inner and inner[1][0].isupper() else None


@pytest.mark.parametrize(
    ("kind", "name", "value", "ids"),
    [
        ("Observation", "code", "15074-8", ["f001"]),
        ("Observation", "code", "http://loinc.org|15074-8", ["f001"]),
        ("Observation", "code", "http://snomed.info/sct|15074-8", []),
        ("Observation", "code", "|15074-8", []),
        ("Observation", "code", "http://loinc.org|", ["blood-pressure", "example", "f001"]),
        ("Observation", "code", "15074-8,29463-7", ["example", "f001"]),
        ("Observation", "code", "nonsense", []),
        ("Observation", "code:not", "15074-8", ["blood-pressure", "example"]),
        ("Observation", "component-code", "8480-6", ["blood-pressure"]),
        ("Observation", "combo-code", "8480-6,29463-7", ["blood-pressure", "example"]),
        ("Observation", "category", "VITAL-SIGNS", ["blood-pressure", "example"]),
        ("Observation", "category:missing", "true", ["f001"]),
        ("Observation", "status", "final", ["blood-pressure", "example", "f001"]),
        (
            "Observation",
            "status",
            "http://hl7.org/fhir/observation-status|final",
            ["blood-pressure", "example", "f001"],
        ),
        ("Observation", "_id", "f001,example", ["example", "f001"]),
        ("Observation", "patient", "f001", ["f001"]),
        ("Observation", "patient", "Patient/f001", ["f001"]),
        ("Observation", "patient", f"{BASE}/Patient/f001", ["f001"]),
        ("Observation", "patient", "https://elsewhere.example/fhir/Patient/f001", []),
        ("Observation", "patient", ANNA, ["f001"]),
        ("Observation", "subject", f"Patient/{ANNA.lower()}", ["f001"]),
        ("Observation", "subject:Patient", "f001,example", ["blood-pressure", "example", "f001"]),
        ("Observation", "subject", "Device/f001", []),
        ("Observation", "identifier", "http://www.bmc.nl/zorgportal/identifiers/observations|6323", ["f001"]),
        ("Observation", "date", "2013-04-02", []),  # it began then and has no end
        ("Observation", "date", "ge2013-04-02", ["example", "f001"]),
        ("Claim", "patient", "Patient/1", ["100150"]),
        ("Coverage", "beneficiary", "Patient/4", ["9876B1"]),
        ("Patient", "gender", "male", ["example", "f001"]),
        ("Patient", "birthdate", "1944-11-17", ["f001"]),
        ("Condition", "clinical-status", "active", ["f001"]),
        ("Condition", "onset-date", "2011", ["f001"]),
    ],
)
def test_the_examples_are_found(kind, name, value, ids):
    assert sorted(found(kind, (name, value))) == ids


def test_parameters_are_all_needed_and_alternatives_one_each():
    assert found("Observation", ("code", "15074-8,29463-7"), ("patient", "f001")) == ["f001"]
    assert found("Observation", ("code", "15074-8"), ("code", "29463-7")) == []


def test_marks_of_the_syntax_can_be_meant_as_they_are():
    odd = {"resourceType": "Observation", "id": "1", "code": {"coding": [{"system": "a|b", "code": "x,y\\"}]}}
    assert found("Observation", ("code", "a\\|b|x\\,y\\\\"), among=[odd]) == ["1"]
    assert found("Observation", ("code", "x\\,y\\\\"), among=[odd]) == ["1"]
    assert found("Observation", ("code", "x"), among=[odd]) == []


# ---------------------------------------------------------------------- dates

D = 86_400 * 10**6


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("2013", 365 * D),
        ("2012", 366 * D),
        ("2013-04", 30 * D),
        ("2013-12", 31 * D),
        ("2013-04-02", D),
        ("2013-04-02T09:30", 60 * 10**6),
        ("2013-04-02T09:30Z", 60 * 10**6),
        ("2013-04-02T09:30:10Z", 10**6),
        ("2013-04-02T09:30:10.5Z", 10**5),
        ("2013-04-02T09:30:10.123+01:00", 1000),
        ("2016-12-31T23:59:60Z", 10**6),
    ],
)
def test_a_date_covers_what_its_precision_says(text, length):
    low, high = interval(text)
    assert high - low == length


def test_zones_count_and_without_one_it_is_utc():
    assert interval("2013-04-02T09:30:00+02:00") == interval("2013-04-02T07:30:00Z")
    assert interval("2013-04-02T09:30:00-05:30") == interval("2013-04-02T15:00:00Z")
    assert interval("2013-04-02T09:30:00") == interval("2013-04-02T09:30:00Z")


@pytest.mark.parametrize(
    "text",
    [
        "13",
        "2013-13",
        "2013-02-30",
        "2013-04-02T",
        "2013-04-02T25:00",
        "2013-04-02T09:30:61Z",
        "0000",
        "20130402",
        "2013-4-2",
        "2013-04-02T09:30:00+15:00",
        "2013-04-02T09:30:00+1:00",
        "2013-04-02t09:30:00Z",
        "now",
        "２０１３",
        "",
        "2013\n",
        "2013-04-02T09:30:00 01:00",
        "2013 ",
    ],
)
def test_dates_that_there_are_not(text):
    assert interval(text) is None
    with pytest.raises(SearchInvalid) as caught:
        query("Observation", ("date", f"ge{text}"))
    assert caught.value.parameter == "date"


def test_the_last_year_ends():
    assert interval("9999")[1] == math.inf
    assert interval("9999-12")[1] == math.inf
    assert interval("9999-12-31")[1] > interval("9999-12-30")[1]


PERIOD = {"start": "2013-03-01", "end": "2013-03-31"}


@pytest.mark.parametrize(
    ("value", "when", "matches"),
    [
        ("2013-03-15", "2013-03-15", True),
        ("2013-03", "2013-03-15", True),
        ("2013-03-15", "2013-03", False),  # the month is not within the day
        ("2013-03-15T10:00:00Z", "2013-03-15", False),
        ("ne2013-03-15", "2013-03", True),
        ("ne2013-03", "2013-03-15", False),
        ("gt2013-03-15", "2013-03-16", True),
        ("gt2013-03-15", "2013-03-15", False),
        ("gt2013-03-15", "2013-03", True),  # some of it is after
        ("lt2013-03-15", "2013-03-14T23:59:59Z", True),
        ("lt2013-03-15", "2013-03-15", False),
        ("lt2013-03-15", "2013-03", True),
        ("ge2013-03-15", "2013-03-15", True),
        ("ge2013-03-15", "2013-03-14", False),
        ("le2013-03-15", "2013-03-15", True),
        ("le2013-03-15", "2013-03-16", False),
        ("sa2013-03-15", "2013-03-16", True),
        ("sa2013-03-15", "2013-03", False),
        ("eb2013-03-15", "2013-03-14", True),
        ("eb2013-03-15", "2013-03", False),
        ("ap2013-03-15", "2013-04-10", True),  # a tenth of the 14 months until "now"
        ("ap2013-03-15", "2013-06-01", False),
        ("2013-03", PERIOD, True),
        ("2013-03-15", PERIOD, False),
        ("ge2013-03-31", PERIOD, True),
        ("sa2013-03-31", PERIOD, False),
        ("sa2013-02-28", PERIOD, True),
        ("gt2013", {"start": "2013-03-01"}, True),  # still going on
        ("eb2014", {"start": "2013-03-01"}, False),
        ("lt1900", {"end": "2013-03-01"}, True),
        ("2013", {"event": ["2013-03-01", "2013-04-01"]}, True),
        ("2013-03", {"event": ["2013-03-01", "2013-04-01"]}, False),
        ("2013", {"repeat": {"boundsPeriod": PERIOD}}, True),
        ("2013", {"repeat": {"frequency": 1}}, False),
        ("2013-03-14,2013-03-15", "2013-03-15", True),
        ("eq2013-03-15", None, False),
        ("ne2013-03-15", None, False),  # what has no date has not another date
    ],
)
def test_prefixes_of_dates(value, when, matches):
    member = {True: "effectiveDateTime", False: "effectivePeriod"}[isinstance(when, str)]
    if isinstance(when, dict) and "start" not in when and "end" not in when:
        member = "effectiveTiming"
    resource = {"resourceType": "Observation", "id": "1", **({} if when is None else {member: when})}
    assert bool(found("Observation", ("date", value), among=[resource])) is matches


# ---------------------------------------------------------------------- pages and order


def observations(count):
    return [
        {
            "resourceType": "Observation",
            "id": f"{n:03}",
            "effectiveDateTime": f"2013-01-{n % 7 + 1:02}",
            "status": "final",
        }
        for n in range(count)
    ]


def walk(given, *pairs):
    """All pages, one after another."""
    asked, after, pages = query("Observation", *pairs), None, []
    while True:
        total, page, after = asked.page(given, after)
        pages.append([each["id"] for each in page])
        assert total == len(given)
        if after is None:
            return pages
        after = json.loads(json.dumps(after))  # it travels as text


@pytest.mark.parametrize("sort", [[], [("_sort", "date")], [("_sort", "-date,_id")], [("_sort", "status,-_id")]])
def test_pages_show_each_once_and_in_order(sort):
    given = observations(50)
    pages = walk(given, ("_count", "7"), *sort)
    whole = query("Observation", ("_count", "200"), *sort).page(given)[1]
    assert [len(page) for page in pages] == [7] * 7 + [1]
    assert [each for page in pages for each in page] == [each["id"] for each in whole]


def test_a_page_that_is_full_to_the_last_has_no_next():
    assert walk(observations(14), ("_count", "7"))[-1] == ["007", "008", "009", "010", "011", "012", "013"]


def test_pages_go_on_where_they_were_though_records_come_and_go():
    given = observations(20)
    asked = query("Observation", ("_count", "5"))
    _, page, after = asked.page(given)
    left = [each for each in given if each["id"] not in ("001", "004", "007")] + [
        {"resourceType": "Observation", "id": "0000"}
    ]
    _, page, _ = asked.page(left, after)
    assert [each["id"] for each in page] == ["005", "006", "008", "009", "010"]


def test_sorted_by_date_both_ways_and_what_has_none_is_last():
    given = [
        {"resourceType": "Observation", "id": "a", "effectivePeriod": {"start": "2013-01-01", "end": "2013-12-31"}},
        {"resourceType": "Observation", "id": "b", "effectiveDateTime": "2013-06-01"},
        {"resourceType": "Observation", "id": "c"},
        {"resourceType": "Observation", "id": "d", "effectivePeriod": {"start": "2013-07-01"}},
    ]
    assert found("Observation", ("_sort", "date"), among=given) == ["a", "b", "d", "c"]
    assert found("Observation", ("_sort", "-date"), among=given) == ["d", "a", "b", "c"]


def test_counts_alone():
    for pair in (("_count", "0"), ("_summary", "count")):
        asked = query("Observation", pair, ("_count", "0"))
        assert asked.page(observations(9)) == (9, [], None)
    assert query("Observation", ("_summary", "count"), ("_count", "5")).count == 0
    assert query("Observation", ("_count", "1000000")).count == LARGEST_PAGE


def test_a_position_of_another_search_is_refused():
    _, _, after = query("Observation", ("_count", "1"), ("_sort", "date")).page(observations(3))
    with pytest.raises(SearchInvalid):
        query("Observation", ("_count", "1")).page(observations(3), after)


# ---------------------------------------------------------------------- what is not served


def test_an_unknown_parameter_is_left_out_and_told_or_refused_if_asked():
    pairs = ("code", "15074-8"), ("colour", "red"), ("subject.name", "Anna"), ("_has:Provenance:target:agent", "x")
    asked = query("Observation", *pairs)
    assert asked.text == "Observation?code=15074-8"
    for pair in pairs[1:]:
        with pytest.raises(SearchInvalid):
            query("Observation", pair, strict=True)
    assert query("Observation", ("_summary", "true")).text == "Observation"


def test_a_parameter_of_another_type_is_unknown():
    assert query("Coverage", ("date", "2013")).text == "Coverage"
    assert query("Coverage", ("status", "active")).text == "Coverage?status=active"


def test_the_link_says_it_as_it_was_said():
    assert query("Observation", ("code", "http://loinc.org|15074-8"), ("date", "ge2013")).text == (
        "Observation?code=http%3A%2F%2Floinc.org%7C15074-8&date=ge2013"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_count", "-1"),
        ("_count", "many"),
        ("_count", ""),
        ("_count", "1" * 30),
        ("_summary", "nonsense"),
        ("_sort", "nonsense"),
        ("_sort", "patient"),
        ("_sort", ""),
        ("_sort", "date,"),
        ("_include", "Observation"),
        ("_include", "Observation:nonsense"),
        ("_include", "Observation:code"),
        ("_include", "Encounter:patient"),
        ("_include", "*"),
        ("_revinclude", "Provenance"),
        ("_revinclude", "Nonsense:target"),
        ("code", ""),
        ("code", "a,,b"),
        ("code", "|"),
        ("code", "a|b|c"),
        ("code:text", "sugar"),
        ("code:in", "http://x"),
        ("code:missing", "perhaps"),
        ("date", ""),
        ("date", "xx2013"),
        ("date:exact", "2013"),
        ("patient", "a b"),
        ("patient", "Patient/"),
        ("patient", "/f001"),
        ("patient", "' OR 1=1 --"),
        ("patient", "Patient/f001/_history/1/x"),
        ("patient:identifier", "1"),
        ("patient", ",".join(["f001"] * 51)),
        ("_lastUpdated", "yesterday"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused(name, value):
    with pytest.raises(SearchInvalid) as caught:
        query("Observation", (name, value))
    assert caught.value.parameter == name.partition(":")[0]


def test_too_many_parameters_are_refused():
    with pytest.raises(SearchInvalid):
        query("Observation", *[("code", "1")] * 51)


# ---------------------------------------------------------------------- references


def test_references_to_this_server_in_their_forms():
    resource = {
        "resourceType": "Observation",
        "performer": [
            {"reference": "Practitioner/f005"},
            {"reference": f"{BASE}/Practitioner/2/_history/3"},
            {"reference": "https://elsewhere.example/fhir/Practitioner/4"},
            {"reference": "#contained"},
            {"reference": "urn:uuid:8c6d4e3a-0000-0000-0000-000000000000"},
            {"display": "nobody"},
            {"reference": 5},
        ],
    }
    assert references(resource, "performer", BASE) == ["Practitioner/f005", "Practitioner/2"]


def test_includes_are_told_apart():
    asked = query(
        "Observation", ("_include", "Observation:encounter"), ("_revinclude", "Provenance:target:Observation")
    )
    assert [(each.kind, each.path, each.target) for each in asked.includes] == [("Observation", "encounter", None)]
    assert [(each.kind, each.target) for each in asked.reverse_includes] == [("Provenance", "Observation")]
