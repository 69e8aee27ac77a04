"""`mayRead` and `whyNot`: who may read what, when; each reason by its name, at its edges."""

from __future__ import annotations

import pytest

from liggare.records.categories import RESTRICTED
from liggare.records.client import Refusal
from liggare.records.messages import Terms, blind
from tests.records.conftest import EVER, EVERYTHING, SALT, category, purpose, role
from tests.support import FOREVER, ROOT, now, pass_time, rpc


@pytest.fixture
def granted(accredited, carry, grant, anna):
    """Anna's grant to the hospital stands: Observation and Condition, to treat or for research."""
    carry(grant().sign(anna))
    return accredited


def test_what_is_granted_may_be_read(granted, why_not):
    assert why_not() == Refusal.NOTHING
    assert why_not(category=category("Observation", "Condition"), purpose=purpose("HRESCH")) == Refusal.NOTHING


def test_nothing_may_be_read_without_a_grant(accredited, why_not):
    assert why_not() == Refusal.NO_GRANT


def test_another_patient_granted_nothing(granted, why_not, bo):
    assert why_not(patient=bo.address) == Refusal.NO_GRANT


def test_another_organisation_was_granted_nothing(granted, why_not, institute):
    assert why_not(grantee=institute.address) == Refusal.NO_GRANT


def test_another_salt_opens_nothing(granted, why_not):
    assert why_not(salt=b"\x01" * 32) == Refusal.NO_GRANT


@pytest.mark.parametrize(
    "wider",
    [
        {"categories": EVERYTHING},
        {"purposes": 2**32 - 1},
        {"expiry": EVER + 1},
        {"not_before": 1},
    ],
    ids=["categories", "purposes", "expiry", "notBefore"],
)
def test_other_terms_than_the_granted_open_nothing(granted, why_not, terms, wider):
    assert why_not(terms=Terms(**{**vars(terms), **wider})) == Refusal.OTHER_TERMS


def test_a_category_beyond_the_grant_is_refused(granted, why_not):
    assert why_not(category=category("Claim")) == Refusal.CATEGORY_NOT_GRANTED
    assert why_not(category=category("Observation", "Claim")) == Refusal.CATEGORY_NOT_GRANTED
    assert why_not(category=0) == Refusal.CATEGORY_NOT_GRANTED


def test_a_purpose_beyond_the_grant_is_refused(granted, why_not):
    assert why_not(purpose=purpose("HPAYMT")) == Refusal.PURPOSE_NOT_GRANTED
    assert why_not(purpose=purpose("TREAT", "HPAYMT")) == Refusal.PURPOSE_NOT_GRANTED
    assert why_not(purpose=0) == Refusal.PURPOSE_NOT_GRANTED


@pytest.mark.parametrize(
    ("not_before", "expiry", "reason"),
    [
        (0, EVER, Refusal.NOTHING),
        (1, 2, Refusal.EXPIRED),
        (EVER, EVER + 1, Refusal.NOT_YET),
    ],
)
def test_a_grant_holds_in_its_time(accredited, carry, grant, anna, why_not, not_before, expiry, reason):
    terms = Terms.of(["Observation"], ["TREAT"], not_before, expiry)
    carry(grant(terms=terms.commitment(SALT, 1)).sign(anna))
    assert why_not(terms=terms) == reason


def test_a_grant_begins_and_ends_to_the_second(client, give, accredited, anna, hospital):
    """Asked at one block: from not-before on, inclusive; until expiry, exclusive."""
    time = now() + 3600  # after all blocks of the set-up, before the block that is asked
    edges = {}
    for number, (begin, end) in enumerate([(time, time + 1), (time - 1, time), (time + 1, time + 2)]):
        terms = Terms.of(["Observation"], ["TREAT"], begin, end)
        edges[number] = give(anna, hospital, terms, salt=bytes([number]) * 32)
    rpc("evm_mine", time)
    assert now() == time
    found = [client.why_not(share, category("Observation"), purpose("TREAT")) for share in edges.values()]
    assert found == [Refusal.NOTHING, Refusal.EXPIRED, Refusal.NOT_YET]


def test_a_suspension_bites_on_a_live_grant_and_its_end_frees_it(granted, operator, hospital, why_not):
    granted.suspend(hospital.address, {"from": operator})
    assert why_not() == Refusal.GRANTEE_SUSPENDED
    granted.resume(hospital.address, {"from": operator})
    assert why_not() == Refusal.NOTHING


def test_who_is_not_accredited_reads_nothing(granted, carry, grant, anna, clinic, why_not):
    carry(grant(blinded=blind(clinic.address, SALT)).sign(anna))
    assert why_not(grantee=clinic.address) == Refusal.GRANTEE_NOT_ACCREDITED


def test_an_accreditation_that_begins_later_or_has_ended_reads_nothing(granted, operator, hospital, why_not):
    time = now()
    words = (hospital.address, role("provider"), EVERYTHING, time + 1000, time + 2000, 0)
    granted.accredit(*words, {"from": operator})
    assert why_not() == Refusal.GRANTEE_NOT_YET_VALID
    pass_time(1500)
    assert why_not() == Refusal.NOTHING
    pass_time(1000)
    assert why_not() == Refusal.GRANTEE_EXPIRED


def test_a_cap_lowered_later_bites_on_a_live_grant(granted, operator, hospital, why_not):
    words = (hospital.address, role("provider"), category("Condition"), 0, FOREVER, 0)
    granted.accredit(*words, {"from": operator})
    assert why_not() == Refusal.BEYOND_CAP
    assert why_not(category=category("Condition")) == Refusal.NOTHING


def test_an_insurer_reads_claims_only_whatever_the_patient_granted(accredited, carry, grant, anna, insurer, why_not):
    generous = Terms(EVERYTHING, 2**32 - 1, 0, EVER)
    words = {"blinded": blind(insurer.address, SALT), "terms": generous.commitment(SALT, 1)}
    carry(grant(**words).sign(anna))
    asked = {"grantee": insurer.address, "terms": generous, "purpose": purpose("HPAYMT")}
    assert why_not(category=category("Claim", "Coverage", "ExplanationOfBenefit"), **asked) == Refusal.NOTHING
    assert why_not(category=category("Observation"), **asked) == Refusal.BEYOND_CAP
    assert why_not(category=category("Claim", "Condition"), **asked) == Refusal.BEYOND_CAP
    assert why_not(category=1 << 63, **asked) == Refusal.CATEGORY_NOT_GRANTED


def test_restricted_records_are_granted_by_one_grant_within_the_cap(
    accredited, operator, hospital, carry, grant, anna, why_not
):
    terms = Terms.of(["Observation", "RESTRICTED"], ["TREAT"], 0, EVER)
    carry(grant(terms=terms.commitment(SALT, 1)).sign(anna))
    restricted = category("Observation") | RESTRICTED
    assert why_not(terms=terms) == Refusal.NOTHING
    assert why_not(terms=terms, category=restricted) == Refusal.BEYOND_CAP
    assert why_not(terms=terms, category=category("Condition") | RESTRICTED) == Refusal.CATEGORY_NOT_GRANTED
    accredited.accredit(hospital.address, role("provider"), restricted, 0, FOREVER, 0, {"from": operator})
    assert why_not(terms=terms, category=restricted) == Refusal.NOTHING


def test_the_contract_and_the_package_hash_terms_alike(access, terms):
    for version in (1, 2**40 - 1):
        assert access.hashTerms(SALT, version, terms.values()) == "0x" + terms.commitment(SALT, version).hex()


def test_the_package_names_the_reasons_as_the_contract_does():
    source = (ROOT / "interfaces" / "IRecordAccess.sol").read_text()
    listed = source.split("enum Refusal {")[1].split("}")[0]
    names = [line.split("//")[0].strip().rstrip(",") for line in listed.strip().splitlines()]
    assert names == [reason.solidity for reason in Refusal]
