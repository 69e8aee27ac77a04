"""`liggare records read`: an organisation by its share, a patient and who acts for it, an emergency service."""

from __future__ import annotations

import json

import pytest

from liggare.records.audit import opened
from tests.cli.conftest import known_as


def releases(gate):
    """What is written in the gatekeeper's access log."""
    return [opened(json.loads(line)).release for line in gate.service.desk.book.lines()]


def test_a_granted_record_is_read_and_written_down(reads, gate, institute):
    code, out, err = reads("Observation/f001")
    assert (code, err) == (0, "")
    assert out["resource"]["id"] == "f001"
    (release,) = releases(gate)
    assert (release.reader, release.records) == (institute.address, ("Observation/f001",))


def test_a_search_counts_every_word_of_it(reads):
    code, out, _ = reads("Observation?date=ge2013-04-01&date=le2013-04-03")
    assert (code, out["total"], out["resources"][0]["id"]) == (0, 1, "f001")
    code, out, err = reads("Observation?date=ge2013-04-01&date=le2013-04-02T01:00:00Z&date=lt2000")
    assert (code, out["total"]) == (0, 0)
    assert "does the custodian know the patient by this pseudonym" in err


def test_a_sealed_release_reads_the_same(reads):
    assert reads("Observation/f001", "--seal")[1] == reads("Observation/f001")[1]
    assert reads("Observation", "--seal")[1]["total"] == 1


@pytest.mark.parametrize(
    ("record", "purpose", "exit_code", "error"),
    [
        ("Condition/f001", "HRESCH", 1, "CategoryNotGranted"),
        ("Observation/f001", "TREAT", 1, "PurposeNotGranted"),
        ("Observation/f001", "TRAET", 1, "PurposeUnknown"),
        ("Observation/nothing", "HRESCH", 1, "RecordUnavailable"),
        ("Observation/example", "HRESCH", 1, "RecordUnavailable"),
        ("Observation?date=yesterday", "HRESCH", 1, "SearchInvalid"),
        ("Obervation/f001", "HRESCH", 2, "UnknownName"),
    ],
)
def test_what_is_refused_is_refused_by_name(reads, record, purpose, exit_code, error):
    code, out, err = reads(record, purpose=purpose)
    assert (code, out["error"]) == (exit_code, error)
    assert "refuses: access refused" not in err


def test_another_pseudonym_of_the_patient_is_not_known_to_the_custodian(
    liggare, at, words_of, carrier_file, hospital, key_file, tmp_path
):
    """Granted and unlinked: it is as if nothing were there; the reader is told what may be off."""
    share = tmp_path / "hospital.json"
    words = ("--purpose", "TREAT", "--until", "2099-12-31", "--share", share, "--carrier", carrier_file)
    assert liggare("records", "grant", hospital.address, "Observation", "--phrase", words_of("anna"), *words)[0] == 0
    who = ("--key", key_file(hospital, "hospital"), "--share", share, "--purpose", "TREAT")
    code, out, err = liggare("records", "read", "Observation/f001", *who, *at, "--json")
    assert (code, out["error"]) == (1, "RecordUnavailable")
    assert "liggare custodian link" in err


def test_a_share_is_of_no_use_to_another(liggare, at, granted, key_file, insurer):
    who = ("--key", key_file(insurer, "insurer"), "--share", granted, "--purpose", "HRESCH")
    code, out, _ = liggare("records", "read", "Observation/f001", *who, *at, "--json")
    assert (code, out["error"]) == (1, "ShareOfAnother")


def test_a_revoked_grant_lets_nobody_read(liggare, reads, words_of, carrier_file, institute):
    assert reads("Observation/f001")[0] == 0
    words = ("--phrase", words_of("anna"), "--carrier", carrier_file)
    assert liggare("records", "revoke", institute.address, *words)[0] == 0
    code, out, err = reads("Observation/f001")
    assert (code, out["error"]) == (1, "Revoked")
    assert "the patient has revoked the grant" in err


def test_a_patient_reads_all_of_its_own(liggare, at, words_of, institute, gate):
    who = ("--phrase", words_of("anna"), "--organisation", institute.address)
    code, out, err = liggare("records", "read", "Condition/f001", *who, *at, "--json")
    assert (code, err) == (0, "")
    assert out["resource"]["resourceType"] == "Condition"
    code, out, _ = liggare("records", "read", "Patient/f001/$everything", *who, *at, "--json")
    assert code == 0
    assert {"Patient", "Condition", "Observation"} <= {each["resourceType"] for each in out["resources"]}
    assert {release.purpose for release in releases(gate)} == {"PATRQT"}


def test_who_may_not_act_for_a_patient_reads_nothing(liggare, at, words_of, institute):
    who = ("--phrase", words_of("vera"), "--for", known_as("anna", institute))
    code, out, _ = liggare("records", "read", "Condition/f001", *who, *at, "--json")
    assert (code, out["error"]) == (1, "NotTheActor")


def test_the_wrong_custodian_or_none(liggare, reads, granted, key_file, institute, insurer, gate, rpc_url, hospital):
    who = ("--key", key_file(institute, "institute"), "--share", granted, "--purpose", "HRESCH", "--json")

    def ask(url, custodian):
        return liggare("records", "read", "Observation/f001", *who, "--gatekeeper", url, "--custodian", custodian)

    for url, custodian, exit_code, error in (
        (gate.url, insurer.address, 1, "WrongCustodian"),
        ("http://127.0.0.1:1", hospital.address, 1, "GatekeeperUnreachable"),
        (rpc_url, hospital.address, 1, "GatekeeperUnreachable"),
        ("nonsense", hospital.address, 2, "SettingsError"),
        (gate.url, "0x12", 2, "InvalidAddress"),
    ):
        code, out, _ = ask(url, custodian)
        assert (code, out["error"]) == (exit_code, error)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--share", "x", "--emergency", "0x12"),
        ("--emergency", "0x" + "12" * 20),
        ("--phrase", "x", "--purpose", "TREAT"),
    ],
)
def test_one_reads_by_one_thing(liggare, at, words):
    code, out, err = liggare("records", "read", "Observation/f001", *words, *at, "--json")
    assert (code, out["error"]) == (2, "UsageError")
    assert "one reads by" in err or "reads by its --key" in err or "one's own records" in err


def test_a_share_that_is_none(liggare, at, key_file, institute, tmp_path):
    path = tmp_path / "share.json"
    for text in ("{}", "[", "\xff"):
        path.write_text(text)
        who = ("--key", key_file(institute, "institute"), "--share", path, "--purpose", "HRESCH")
        code, out, _ = liggare("records", "read", "Observation/f001", *who, *at, "--json")
        assert (code, out["error"]) == (1, "DataError")
