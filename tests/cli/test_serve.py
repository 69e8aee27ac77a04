"""`liggare serve relay|gatekeeper|explorer`: what they refuse to start with, and what they say when they run."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from liggare.records.keyring import MasterKey
from tests.support import ROOT


@pytest.mark.parametrize(
    ("words", "says", "exit_code"),
    [
        (["--database", "postgresql://me:hunter2@db/relay"], "LIGGARE_DATABASE_URL", 2),
        (["--database", "nonsense"], "the database's URL is none", 2),
        (["--database", "postgresql://127.0.0.1:1/relay"], "does not answer", 1),
        (["--budget", "much"], "no amount of ether", 2),
        (["--budget", "-1"], "no amount of ether", 2),
        (["--records-budget", "much"], "no amount of ether", 2),
        (["--host", "203.0.113.7"], "can't listen on 203.0.113.7", 2),
    ],
)
def test_what_it_does_not_start_with(liggare, carrier_file, words, says, exit_code):
    code, _, err = liggare("serve", "relay", "--key", carrier_file, "--port", 0, *words)
    assert (code, says in err) == (exit_code, True), err
    assert "hunter2" not in err


def test_a_port_in_use(liggare, carrier_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = liggare("serve", "relay", "--key", carrier_file, "--port", port)
    assert code == 2
    assert f"can't listen on 127.0.0.1:{port}" in err


@pytest.fixture
def run(rpc_url, deployments_folder, password_file):
    """Start a service as a shell does; yields its first line and stops it: `with run("relay", …) as line:`."""

    @contextmanager
    def run(*words, **environment):
        common = ["--rpc", rpc_url, "--deployments", deployments_folder, "--password-file", password_file]
        command = [Path(sys.executable).with_name("liggare"), *common, "serve", *words, "--port", "0"]
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        told = SimpleNamespace(line=process.stdout.readline(), err="")
        try:
            yield told
        finally:
            process.send_signal(signal.SIGTERM)
            _, told.err = process.communicate(timeout=30)
        assert process.returncode == 0, told.err
        assert "Traceback" not in told.err

    return run


def test_the_relayer_serves_until_it_is_told_to_stop(run, carrier_file, tmp_path):
    """As a shell starts it: it says where it is, answers, keeps the key's password and the database to itself."""
    environment = {"LIGGARE_DATABASE_URL": f"sqlite:///{tmp_path}/relay.db"}
    with run("relay", "--key", carrier_file, "--records-budget", "0.1", **environment) as told:
        url = re.fullmatch(r"relaying for chain 1337 at (http://127.0.0.1:\d+)\n", told.line)[1]
        assert httpx.get(f"{url}/openapi.json", timeout=20).json()["info"]["title"] == "Liggare relay"
        answer = httpx.post(f"{url}/v1/records", json={"type": "Grant"}, timeout=20)
        assert answer.json()["name"] == "Malformed"


# ---------------------------------------------------------------------- the gatekeeper


@pytest.fixture
def master_key(tmp_path):
    """A file with a master key that only its owner can read."""
    path = tmp_path / "master.key"
    MasterKey.new(path)
    return path


def test_what_the_gatekeeper_does_not_start_with(liggare, carrier_file, tmp_path, master_key, monkeypatch):
    monkeypatch.delenv("LIGGARE_MASTER_KEY", raising=False)
    open_to_all = tmp_path / "open.key"
    open_to_all.write_text("11" * 32)
    open_to_all.chmod(0o644)
    database = ["--database", f"sqlite:///{tmp_path}/gatekeeper.db"]
    key = ["--master-key", master_key]
    for words, says, exit_code in (
        (database, "LIGGARE_MASTER_KEY is not set", 1),
        ([*database, "--master-key", tmp_path / "none"], "can't be read", 1),
        ([*database, "--master-key", open_to_all], "can read the master key's file", 1),
        ([*key, "--database", "postgresql://me:hunter2@db/records"], "LIGGARE_DATABASE_URL", 2),
        ([*key, "--database", "nonsense"], "the database's URL is none", 2),
        ([*key, "--database", "postgresql://127.0.0.1:1/records"], "does not answer", 1),
        ([*key, *database, "--url", "hospital.example"], "is no public URL", 2),
        ([*key, *database, "--staff", "anna"], "is no address", 2),
        ([*key, *database, "--host", "203.0.113.7"], "can't listen on 203.0.113.7", 2),
    ):
        words = ["--keyring", tmp_path / "keyring", "--port", 0, *words]
        code, _, err = liggare("serve", "gatekeeper", "--key", carrier_file, *words)
        assert (code, says in err) == (exit_code, True), err
        assert "hunter2" not in err


def test_the_gatekeeper_serves_until_it_is_told_to_stop(run, carrier_file, carrier, tmp_path, master_key):
    """As a shell starts it: it says where it is, answers, and logs no path and no query."""
    words = ["--key", carrier_file, "--keyring", tmp_path / "keyring", "--master-key", master_key]
    database = {"LIGGARE_DATABASE_URL": f"sqlite:///{tmp_path}/gatekeeper.db"}
    with run("gatekeeper", *words, **database) as told:
        form = r"keeping the gate of (0x\w{40}) for chain 1337 at (http://127.0.0.1:\d+)\n"
        custodian, url = re.fullmatch(form, told.line).groups()
        assert custodian == carrier.account.address
        assert httpx.get(f"{url}/fhir/metadata", timeout=20).json()["implementation"]["url"] == f"{url}/fhir"
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
        answer = httpx.get(f"{url}/fhir/Observation/secret-id?name=secret-name", headers={"authorization": "Bearer x"})
        assert answer.status_code == 401
        assert "server" not in answer.headers
    assert "secret" not in told.err


def test_the_gatekeeper_does_not_start_without_its_chain(liggare, carrier_file, master_key, tmp_path):
    words = ["--keyring", tmp_path / "keyring", "--master-key", master_key]
    code, _, err = liggare("serve", "gatekeeper", "--key", carrier_file, *words, "--port", 0, rpc="http://127.0.0.1:1")
    assert code == 1
    assert "no chain answers" in err


# ---------------------------------------------------------------------- the explorer


def test_the_explorer_serves_ganaches_ledger_until_it_is_told_to_stop(run, tmp_path):
    with run("explorer", "--database", f"sqlite:///{tmp_path}/index.db") as told:
        url = re.fullmatch(r"showing the ledger of chain 1337 at (http://127.0.0.1:\d+)\n", told.line)[1]
        deadline = time.monotonic() + 20
        while "Up to date with the chain" not in (page := httpx.get(url, timeout=20).text):
            assert time.monotonic() < deadline, page
            time.sleep(0.2)
        assert "ZeroFeePayments" in page
