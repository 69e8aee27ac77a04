"""Nodes and databases of a test's own."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pg8000.native
import pytest
import requests

from scripts.nodes import KRONA, Node, free_port, funded, wallet

__all__ = ["KRONA", "Node", "Postgres", "Proxy", "free_port", "funded", "node", "wallet"]


@contextmanager
def node(kind: str, *words: str):
    """A node for the time of a block."""
    if shutil.which(kind) is None:
        pytest.skip(f"there is no {kind} here")
    made = Node(kind, *words)
    try:
        yield made
    finally:
        made.close()


class Proxy:
    """Passes requests on to a node that may be changed, counts them, and says something else where a test wants it.

    `lie(method, result)` returns the result to give instead, `refuse(method, parameters)` a JSON-RPC error or None;
    `status` is HTTP's; `wait` is for how many seconds an answer is held back.
    """

    def __init__(self, target: str) -> None:
        self.target, self.wait, self.status, self.lie, self.refuse = target, 0.0, 200, None, None
        self.asked: Counter[str] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                text = proxy.answer(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    self.send_response(proxy.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    self.close_connection = True  # whoever asked does not wait any more

            def log_message(self, *words) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, text: bytes) -> bytes:
        """Answer one request, or one batch of them."""
        asked = json.loads(text)
        calls = asked if isinstance(asked, list) else [asked]
        self.asked.update(call["method"] for call in calls)
        answers = requests.post(self.target, data=text, headers={"Content-Type": "application/json"}, timeout=20).json()
        time.sleep(self.wait)
        if self.refuse is not None:
            errors = {call["id"]: self.refuse(call["method"], call["params"]) for call in calls}
            for one in answers if isinstance(answers, list) else [answers]:
                if errors[one["id"]] is not None:
                    one["error"] = errors[one["id"]]
        if self.lie is not None:
            names = {call["id"]: call["method"] for call in calls}
            for one in answers if isinstance(answers, list) else [answers]:
                one["result"] = self.lie(names[one["id"]], one.get("result"))
        return json.dumps(answers).encode()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


class Postgres:
    """A PostgreSQL server in a folder of its own, by an unprivileged user where the tests run as root."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        binary = found[-1] if found else shutil.which("postgres")
        if binary is None:
            pytest.skip("there is no PostgreSQL here (Debian's package `postgresql`)")
        self._binaries = Path(binary).parent
        self._folder = Path(tempfile.mkdtemp(prefix="liggare-postgres-"))
        self.port = free_port()
        self._as: dict = {}
        if os.getuid() == 0:
            who = next(pwd.getpwnam(name) for name in ("postgres", "nobody") if _exists(name))
            os.chown(self._folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        words = ["-A", "trust", "-U", "liggare", "-E", "UTF8", "--no-sync", "-D", self._folder / "data"]
        self._run(self._binaries / "initdb", *words)
        self.start()

    def _run(self, *command) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._as)

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["-D", self._folder / "data", "-p", str(self.port), "-k", self._folder, "-h", "127.0.0.1"]
        words += ["-c", "fsync=off"]  # nobody pulls the plug of this machine; else stopping may take half a minute
        self._process = subprocess.Popen(
            [self._binaries / "postgres", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **self._as,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self._connect().close()
                return
            except pg8000.Error:
                assert time.monotonic() < deadline, "PostgreSQL does not start"
                time.sleep(0.1)

    def _connect(self):
        return pg8000.native.Connection("liggare", "127.0.0.1", "postgres", self.port)

    def stop(self) -> None:
        """Stop it at once: connections break, nothing that was committed is lost."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)

    def close(self) -> None:
        """Stop it and forget its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def database(self, name: str) -> str:
        """Make an empty database; return its URL."""
        with closing(self._connect()) as connection:
            connection.run(f"CREATE DATABASE {name}")
        return f"postgresql://liggare@127.0.0.1:{self.port}/{name}"


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
