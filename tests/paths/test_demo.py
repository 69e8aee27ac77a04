"""The main job as a newcomer runs it: the three paths end to end, on a chain of its own, and what can go wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
import requests

from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.ledger.reader import Reader
from scripts.nodes import free_port
from tests.support import ROOT, rows_by_web3


def demo(folder, port, *words):
    """Start the demo in a process of its own."""
    command = [sys.executable, "-m", "scripts.demo", "--folder", str(folder), *words]
    environment = {**os.environ, "LIGGARE_PORT": str(port), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell lets what it starts in the background ignore Ctrl-C, and so would the demo
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def read_until(process, words):
    """Return what the demo says up to a line with these words."""
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return "".join(said)
    raise AssertionError(f"the demo never said {words!r}:\n{''.join(said)}\n{process.stderr.read()}")


@contextmanager
def serving(command, words):
    """Run a service until the block ends; it says these words first."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
        try:
            assert words in service.stdout.readline()
            yield
        finally:
            service.terminate()


def test_a_day_and_then_by_hand(tmp_path):
    """The demo tells a morning, leaves the chain up, and the commands that it prints work as they stand."""
    process = demo(tmp_path / "demo", free_port(), "--keep", "--slots", "8")
    try:
        said = read_until(process, "records read")
        for words in ("it arrived whole", "PaymentsNonceUsed", "released", "refused", "nothing is off", "3 of 3 lies"):
            assert words in said, words
        commands = [line.split() for line in said.splitlines() if line.startswith("  .venv/bin/liggare")]
        assert [command[7] for command in commands] == ["status", "pay", "verify", "serve", "serve", "records"]
        explorer, gatekeeper = commands.pop(3), commands.pop(3)
        with serving(gatekeeper, "keeping the gate"):
            for command in commands:
                ran = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=60)
                assert ran.returncode == 0, ran.stderr
                assert "error" not in json.loads(ran.stdout)
        with serving(explorer, "showing the ledger"):
            page, deadline = f"http://127.0.0.1:{explorer[explorer.index('--port') + 1]}", time.monotonic() + 60
            while "Up to date with the chain" not in (shown := requests.get(page, timeout=30).text):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert "Slot 8" in shown
            assert 'href="/logs/0x' in requests.get(f"{page}/logs", timeout=30).text
        code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
        code = code.replace("http://127.0.0.1:8555", commands[0][2]).replace("demo/", f"{tmp_path}/demo/")
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith("0x")
        w3 = connect(commands[0][2])
        deployments = Deployments.load(tmp_path / "demo" / "deployments", w3.eth.chain_id)
        rows = list(Reader(w3, deployments).rows())
        assert rows == rows_by_web3(w3, deployments)
        assert len({row.event for row in rows}) > 12
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode in (0, 130)


def test_a_port_in_use_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = demo(tmp_path / "demo", taken.getsockname()[1])
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("demo: port")
    assert said.count("\n") == 1
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("port", ["x", "0", "70000", "-1"])
def test_a_port_that_is_none_is_wrong_use(tmp_path, port):
    process = demo(tmp_path / "demo", port)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.startswith("demo: LIGGARE_PORT")
    assert said.count("\n") == 1


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    process = demo(tmp_path, free_port())
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "holds something else" in said
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_killed_ganache_half_way_is_one_line(tmp_path):
    process = demo(tmp_path / "demo", free_port(), "--slots", "8")
    read_until(process, "The archive posts the head")
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said == "demo: Ganache went away half way through; run it again\n"
