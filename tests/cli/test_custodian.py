"""`liggare custodian`: records come in, get their patient, and go for good; the access log goes to the auditor."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support import ROOT

PSEUDONYM = "0x" + "12" * 20
FHIR = ROOT / "scripts" / "data" / "fhir"


@pytest.fixture
def office(tmp_path, liggare):
    """A folder with a master key, and a database and a keyring to come."""
    assert liggare("custodian", "key", tmp_path / "master")[0] == 0
    return tmp_path


@pytest.fixture
def clerk(liggare, office):
    """The custodian's clerk: `code, out, err = clerk("import", FHIR)`; `--json` always."""
    where = ("--database", f"sqlite:///{office}/db", "--keyring", office / "keyring", "--master-key", office / "master")
    return lambda verb, *words: liggare("custodian", verb, *words, *where, "--json")


def test_records_come_in_once(clerk, office):
    code, out, err = clerk("import", FHIR)
    assert (code, err, out) == (0, "", {"kept": 9, "same": 0})
    code, out, _ = clerk("import", FHIR, FHIR / "Observation-f001.json")
    assert (code, out) == (0, {"kept": 0, "same": 10})
    assert (office / "db").stat().st_mode & 0o077 == 0
    assert b"Observation" not in (office / "db").read_bytes()


def test_one_that_says_something_else_is_the_next_version(clerk, office):
    changed = json.loads((FHIR / "Observation-f001.json").read_text())
    changed["status"] = "amended"
    (office / "changed.json").write_text(json.dumps(changed))
    assert clerk("import", FHIR)[0] == 0
    code, out, _ = clerk("import", office / "changed.json")
    assert (code, out) == (0, {"kept": 1, "same": 0})


def test_if_one_is_off_none_is_taken(clerk, office):
    shutil.copytree(FHIR, office / "in")
    (office / "in" / "Zebra.json").write_text('{"resourceType": "Observation", "id": "z"}')
    code, out, err = clerk("import", office / "in")
    assert (code, out["error"]) == (1, "DataError")
    assert "Zebra.json" in err
    assert "nothing was brought in" in err
    assert clerk("import", FHIR)[1] == {"kept": 9, "same": 0}


@pytest.mark.parametrize(("what", "exit_code", "error"), [("nothing.json", 1, "DataError"), ("empty", 2, "UsageError")])
def test_there_is_nothing_to_bring_in(clerk, office, what, exit_code, error):
    (office / "empty").mkdir()
    code, out, _ = clerk("import", office / what)
    assert (code, out["error"]) == (exit_code, error)


def test_a_pseudonym_is_linked_shown_and_unlinked(clerk, liggare, office):
    clerk("import", FHIR)
    code, out, err = clerk("link", PSEUDONYM, "Patient/f001")
    assert (code, err, out["charts"]) == (0, "", ["Patient/f001"])
    code, out, err = clerk("link", PSEUDONYM, "Patient/f00l")
    assert (code, out["charts"]) == (0, ["Patient/f001", "Patient/f00l"])
    assert "there is no Patient/f00l here yet" in err
    code, out, _ = clerk("unlink", PSEUDONYM, "Patient/f00l")
    assert (code, out["charts"]) == (0, ["Patient/f001"])
    assert clerk("charts", PSEUDONYM)[1]["charts"] == ["Patient/f001"]
    clerk("unlink", PSEUDONYM, "Patient/f001")
    assert clerk("charts", PSEUDONYM)[1]["charts"] == []


def test_what_is_no_chart_or_no_pseudonym(clerk):
    code, out, _ = clerk("link", PSEUDONYM, "f001")
    assert (code, out["error"]) == (1, "DataError")
    code, out, _ = clerk("link", "0x12", "Patient/f001")
    assert (code, out["error"]) == (2, "InvalidAddress")


def test_keys_are_made_anew_and_the_records_stay(clerk):
    clerk("import", FHIR)
    code, out, _ = clerk("rotate", "Patient/f001", "Observation")
    assert (code, out["types"]) == (0, ["Observation"])
    assert set(clerk("rotate", "Patient/f001")[1]["types"]) >= {"Observation", "Condition", "Patient"}
    assert clerk("import", FHIR)[1] == {"kept": 0, "same": 9}


def test_an_erased_chart_is_gone_from_every_backup(clerk, office):
    clerk("import", FHIR)
    clerk("link", PSEUDONYM, "Patient/f001")
    backup = (office / "db").read_bytes()
    code, out, err = clerk("erase", "Patient/f001", "--yes", "Patient/f002")
    assert (code, out["error"]) == (2, "UsageError")
    assert "nothing was erased" in err
    code, out, _ = clerk("erase", "Patient/f001", "--yes", "Patient/f001")
    assert (code, out["had"]) == (0, True)
    (office / "db").write_bytes(backup)
    assert clerk("charts", PSEUDONYM)[1]["charts"] == []
    assert clerk("rotate", "Patient/f001")[1]["types"] == []
    assert clerk("erase", "Patient/f001", "--yes", "Patient/f001")[1]["had"] is False


def test_without_its_master_key_nothing_opens(liggare, office, monkeypatch):
    where = ("--database", f"sqlite:///{office}/db", "--keyring", office / "keyring", "--json")
    code, out, _ = liggare("custodian", "import", FHIR, *where)
    assert (code, out["error"]) == (1, "MasterKeyRefused")
    monkeypatch.setenv("LIGGARE_MASTER_KEY", (office / "master").read_text().strip())
    assert liggare("custodian", "import", FHIR, *where)[0] == 0
    monkeypatch.setenv("LIGGARE_MASTER_KEY", "00" * 32)
    code, out, _ = liggare("custodian", "import", FHIR, *where)
    assert (code, out["error"]) == (1, "WrongMasterKey")


def test_a_master_key_is_made_once_and_for_its_owner(liggare, office):
    assert (office / "master").stat().st_mode & 0o777 == 0o600
    code, out, _ = liggare("custodian", "key", office / "master", "--json")
    assert (code, out["error"]) == (1, "MasterKeyRefused")
    (office / "master").chmod(0o644)
    where = ("--database", f"sqlite:///{office}/db", "--keyring", office / "keyring", "--master-key", office / "master")
    code, out, _ = liggare("custodian", "import", FHIR, *where, "--json")
    assert (code, out["error"]) == (1, "MasterKeyRefused")


def test_a_password_among_the_arguments_is_refused(liggare, office):
    words = ("--database", "postgresql://me:hunter2@db/records", "--master-key", office / "master")
    for verb in (("import", FHIR), ("export-log", PSEUDONYM, office / "log")):
        code, _, err = liggare("custodian", *verb, *words)
        assert (code, "LIGGARE_DATABASE_URL" in err, "hunter2" in err) == (2, True, False)


def test_the_log_goes_to_the_auditor_and_is_found_forged_where_it_is(liggare, reads, gate, kept, hospital, tmp_path):
    assert reads("Observation/f001")[0] == 0
    gate.service.poster.post()
    path = tmp_path / "access.jsonl"
    code, out, err = liggare("custodian", "export-log", hospital.address, path, *kept, "--json")
    assert (code, err, out["entries"]) == (0, "", 2)
    assert path.stat().st_mode & 0o777 == 0o600
    verify = ("verify", "--log", f"{hospital.address}={path}", "--json")
    code, out, _ = liggare(*verify)
    assert (code, out["findings"]) == (0, [])
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([first.replace("Observation/f001", "Condition/f001"), *others]) + "\n")
    code, out, _ = liggare(*verify)
    assert code == 1


def test_another_custodians_log_is_not_exported_as_its(liggare, reads, kept, insurer, tmp_path):
    code, out, _ = liggare("custodian", "export-log", insurer.address, tmp_path / "log", *kept, "--json")
    assert (code, out["error"]) == (2, "SettingsError")
    assert not (tmp_path / "log").exists()


def test_a_log_that_cannot_be_written(liggare, gate, kept, hospital):
    code, out, _ = liggare("custodian", "export-log", hospital.address, "/nowhere/log", *kept, "--json")
    assert (code, out["error"]) == (1, "DataError")
