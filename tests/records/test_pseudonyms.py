"""Pseudonyms: one key per relationship, all from one phrase, none telling of another."""

from __future__ import annotations

import pytest
from eth_account import Account

from liggare.errors import InvalidAddress, SeedPhraseMalformed
from liggare.records.pseudonyms import Pseudonyms, new_phrase, path

PHRASE = "test test test test test test test test test test test junk"
HOSPITAL, INSURER = "0x" + "11" * 20, "0x" + "22" * 20


@pytest.fixture(scope="module")
def anna_of():
    """Anna's relationships."""
    return Pseudonyms(PHRASE)


def test_a_relationship_is_the_same_at_each_call_and_from_the_phrase_alone(anna_of):
    first, again = anna_of.relationship(HOSPITAL), Pseudonyms(PHRASE).relationship(HOSPITAL)
    assert (first.patient, first.salt()) == (again.patient, again.salt())


def test_each_organisation_knows_another_pseudonym(anna_of):
    known = {anna_of.relationship("0x" + f"{number:040x}").patient for number in range(1, 21)}
    known |= {anna_of.relationship(HOSPITAL, number).patient for number in range(3)}
    assert len(known) == 23


def test_salts_differ_between_grants_and_relationships(anna_of):
    one, other = anna_of.relationship(HOSPITAL), anna_of.relationship(INSURER)
    assert len({one.salt(0), one.salt(1), other.salt(0), other.salt(1)}) == 4


def test_the_key_is_the_one_that_any_wallet_derives(anna_of):
    Account.enable_unaudited_hdwallet_features()
    wallets = Account.from_mnemonic(PHRASE, account_path=path(HOSPITAL))
    assert anna_of.relationship(HOSPITAL).patient == wallets.address


def test_every_step_of_the_path_is_hardened():
    steps = path(HOSPITAL, 3).split("/")[1:]
    assert len(steps) == 8
    assert all(step.endswith("'") and int(step[:-1]) < 2**31 for step in steps)


def test_a_passphrase_makes_another_person(anna_of):
    assert Pseudonyms(PHRASE, "åäö").relationship(HOSPITAL).patient != anna_of.relationship(HOSPITAL).patient


def test_a_new_phrase_opens(anna_of):
    phrase = new_phrase()
    assert len(phrase.split()) == 24
    assert Pseudonyms(phrase).relationship(HOSPITAL).patient != anna_of.relationship(HOSPITAL).patient


@pytest.mark.parametrize("phrase", ["", "test test", PHRASE.replace("junk", "test"), PHRASE + " secretword"])
def test_a_bad_phrase_is_refused_and_never_repeated(phrase):
    with pytest.raises(SeedPhraseMalformed) as caught:
        Pseudonyms(phrase)
    assert "secretword" not in str(caught.value)
    assert "junk" not in str(caught.value)


def test_an_organisation_is_an_address(anna_of):
    with pytest.raises(InvalidAddress):
        anna_of.relationship("hospital")


def test_no_secret_shows(anna_of):
    relationship = anna_of.relationship(HOSPITAL)
    assert relationship.account.key.hex() not in repr(relationship) + repr(anna_of)
    assert "test" not in repr(anna_of)
