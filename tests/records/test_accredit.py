"""`accredit`: one accreditor keeps the list; an insurer's cap is out of its hands."""

from __future__ import annotations

import pytest
from brownie import CareRegistry

from liggare.records.categories import GRANTABLE, INSURER_CAP
from tests.records.conftest import EVERYTHING, category, role
from tests.support import FOREVER, now, refused, rpc

GOOD = 4


@pytest.fixture
def accredit(registry, operator, hospital):
    """Accredit the hospital as a provider for all categories; any word can be changed."""

    def accredit(by=operator, **changes):
        words = {
            "organisation": hospital.address,
            "roles": role("provider"),
            "categories": EVERYTHING,
            "valid_from": 0,
            "valid_until": FOREVER,
            "quota": 3,
            **changes,
        }
        return registry.accredit(*words.values(), {"from": by})

    return accredit


def test_an_organisation_stands_as_accredited(registry, accredit, hospital):
    receipt = accredit()
    assert registry.organisations(hospital.address) == (EVERYTHING, 0, FOREVER, 3, 1, False)
    assert registry.standingOf(hospital.address) == (GOOD, 1, EVERYTHING)
    word = EVERYTHING << 121 | FOREVER << 25 | 3 << 9 | 1 << 1
    assert receipt.events["Accredited"] == {"organisation": hospital.address, "slot": f"0x{word:064x}"}


def test_a_renewal_replaces_what_stood(registry, accredit, hospital):
    accredit()
    accredit(roles=role("provider", "emergency"), categories=category("Patient"), quota=9)
    assert registry.organisations(hospital.address) == (1, 0, FOREVER, 9, 9, False)


def test_a_suspension_outlives_a_renewal(registry, accredit, operator, hospital):
    accredit()
    registry.suspend(hospital.address, {"from": operator})
    accredit(quota=4)
    assert registry.standingOf(hospital.address)[0] == 1
    assert registry.organisations(hospital.address)[-1] is True


def test_who_was_never_accredited_stands_so(registry, clinic):
    assert registry.standingOf(clinic.address) == (0, 0, 0)


def test_an_accreditation_begins_and_ends_to_the_second(registry, accredit, hospital):
    begin = now() + 1000
    accredit(valid_from=begin, valid_until=begin + 1000)
    for time, standing in ((begin - 1, 2), (begin, GOOD), (begin + 999, GOOD), (begin + 1000, 3)):
        rpc("evm_mine", time)
        assert now() == time
        assert registry.standingOf(hospital.address)[0] == standing


def test_a_stranger_cannot_accredit(accredit, operator, stranger):
    with refused(CareRegistry, "CareCallerNotAccreditor", stranger.address, operator.address):
        accredit(by=stranger)


@pytest.mark.parametrize("roles", [0, 16, 255])
def test_unknown_roles_are_refused(accredit, roles):
    with refused(CareRegistry, "CareInvalidRoles", roles, 15):
        accredit(roles=roles)


def test_an_end_before_the_beginning_is_refused(accredit):
    with refused(CareRegistry, "CareInvalidValidity", 50, 50):
        accredit(valid_from=50, valid_until=50)


def test_nobody_is_no_organisation(accredit):
    with refused(CareRegistry, "CareInvalidOrganisation", "0x" + "0" * 40):
        accredit(organisation="0x" + "0" * 40)


@pytest.mark.parametrize("name", [name for name, bit in GRANTABLE.items() if not INSURER_CAP >> bit & 1][::6])
def test_an_insurer_cannot_be_granted_more_than_claims_coverage_and_benefits(accredit, insurer, name):
    wish = INSURER_CAP | category(name)
    with refused(CareRegistry, "CareBeyondInsurerCap", wish, INSURER_CAP):
        accredit(organisation=insurer.address, roles=role("insurer"), categories=wish)
    with refused(CareRegistry, "CareBeyondInsurerCap", wish, INSURER_CAP):
        accredit(organisation=insurer.address, roles=role("insurer", "provider"), categories=wish)


def test_an_insurer_cannot_become_something_else_to_escape_its_cap(registry, accredit, insurer):
    accredit(organisation=insurer.address, roles=role("insurer"), categories=INSURER_CAP)
    with refused(CareRegistry, "CareInsurerForLife", role("provider"), role("insurer")):
        accredit(organisation=insurer.address, roles=role("provider"))
    assert registry.standingOf(insurer.address) == (GOOD, role("insurer"), INSURER_CAP)


def test_a_provider_that_becomes_an_insurer_comes_under_the_cap(accredit, hospital):
    accredit()
    with refused(CareRegistry, "CareBeyondInsurerCap", EVERYTHING, INSURER_CAP):
        accredit(roles=role("provider", "insurer"))


def test_the_insurers_cap_is_these_three(registry):
    assert category("Claim", "Coverage", "ExplanationOfBenefit") == INSURER_CAP
