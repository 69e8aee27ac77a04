"""What was granted is found again from the seed phrase alone, in each state that it can be in."""

from __future__ import annotations

import pytest

from liggare.errors import PseudonymReused
from liggare.records.grants import check_alone, grants_for, grants_of
from liggare.records.messages import Terms
from liggare.records.pseudonyms import Pseudonyms
from tests.records.conftest import EVER

ANNA = Pseudonyms("abandon " * 11 + "about")
VERA = Pseudonyms("legal winner thank year wave sausage worth useful legal winner thank yellow")
TERMS = Terms.of(["Observation"], ["TREAT"], 0, EVER)


@pytest.fixture
def let(client, carrier):
    """Anna lets an organisation read: `let(hospital)`; returns the share."""

    def let(organisation, number=0, terms=TERMS, salt=0):
        known_as = ANNA.relationship(organisation.address, number)
        signed, share = client.grant(known_as.account, organisation.address, known_as.salt(salt), terms)
        client.carry(signed, carrier)
        return share

    return let


def test_nothing_is_nothing(client, accredited):
    assert grants_of(client, ANNA) == []
    assert grants_for(client, VERA, ANNA.relationship("0x" + "12" * 20).patient) == []


def test_all_relationships_and_numbers_are_found_in_the_ledgers_order(client, accredited, let, hospital, insurer):
    let(insurer)
    let(hospital)
    let(hospital, 1)
    let(hospital, 0, salt=3)
    let(hospital, 3)  # past a number that was never used: nobody looks there
    found = grants_of(client, ANNA)
    assert [(held.organisation, held.number) for held in found] == [
        (insurer.address, 0),
        (hospital.address, 0),
        (hospital.address, 1),
        (hospital.address, 0),
    ]
    assert {held.status for held in found} == {"granted"}


def test_a_share_tells_the_terms_and_an_old_one_does_not(client, accredited, let, hospital):
    old = let(hospital)
    (held,) = grants_of(client, ANNA, [old])
    assert (held.status, held.terms) == ("live", TERMS)
    new = let(hospital, terms=Terms.of(["Condition"], ["TREAT"], 0, EVER))
    (held,) = grants_of(client, ANNA, [old])
    assert (held.status, held.terms, held.version) == ("granted", None, 2)
    (held,) = grants_of(client, ANNA, [old, new])
    assert held.document()["terms"]["categories"] == ["Condition"]


def test_what_lets_nobody_read_says_why(client, accredited, let, hospital, institute, carrier, registry, operator):
    hospitals = let(hospital)
    ended = let(institute, terms=Terms.of(["Observation"], ["TREAT"], 0, 1))
    registry.suspend(hospital.address, {"from": operator})
    assert [held.status for held in grants_of(client, ANNA, [hospitals, ended])] == ["GranteeSuspended", "Expired"]
    registry.resume(hospital.address, {"from": operator})
    known_as = ANNA.relationship(hospital.address)
    client.carry(client.revoke(known_as.account, hospital.address, known_as.salt()), carrier)
    client.carry(client.revoke_all(ANNA.relationship(institute.address).account), carrier)
    assert [held.status for held in grants_of(client, ANNA)] == ["revoked", "AllRevoked"]


def test_a_guardians_grants_are_found_by_both(client, accredited, carrier, hospital, insurer):
    ward = ANNA.relationship(hospital.address)
    guardian = VERA.relationship(ward.patient)
    client.carry(client.appoint(ward.account, ward.patient, guardian.patient, ["grant"], EVER // 2**16), carrier)
    shares = []
    for organisation in (hospital, insurer):
        salt = guardian.salt(grantee=organisation.address)
        signed, share = client.grant_for(guardian.account, ward.patient, organisation.address, salt, TERMS)
        client.carry(signed, carrier)
        shares.append(share)
    mine = grants_for(client, VERA, ward.patient)
    assert [(held.organisation, held.author) for held in mine] == [
        (hospital.address, guardian.patient),
        (insurer.address, guardian.patient),
    ]
    assert [held.organisation for held in grants_of(client, ANNA)] == [None, None]
    assert [held.organisation for held in grants_of(client, ANNA, shares)] == [hospital.address, insurer.address]
    assert [held.status for held in grants_for(client, VERA, ward.patient, shares)] == ["live", "BeyondCap"]
    client.carry(client.dismiss(ward.account, ward.patient, guardian.patient), carrier)
    assert {held.status for held in grants_for(client, VERA, ward.patient)} == {"NotAuthor"}
    assert {held.status for held in grants_of(client, ANNA)} == {"NotAuthor"}


def test_a_pseudonym_used_for_two_organisations_is_refused(client, accredited, carrier, insurer, institute):
    known_as = VERA.relationship(insurer.address)

    def grant(to, number=0):
        signed, _ = client.grant(known_as.account, to.address, known_as.salt(number), TERMS)
        client.carry(signed, carrier)

    check_alone(client, known_as)
    grant(insurer)
    grant(insurer, 3)
    check_alone(client, known_as)
    grant(institute)
    with pytest.raises(PseudonymReused) as caught:
        check_alone(client, known_as)
    assert caught.value.patient == known_as.patient
