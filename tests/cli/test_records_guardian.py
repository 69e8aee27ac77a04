"""`liggare records guardian|list`: a parent acts for an infant; what was granted is found again by the words alone."""

from __future__ import annotations

import pytest

from tests.cli.conftest import known_as


@pytest.fixture
def act(liggare, carrier_file):
    """Somebody acts, carried: `act("guardian", "appoint", …)`; `--json` always."""
    return lambda *words: liggare("records", *words, "--carrier", carrier_file, "--json")


@pytest.fixture
def infant(institute):
    """What the institute knows the infant (Anna) by."""
    return known_as("anna", institute)


@pytest.fixture
def vera(liggare, words_of, infant):
    """The address by which Vera is the infant's guardian."""
    code, out, _ = liggare("records", "guardian", "address", infant, "--phrase", words_of("vera"), "--json")
    assert (code, out["address"]) == (0, known_as("vera", infant))
    return out["address"]


@pytest.fixture
def appointed(act, words_of, accredited, institute, vera):
    """Vera may grant and read for the infant, by the infant's own words, which its hospital made."""
    who = ("--phrase", words_of("anna"), "--organisation", institute.address)
    rights = ("--right", "grant", "--right", "read", "--until", "2044-05-01")
    code, out, err = act("guardian", "appoint", vera, *who, *rights)
    assert (code, err, out["rights"]) == (0, "", ["grant", "read"])


@pytest.fixture
def granted_for(act, appointed, words_of, infant, institute, tmp_path):
    """Vera lets the institute read the infant's conditions; the share."""
    share = tmp_path / "infant.json"
    what = ("Condition", "--purpose", "HRESCH", "--until", "2040-01-01", "--share", share)
    code, out, err = act("grant", institute.address, *what, "--phrase", words_of("vera"), "--for", infant)
    assert (code, err, out["patient"]) == (0, "", infant)
    return share


def test_a_guardian_grants_and_the_organisation_reads(liggare, granted_for, at, key_file, institute):
    who = ("--key", key_file(institute, "institute"), "--share", granted_for, "--purpose", "HRESCH")
    code, out, err = liggare("records", "read", "Condition/f001", *who, *at, "--json")
    assert (code, err, out["resource"]["id"]) == (0, "", "f001")


def test_a_guardian_reads_and_looks_who_has_read(liggare, appointed, at, gate, words_of, infant, institute):
    who = ("--phrase", words_of("vera"), "--for", infant)
    assert liggare("records", "read", "Condition/f001", *who, *at, "--json")[0] == 0
    gate.service.poster.post()
    code, out, err = liggare("records", "log", institute.address, *who, *at, "--json")
    assert (code, err) == (0, "")
    assert [(each["organisation"], each["purpose"]) for each in out["accesses"]] == [
        (known_as("vera", infant), "FAMRQT")
    ]


def test_a_guardian_without_the_right_is_refused(act, appointed, liggare, at, words_of, infant, institute, tmp_path):
    who = ("--phrase", words_of("olle"), "--for", infant)
    what = ("Condition", "--purpose", "HRESCH", "--until", "2040-01-01", "--share", tmp_path / "x.json")
    code, out, _ = act("grant", institute.address, *what, *who)
    assert (code, out["error"]) == (1, "RecordsMayNotAct")
    assert not list(tmp_path.glob("*x.json*"))
    assert liggare("records", "log", institute.address, *who, *at, "--json")[1]["error"] == "NotTheActor"
    rights = ("--right", "grant", "--until", "2040-01-01")
    code, out, _ = act("guardian", "appoint", known_as("nils", infant), *who, *rights)
    assert (code, out["error"]) == (1, "RecordsMayNotAct")


def test_a_guardian_is_shown_and_dismissed(liggare, act, granted_for, words_of, infant, institute, vera):
    show = ("records", "guardian", "show", infant, vera)
    assert "may grant, read until 2044-05-01 00:00 UTC" in liggare(*show)[1]
    assert liggare(*show, "--json")[1]["rights"] == ["grant", "read"]
    who = ("--phrase", words_of("anna"), "--organisation", institute.address)
    code, out, _ = act("guardian", "dismiss", vera, *who)
    assert (code, out["guardian"]) == (0, vera)
    assert "is no guardian" in liggare(*show)[1]
    _, out, _ = liggare("records", "list", "--phrase", words_of("vera"), "--for", infant, "--json")
    assert [held["status"] for held in out["grants"]] == ["NotAuthor"]


def test_a_guardian_resigns_by_its_own_words(act, appointed, words_of, infant, vera):
    code, out, _ = act("guardian", "dismiss", "--phrase", words_of("vera"), "--for", infant)
    assert (code, out["guardian"]) == (0, vera)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--right", "raed", "--until", "2040-01-01", "--organisation", "0x" + "12" * 20), "UnknownName"),
        (("--right", "read", "--until", "then", "--organisation", "0x" + "12" * 20), "UsageError"),
        (("--right", "read", "--until", "2040-01-01"), "UsageError"),
        (("--right", "read", "--until", "2040-01-01", "--organisation", "x", "--for", "y"), "UsageError"),
        (("--right", "read", "--until", "2040-01-01", "--organisation", "x"), "InvalidAddress"),
    ],
)
def test_an_appointment_that_cannot_be_meant(act, deployments, words_of, words, error):
    code, out, _ = act("guardian", "appoint", "0x" + "34" * 20, "--phrase", words_of("anna"), *words)
    assert (code, out["error"]) == (2, error)


# ---------------------------------------------------------------------- list


def test_nothing_granted_is_said(liggare, deployments, words_of, infant):
    assert liggare("records", "list", "--phrase", words_of("olle"))[:2] == (
        0,
        "nothing was ever granted by these words\n",
    )
    assert infant in liggare("records", "list", "--phrase", words_of("olle"), "--for", infant)[1]


def test_what_was_granted_is_found_by_the_words_alone(liggare, granted, words_of, institute, infant):
    _, out, _ = liggare("records", "list", "--phrase", words_of("anna"), "--json")
    (held,) = out["grants"]
    assert (held["organisation"], held["status"], held["terms"]) == (institute.address, "granted", None)
    code, text, _ = liggare("records", "list", "--phrase", words_of("anna"), "--shares", granted.parent)
    assert code == 0
    assert f"{institute.address}  live  Observation for HRESCH until 2099-12-31 00:00 UTC" in text
    assert f"pseudonym {infant}, version 1" in text


def test_a_guardians_grant_is_seen_by_both(liggare, granted_for, words_of, infant, institute, vera):
    _, out, _ = liggare("records", "list", "--phrase", words_of("anna"))
    assert "an organisation that only the guardian's share tells  granted" in out
    assert f"granted by {vera}, who acts for the patient" in out
    _, out, _ = liggare("records", "list", "--phrase", words_of("vera"), "--for", infant, "--json")
    (held,) = out["grants"]
    assert (held["organisation"], held["author"], held["status"]) == (institute.address, vera, "granted")


def test_a_folder_of_shares_that_is_none(liggare, deployments, words_of, tmp_path):
    code, out, _ = liggare("records", "list", "--phrase", words_of("anna"), "--shares", tmp_path / "no", "--json")
    assert (code, out["error"]) == (1, "DataError")
