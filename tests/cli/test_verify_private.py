"""`liggare verify --patient` and `--home`: what a patient alone can check, and what everybody can of a home."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from liggare.errors import LogForked
from liggare.ledger.verify import ChainState
from liggare.records.accesses import check_accesses
from liggare.records.messages import Terms
from liggare.records.pseudonyms import Pseudonyms
from tests.cli.conftest import KRONA, WORDS, known_as
from tests.records.conftest import EVER


@pytest.fixture
def verify(liggare, words_of):
    """Verify with Anna's side: `code, out, err = verify(…)`."""
    return lambda *words: liggare("verify", "--patient", words_of("anna"), *words, "--json")


@pytest.fixture
def shares(granted):
    """The folder of Anna's shares."""
    folder = granted.parent / "shares"
    folder.mkdir()
    (folder / "institute.json").write_bytes(granted.read_bytes())
    return folder


@pytest.fixture
def told(liggare, tmp_path):
    """A copy of the ledger with another history: `told(lambda rows: …)` returns its path."""

    def told(change):
        copy = tmp_path / "ledger.jsonl"
        assert liggare("export", copy)[0] == 0
        rows = change([json.loads(line) for line in copy.read_text().splitlines()])
        copy.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return copy

    return told


def rules(out):
    return {finding["rule"] for finding in out["findings"]}


# ------------------------------------------------------------------ the patient's grants


def test_a_patients_grants_are_told_in_clear_and_hold(verify, shares, institute):
    code, out, _ = verify("--shares", shares)
    assert (code, out["findings"]) == (0, [])
    (grant,) = out["patient"]["grants"]
    assert (grant["organisation"], grant["version"], grant["status"]) == (institute.address, 1, "live")
    assert grant["terms"]["categories"] == ["Observation"]
    assert out["checked"]["the patient's own words about its grants"] == 1
    assert out["checked"]["the patient's grants in clear"] == 1
    assert out["unchecked"] == {}


def test_without_shares_it_says_that_the_terms_were_not_checked(verify, liggare, granted, words_of):
    code, out, _ = verify()
    assert (code, out["unchecked"]) == (0, {"terms of grants that no share here tells": 1})
    assert "1  terms of grants that no share here tells" in liggare("verify", "--patient", words_of("anna"))[1]


def test_without_the_option_nothing_private_is_told(liggare, granted, institute):
    code, out, _ = liggare("verify", "--json")
    assert (code, "patient" in out, "home" in out) == (0, False, False)
    assert known_as("anna", institute) not in json.dumps(out)


def test_revokes_changes_and_a_guardians_grants_hold_too(
    verify, liggare, shares, granted, words_of, institute, insurer, carrier_file, tmp_path
):
    def records(*words):
        assert liggare("records", *words, "--carrier", carrier_file)[0] == 0

    anna, ends = ("--phrase", words_of("anna")), ("--purpose", "HRESCH", "--until", "2099-12-31")
    patient = known_as("anna", institute)
    until = ("--right", "grant", "--until", "2090-01-01", "--organisation", institute.address)
    records("guardian", "appoint", known_as("vera", patient), *until, *anna)
    theirs = tmp_path / "shares" / "vera.json"
    records("grant", insurer.address, "Claim", *ends, "--share", theirs, "--phrase", words_of("vera"), "--for", patient)
    records("grant", institute.address, "Condition", *ends, "--share", shares / "changed.json", *anna)
    code, out, _ = verify("--shares", shares)
    assert (code, out["findings"]) == (0, [])
    assert [grant["author"] == patient for grant in out["patient"]["grants"]] == [True, False]
    assert out["checked"]["the patient's shares"] == 3  # one of before the change
    assert out["checked"]["the patient's grants in clear"] == 2
    assert out["checked"]["words of who acts for the patient about its grants"] == 1
    records("revoke", institute.address, *anna)
    code, out, _ = verify("--shares", shares)
    assert (code, out["patient"]["grants"][0]["status"]) == (0, "revoked")


MADE = "a grant in the patient's name is to whom its words, or a share, make it"


def test_a_grant_in_the_patients_name_that_it_did_not_make_is_found(verify, told, shares, institute):
    """By an operator whose node stands by a history with one more grant."""

    def one_more(rows):
        at = next(number for number, row in enumerate(rows) if row["event"] == "Granted")
        more = json.loads(json.dumps(rows[at]))
        more["log_index"] += 1
        more["arguments"] |= {"blinded": "0x" + "66" * 32, "id": "0x" + "07" * 32}
        return [*rows[: at + 1], more, *rows[at + 1 :]]

    copy = told(one_more)
    code, out, _ = verify("--copy", copy, "--quick", "--shares", shares)
    (finding,) = [finding for finding in out["findings"] if finding["rule"] == MADE]
    assert (code, finding["actual"]) == (1, "0x" + "66" * 32)
    assert finding["place"].startswith("RecordAccess.Granted in block ")


def test_a_grant_by_the_patients_stolen_key_is_found(verify, granted, client, carrier, institute):
    """It is signed, so everybody's rules are content; but the patient's words make no such grant."""
    stolen = Pseudonyms(WORDS["anna"]).relationship(institute.address).account
    terms = Terms.of(["Observation"], ["HRESCH"], 0, EVER)
    client.carry(client.grant(stolen, institute.address, b"\x66" * 32, terms)[0], carrier)
    code, out, _ = verify()
    assert (code, rules(out)) == (1, {MADE})


def test_a_grant_that_is_left_out_is_found(verify, told, shares):
    copy = told(lambda rows: [row for row in rows if row["event"] != "Granted"])
    code, out, _ = verify("--copy", copy, "--quick", "--shares", shares)
    assert code == 1
    assert rules(out) >= {
        "everything that the patient's words granted is told, and nothing more",
        "what a share grants was granted on the ledger",
    }


def test_a_grant_of_other_terms_than_the_share_tells_is_found(verify, told, shares):
    def other_terms(rows):
        (row,) = [row for row in rows if row["event"] == "Granted"]
        first, rest = row["arguments"]["slot"][2:4], row["arguments"]["slot"][4:]
        row["arguments"]["slot"] = f"0x{int(first, 16) ^ 1:02x}{rest}"
        return rows

    code, out, _ = verify("--copy", told(other_terms), "--quick", "--shares", shares)
    assert code == 1
    assert "what a share grants was granted on the ledger" in rules(out)


def test_a_share_of_what_never_landed_is_found(verify, shares):
    path = shares / "institute.json"
    share = json.loads(path.read_text())
    share["terms"]["expiry"] += 1
    path.write_text(json.dumps(share))
    code, out, _ = verify("--shares", shares)
    assert (code, rules(out)) == (1, {"what a share grants was granted on the ledger"})
    assert out["unchecked"] == {"terms of grants that no share here tells": 1}


def test_anothers_words_and_shares_tell_nothing(liggare, shares, words_of):
    code, out, _ = liggare("verify", "--patient", words_of("nils"), "--shares", shares, "--json")
    assert (code, out["patient"]) == (0, {"grants": [], "accesses": []})
    assert out["unchecked"] == {"shares of another chain or of no pseudonym of the patient's": 1}


@pytest.mark.parametrize("words", [("--shares", "."), ("--gatekeeper", "0x" + "12" * 20 + "=http://x")])
def test_options_of_a_patient_without_one_are_wrong_use(liggare, money, words):
    code, out, _ = liggare("verify", *words, "--json")
    assert (code, out["error"]) == (2, "UsageError")


def test_a_seed_phrase_that_others_may_read_or_that_is_none_is_refused(liggare, money, words_of, tmp_path):
    path = words_of("anna")
    path.chmod(0o644)
    code, out, _ = liggare("verify", "--patient", path, "--json")
    assert (code, out["error"]) == (2, "UsageError")
    code, out, _ = liggare("verify", "--patient", tmp_path / "none", "--json")
    assert (code, out["error"]) == (1, "KeyFileMissing")


# ------------------------------------------------------------------ the patient's accesses


def test_accesses_by_a_custodians_log_and_by_its_gatekeeper_are_the_same(
    verify, liggare, reads, gate, kept, hospital, tmp_path
):
    assert reads("Observation/f001")[0] == 0
    gate.service.poster.post()
    log = tmp_path / "access.jsonl"
    assert liggare("custodian", "export-log", hospital.address, log, *kept)[0] == 0
    code, out, _ = verify("--log", f"{hospital.address}={log}")
    assert (code, out["findings"]) == (0, [])
    (access,) = out["patient"]["accesses"]
    assert (access["records"], access["purpose"], access["onLedger"]) == (["Observation/f001"], "HRESCH", True)
    code, asked, _ = verify("--gatekeeper", f"{hospital.address}={gate.url}")
    assert (code, asked["findings"], asked["patient"]) == (0, [], out["patient"])
    assert asked["checked"]["accesses to the patient's records"] == 1
    code, out, _ = verify()
    assert out["unchecked"]["access logs of custodians that were not at hand"] == 1


def test_an_access_that_no_grant_covers_is_found_at_the_gatekeeper_too(verify, reads, gate, hospital, monkeypatch):
    """By a gatekeeper that let read beyond the grant and wrote down what it did: its own log is whole."""
    assert reads("Observation/f001")[0] == 0
    gate.service.poster.post()

    def beyond(document, *words):
        found = check_accesses(document, *words)
        records = ("Condition/1",)
        told = [replace(each, release=replace(each.release, records=records)) for each in found.accesses]
        return replace(found, accesses=told)

    monkeypatch.setattr("liggare.records.visit.check_accesses", beyond)
    code, out, _ = verify("--gatekeeper", f"{hospital.address}={gate.url}")
    assert (code, "every read is covered by a grant at its block" in rules(out)) == (1, True)


def test_a_gatekeeper_that_cheats_is_a_finding(verify, reads, gate, hospital, monkeypatch):
    assert reads("Observation/f001")[0] == 0

    def forked(*_):
        raise LogForked("another log")

    monkeypatch.setattr("liggare.records.visit.check_accesses", forked)
    code, out, _ = verify("--gatekeeper", f"{hospital.address}={gate.url}")
    (finding,) = out["findings"]
    assert (code, finding["actual"]) == (1, "LogForked: another log")


# ------------------------------------------------------------------ a home's bill


def test_a_homes_bill_comes_to_what_its_account_changed_by(liggare, settled, market):
    code, out, _ = liggare("verify", "--home", 1, "--json")
    assert (code, out["findings"]) == (0, [])
    bill = liggare("energy", "bill", 1, "--json")[1]
    assert {name: out["home"][name] for name in bill} == bill
    assert (out["home"]["deposited"], out["home"]["balance"]) == (100 * KRONA, market.balance(1))
    assert (out["home"]["cost"], out["home"]["alone"]) == (400 * 2_000 + 500 * 2_500, 900 * 2_500)
    assert "without the market" in liggare("verify", "--home", 2)[1]


BALANCE = "the balance is what was deposited, less what was withdrawn and what the bill comes to"


@pytest.mark.parametrize("off", [1, -1])
def test_a_bill_that_is_off_by_one_unit_is_found(liggare, settled, monkeypatch, off):
    """By a contract that moved another sum than its events make."""
    honest = ChainState.call

    def lying(self, contract, function, *arguments):
        value = honest(self, contract, function, *arguments)
        return value + off if (function, arguments) == ("balanceOf", (1,)) else value

    monkeypatch.setattr(ChainState, "call", lying)
    code, out, _ = liggare("verify", "--home", 1, "--json")
    (finding,) = [finding for finding in out["findings"] if finding["rule"] == BALANCE]
    assert (code, finding["actual"] - finding["expected"]) == (1, off)
    code, out, _ = liggare("verify", "--home", 2, "--json")
    assert BALANCE not in rules(out)


def test_a_deposit_told_one_unit_off_is_found(liggare, settled, told):
    def less(rows):
        (row,) = [row for row in rows if row["event"] == "Deposited"]
        row["arguments"]["value"] -= 1
        return rows

    code, out, _ = liggare("verify", "--home", 1, "--copy", told(less), "--quick", "--json")
    assert (code, BALANCE in rules(out)) == (1, True)


def test_a_home_that_there_is_not_is_wrong_use(liggare, market):
    code, out, err = liggare("verify", "--home", 3, "--json")
    assert (code, out["error"]) == (2, "UsageError")
    assert "there are no homes yet" in err
