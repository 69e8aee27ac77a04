"""Searching and `$everything`: totals, pages, includes and errors tell nothing of what may not be shown."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from fhir.resources.R4B import get_fhir_model_class

from liggare.records.audit import opened
from liggare.records.messages import Terms
from tests.records.conftest import EVER
from tests.web.gatekeeper.conftest import example, logged, refusal
from tests.web.gatekeeper.test_read import observation, put, seen

WARD = Terms.of(["Patient", "Observation", "Encounter", "Provenance"], ["TREAT"], 0, EVER)


def encounter(identity, subject="Patient/f001", **members):
    return {
        "resourceType": "Encounter",
        "id": identity,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": subject},
        **members,
    }


@pytest.fixture
def ward(reader, give, anna, doctor):
    """The doctor, signed in by a grant of Patient, Observation, Encounter and Provenance, not of Condition."""
    assert reader.sign_in(shares=[give(anna, doctor, WARD)]).status_code == 200
    return reader


def bundle(answer):
    """The searchset of an answer, checked against the models."""
    assert answer.status_code == 200, answer.text
    get_fhir_model_class("Bundle").model_validate(answer.json())
    return answer.json()


def names(found, mode=None):
    """What a searchset shows, of one mode or all."""
    return [
        f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        for entry in found.get("entry", [])
        if mode in (None, entry["search"]["mode"])
    ]


def link(found, relation):
    return next((each["url"] for each in found["link"] if each["relation"] == relation), None)


def walk(reader, path):
    """All pages from a path on."""
    answer = reader.get(path)
    while True:
        found = bundle(answer)
        yield found
        following = link(found, "next")
        if following is None:
            return
        answer = reader.http.get(following)


# ---------------------------------------------------------------------- what is found


def test_a_search_shows_the_patients_own(signed_in, served):
    found = bundle(signed_in.get("Observation"))
    assert (found["type"], found["total"], names(found, "match")) == ("searchset", 1, ["Observation/f001"])
    assert found["entry"][0]["fullUrl"] == f"{served.url}/fhir/Observation/f001"
    assert link(found, "self") == f"{served.url}/fhir/Observation"
    assert link(found, "next") is None


def test_by_post_it_is_the_same(signed_in):
    form = {"code": "http://loinc.org|15074-8", "patient": "Patient/f001"}
    posted = signed_in.http.post("/fhir/Observation/_search", data=form)
    assert seen(posted)[0] == 200
    assert bundle(posted) == bundle(signed_in.get("Observation", params=form))
    both = signed_in.http.post("/fhir/Observation/_search?code=nothing", data=form)
    assert bundle(both)["total"] == 0
    assert bundle(signed_in.http.post("/fhir/Observation/_search", content=b"", headers=FORM))["total"] == 1
    refusal(signed_in.http.post("/fhir/Observation/_search", json=form), 415, "MediaTypeUnknown")
    refusal(signed_in.http.post("/fhir/Observation/_search", content=b"\xff", headers=FORM), 400, "Malformed")
    many = "&".join(["code=1"] * 101).encode()
    refusal(signed_in.http.post("/fhir/Observation/_search", content=many, headers=FORM), 400, "Malformed")


FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_a_search_for_another_patient_is_as_for_nobody(signed_in, anna, bo):
    """Whether the other patient is here at all can't be told."""
    nothing = [bundle(signed_in.get(f"Observation?{word}=Patient/nobody")) for word in ("patient", "subject")]
    for other in ("Patient/example", "example", bo.address, "https://elsewhere.example/Patient/1"):
        for word, none in zip(("patient", "subject"), nothing, strict=True):
            found = bundle(signed_in.get("Observation", params={word: other}))
            found["link"], none["link"] = [], []
            assert found == none
    assert bundle(signed_in.get("Observation", params={"patient": anna.address}))["total"] == 1


def test_totals_count_only_what_may_be_shown(served, signed_in):
    put(served, **observation("hidden", focus=[{"reference": "Patient/example"}]))
    put(served, **observation("hidden2", contained=[{"resourceType": "Claim", "id": "c"}], focus=[{"reference": "#c"}]))
    for query in ("", "?_count=0", "?_summary=count", "?_count=1", "?status=final", "?_sort=-date", "?_id=hidden,f001"):
        found = bundle(signed_in.get(f"Observation{query}"))
        assert found["total"] == 1
        assert set(names(found)) <= {"Observation/f001"}
        assert link(found, "next") is None
    assert "entry" not in bundle(signed_in.get("Observation?_count=0"))


def test_a_search_of_a_type_that_is_not_granted_is_refused(ward, served):
    before = len(logged(served))
    for query in (
        "Condition",
        "Condition?_count=0",
        "Condition?_id=none",
        "Condition?patient=example",
        "Claim?colour=1",
    ):
        ward.refused(query, 403, "CategoryNotGranted")
    assert len(logged(served)) == before


def test_pages_show_each_once_and_in_order(served, signed_in):
    for number in range(25):
        put(served, **observation(f"n{number:02}", effectiveDateTime=f"2020-01-{number % 9 + 1:02}"))
        put(served, **observation(f"b{number:02}", subject="Patient/example"))
    pages = list(walk(signed_in, "Observation?_count=7&_sort=-date"))
    assert [len(page["entry"]) for page in pages] == [7, 7, 7, 5]
    assert {page["total"] for page in pages} == {26}
    shown = [name for page in pages for name in names(page)]
    assert len(set(shown)) == 26
    assert not any("/b" in name for name in shown)
    whole = names(bundle(signed_in.get("Observation?_count=200&_sort=-date")))
    assert shown == whole
    dates = [name for name in shown if name != "Observation/f001"]
    assert dates[0][-2:] in ("08", "17")


def test_a_page_belongs_to_its_session_and_search(served, signed_in, reader_of, doctor, share):
    for number in range(3):
        put(served, **observation(f"n{number}"))
    cursor = parse_qs(urlsplit(link(bundle(signed_in.get("Observation?_count=1")), "next")).query)["_cursor"][0]
    other = reader_of(served, doctor)
    other.sign_in(shares=[share])
    refusal(other.get("Observation", params={"_cursor": cursor}), 400, "SearchInvalid")
    refusal(signed_in.get("Condition", params={"_cursor": cursor}), 400, "SearchInvalid")
    refusal(signed_in.get("Patient/f001/$everything", params={"_cursor": cursor}), 400, "SearchInvalid")
    for changed in (cursor[:-4], cursor + "AAAA", "x", "", "é", "A" * 2000, cursor.swapcase()):
        refusal(signed_in.get("Observation", params={"_cursor": changed}), 400, "SearchInvalid")
    refusal(signed_in.get("Observation", params={"_cursor": cursor, "code": "1"}), 400, "SearchInvalid")
    assert b"f001" not in cursor.encode()
    assert bundle(signed_in.get("Observation", params={"_cursor": cursor}))["total"] == 4


def test_a_page_that_is_open_shows_what_may_be_shown_now(served, signed_in, client, carrier, anna, doctor):
    for number in range(3):
        put(served, **observation(f"n{number}"))
    first = bundle(signed_in.get("Observation?_count=1"))
    client.carry(client.revoke_all(anna), carrier)
    refusal(signed_in.http.get(link(first, "next")), 403, "AllRevoked")


# ---------------------------------------------------------------------- what comes along


@pytest.fixture
def visit(served):
    """An Observation with an Encounter, a Practitioner and a Condition; a Provenance of it, and one of Bo's."""
    put(served, **encounter("visit", reasonReference=[{"reference": "Condition/f001"}]))
    put(served, resourceType="Practitioner", id="dolittle", name=[{"text": "Dr Dolittle"}])
    performer = [{"reference": "Practitioner/dolittle"}]
    put(served, **observation("seen", encounter={"reference": "Encounter/visit"}, performer=performer))
    for identity, target in (("origin", ["Observation/seen"]), ("shared", ["Observation/seen", "Patient/example"])):
        put(
            served,
            resourceType="Provenance",
            id=identity,
            recorded="2020-01-01T00:00:00Z",
            target=[*({"reference": each} for each in target), {"reference": "Patient/f001"}],
            agent=[{"who": {"reference": "Practitioner/dolittle"}}],
        )


def test_what_is_pointed_at_comes_along(ward, visit, served):
    query = "Observation?_id=seen&_include=Observation:encounter&_include=Observation:performer"
    found = bundle(ward.get(query))
    assert found["total"] == 1
    assert names(found, "match") == ["Observation/seen"]
    assert names(found, "include") == ["Encounter/visit", "Practitioner/dolittle"]
    assert opened(logged(served)[-1]).release.records == tuple(names(found))


def test_what_points_at_it_comes_along_and_what_names_another_does_not(ward, visit):
    found = bundle(ward.get("Observation?_id=seen&_revinclude=Provenance:target"))
    assert names(found, "include") == ["Provenance/origin"]
    found = bundle(ward.get("Observation?_id=seen&_revinclude=Provenance:target:Encounter"))
    assert names(found, "include") == []


def test_an_included_type_that_is_not_granted_stays_away_without_a_trace(ward, visit, served):
    """The Encounter points at a Condition, which is there; the answer is as if there were none."""
    query = "Encounter?_id=visit&_include=Encounter:reason-reference&_include=Encounter:diagnosis"
    with_it = bundle(ward.get(query))
    assert (with_it["total"], names(with_it)) == (1, ["Encounter/visit"])
    put(served, **encounter("visit", reasonReference=[{"reference": "Condition/there-is-none"}]))
    without = bundle(ward.get(query))
    for found in (with_it, without):
        del found["entry"][0]["resource"]
    assert with_it == without


def test_what_points_at_another_patients_record_does_not_bring_it(ward, served):
    put(served, **encounter("bos", subject="Patient/example"))
    put(served, **observation("odd", encounter={"reference": "Encounter/bos"}))
    found = bundle(ward.get("Observation?_id=odd&_include=Observation:encounter&_include=Observation:subject"))
    assert names(found, "include") == ["Patient/f001"]


def test_what_is_shown_once_is_not_included_again(ward, served):
    for identity, member in (("one", "two"), ("two", "one")):
        put(served, **observation(identity, hasMember=[{"reference": f"Observation/{member}"}]))
    found = bundle(ward.get("Observation?_id=one,two&_include=Observation:has-member"))
    assert (names(found, "match"), names(found, "include")) == (["Observation/one", "Observation/two"], [])


# ---------------------------------------------------------------------- everything


def test_everything_is_what_is_granted_of_the_chart(signed_in, served):
    found = bundle(signed_in.get("Patient/f001/$everything"))
    assert names(found) == ["Condition/f001", "Observation/f001", "Patient/f001"]
    assert found["total"] == 3
    paged = list(walk(signed_in, "Patient/f001/$everything?_count=1"))
    assert [name for page in paged for name in names(page)] == names(found)
    assert {page["total"] for page in paged} == {3}


def test_everything_of_another_is_as_of_nobody(signed_in):
    nothing = seen(signed_in.refused("Patient/nobody/$everything", 404, "RecordUnavailable"))
    assert seen(signed_in.get("Patient/example/$everything")) == nothing
    assert seen(signed_in.get("Patient/example/$everything?_count=0")) == nothing
    assert seen(signed_in.get("Patient/pat1/$everything")) == nothing  # Anna's, with nothing in it


def test_everything_without_the_patient_itself_is_refused(reader, give, anna, doctor):
    reader.sign_in(shares=[give(anna, doctor, Terms.of(["Observation"], ["TREAT"], 0, EVER))])
    for identity in ("f001", "example", "nobody"):
        reader.refused(f"Patient/{identity}/$everything", 403, "CategoryNotGranted")


def test_everything_by_type_and_time(signed_in, clock, served):
    assert names(bundle(signed_in.get("Patient/f001/$everything?_type=Observation,Claim"))) == ["Observation/f001"]
    assert names(bundle(signed_in.get("Patient/f001/$everything?_since=2100-01-01"))) == []
    assert len(names(bundle(signed_in.get("Patient/f001/$everything?_since=2020-01-01T00:00:00Z")))) == 3
    for query in ("_type=Nonsense", "_since=yesterday", "start=2020", "_count=x"):
        signed_in.refused(f"Patient/f001/$everything?{query}", 400, "SearchInvalid")


# ---------------------------------------------------------------------- errors


OFF = [
    "date=yesterday",
    "_count=-1",
    "_include=Observation:nonsense",
    "code:text=x",
    "_sort=colour",
    "patient=a%20b",
    "patient=%27%20OR%201%3D1",
    "date=2013%0A",
    "code=%00,",
    "_cursor=x",
    "_id=,",
    "_revinclude=Patient:x",
]


def test_errors_say_nothing_of_what_there_is(signed_in, served):
    for query in OFF:
        before = len(logged(served))
        answer = signed_in.refused(f"Observation?{query}", 400, "SearchInvalid")
        get_fhir_model_class("OperationOutcome").model_validate(answer.json())
        assert "f001" not in answer.text.replace("Patient/f001, or the id", "")
        assert len(logged(served)) == before


def test_an_unknown_parameter_is_left_out_and_told_or_refused_where_asked(signed_in, served):
    found = bundle(signed_in.get("Observation?colour=red&code=15074-8&_has:Claim:x:y=1"))
    assert link(found, "self") == f"{served.url}/fhir/Observation?code=15074-8"
    answer = signed_in.get("Observation?colour=red", headers={"prefer": "respond-async, handling=strict"})
    refusal(answer, 400, "SearchInvalid")


def test_the_examples_that_are_annas_are_found_by_type(served, reader_of, anna):
    patient = reader_of(served, anna)
    patient.sign_in("PATRQT", patient=anna.address)
    for kind, ids in (("Claim", ["100150"]), ("Coverage", ["9876B1"]), ("ExplanationOfBenefit", ["EB3500"])):
        found = bundle(patient.get(kind))
        assert [entry["resource"]["id"] for entry in found["entry"]] == ids
        resource = found["entry"][0]["resource"]
        meta, original = resource.pop("meta"), example(f"{kind}-{ids[0]}")
        assert {**resource, "meta": meta} == {**original, "meta": {**original.get("meta", {}), **meta}}
