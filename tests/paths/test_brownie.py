"""Brownie's own commands, typed as they stand, use Ganache."""

from __future__ import annotations

import json
import socket
import subprocess
import time

import pytest

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
