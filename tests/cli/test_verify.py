"""`liggare verify`, `status`, `export`."""

from __future__ import annotations

import json

import pytest

from liggare.ledger.rows import Finding
from tests.nodes import Proxy
from tests.support import isolated, rpc


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


@pytest.fixture
def checkpoint(liggare, paid, operator_file, tmp_path):
    """A checkpoint after Anna's payment, signed by the operator."""
    path = tmp_path / "checkpoint"
    assert liggare("verify", "--checkpoint", path, "--key", operator_file)[0] == 0
    return path


def test_it_goes_on_from_a_checkpoint_with_the_same_result(
    liggare, checkpoint, anna_file, carrier_file, operator_file, operator, bo
):
    assert liggare("pay", bo.address, "2", "--key", anna_file, "--carrier", carrier_file)[0] == 0
    whole = liggare("verify", "--json")
    assert whole[1]["checked"]["payments"] == 2
    assert liggare("verify", "--since", checkpoint, "--signer", operator.address, "--json") == whole
    # also to write the next in its place; and where nothing came after it
    again = ("verify", "--since", checkpoint, "--checkpoint", checkpoint, "--key", operator_file, "--json")
    assert liggare(*again) == whole
    assert liggare(*again) == whole
    assert checkpoint.stat().st_mode & 0o777 == 0o600


def test_only_what_came_after_a_checkpoint_is_asked_for(liggare, checkpoint, operator, rpc_url):
    proxy = Proxy(rpc_url)
    try:
        words = ("--since", checkpoint, "--signer", operator.address)
        assert liggare("verify", *words, rpc=proxy.url)[0] == 0
        since = dict(proxy.asked)
        proxy.asked.clear()
        assert liggare("verify", rpc=proxy.url)[0] == 0
    finally:
        proxy.close()
    assert since["eth_getBlockByNumber"] < 10 < proxy.asked["eth_getBlockByNumber"]
    assert since["eth_getTransactionByHash"] < proxy.asked["eth_getTransactionByHash"]  # those of the record alone


def test_there_is_no_checkpoint_of_a_ledger_that_is_off(liggare, paid, operator_file, tmp_path, monkeypatch):
    monkeypatch.setattr("liggare.cli.ledger.check_code", lambda *_: [Finding("here", "a rule", 1, 2)])
    path = tmp_path / "checkpoint"
    assert liggare("verify", "--checkpoint", path, "--key", operator_file)[0] == 1
    assert list(tmp_path.glob("*checkpoint*")) == []


def test_a_checkpoint_of_blocks_that_the_chain_left_is_refused(liggare, paid, operator, operator_file, tmp_path):
    path, words = tmp_path / "checkpoint", ("--signer", operator.address, "--json")
    with isolated():
        rpc("evm_increaseTime", 5)
        rpc("evm_mine")
        assert liggare("verify", "--checkpoint", path, "--key", operator_file)[0] == 0
    code, out, err = liggare("verify", "--since", path, *words)  # a shorter chain
    assert (code, out["error"]) == (1, "CheckpointReorged")
    for _ in range(4):
        rpc("evm_increaseTime", 50)
        rpc("evm_mine")
    code, out, err = liggare("verify", "--since", path, *words)
    assert (code, out["error"]) == (1, "CheckpointReorged")
    assert "verify from the start" in err


def test_a_checkpoint_that_is_not_to_be_gone_on_from_is_one_line(liggare, checkpoint, operator, anna):
    code, out, err = liggare("verify", "--since", checkpoint, "--signer", anna.address, "--json")
    assert (code, out["error"], err.count("\n")) == (1, "CheckpointOfAnother", 1)
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b'"supply"', b'"supplY"'))
    code, out, err = liggare("verify", "--since", checkpoint, "--signer", operator.address, "--json")
    assert (code, out["error"], err.count("\n")) == (1, "CheckpointDamaged", 1)


@pytest.mark.parametrize(
    "words",
    [
        ["--checkpoint", "x"],
        ["--checkpoint", "x", "--signer", "0x" + "11" * 20],
        ["--since", "x"],
        ["--since", "x", "--signer", "0x11"],
        ["--since", "x", "--signer", "0x" + "11" * 20, "--quick"],
        ["--since", "x", "--signer", "0x" + "11" * 20, "--copy", "y"],
        ["--since", "x", "--signer", "0x" + "11" * 20, "--log", "y=z"],
    ],
)
def test_words_about_checkpoints_that_make_no_sense_are_wrong_use(liggare, words):
    assert liggare("verify", *words)[0] == 2
