"""What a patient granted, found again from the seed phrase alone, and a pseudonym that serves one organisation only."""

from __future__ import annotations

import pytest

from liggare.errors import PseudonymReused
from liggare.records.grants import check_alone, grants_of
from liggare.records.messages import Terms
from liggare.records.pseudonyms import Pseudonyms
from tests.records.conftest import EVER

PHRASE = "abandon " * 11 + "about"
TERMS = Terms.of(["Claim"], ["HPAYMT"], 0, EVER)


@pytest.fixture
def pseudonyms(accredited):
    """The pseudonyms of one patient; hospital, insurer and institute are accredited."""
    return Pseudonyms(PHRASE)


@pytest.fixture
def grant_as(client, carrier):
    """Grant as a relationship's pseudonym: `grant_as(known_as, insurer)` returns the share."""

    def grant_as(known_as, grantee, terms=TERMS, number=0):
        signed, share = client.grant(known_as.account, grantee.address, known_as.salt(number), terms)
        client.carry(signed, carrier)
        return share

    return grant_as


def told(found):
    return [(held.organisation, held.status, held.terms) for held in found]


def test_all_is_found_by_the_phrase_alone(pseudonyms, client, grant_as, insurer, hospital):
    grant_as(pseudonyms.relationship(insurer.address), insurer)
    grant_as(pseudonyms.relationship(hospital.address), hospital)
    assert told(grants_of(client, pseudonyms)) == [
        (insurer.address, "granted", None),
        (hospital.address, "granted", None),
    ]
    assert (
        grants_of(client, Pseudonyms("legal winner thank year wave sausage worth useful legal winner thank yellow"))
        == []
    )


def test_a_share_tells_the_terms_and_the_ledger_how_they_stand(pseudonyms, client, grant_as, carrier, insurer):
    known_as = pseudonyms.relationship(insurer.address)
    first = grant_as(known_as, insurer)
    assert told(grants_of(client, pseudonyms, [first])) == [(insurer.address, "live", TERMS)]
    changed = Terms.of(["Coverage"], ["HPAYMT"], 0, EVER)
    second = grant_as(known_as, insurer, changed)
    assert told(grants_of(client, pseudonyms, [first])) == [(insurer.address, "granted", None)]
    assert told(grants_of(client, pseudonyms, [second])) == [(insurer.address, "live", changed)]
    client.carry(client.revoke(known_as.account, insurer.address, known_as.salt()), carrier)
    assert told(grants_of(client, pseudonyms, [second])) == [(insurer.address, "revoked", None)]


def test_what_the_ledger_lets_nobody_read_is_not_live(
    pseudonyms, client, grant_as, carrier, registry, operator, insurer, institute
):
    share = grant_as(pseudonyms.relationship(insurer.address), insurer)
    registry.suspend(insurer.address, {"from": operator})
    assert [held.status for held in grants_of(client, pseudonyms, [share])] == ["GranteeSuspended"]
    known_as = pseudonyms.relationship(institute.address)
    grant_as(known_as, institute)
    client.carry(client.revoke_all(known_as.account), carrier)
    assert [held.status for held in grants_of(client, pseudonyms)][-1] == "AllRevoked"


def test_other_numbers_of_a_relationship_are_found(pseudonyms, client, grant_as, insurer):
    for number in (0, 1):
        grant_as(pseudonyms.relationship(insurer.address, number), insurer)
    assert [held.number for held in grants_of(client, pseudonyms)] == [0, 1]


def test_a_guardians_grant_is_told_as_its_own(pseudonyms, client, carrier, grant_as, insurer, institute, bo):
    known_as = pseudonyms.relationship(insurer.address)
    client.carry(client.appoint(known_as.account, known_as.patient, bo.address, ["grant"], 2**40), carrier)
    signed, share = client.grant_for(bo, known_as.patient, institute.address, b"\3" * 32, TERMS)
    client.carry(signed, carrier)
    (held,) = grants_of(client, pseudonyms)
    assert (held.organisation, held.author, held.patient) == (None, bo.address, known_as.patient)
    (held,) = grants_of(client, pseudonyms, [share])
    assert held.organisation == institute.address


def test_a_pseudonym_used_for_two_organisations_is_refused(pseudonyms, client, grant_as, insurer, institute):
    known_as = pseudonyms.relationship(insurer.address)
    check_alone(client, known_as)
    grant_as(known_as, insurer)
    grant_as(known_as, insurer, number=3)
    check_alone(client, known_as)
    grant_as(known_as, institute)
    with pytest.raises(PseudonymReused) as caught:
        check_alone(client, known_as)
    assert caught.value.patient == known_as.patient
