"""`liggare records recover`: from a lost phrase to a new one, by two guardians, after a delay."""

from __future__ import annotations

import pytest

from tests.cli.conftest import known_as
from tests.support import pass_time

DAY = 86_400


@pytest.fixture
def patient(institute):
    """Anna, as the institute knows her."""
    return known_as("anna", institute)


@pytest.fixture
def act(liggare, carrier_file):
    """Somebody acts, carried; `--json` always."""
    return lambda *words: liggare("records", *words, "--carrier", carrier_file, "--json")


@pytest.fixture
def guarded(act, accredited, words_of, institute, patient):
    """Vera and Olle together can replace Anna's key after a day."""
    who = ("--phrase", words_of("anna"), "--organisation", institute.address)
    for guardian in ("vera", "olle"):
        words = ("--right", "recover", "--until", "2040-01-01")
        assert act("guardian", "appoint", known_as(guardian, patient), *who, *words)[0] == 0
    code, out, err = act("recover", "set", *who, "--guardians", "2", "--days", "1")
    assert (code, err, out["threshold"], out["delay"]) == (0, "", 2, DAY)


@pytest.fixture
def approve(liggare, words_of, patient, tmp_path):
    """A guardian approves that Nils' words replace Anna's: `approve("vera")` returns the file."""

    def approve(guardian, *words):
        out = tmp_path / f"{guardian}.approval"
        who = ("--phrase", words_of(guardian), "--for", patient, "--out", out)
        code, _, err = liggare("records", "recover", "approve", known_as("nils", patient), *who, *words)
        assert code == 0, err
        return out

    return approve


def test_from_a_lost_phrase_to_a_new_one(
    act, liggare, guarded, approve, words_of, patient, institute, tmp_path, carrier_file, clock, at, gate, granted
):
    approvals = approve("vera"), approve("olle")
    code, out, err = act("recover", "start", *approvals)
    assert (code, err, out["patient"]) == (0, "", patient)
    assert "a recovery is on its way" in liggare("records", "recover", "show", patient)[1]

    own = ("--phrase", words_of("anna"), "--organisation", institute.address)
    assert act("recover", "stop", *own)[0] == 0  # Anna has her phrase still, and stops it
    assert "on its way" not in liggare("records", "recover", "show", patient)[1]
    code, out, _ = act("recover", "start", *approvals)
    assert (code, out["error"]) == (1, "RecordsWrongVersion")

    approvals = approve("vera"), approve("olle")  # now she has lost it
    assert act("recover", "start", *approvals)[0] == 0
    code, out, _ = act("recover", "complete", patient)
    assert (code, out["error"]) == (1, "RecordsRecoveryNotReady")
    pass_time(DAY + 1)
    clock.ahead += DAY + 1
    code, out, _ = act("recover", "complete", patient)
    assert (code, out["actor"]) == (0, known_as("nils", patient))

    new = ("--phrase", words_of("nils"), "--for", patient)
    what = ("Condition", "--purpose", "HRESCH", "--until", "2040-01-01", "--share", tmp_path / "new.json")
    code, _, err = act("grant", institute.address, *what, *new)
    assert (code, err) == (0, "")
    code, out, err = liggare("records", "read", "Observation/f001", *new, *at, "--json")
    assert (code, err) == (0, "")
    gate.service.poster.post()
    code, out, _ = liggare("records", "log", institute.address, *new, *at, "--json")
    assert (code, [each["purpose"] for each in out["accesses"]]) == (0, ["PATRQT"])
    assert liggare("records", "log", institute.address, "--phrase", words_of("anna"), *at, "--json")[0] == 1
    _, out, _ = liggare("records", "list", "--phrase", words_of("anna"), "--json")
    assert [held["status"] for held in out["grants"]] == ["KeyReplaced", "granted"]
    _, out, _ = liggare("records", "list", *new, "--json")
    assert [held["organisation"] for held in out["grants"]] == [institute.address]


def test_approvals_of_one_week_agree_and_others_are_told_apart(act, guarded, approve):
    other = approve("olle", "--deadline", "2039-01-01")
    code, out, err = act("recover", "start", approve("vera"), other)
    assert (code, out["error"]) == (2, "UsageError")
    assert "olle.approval" in err
    assert "until 2039-01-01 00:00 UTC" in err
    assert "approve again, alike" in err


def test_one_guardian_is_too_few(act, guarded, approve):
    code, out, _ = act("recover", "start", approve("vera"))
    assert (code, out["error"]) == (1, "RecordsTooFewApprovals")


def test_who_is_no_guardian_approves_nothing(liggare, guarded, words_of, patient, tmp_path):
    who = ("--phrase", words_of("nils"), "--for", patient, "--out", tmp_path / "approval")
    code, out, _ = liggare("records", "recover", "approve", known_as("nils", patient), *who, "--json")
    assert (code, out["error"]) == (1, "RecordsMayNotAct")
    assert not (tmp_path / "approval").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"message": {}, "signature": "0x"}', "[]"])
def test_an_approval_that_is_none(act, deployments, tmp_path, text):
    path = tmp_path / "approval"
    path.write_text(text)
    code, out, _ = act("recover", "start", path)
    assert (code, out["error"]) == (1, "DataError")


def test_less_than_a_day_is_wrong_use(liggare, words_of, institute, carrier_file):
    who = ("--phrase", words_of("anna"), "--organisation", institute.address, "--carrier", carrier_file)
    code, _, err = liggare("records", "recover", "set", *who, "--guardians", "2", "--days", "0.5")
    assert (code, "--days" in err) == (2, True)


def test_without_recovery_nobody_replaces_the_key(liggare, deployments, act, words_of, institute, patient):
    assert "nobody can replace the key" in liggare("records", "recover", "show", patient)[1]
    who = ("--phrase", words_of("anna"), "--organisation", institute.address)
    code, out, _ = act("recover", "set", *who, "--guardians", "0")
    assert (code, out["threshold"]) == (0, 0)
    assert liggare("records", "recover", "show", patient, "--json")[1]["onItsWay"] is None
