"""Restricted records: who was not granted them does not even see that there are any."""

from __future__ import annotations

import pytest

from liggare.records.audit import opened
from liggare.records.categories import RESTRICTED
from liggare.records.messages import Terms
from tests.records.conftest import EVER, EVERYTHING, SALT, organisation, role
from tests.support import FOREVER
from tests.web.gatekeeper.conftest import CLINICAL, logged, oauth_refusal
from tests.web.gatekeeper.test_find import bundle, encounter, names, walk
from tests.web.gatekeeper.test_read import observation, put, replay_logs, seen

__all__ = ["replay_logs"]

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
KINDS = ["Patient", "Observation", "Condition", "Encounter", "Provenance"]


def label(code="R", system=CONFIDENTIALITY):
    return {"security": [{"system": system, "code": code}]}


def condition(identity, **members):
    return {"resourceType": "Condition", "id": identity, "subject": {"reference": "Patient/f001"}, **members}


@pytest.fixture
def doctor(registry, operator, accredited):
    """A provider that reads at the hospital; accredited for everything, also what is restricted."""
    made = organisation("doctor")
    registry.accredit(made.address, role("provider"), EVERYTHING | RESTRICTED, 0, FOREVER, 0, {"from": operator})
    return made


@pytest.fixture
def trusted(reader, give, anna, doctor):
    """The doctor, signed in by a grant that says RESTRICTED."""
    given = give(anna, doctor, Terms.of([*KINDS, "RESTRICTED"], ["TREAT"], 0, EVER))
    assert reader.sign_in(shares=[given]).status_code == 200
    return reader


@pytest.fixture
def ward(reader, give, anna, doctor):
    """The doctor, signed in by a grant of the same types that does not."""
    assert reader.sign_in(shares=[give(anna, doctor, Terms.of(KINDS, ["TREAT"], 0, EVER))]).status_code == 200
    return reader


SECRETS = {
    "restricted": observation("restricted", meta=label("R")),
    "very": observation("very", meta=label("V")),
    "psychiatric": observation("psychiatric", meta=label("PSY", "http://terminology.hl7.org/CodeSystem/v3-ActCode")),
    "own-words": observation("own-words", meta={"security": [{"display": "for my eyes"}]}),
    "one-of-two": observation("one-of-two", meta={"security": [*label("N")["security"], *label("R")["security"]]}),
    "within": observation("within", contained=[condition("c", meta=label("R"))], focus=[{"reference": "#c"}]),
}


@pytest.fixture
def secrets(served):
    """Six restricted observations of Anna's, each by another label or at another place."""
    for resource in SECRETS.values():
        put(served, **resource)


def test_a_restricted_record_is_as_none(ward, secrets, served):
    """Byte for byte: status, headers, body; also its versions."""
    nothing = seen(ward.refused("Observation/there-is-none", 404, "RecordUnavailable"))
    for identity in SECRETS:
        assert seen(ward.get(f"Observation/{identity}")) == nothing
        assert seen(ward.get(f"Observation/{identity}/_history/1")) == nothing
    assert logged(served) == []


def test_a_grant_that_says_so_shows_restricted_records(trusted, secrets, served):
    for identity in SECRETS:
        assert trusted.get(f"Observation/{identity}").status_code == 200
        assert trusted.get(f"Observation/{identity}/_history/1").status_code == 200
    assert bundle(trusted.get("Observation"))["total"] == 1 + len(SECRETS)


def test_totals_and_pages_leave_restricted_records_out(ward, secrets):
    for query in ("", "?_count=0", "?_summary=count", "?_count=1", "?_sort=-date", "?_id=very,f001", "?_security=R"):
        found = bundle(ward.get(f"Observation{query}"))
        assert found["total"] == 1
        assert set(names(found)) <= {"Observation/f001"}
        assert [each["relation"] for each in found["link"]] == ["self"]


def test_pages_that_are_open_end_where_the_label_begins(ward, served):
    for number in range(4):
        put(served, **observation(f"n{number}"))
    pages = walk(ward, "Observation?_count=2&_sort=_id")
    assert next(pages)["total"] == 5
    put(served, **observation("n3", meta=label()))
    rest = list(pages)
    assert {page["total"] for page in rest} == {4}
    assert "Observation/n3" not in [name for page in rest for name in names(page)]


def test_what_is_restricted_comes_along_neither_way(ward, served):
    put(served, **encounter("closed", meta=label()))
    put(served, **observation("seen", encounter={"reference": "Encounter/closed"}))
    origin = {"target": [{"reference": "Observation/seen"}, {"reference": "Patient/f001"}]}
    agent = [{"who": {"reference": "Practitioner/none"}}]
    recorded = "2020-01-01T00:00:00Z"
    put(served, resourceType="Provenance", id="closed", recorded=recorded, agent=agent, meta=label(), **origin)
    query = "Observation?_id=seen&_include=Observation:encounter&_revinclude=Provenance:target"
    assert names(bundle(ward.get(query))) == ["Observation/seen"]
    put(served, **encounter("closed"))
    put(served, resourceType="Provenance", id="closed", recorded=recorded, agent=agent, **origin)
    assert names(bundle(ward.get(query))) == ["Observation/seen", "Encounter/closed", "Provenance/closed"]


def test_everything_leaves_what_is_restricted_out(ward, secrets, served):
    found = bundle(ward.get("Patient/f001/$everything"))
    assert (found["total"], names(found)) == (3, ["Condition/f001", "Observation/f001", "Patient/f001"])


def test_everything_of_a_restricted_patient_is_as_of_nobody(ward, served):
    nothing = seen(ward.refused("Patient/nobody/$everything", 404, "RecordUnavailable"))
    patient = served.service.desk.archive.get("Patient/f001", "Patient", "f001")
    put(served, **{**patient, "meta": label()})
    assert seen(ward.get("Patient/f001/$everything")) == nothing
    assert seen(ward.get("Patient/f001")) == seen(ward.get("Patient/nobody"))
    assert ward.get("Observation/f001").status_code == 200


def test_a_version_from_before_the_label_is_as_none(ward, served):
    put(served, **observation("changed"))
    put(served, **observation("changed", meta=label()))
    nothing = seen(ward.get("Observation/none"))
    for path in ("changed", "changed/_history/1", "changed/_history/2"):
        assert seen(ward.get(f"Observation/{path}")) == nothing
    put(served, **observation("changed"))
    for path, status in (("changed", 200), ("changed/_history/1", 200), ("changed/_history/2", 404)):
        assert ward.get(f"Observation/{path}").status_code == status


def test_two_grants_do_not_add_up_to_restricted_records(reader, give, anna, doctor, served, secrets):
    """Observation by one and Condition with RESTRICTED by the other: restricted Conditions, and no such Observation."""
    put(served, **condition("secret", meta=label()))
    observations = give(anna, doctor, Terms.of(["Observation"], ["TREAT"], 0, EVER))
    conditions = give(anna, doctor, Terms.of(["Condition", "RESTRICTED"], ["TREAT"], 0, EVER), b"\x02" * 32)
    for shares in ([observations, conditions], [conditions, observations]):
        assert reader.sign_in(shares=shares).status_code == 200
        assert names(bundle(reader.get("Observation"))) == ["Observation/f001"]
        assert reader.get("Condition/secret").status_code == 200
        for identity in SECRETS:
            reader.refused(f"Observation/{identity}", 404, "RecordUnavailable")


def test_the_log_names_the_grant_that_showed_it(reader, give, anna, doctor, served, secrets, replay_logs):
    plain = give(anna, doctor, CLINICAL)
    wider = give(anna, doctor, Terms.of(["Observation", "RESTRICTED"], ["TREAT"], 0, EVER), b"\x02" * 32)
    assert reader.sign_in(shares=[plain, wider]).status_code == 200
    for path in ("Observation/f001", "Observation/very", "Observation", "Observation?_id=none"):
        assert reader.get(path).status_code == 200
    shares = [opened(entry).release.shares for entry in logged(served)]
    assert shares == [(plain,), (wider,), (plain, wider), (plain,)]
    served.service.poster.post()
    assert replay_logs(served.service.desk).findings == []


def test_what_is_of_no_patient_may_be_restricted_too(reader, give, anna, doctor, served, replay_logs):
    put(served, resourceType="Practitioner", id="hidden", name=[{"text": "Dr Who"}], meta=label())
    assert reader.sign_in(shares=[give(anna, doctor, CLINICAL)]).status_code == 200
    assert seen(reader.get("Practitioner/hidden")) == seen(reader.get("Practitioner/none"))
    given = give(anna, doctor, Terms.of(["Condition", "RESTRICTED"], ["TREAT"], 0, EVER), b"\x02" * 32)
    assert reader.sign_in(shares=[given]).status_code == 200
    assert reader.get("Practitioner/hidden").status_code == 200


def test_an_organisations_cap_bounds_it(trusted, secrets, registry, operator, doctor):
    registry.accredit(doctor.address, role("provider"), EVERYTHING, 0, FOREVER, 0, {"from": operator})
    assert seen(trusted.get("Observation/very")) == seen(trusted.get("Observation/none"))
    assert trusted.get("Observation/f001").status_code == 200


def test_an_insurer_sees_nothing_restricted(served, reader_of, give, anna, insurer):
    claim = served.service.desk.archive.get("Patient/f001", "Claim", "100150")
    if claim is None:  # whichever of Anna's charts it is in
        charts = served.service.desk.archive.charts(anna.address)
        claim = next(c for c in (served.service.desk.archive.get(x, "Claim", "100150") for x in charts) if c)
    put(served, **{**claim, "id": "secret", "meta": label()})
    teller = reader_of(served, insurer)
    given = give(anna, insurer, Terms.of(["Claim", "RESTRICTED"], ["HPAYMT"], 0, EVER))
    assert teller.sign_in("HPAYMT", shares=[given]).status_code == 200
    assert teller.get("Claim/100150").status_code == 200
    assert seen(teller.get("Claim/secret")) == seen(teller.get("Claim/none"))


@pytest.mark.parametrize(("cap", "status"), [(EVERYTHING, 404), (EVERYTHING | RESTRICTED, 200)])
def test_a_broken_glass_shows_what_the_cap_lets(
    served, secrets, reader_of, client, carrier, anna, registry, operator, cap, status
):
    service = organisation("ambulance")
    registry.accredit(service.address, role("emergency"), cap, 0, FOREVER, 2, {"from": operator})
    client.carry(client.break_glass(service, anna.address, "ETREAT", client.now() + 3600), carrier)
    crew = reader_of(served, service)
    assert crew.sign_in("ETREAT", emergency=anna.address).status_code == 200
    assert crew.get("Observation/f001").status_code == 200
    assert crew.get("Observation/very").status_code == status


def test_the_patient_and_a_guardian_who_may_read_see_all(served, secrets, reader_of, client, carrier, anna, bo):
    client.carry(client.appoint(anna, anna.address, bo.address, ["read"], FOREVER), carrier)
    for account, why in ((anna, "PATRQT"), (bo, "FAMRQT")):
        made = reader_of(served, account)
        assert made.sign_in(why, patient=anna.address).status_code == 200
        assert bundle(made.get("Observation"))["total"] == 1 + len(SECRETS)
        assert made.get("Observation/very").status_code == 200


def test_a_guardians_grant_says_it_or_not(reader, served, secrets, client, carrier, anna, bo, doctor):
    client.carry(client.appoint(anna, anna.address, bo.address, ["grant"], FOREVER), carrier)
    for number, (kinds, status) in enumerate(((["Observation"], 404), (["Observation", "RESTRICTED"], 200))):
        terms = Terms.of(kinds, ["TREAT"], 0, EVER)
        signed, share = client.grant_for(bo, anna.address, doctor.address, bytes([number]) * 32, terms)
        client.carry(signed, carrier)
        assert reader.sign_in(shares=[share]).status_code == 200
        assert reader.get("Observation/very").status_code == status


def test_a_changed_grant_is_the_one_that_counts(reader, give, secrets, anna, doctor):
    """A share that says RESTRICTED where the ledger's grant does not is another grant's."""
    wide = give(anna, doctor, Terms.of(["Observation", "RESTRICTED"], ["TREAT"], 0, EVER), SALT)
    assert reader.sign_in(shares=[wide]).status_code == 200
    assert reader.get("Observation/very").status_code == 200
    narrow = give(anna, doctor, Terms.of(["Observation"], ["TREAT"], 0, EVER), SALT)
    reader.refused("Observation/very", 403, "OtherTerms")
    oauth_refusal(reader.sign_in(shares=[wide]), "OtherTerms")
    assert reader.sign_in(shares=[narrow]).status_code == 200
    reader.refused("Observation/very", 404, "RecordUnavailable")
