"""`liggare serve relay|gatekeeper`: what it refuses to start with, and what it says when it runs."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

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


def test_it_serves_until_it_is_told_to_stop(rpc_url, deployments_folder, password_file, carrier_file, tmp_path):
    """As a shell starts it: it says where it is, answers, keeps the key's password and the database to itself."""
    common = ["--rpc", rpc_url, "--deployments", deployments_folder, "--password-file", password_file]
    command = [
        Path(sys.executable).with_name("liggare"),
        *common,
        "serve",
        "relay",
        "--key",
        carrier_file,
        "--port",
        "0",
        "--records-budget",
        "0.1",
    ]
    environment = {**os.environ, "LIGGARE_DATABASE_URL": f"sqlite:///{tmp_path}/relay.db", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        first = process.stdout.readline()
        url = re.fullmatch(r"relaying for chain 1337 at (http://127.0.0.1:\d+)\n", first)[1]
        assert httpx.get(f"{url}/openapi.json", timeout=20).json()["info"]["title"] == "Liggare relay"
        answer = httpx.post(f"{url}/v1/records", json={"type": "Grant"}, timeout=20)
        assert answer.json()["name"] == "Malformed"
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err


# ---------------------------------------------------------------------- the gatekeeper


@pytest.fixture
def master(liggare, tmp_path):
    """A file with a master key."""
    assert liggare("custodian", "key", tmp_path / "master")[0] == 0
    return tmp_path / "master"


@pytest.fixture
def start(liggare, carrier_file, master, tmp_path):
    """Try to start a gatekeeper: `start("--url", "nonsense")`; what is named again counts."""

    def start(*words, common=(), **rpc):
        base = ("--key", carrier_file, "--keyring", tmp_path / "keyring", "--master-key", master, "--port", 0)
        base += ("--database", f"sqlite:///{tmp_path}/gatekeeper.db")
        return liggare(*common, "serve", "gatekeeper", *base, *words, **rpc)

    return start


@pytest.mark.parametrize(
    ("words", "says", "exit_code"),
    [
        (["--database", "postgresql://me:hunter2@db/records"], "LIGGARE_DATABASE_URL", 2),
        (["--database", "nonsense"], "the database's URL is none", 2),
        (["--database", "postgresql://127.0.0.1:1/records"], "does not answer", 1),
        (["--host", "203.0.113.7"], "can't listen on 203.0.113.7", 2),
        (["--url", "hospital.example"], "is no public URL", 2),
        (["--staff", "0x12"], "is no address", 2),
        (["--key", "/nowhere/key"], "/nowhere/key", 1),
        (["--master-key", "/nowhere/master"], "the master key", 1),
    ],
)
def test_what_a_gatekeeper_does_not_start_with(start, deployments, words, says, exit_code):
    code, _, err = start(*words)
    assert (code, says in err) == (exit_code, True), err
    assert "hunter2" not in err
    assert "Traceback" not in err


def test_without_a_master_key_or_with_one_that_others_read(liggare, start, carrier_file, deployments, master):
    code, _, err = liggare("serve", "gatekeeper", "--key", carrier_file, "--port", 0)
    assert (code, "LIGGARE_MASTER_KEY is not set" in err) == (1, True)
    master.chmod(0o640)
    code, _, err = start()
    assert (code, "others" in err) == (1, True), err
    master.chmod(0o600)
    master.write_text("secret words\n")
    code, _, err = start()
    assert (code, "secret" in err) == (1, False)


def test_another_master_key_than_the_keyrings(liggare, start, deployments, master, tmp_path):
    where = ("--keyring", tmp_path / "keyring", "--database", f"sqlite:///{tmp_path}/gatekeeper.db")
    words = ("custodian", "import", ROOT / "scripts" / "data" / "fhir", "--master-key", master, *where)
    assert liggare(*words)[0] == 0
    assert liggare("custodian", "key", tmp_path / "other")[0] == 0
    code, _, err = start("--master-key", tmp_path / "other")
    assert (code, "does not open with this master key" in err) == (1, True), err


def test_a_gatekeeper_of_another_chain_or_of_none(start, deployments):
    code, _, err = start(common=("--chain-id", "5"))
    assert (code, "chain 5 was asked for" in err) == (1, True), err
    code, _, err = start(rpc="http://127.0.0.1:1")
    assert (code, "no chain answers" in err) == (1, True), err


def test_a_gatekeepers_port_in_use(start, deployments):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = start("--port", taken.getsockname()[1])
    assert (code, "can't listen on 127.0.0.1" in err) == (2, True)


def test_a_gatekeeper_runs_until_it_is_told_to_stop(
    rpc_url, deployments, deployments_folder, password_file, carrier, carrier_file, master, tmp_path
):
    """As a shell starts it: it says where it is and whose; its files are its owner's alone."""
    words = ["--rpc", rpc_url, "--deployments", deployments_folder, "--password-file", password_file]
    words += ["serve", "gatekeeper", "--key", carrier_file, "--port", "0", "--url", "https://hospital.example"]
    words += ["--keyring", tmp_path / "keyring"]
    environment = {**os.environ, "LIGGARE_DATABASE_URL": f"sqlite:///{tmp_path}/gatekeeper.db", "PYTHONUNBUFFERED": "1"}
    environment["LIGGARE_MASTER_KEY"] = master.read_text().strip()
    command = [str(Path(sys.executable).with_name("liggare")), *map(str, words)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        first = process.stdout.readline()
        said = rf"keeping the gate of {carrier.account.address} for chain 1337 at (http://127.0.0.1:\d+)\n"
        url = re.fullmatch(said, first)[1]
        statement = httpx.get(f"{url}/fhir/metadata", timeout=20).json()
        assert statement["implementation"]["url"] == "https://hospital.example/fhir"
        assert httpx.get(f"{url}/fhir/Patient/f001", timeout=20).status_code == 401
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert environment["LIGGARE_MASTER_KEY"] not in err + first
    assert "f001" not in err
    assert (tmp_path / "gatekeeper.db").stat().st_mode & 0o077 == 0
