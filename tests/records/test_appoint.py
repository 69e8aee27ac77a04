"""`appoint`: guardians of the patient, guardians of guardians, and the bounds that none of them can widen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import RecordAccess

from liggare.messages import Signed
from liggare.records.client import Refusal
from tests.records.conftest import APPOINT, GRANT, NOBODY, READ, RECOVER, organisation, refused_late
from tests.support import FOREVER, now, pass_time, refused


@pytest.fixture
def may_act(access, anna):
    """Whether somebody acts for Anna with these rights."""
    return lambda who, rights: access.mayAct(anna.address, who.address, rights)


@pytest.fixture
def line(carry, appoint, anna, vera, olle, ida):
    """Anna appoints Vera, Vera Olle, Olle Ida, each with all that may be handed on."""
    carry(appoint().sign(anna))
    carry(appoint(appointer=vera.address, guardian=olle.address, rights=11).sign(vera))
    carry(appoint(appointer=olle.address, guardian=ida.address, rights=11).sign(olle))


def test_a_patient_appoints_a_guardian(access, carry, appoint, anna, vera, may_act):
    assert not may_act(vera, READ)
    signed = appoint(rights=GRANT | READ, until=FOREVER - 5).sign(anna)
    event = carry(signed).events["GuardianAppointed"]
    assert event["id"] == signed.id.to_0x_hex()
    assert (event["patient"], event["guardian"], event["appointer"]) == (anna.address, vera.address, anna.address)
    told = [event[name] for name in ("rights", "until", "version", "serial", "under")]
    assert told[:3] == [GRANT | READ, FOREVER - 5, 1]
    assert told[4] == 0
    appointer, rights, until, version, serial, under = access.guardians(anna.address, vera.address)
    assert [appointer, rights, until, version, serial, under] == [anna.address, *told]
    assert may_act(vera, READ)
    assert may_act(vera, GRANT | READ)
    assert not may_act(vera, GRANT | APPOINT)


def test_the_patient_may_do_everything(may_act, anna, mallory):
    assert may_act(anna, 15)
    assert not may_act(mallory, GRANT)
    assert not may_act(mallory, 0)


def test_a_serial_cannot_be_known_before(access, carry, appoint, anna, bo, vera):
    for patient in (anna, bo):
        carry(appoint(patient=patient.address, appointer=patient.address).sign(patient))
    serials = [access.guardians(patient.address, vera.address)[4] for patient in (anna, bo)]
    assert 0 not in serials
    assert serials[0] != serials[1]


def test_a_guardian_appoints_a_guardian(access, line, may_act, anna, vera, olle, ida):
    assert may_act(ida, GRANT | APPOINT | READ)
    assert not may_act(ida, RECOVER)
    serials = [access.guardians(anna.address, who.address)[4] for who in (vera, olle, ida)]
    assert [access.guardians(anna.address, who.address)[5] for who in (vera, olle, ida)] == [0, *serials[:2]]


def test_a_guardian_without_the_right_appoints_nobody(carry, appoint, anna, vera, olle):
    carry(appoint(rights=GRANT | RECOVER | READ).sign(anna))
    with refused(RecordAccess, "RecordsMayNotAct", vera.address, APPOINT):
        carry(appoint(appointer=vera.address, guardian=olle.address, rights=GRANT).sign(vera))


def test_a_stranger_appoints_nobody(carry, appoint, anna, mallory, olle):
    with refused(RecordAccess, "RecordsMayNotAct", mallory.address, APPOINT):
        carry(appoint(appointer=mallory.address, guardian=olle.address).sign(mallory))
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(appoint(guardian=mallory.address).sign(mallory))


@pytest.mark.parametrize("wider", [GRANT, READ, RECOVER, GRANT | READ, 255])
def test_a_guardian_cannot_widen_rights(carry, appoint, anna, vera, olle, wider):
    carry(appoint(rights=APPOINT).sign(anna))
    with refused(RecordAccess, "RecordsInvalidRights", APPOINT | wider, APPOINT):
        carry(appoint(appointer=vera.address, guardian=olle.address, rights=APPOINT | wider).sign(vera))


def test_votes_cannot_be_multiplied_by_sub_guardians(carry, appoint, anna, vera, olle):
    """Who may recover a key is the patient's choice alone."""
    carry(appoint(rights=15).sign(anna))
    with refused(RecordAccess, "RecordsInvalidRights", 15, 11):
        carry(appoint(appointer=vera.address, guardian=olle.address, rights=15).sign(vera))


@pytest.mark.parametrize("rights", [0, 16, 255])
def test_rights_that_are_none_or_unknown_are_refused(carry, appoint, anna, rights):
    with refused(RecordAccess, "RecordsInvalidRights", rights, 15):
        carry(appoint(rights=rights).sign(anna))


def test_a_guardian_cannot_widen_its_time(carry, appoint, anna, vera, olle, may_act):
    end = now() + 1000
    carry(appoint(until=end).sign(anna))
    further = {"appointer": vera.address, "guardian": olle.address, "rights": GRANT}
    with refused(RecordAccess, "RecordsInvalidUntil", end + 1, end):
        carry(appoint(**further, until=end + 1).sign(vera))
    carry(appoint(**further, until=end).sign(vera))
    assert may_act(olle, GRANT)
    pass_time(1100)
    assert not may_act(vera, GRANT)
    assert not may_act(olle, GRANT)


def test_a_time_that_is_over_is_refused(carry, appoint, anna):
    for until in (0, now() - 1):
        with refused(RecordAccess, "RecordsInvalidUntil", until, FOREVER):
            carry(appoint(until=until).sign(anna))


def test_a_chain_ends_after_four(carry, appoint, line, may_act, anna, ida):
    fourth, fifth = organisation("fourth"), organisation("fifth")
    carry(appoint(appointer=ida.address, guardian=fourth.address, rights=11).sign(ida))
    assert may_act(fourth, 11)
    with refused(RecordAccess, "RecordsTooDeep", 5, 4):
        carry(appoint(appointer=fourth.address, guardian=fifth.address, rights=GRANT).sign(fourth))


def test_there_are_no_cycles(carry, appoint, line, anna, vera, olle, ida):
    """No live guardian is appointed by one that stands below it, nor by itself."""
    for below, above, appointer in ((olle, vera, anna), (ida, vera, anna), (ida, olle, vera), (vera, vera, anna)):
        message = appoint(appointer=below.address, guardian=above.address, rights=GRANT, version=2)
        with refused(RecordAccess, "RecordsGuardianTaken", above.address, appointer.address):
            carry(message.sign(below))


def test_there_are_no_cycles_by_detours_either(carry, appoint, dismiss, line, may_act, anna, vera, olle):
    """Olle, appointed by Anna now, appoints Vera, who was dismissed; Vera can't appoint Olle in turn."""
    carry(appoint(guardian=olle.address, rights=11, version=2).sign(anna))
    carry(dismiss().sign(anna))
    carry(appoint(appointer=olle.address, guardian=vera.address, rights=11, version=3).sign(olle))
    with refused(RecordAccess, "RecordsGuardianTaken", olle.address, anna.address):
        carry(appoint(appointer=vera.address, guardian=olle.address, rights=11, version=3).sign(vera))
    carry(dismiss(guardian=olle.address, version=3).sign(anna))
    assert not may_act(vera, GRANT)
    with refused(RecordAccess, "RecordsMayNotAct", vera.address, APPOINT):
        carry(appoint(appointer=vera.address, guardian=olle.address, rights=11, version=4).sign(vera))


def test_a_guardian_cannot_take_anothers_guardian(carry, appoint, anna, vera, olle, ida):
    for guardian in (vera, olle):
        carry(appoint(guardian=guardian.address).sign(anna))
    carry(appoint(appointer=vera.address, guardian=ida.address, rights=GRANT).sign(vera))
    with refused(RecordAccess, "RecordsGuardianTaken", ida.address, vera.address):
        carry(appoint(appointer=olle.address, guardian=ida.address, rights=GRANT, version=2).sign(olle))
    carry(appoint(guardian=ida.address, rights=READ, version=2).sign(anna))  # the patient may


def test_whose_time_is_over_may_be_anothers_guardian(carry, appoint, anna, vera, olle, ida, may_act):
    for guardian in (vera, olle):
        carry(appoint(guardian=guardian.address).sign(anna))
    carry(appoint(appointer=vera.address, guardian=ida.address, rights=GRANT, until=now() + 100).sign(vera))
    pass_time(200)
    carry(appoint(appointer=olle.address, guardian=ida.address, rights=READ, version=2).sign(olle))
    assert may_act(ida, READ)
    assert not may_act(ida, GRANT)


def test_being_appointed_anew_ends_all_that_hung_on_it(
    accredited, carry, appoint, line, grant_for, may_act, anna, vera, olle, ida, why_not_by
):
    carry(grant_for(author=ida.address).sign(ida))
    assert why_not_by(author=ida.address) == Refusal.NOTHING
    carry(appoint(version=2).sign(anna))
    assert may_act(vera, GRANT)
    assert not may_act(olle, GRANT)
    assert not may_act(ida, GRANT)
    assert why_not_by(author=ida.address) == Refusal.NOT_AUTHOR
    carry(appoint(appointer=vera.address, guardian=olle.address, rights=11, version=2).sign(vera))
    assert may_act(olle, GRANT)
    assert not may_act(ida, GRANT)


def test_a_guardian_in_between_that_loses_the_right_takes_it_from_those_below(carry, appoint, line, may_act, anna, ida):
    carry(appoint(rights=GRANT, version=2).sign(anna))
    assert not may_act(ida, GRANT)


@pytest.mark.parametrize("who", ["nobody", "patient", "actor"])
def test_who_cannot_be_a_guardian(carry, appoint, recovered, anna, nils, who):
    guardian = {"nobody": NOBODY, "patient": anna.address, "actor": nils.address}[who]
    with refused(RecordAccess, "RecordsInvalidGuardian", guardian):
        carry(appoint(appointer=nils.address, guardian=guardian).sign(nils))


def test_an_appointment_works_once(carry, appoint, dismiss, anna):
    signed = appoint().sign(anna)
    carry(signed)
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(signed)
    carry(dismiss().sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 1, 3):
        carry(signed)


def test_an_altered_appointment_is_refused(carry, appoint, anna, olle, bo):
    signed = appoint(rights=READ).sign(anna)
    for change in ({"guardian": olle.address}, {"rights": 15}, {"until": FOREVER - 1}, {"version": 2}, {"deadline": 1}):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(Signed(replace(signed.message, **change), signed.signature))
    with refused(RecordAccess, "RecordsMayNotAct", anna.address, APPOINT):
        carry(appoint(patient=bo.address).sign(anna))


@pytest.mark.parametrize("other", [{"chain_id": 1}, {"verifying_contract": "0x" + "11" * 20}])
def test_an_appointment_for_another_domain_is_refused(carry, appoint, domain, anna, other):
    signed = appoint(domain=replace(domain, **other)).sign(anna)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(appoint(), signed.signature))


def test_a_late_appointment_is_refused(carry, appoint, anna, vera, may_act):
    with refused_late(11):
        carry(appoint(deadline=11).sign(anna))
    assert not may_act(vera, READ)


def test_the_client_appoints_and_asks(client, carrier, anna, vera, olle):
    client.carry(client.appoint(anna, anna.address, vera.address, ["grant", "appoint"], FOREVER), carrier)
    client.carry(client.appoint(vera, anna.address, olle.address, ["grant"], FOREVER), carrier)
    assert client.may_act(anna.address, olle.address, ["grant"])
    assert not client.may_act(anna.address, olle.address, ["read"])
    found = client.guardian(anna.address, olle.address)
    assert (found.appointer, found.rights, found.version) == (vera.address, GRANT, 1)
    assert found.under == client.guardian(anna.address, vera.address).serial
    again = client.appoint(anna, anna.address, vera.address, ["read"], FOREVER)
    assert again.message.version == 2
