"""A running load on relayers in processes of their own, and the count at its end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
from sqlalchemy import create_engine, text

from liggare import accounts
from liggare.payments.client import Payments
from liggare.payments.messages import TransferWithAuthorization, counter
from liggare.payments.wire import document
from liggare.relay.outbox import Outbox, _url
from tests.conftest import free_port
from tests.nodes import KRONA, Node, funded, wallet
from tests.support import ROOT

MEMBERS = 8
START = 1000 * KRONA


class Town:
    """A chain with money and members on it, and a folder with what services need."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.folder = node, folder
        self.record = node.deploy(folder / "deployments")
        self.payments = Payments(node.w3, self.record)
        mint = self.payments.contract.functions.mint
        for number in range(MEMBERS):
            sent = mint(wallet(number).address, START).transact({"from": funded(0).address})
            node.w3.eth.wait_for_transaction_receipt(sent)
        (folder / "password").write_text("correct horse\n")

    def balances(self) -> list[int]:
        """What each member has."""
        return [self.payments.balance(wallet(number).address) for number in range(MEMBERS)]


class RelayProcess:
    """`liggare serve relay`, which may be killed and started again."""

    def __init__(self, town: Town, database: str, sponsor: int, *words: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        key = town.folder / f"sponsor{sponsor}.json"
        if not key.exists():
            accounts.write(key, funded(sponsor), "correct horse", iterations=2)
        common = ["--rpc", town.node.url, "--deployments", town.folder / "deployments"]
        common += ["--password-file", town.folder / "password"]
        mine = ["--key", key, "--port", self.port, "--per-account", 10**6, "--wait", 0.05, *words]
        self._command = [sys.executable, "-m", "liggare", *common, "serve", "relay", *mine]
        self._environment = {**os.environ, "LIGGARE_DATABASE_URL": database}
        self._log = (town.folder / f"relay{self.port}.log").open("ab")
        self.log = Path(self._log.name)
        self.start()

    def start(self) -> None:
        """Start it; it needs a moment."""
        self.process = subprocess.Popen(
            list(map(str, self._command)), cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log
        )

    def wait_until_ready(self, seconds: float = 40) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.get(f"{self.url}/v1/payments/0x{'00' * 32}", timeout=5)
                return
            except httpx.HTTPError:
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                assert time.monotonic() < deadline, self.log.read_text()[-3000:]
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Stop it in good order."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()


class Load:
    """Members who pay one another without pause; each post is repeated until it is answered, by whatever relayer."""

    def __init__(self, town: Town, urls: list[str], seed: int = 1) -> None:
        self._town, self._urls, self._random = town, urls, random.Random(seed)
        self.accepted: dict[str, TransferWithAuthorization] = {}
        self.refused: Counter[str] = Counter()
        self._next = [0] * MEMBERS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failure: BaseException | None = None

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self.failure is None, self.failure

    def _payment(self):
        payer = self._random.randrange(MEMBERS)
        nonce, self._next[payer] = self._next[payer], self._next[payer] + 1
        message = TransferWithAuthorization(
            self._town.payments.domain,
            wallet(payer).address,
            wallet(self._random.randrange(MEMBERS)).address,
            self._random.randrange(1, 300) * KRONA,  # now and then too much
            0,
            2**40 - 1,
            counter(nonce),
        )
        return payer, message.sign(wallet(payer))

    def _run(self) -> None:
        try:
            with httpx.Client(timeout=10) as http:
                while not self._stop.is_set():
                    self._post(http, [self._payment() for _ in range(self._random.randrange(1, 12))])
        except BaseException as exc:
            self.failure = exc

    def _post(self, http: httpx.Client, made) -> None:
        body = [document(item) for _, item in made]
        while True:
            try:
                answer = http.post(self._random.choice(self._urls) + "/v1/payments", json=body)
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            if answer.status_code == 202:
                break
            assert answer.status_code == 503, answer.text
            time.sleep(0.1)
        lowest: dict[int, int] = {}
        for (payer, item), told in zip(made, answer.json()["payments"], strict=True):
            if "name" in told:
                self.refused[told["name"]] += 1
                number = int.from_bytes(item.message.nonce, "big")
                lowest[payer] = min(lowest.get(payer, number), number)
            else:
                self.accepted[told["id"]] = item.message
        # nonces beyond a refused one may be accepted: go on above them, the window takes it
        for payer, number in lowest.items():
            self._next[payer] = max(self._next[payer], number + 1)


def settle(outbox: Outbox, seconds: float = 60) -> None:
    """Wait until everything has ended."""
    deadline = time.monotonic() + seconds
    while True:
        counts = outbox.counts()
        if counts["queued"] + counts["sent"] + counts["mined"] == 0:
            return
        assert time.monotonic() < deadline, counts
        time.sleep(0.1)


def audit(town: Town, database: str, load: Load) -> Counter[str]:
    """Check that every accepted payment ended exactly once, as the chain says, and that the balances add up.

    Returns how many ended how.
    """
    outbox = Outbox(database)
    settle(outbox)
    w3, contract = town.node.w3, town.payments.contract
    made = contract.events.AuthorizationUsed().get_logs(from_block=town.payments.first_block)
    used = Counter((log["args"]["authorizer"], log["args"]["nonce"].hex()) for log in made)
    assert set(used.values()) <= {1}, "a nonce was used twice"
    expected = Counter({wallet(number).address: START for number in range(MEMBERS)})
    ends: Counter[str] = Counter()
    for id_, message in load.accepted.items():
        row = outbox.get(id_)
        assert row is not None, f"{id_} was accepted and is lost"
        assert row.status.value in ("paid", "failed")
        on_chain = (message.from_, message.nonce.hex()) in used
        assert on_chain == (row.status.value == "paid"), (id_, row)
        if on_chain:
            expected[message.from_] -= message.value
            expected[message.to] += message.value
            receipt = w3.eth.get_transaction_receipt(row.transaction)
            assert receipt["blockNumber"] == row.block
        else:
            assert row.reason
        ends[row.status.value] += 1
    assert len(made) == ends["paid"], "the chain has payments that nobody was told of"
    engine = create_engine(_url(database))
    with engine.connect() as connection:
        query = "SELECT id, COUNT(*) FROM changes WHERE status IN ('paid', 'failed') GROUP BY id"
        finals = dict(map(tuple, connection.execute(text(query))))
    engine.dispose()
    assert finals == dict.fromkeys(load.accepted, 1), "each has exactly one end"
    assert town.balances() == [expected[wallet(number).address] for number in range(MEMBERS)]
    outbox.close()
    return ends


def report(name: str, **figures) -> None:
    """Keep what a long test counted where a person finds it."""
    folder = ROOT / "build" / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"kills-{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
