"""`liggare serve market` in processes of its own, which may be killed and started again."""

from __future__ import annotations

import os
import signal
import time

import httpx

from liggare import accounts
from scripts.nodes import free_port
from tests.energy.operator.town import Town
from tests.nodes import funded
from tests.relay.load import Spawner

__all__ = ["MarketProcess", "prepare"]


def prepare(town: Town, folder):
    """Write what a process needs to find the town."""
    town.record.save(folder / "deployments")
    (folder / "password").write_text("correct horse\n")
    return folder


class MarketProcess:
    """One operator; its key is the funded account `number`."""

    def __init__(self, spawner: Spawner, town: Town, folder, database: str, number: int, *words) -> None:
        self._spawner, self.port = spawner, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        key = folder / f"operator{number}.json"
        if not key.exists():
            accounts.write(key, funded(number), "correct horse", iterations=2)
        common = ["--rpc", town.node.url, "--deployments", folder / "deployments"]
        common += ["--password-file", folder / "password"]
        mine = ["--key", key, "--port", self.port, "--per-day", 10**6, "--settle-in", 0, "--lease", 3, *words]
        self.words = [*common, "serve", "market", *mine]
        self._environment = {"LIGGARE_DATABASE_URL": database}
        self.log = folder / f"market{self.port}.log"
        self.start()

    def start(self) -> None:
        """Start it; it needs a moment."""
        self.number = self._spawner.start(self.words, self._environment, self.log)

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        return True

    def wait_until_ready(self, seconds: float = 60) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.get(f"{self.url}/v1/messages/0x{'00' * 32}", timeout=5)
                return
            except httpx.HTTPError:
                assert self.is_alive(), self.log.read_text()[-3000:]
                assert time.monotonic() < deadline, self.log.read_text()[-3000:]
                time.sleep(0.02)

    def wait_until_gone(self, seconds: float) -> bool:
        """Wait until it has ended; tell whether it has."""
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.number, signal.SIGKILL)
        assert self.wait_until_gone(20)

    def close(self) -> None:
        """Stop it in good order."""
        if self.is_alive():
            os.kill(self.number, signal.SIGTERM)
            if not self.wait_until_gone(20):
                self.kill()
                raise AssertionError(f"it does not stop: {self.log.read_text()[-3000:]}")
