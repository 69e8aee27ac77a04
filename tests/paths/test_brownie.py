"""Brownie's own commands, typed as they stand, use Ganache."""

from __future__ import annotations

import json
import socket
import subprocess
import time

import pytest
from eth_account import Account

from liggare import accounts
from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.errors import ChainUnreachable
from liggare.payments.client import Payments
from tests.support import ROOT

PORT = 8555
"""Ganache's in brownie-config.yaml: what people type has no free port picked for it."""


def brownie(*words, said=""):
    """Run a Brownie command to its end and return what it printed. Skips where its port is taken."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT} is taken")
    ran = subprocess.run(["brownie", *words], cwd=ROOT, input=said, capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_run_deploy_launches_ganache_and_records_where_the_contracts_are():
    began = time.time()
    assert "ganache-cli" in brownie("run", "deploy")
    record = ROOT / "deployments" / "1337.json"
    assert record.stat().st_mtime >= began - 1
    assert set(json.loads(record.read_text())["contracts"]) == {
        "ZeroFeePayments",
        "CareRegistry",
        "RecordAccess",
        "EnergyMarket",
        "Escrow",
    }


def test_test_runs_the_suite_on_ganache():
    said = brownie("test", "tests/payments/test_issue.py")
    assert "Launching 'ganache-cli" in said
    assert "9 passed" in said


def test_console_opens_on_ganache():
    said = brownie("console", said="print('on', network.show_active())\nexit()\n")
    assert "Launching 'ganache-cli" in said
    assert "on ganache-cli" in said


def test_compile_compiles():
    assert "Project has been compiled" in brownie("compile")


@pytest.fixture
def ganache():
    """A Ganache of this test's own where Brownie's commands look for one, so that they share a chain."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT} is taken")
    seed = "test test test test test test test test test test test junk"
    options = ["--wallet.mnemonic", seed, "--chain.chainId", "1337", "--chain.hardfork", "shanghai"]
    process = subprocess.Popen(
        ["ganache", "--server.port", str(PORT), *options, "--chain.vmErrorsOnRPCResponse", "true"],
        stdout=subprocess.DEVNULL,
    )
    try:
        w3 = until_up(f"http://127.0.0.1:{PORT}")
        yield w3
    finally:
        process.terminate()
        process.wait(timeout=20)


def until_up(url):
    """Connect as soon as the chain answers, within 30 s."""
    for _ in range(300):
        try:
            return connect(url)
        except ChainUnreachable:
            time.sleep(0.1)
    raise AssertionError("Ganache did not start")


def test_run_pay_pays_a_payroll_once_on_the_chain_that_is_there(ganache, tmp_path, monkeypatch):
    said = command("run", "deploy")
    assert "Attached to local RPC client" in said
    deployments = Deployments.load(ROOT / "deployments", 1337)
    operator = Account.from_mnemonic("test test test test test test test test test test test junk")
    payments = Payments(ganache, deployments)
    payments.mint(operator.address, 30_000_000, Sender(ganache, operator))
    accounts.write(tmp_path / "operator.json", operator, "secret", iterations=2)
    (tmp_path / "password").write_text("secret\n")
    monkeypatch.setenv("LIGGARE_PASSWORD_FILE", str(tmp_path / "password"))
    payees = ["0x" + f"{number:040x}" for number in (1001, 1002)]
    (tmp_path / "payroll.csv").write_text(f"payee,amount,reference\n{payees[0]},10,\n{payees[1]},20,\n")
    words = ("run", "pay", "main", tmp_path / "payroll.csv", "2026-11", tmp_path / "operator.json")
    assert "paid 30.00 LKR in 2 of 2 rows" in command(*words)
    assert "2 were paid before" in command(*words)
    assert [payments.balance(payee) for payee in payees] == [10_000_000, 20_000_000]


def command(*words):
    """Run a Brownie command on the chain that is there; return what it printed."""
    ran = subprocess.run(["brownie", *words], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
