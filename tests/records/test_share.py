"""Shares and terms: what goes from patient to grantee, read with nothing taken for granted."""

from __future__ import annotations

import json
import re

import pytest

from liggare.errors import DataError, InvalidTerms, UnknownName
from liggare.records.categories import CATEGORIES, GRANTABLE, PURPOSES, RESTRICTED, category_of, mask, names
from liggare.records.messages import Terms, blind
from liggare.records.share import Share
from tests.records.conftest import EVER, SALT


@pytest.fixture
def share(client, anna, hospital, terms):
    """Anna's share for the hospital."""
    return client.share(anna.address, hospital.address, SALT, terms)


def test_a_share_comes_back_as_it_was(share):
    assert Share.from_json(share.to_json()) == share


def test_a_share_by_another_than_the_patient_names_its_author(client, share, anna, bo, hospital, terms):
    by_bo = client.share(anna.address, hospital.address, SALT, terms, author=bo.address)
    assert by_bo.author == by_bo.document()["author"] == bo.address
    assert Share.from_json(by_bo.to_json()) == by_bo != share
    assert share.author == anna.address
    assert "author" not in share.document()
    assert client.share(anna.address, hospital.address, SALT, terms, author=anna.address) == share


def test_a_share_has_one_form(share, anna):
    """The patient is its author without being named so."""
    with pytest.raises(DataError, match="names its patient"):
        Share.from_document({**share.document(), "author": anna.address})


def test_a_share_blinds_its_grantee(share, hospital):
    assert share.blinded == blind(hospital.address, SALT)


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("liggare", "share/2", "form"),
        ("chainId", "1337", "whole number"),
        ("chainId", True, "whole number"),
        ("contract", "0x12", "no address"),
        ("patient", "0x" + "Aa" * 20, "checksum"),
        ("grantee", None, "another form|off|no address"),
        ("salt", "0x1234", "32 bytes"),
        ("salt", "0xzz", "hexadecimal"),
        ("salt", 5, "another form"),
        ("terms", [], "another form"),
        ("extra", 1, "should not have"),
        ("author", "0x12", "no address"),
        ("author", None, "another form|off|no address"),
    ],
)
def test_a_share_that_is_off_is_refused(share, member, value, words):
    document = {**share.document(), member: value}
    with pytest.raises(DataError, match=words):
        Share.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("categories", ["Observatoin"], "is 'Observation' meant"),
        ("categories", [], "at least one"),
        ("categories", ["Observation", "Condition"], "out of order"),
        ("purposes", ["treat"], "there is no 'treat'"),
        ("notBefore", -1, "number of 64 bits"),
        ("expiry", 0, "before it begins"),
        ("expiry", 1.5, "whole number"),
    ],
)
def test_terms_that_are_off_are_refused(share, member, value, words):
    document = share.document()
    document["terms"][member] = value
    with pytest.raises(DataError, match=words):
        Share.from_document(document)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"share"'])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(DataError):
        Share.from_json(text)


def test_terms_speak_by_names():
    terms = Terms.of(["Claim", "Patient"], ["HPAYMT"], 5, 9)
    assert terms.category_names == ("Patient", "Claim")
    assert terms.purpose_names == ("HPAYMT",)
    assert terms.values() == (0b11, 0b100, 5, 9)


def test_terms_say_that_restricted_records_are_meant():
    terms = Terms.of(["RESTRICTED", "Patient"], ["TREAT"], 0, 9)
    assert terms.category_names == ("Patient", "RESTRICTED")
    assert terms.categories == RESTRICTED | 1
    with pytest.raises(InvalidTerms, match="name some"):
        Terms.of(["RESTRICTED"], ["TREAT"], 0, 9)
    with pytest.raises(UnknownName):
        category_of("RESTRICTED/1")  # no type


def test_empty_or_ended_terms_are_refused():
    for words in ((0, 1, 0, 1), (1, 0, 0, 1), (1, 1, 5, 5), (2**64, 1, 0, 1)):
        with pytest.raises(InvalidTerms):
            Terms(*words)


def test_equal_terms_look_different_at_each_version_and_salt(terms):
    commitments = {terms.commitment(salt, version) for salt in (SALT, b"\1" * 32) for version in (1, 2, 3)}
    assert len(commitments) == 6
    assert terms.commitment(SALT, 1) != Terms(terms.categories, terms.purposes, 0, EVER + 1).commitment(SALT, 1)


def test_the_tables_fit_their_words_and_never_change():
    assert sorted(CATEGORIES.values()) == list(range(63))
    assert GRANTABLE == {**CATEGORIES, "RESTRICTED": 63}
    assert sorted(PURPOSES.values()) == list(range(29))
    assert [CATEGORIES[name] for name in ("Patient", "Claim", "Coverage", "ExplanationOfBenefit")] == [0, 1, 2, 3]
    assert (CATEGORIES["Observation"], CATEGORIES["Condition"], CATEGORIES["VisionPrescription"]) == (50, 20, 62)
    assert [PURPOSES[code] for code in ("TREAT", "ETREAT", "HPAYMT", "HRESCH")] == [0, 1, 2, 3]


def test_names_and_bits_are_each_others_inverse():
    for table in (CATEGORIES, GRANTABLE, PURPOSES):
        assert mask(table, names(table, 2 ** len(table) - 1)) == 2 ** len(table) - 1
    assert names(PURPOSES, 1 << 31) == ("bit31",)
    assert category_of("Claim/100150") == 2
    with pytest.raises(UnknownName, match=re.escape("there is no 'Claims'; is 'Claim' meant?")):
        category_of("Claims/1")
