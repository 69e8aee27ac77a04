"""`liggare serve relay`: what it refuses to start with, and what it says when it runs."""

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
