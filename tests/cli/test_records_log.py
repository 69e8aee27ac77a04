"""`liggare records log`: who has read, checked against the ledger; and what a custodian could hide."""

from __future__ import annotations

import json

import pytest

from liggare.errors import AccessHidden
from liggare.records.tree import Head
from tests.cli.conftest import known_as


@pytest.fixture
def log(liggare, at, words_of, institute):
    """Anna looks who has read what the institute was granted."""
    return lambda *words: liggare("records", "log", institute.address, "--phrase", words_of("anna"), *at, *words)


def test_before_the_first_head_it_shows_what_there_is_and_how_long_to_wait(log, reads, institute):
    code, out, err = log("--json")
    assert (code, out["error"]) == (1, "LogUnposted")
    assert "it shows no access" in err
    reads("Observation/f001")
    code, out, err = log()
    assert code == 1
    assert institute.address in out
    assert "not on the ledger yet" in out
    assert "the one access shown may not be all" in err
    assert "within ten minutes" in err
    assert log("--json")[1]["error"] == "LogUnposted"


def test_every_access_is_shown_and_checked(log, reads, gate, institute, words_of):
    reads("Observation/f001")
    reads("Observation?date=lt2000")
    gate.service.poster.post()
    reads("Observation/f001")
    code, out, err = log("--json")
    assert (code, err) == (0, "")
    assert [(each["serial"], each["records"], each["onLedger"]) for each in out["accesses"]] == [
        (1, ["Observation/f001"], True),
        (2, [], True),
        (3, ["Observation/f001"], False),
    ]
    assert out["patient"] == known_as("anna", institute)
    code, out, _ = log()
    assert "(looked, found nothing)" in out
    assert "(not on the ledger yet)" in out
    assert "nothing is left out or rewritten" in out
    memory = words_of("anna").with_name("anna.phrase.heads.json")
    assert memory.stat().st_mode & 0o777 == 0o600


def test_of_another_pseudonym_nothing_was_read(liggare, at, words_of, reads, gate, insurer):
    reads("Observation/f001")
    gate.service.poster.post()
    code, out, _ = liggare("records", "log", insurer.address, "--phrase", words_of("anna"), *at)
    assert code == 0
    assert f"nobody has read anything under {known_as('anna', insurer)}" in out


def test_a_head_seen_before_is_gone_on_from(log, reads, gate, hospital, client, tmp_path):
    seen = tmp_path / "heads.json"
    reads("Observation/f001")
    gate.service.poster.post()
    assert log("--seen", seen)[0] == 0
    (name,) = kept = json.loads(seen.read_text())
    assert name == f"{client.domain.chain_id}/{client.domain.verifying_contract}/{hospital.address}"
    reads("Observation/f001")
    gate.service.poster.post()
    assert log("--seen", seen)[0] == 0
    seen.write_text(json.dumps({name: [kept[name][0], "ab" * 32]}))
    code, out, _ = log("--seen", seen, "--json")
    assert (code, out["error"]) == (1, "LogForked")


def test_a_log_of_another_chain_is_another(log, reads, gate, hospital, tmp_path):
    """The same custodian on a chain made anew has not forked its log."""
    seen = tmp_path / "heads.json"
    seen.write_text(json.dumps({f"1/{hospital.address}/{hospital.address}": [7, "ab" * 32]}))
    reads("Observation/f001")
    gate.service.poster.post()
    assert log("--seen", seen)[0] == 0
    assert len(json.loads(seen.read_text())) == 2


@pytest.mark.parametrize("text", ["[", "[1]", '{"x": 5}', '{"x": [1, "zz"]}'])
def test_heads_that_are_none_are_not_taken_for_none_seen(log, tmp_path, text):
    seen = tmp_path / "heads.json"
    seen.write_text(text)
    code, out, _ = log("--seen", seen, "--json")
    assert (code, out["error"]) == (1, "DataError")
    assert seen.read_text() == text


def test_two_phrases_in_one_folder_remember_apart(log, liggare, at, words_of, reads, gate, institute):
    reads("Observation/f001")
    gate.service.poster.post()
    assert log()[0] == 0
    assert liggare("records", "log", institute.address, "--phrase", words_of("olle"), *at)[0] == 0
    assert words_of("anna").with_name("anna.phrase.heads.json").exists()
    assert words_of("olle").with_name("olle.phrase.heads.json").exists()


def test_a_custodian_that_hides_an_access_is_found_out(log, reads, gate, monkeypatch):
    reads("Observation/f001")
    reads("Observation/f001")
    gate.service.poster.post()
    proof = gate.service.desk.book.proof

    def hide(patient, remembered=0):
        told = proof(patient, remembered)
        return {**told, "entries": told["entries"][:1]}

    monkeypatch.setattr(gate.service.desk.book, "proof", hide)
    code, out, err = log("--json")
    assert (code, out["error"]) == (1, AccessHidden.__name__)
    assert "1 of 2 accesses are left out: 2" in err


def test_a_posted_log_shown_as_unposted_is_found_out(log, reads, gate, monkeypatch):
    """A head is on the chain, so an answer of size 0 is one that hides."""
    reads("Observation/f001")
    gate.service.poster.post()
    fresh = gate.service.desk.book.proof
    empty = Head(0, b"").size
    monkeypatch.setattr(gate.service.desk.book, "proof", lambda *words: {**fresh(*words), "size": empty, "entries": []})
    code, out, _ = log("--json")
    assert (code, out["error"]) == (1, "AccessHidden")
