"""`liggare vault`: tokens into money and back."""

from __future__ import annotations

import json

import pytest
from brownie import accounts as brownie_accounts

from tests.cli.conftest import KRONA


@pytest.fixture
def tokens(money, token, anna):
    """The token of the vault; Anna has 50 of it."""
    token.mint(anna.address, 50 * 10**18, {"from": brownie_accounts[6]})
    return token


@pytest.fixture
def deposited(liggare, tokens, ether, anna, anna_file):
    """Anna, who has ether, has deposited 40; the token."""
    ether(anna)
    code, out, _ = liggare("vault", "deposit", "40", "--key", anna_file, "--json")
    assert (code, out["value"], out["to"]) == (0, 40 * KRONA, anna.address)
    return tokens


def test_a_deposit_turns_tokens_into_money(money, deposited, anna):
    assert money.balanceOf(anna.address) == 1040 * KRONA
    assert deposited.balanceOf(anna.address) == 10 * 10**18


def test_a_withdrawal_is_carried_for_one_without_ether(
    liggare, money, deposited, bo, key_file, anna_file, carrier_file
):
    assert liggare("pay", bo.address, "40", "--key", anna_file)[0] == 0
    words = ("vault", "withdraw", "15.5", "--key", key_file(bo, "bo"), "--carrier", carrier_file)
    code, out, _ = liggare(*words)
    assert code == 0
    assert "turned 15.50 LKR into tokens" in out
    assert (deposited.balanceOf(bo.address), money.balanceOf(bo.address)) == (155 * 10**17, 24_500_000)


def test_tokens_go_where_they_are_sent(liggare, deposited, cia, anna_file, carrier_file):
    words = ("vault", "withdraw", "1", "--to", cia.address, "--key", anna_file, "--carrier", carrier_file, "--json")
    code, out, _ = liggare(*words)
    assert (code, out["to"]) == (0, cia.address)
    assert deposited.balanceOf(cia.address) == 10**18


def test_more_than_the_vault_issued_is_refused_by_name(liggare, deposited, anna_file, carrier_file):
    code, out, _ = liggare("vault", "withdraw", "41", "--key", anna_file, "--carrier", carrier_file, "--json")
    assert (code, out["error"]) == (1, "VaultExhausted")


def test_a_token_that_takes_no_signatures_is_wrong_use(liggare, tokens, anna_file, carrier_file):
    code, out, _ = liggare("vault", "deposit", "1", "--key", anna_file, "--carrier", carrier_file, "--json")
    assert (code, out["error"]) == (2, "UsageError")


def test_a_refusal_of_the_token_is_one_line(liggare, deposited, anna_file):
    code, out, err = liggare("vault", "deposit", "11", "--key", anna_file, "--json")
    assert (code, out["error"]) == (1, "VaultTokenRefused")
    assert err.count("\n") == 1


def test_verify_finds_tokens_that_are_gone(liggare, deposited, deployments):
    assert liggare("verify")[0] == 0
    vault = deployments.contracts["StablecoinVault"].address
    deposited.shrink(vault, 1, {"from": brownie_accounts[6]})
    code, out, _ = liggare("verify", "--json")
    assert code == 1
    assert [finding["rule"] for finding in out["findings"]] == ["the vault holds tokens for all that it issued"]


def test_a_tampered_copy_is_found_and_named(liggare, deposited, tmp_path):
    copy = tmp_path / "ledger.jsonl"
    liggare("export", copy)
    lines = [json.loads(line) for line in copy.read_text().splitlines()]
    deposit = next(line for line in lines if line["event"] == "Deposited")
    deposit["arguments"]["value"] += 1
    copy.write_text("\n".join(map(json.dumps, lines)))
    code, out, _ = liggare("verify", "--copy", copy, "--json")
    assert code == 1
    assert "what is issued is what deposits and withdrawals make" in {each["rule"] for each in out["findings"]}


def test_a_deployment_without_a_vault_is_named(liggare, deployments, tmp_path, anna_file):
    """A vault needs a token: without one there is none, and all else works."""
    record = json.loads(json.dumps({"chainId": deployments.chain_id, "genesis": deployments.genesis, "contracts": {}}))
    for name, item in deployments.contracts.items():
        if name != "StablecoinVault":
            record["contracts"][name] = vars(item)
    (tmp_path / f"{deployments.chain_id}.json").write_text(json.dumps(record))
    words = ("--deployments", tmp_path, "vault", "deposit", "1", "--key", anna_file, "--json")
    code, out, _ = liggare(*words)
    assert (code, out["error"]) == (1, "DeploymentMissing")
    assert liggare("--deployments", tmp_path, "verify")[0] == 0
