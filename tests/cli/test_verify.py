"""`liggare verify`, `status`, `export`."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def paid(liggare, money, anna_file, carrier_file, bo):
    """Anna has paid Bo 12.50."""
    assert liggare("pay", bo.address, "12.50", "--key", anna_file, "--carrier", carrier_file)[0] == 0


def test_an_honest_ledger_is_clean(liggare, paid):
    code, out, _ = liggare("verify", "--json")
    assert code == 0
    assert (out["ok"], out["findings"]) == (True, [])
    assert out["checked"]["payments"] == 1


def test_it_says_in_words_what_it_checked(liggare, paid):
    code, out, _ = liggare("verify")
    assert code == 0
    assert "nothing is off" in out
    assert "authorizations" in out


def test_it_checks_signatures_and_code_unless_told_not_to_and_says_so(liggare, paid):
    code, out, _ = liggare("verify", "--json")
    assert (code, out["checked"]["signatures"], out["unchecked"]) == (0, 1, {})
    assert out["checked"]["contracts' code"] == len(liggare("status", "--json")[1]["contracts"])
    code, out, _ = liggare("verify", "--quick", "--json")
    assert (code, out["unchecked"]) == (0, {"signatures and senders were not asked for": out["rows"]})
    assert "not held against what was called and signed" in liggare("verify", "--quick")[1]


def test_a_copy_of_the_ledger_checks_too(liggare, paid, tmp_path):
    copy = tmp_path / "ledger.jsonl"
    code, out, _ = liggare("export", copy, "--json")
    assert (code, out["rows"]) == (0, len(copy.read_text().splitlines()))
    assert liggare("verify", "--copy", copy)[0] == 0


@pytest.mark.parametrize(("name", "words", "form"), [("l.csv", [], "csv"), ("l", ["--format", "parquet"], "parquet")])
def test_a_copy_for_other_programs(liggare, paid, tmp_path, name, words, form):
    code, out, _ = liggare("export", tmp_path / name, *words, "--json")
    assert (code, out["format"]) == (0, form)
    head = (tmp_path / name).read_bytes()[:4]
    assert head == (b"PAR1" if form == "parquet" else b"bloc")


def test_a_form_that_there_is_not_is_wrong_use(liggare, paid, tmp_path):
    code, out, err = liggare("export", tmp_path / "l", "--format", "parket", "--json")
    assert (code, out["error"]) == (2, "UnknownName")
    assert "is 'parquet' meant" in err
    assert not (tmp_path / "l").exists()


def test_a_tampered_copy_is_found_and_named(liggare, paid, tmp_path):
    copy = tmp_path / "ledger.jsonl"
    liggare("export", copy)
    lines = [json.loads(line) for line in copy.read_text().splitlines()]
    lines[-1]["arguments"]["value"] += 1
    copy.write_text("\n".join(map(json.dumps, lines)))
    code, out, _ = liggare("verify", "--copy", copy, "--json")
    assert code == 1
    assert {finding["rule"] for finding in out["findings"]} == {
        "an event tells what was called for: value of Transfer",
        "the balance is what its payments make",
    }


@pytest.mark.parametrize("line", ["{}", "x", '{"block": 1}'])
def test_a_file_that_is_no_copy_is_one_line(liggare, money, tmp_path, line):
    copy = tmp_path / "ledger.jsonl"
    copy.write_text(line + "\n")
    code, out, err = liggare("verify", "--copy", copy, "--json")
    assert (code, out["error"]) == (1, "DataError")
    assert "line 1" in err


def test_status_names_chain_contracts_and_money(liggare, money, anna, deployments):
    code, out, _ = liggare("status", anna.address, "--json")
    assert code == 0
    assert out["chainId"] == 1337
    assert out["contracts"]["ZeroFeePayments"] == money.address
    assert out["account"]["balance"] == 1_000_000_000
    assert "1000.00 LKR" in liggare("status", anna.address)[1]


def test_a_chain_that_is_down_is_one_line(liggare):
    code, out, err = liggare("status", "--json", rpc="http://127.0.0.1:9")
    assert (code, out["error"]) == (1, "ChainUnreachable")
    assert err == "liggare: no chain answers at http://127.0.0.1:9\n"


def test_another_chain_is_refused(liggare):
    code, out, _ = liggare("--chain-id", "5", "status", "--json")
    assert (code, out["error"]) == (1, "WrongChain")


def test_a_missing_record_is_one_line(liggare, tmp_path):
    code, out, err = liggare("--deployments", tmp_path, "status", "--json")
    assert (code, out["error"]) == (1, "DeploymentMissing")
    assert "brownie run deploy" in err


def test_a_setting_that_makes_no_sense_is_wrong_use(liggare):
    assert liggare("status", rpc="ftp://nowhere")[0] == 2
