"""`dismiss`: a guardianship ends at once, with all that it granted and appointed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import RecordAccess

from liggare.messages import Signed
from liggare.records.client import Refusal
from tests.records.conftest import GRANT, NOBODY, READ, refused_late
from tests.support import FOREVER, refused


@pytest.fixture
def line(accredited, carry, appoint, grant_for, anna, vera, olle, ida):
    """Anna appoints Vera, Vera Olle, Olle Ida; Olle and Ida have granted."""
    carry(appoint().sign(anna))
    carry(appoint(appointer=vera.address, guardian=olle.address, rights=11).sign(vera))
    carry(appoint(appointer=olle.address, guardian=ida.address, rights=11).sign(olle))
    for who in (olle, ida):
        carry(grant_for(author=who.address).sign(who))


@pytest.fixture
def live(access, anna):
    """Which of these people act for Anna."""
    return lambda *people: [access.mayAct(anna.address, who.address, GRANT) for who in people]


def test_a_dismissal_takes_along_all_that_hangs_on_it(
    access, line, carry, dismiss, live, anna, vera, olle, ida, why_not_by
):
    assert live(vera, olle, ida) == [True] * 3
    assert why_not_by(author=ida.address) == why_not_by(author=olle.address) == Refusal.NOTHING
    signed = dismiss().sign(anna)
    event = carry(signed).events["GuardianDismissed"]
    assert (event["id"], event["guardian"], event["by"]) == (signed.id.to_0x_hex(), vera.address, anna.address)
    assert live(vera, olle, ida) == [False] * 3
    assert why_not_by(author=ida.address) == why_not_by(author=olle.address) == Refusal.NOT_AUTHOR
    assert access.guardians(anna.address, vera.address) == (NOBODY, 0, 0, 2, 0, 0)


def test_one_in_the_middle_takes_along_those_below(line, carry, dismiss, live, vera, olle, ida):
    carry(dismiss(by=vera.address, guardian=olle.address).sign(vera))
    assert live(vera, olle, ida) == [True, False, False]


def test_appointing_the_dismissed_again_revives_nothing(
    line, carry, appoint, dismiss, live, anna, vera, olle, ida, why_not_by
):
    carry(dismiss().sign(anna))
    carry(appoint(version=3).sign(anna))
    assert live(vera, olle, ida) == [True, False, False]
    carry(appoint(appointer=vera.address, guardian=olle.address, rights=11, version=2).sign(vera))
    assert live(vera, olle, ida) == [True, True, False]
    assert why_not_by(author=olle.address) == Refusal.ALL_REVOKED  # what it granted before stays dead
    assert why_not_by(author=ida.address) == Refusal.NOT_AUTHOR


def test_a_guardian_leaves_by_itself(line, carry, dismiss, live, vera, olle, ida):
    carry(dismiss(by=ida.address, guardian=ida.address).sign(ida))
    assert live(vera, olle, ida) == [True, True, False]


def test_the_patient_dismisses_anyone(line, carry, dismiss, live, anna, vera, olle, ida):
    carry(dismiss(guardian=ida.address).sign(anna))
    assert live(vera, olle, ida) == [True, True, False]


def test_nobody_else_dismisses(line, carry, dismiss, live, mallory, vera, olle, ida, bo):
    """Not a stranger, not one below, not the appointer's appointer: that one dismisses the appointer."""
    for who, guardian in ((mallory, vera), (bo, vera), (olle, vera), (ida, olle), (vera, ida)):
        with refused(RecordAccess, "RecordsMayNotDismiss", who.address, guardian.address):
            carry(dismiss(by=who.address, guardian=guardian.address).sign(who))
    assert live(vera, olle, ida) == [True] * 3


def test_in_the_name_of_another_nobody_dismisses(line, carry, dismiss, anna, mallory):
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(dismiss().sign(mallory))


def test_a_dismissal_works_once_and_kills_appointments_that_were_not_sent(line, carry, appoint, dismiss, anna):
    signed, unsent = dismiss().sign(anna), appoint(version=2).sign(anna)
    carry(signed)
    for replayed in (signed, unsent):
        with refused(RecordAccess, "RecordsWrongVersion", 2, 3):
            carry(replayed)


def test_a_first_appointment_that_was_not_sent_is_killed(carry, appoint, dismiss, anna):
    unsent = appoint().sign(anna)
    carry(dismiss(version=1).sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(unsent)


def test_an_altered_dismissal_is_refused(line, carry, dismiss, domain, anna, olle):
    signed = dismiss().sign(anna)
    for change in ({"guardian": olle.address}, {"version": 3}, {"deadline": FOREVER - 1}):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(Signed(replace(signed.message, **change), signed.signature))
    elsewhere = dismiss(domain=replace(domain, chain_id=1)).sign(anna)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(dismiss(), elsewhere.signature))


def test_a_late_dismissal_is_refused(line, carry, dismiss, live, anna, vera):
    with refused_late(4):
        carry(dismiss(deadline=4).sign(anna))
    assert live(vera) == [True]


def test_an_appointers_word_ends_with_its_appointment(line, carry, appoint, dismiss, anna, olle, ida):
    """Olle, dismissed, has no say on Ida once Anna appointed her."""
    carry(dismiss(guardian=olle.address).sign(anna))
    carry(appoint(guardian=ida.address, rights=READ, version=2).sign(anna))
    with refused(RecordAccess, "RecordsMayNotDismiss", olle.address, ida.address):
        carry(dismiss(by=olle.address, guardian=ida.address, version=3).sign(olle))


def test_the_client_dismisses(client, carrier, line, anna, vera):
    client.carry(client.dismiss(anna, anna.address, vera.address), carrier)
    assert not client.may_act(anna.address, vera.address, ["grant"])
    assert client.guardian(anna.address, vera.address).version == 2
