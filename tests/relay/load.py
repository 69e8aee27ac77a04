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
from sqlalchemy import text

from liggare import accounts
from liggare.database import engine_of
from liggare.payments.client import Payments
from liggare.payments.messages import TransferWithAuthorization, counter
from liggare.payments.wire import document
from liggare.records import wire
from liggare.records.client import Records
from liggare.records.landings import Landings
from liggare.records.messages import Terms
from liggare.relay.outbox import Outbox
from scripts.nodes import free_port
from tests.nodes import KRONA, Node, funded, wallet
from tests.support import ROOT

MEMBERS = 8
START = 1000 * KRONA


class Town:
    """A chain with money and members on it, and a folder with what services need."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.folder = node, folder
        self.record = node.deploy(folder / "deployments", records=True)
        self.payments = Payments(node.w3, self.record)
        self.records = Records(node.w3, self.record)
        mint = self.payments.contract.functions.mint
        sent = [mint(wallet(number).address, START).transact({"from": funded(0).address}) for number in range(MEMBERS)]
        for each in sent:
            node.w3.eth.wait_for_transaction_receipt(each)
        (folder / "password").write_text("correct horse\n")

    def balances(self) -> list[int]:
        """What each member has."""
        return [self.payments.balance(wallet(number).address) for number in range(MEMBERS)]


class Spawner:
    """See `tests.relay.spawner`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.relay.spawner"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, words: list, environment: dict[str, str], log: Path) -> int:
        """Start a command; return its process' number."""
        order = {"words": list(map(str, words)), "environment": environment, "log": str(log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it; who was started goes on."""
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


class ServiceProcess:
    """`liggare serve SERVICE` in a process of its own, which may be killed and started again.

    The key is that of the funded account `number`; deployments, password and log are in `folder`.
    """

    SERVICE: str
    ASKED: str
    """A path that is answered as soon as the service is there."""

    def __init__(self, spawner: Spawner, node: Node, folder: Path, database: str, number: int, *words) -> None:
        self._spawner, self.port = spawner, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        key = folder / f"{self.SERVICE}{number}.json"
        if not key.exists():
            accounts.write(key, funded(number), "correct horse", iterations=2)
        common = ["--rpc", node.url, "--deployments", folder / "deployments", "--password-file", folder / "password"]
        self.words = [*common, "serve", self.SERVICE, "--key", key, "--port", self.port, *words]
        self._environment = {"LIGGARE_DATABASE_URL": database}
        self.log = folder / f"{self.SERVICE}{self.port}.log"
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
                httpx.get(f"{self.url}{self.ASKED}", timeout=5)
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


class RelayProcess(ServiceProcess):
    """A relayer; its key is the funded account `sponsor`."""

    SERVICE, ASKED = "relay", f"/v1/payments/0x{'00' * 32}"

    def __init__(self, spawner: Spawner, town: Town, database: str, sponsor: int, *words: str) -> None:
        own = ("--per-account", 10**6, "--wait", 0.05)
        super().__init__(spawner, town.node, town.folder, database, sponsor, *own, *words)


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
            2**32 - 1,
            counter(nonce),
        )
        return payer, message.sign(wallet(payer))

    def _run(self) -> None:
        try:
            with httpx.Client(timeout=10) as http:
                while not self._stop.is_set():
                    self._step(http)
        except BaseException as exc:
            self.failure = exc

    def _step(self, http: httpx.Client) -> None:
        self._post(http, [self._payment() for _ in range(self._random.randrange(1, 12))])

    def _ask(self, http: httpx.Client, plural: str, body: list[dict]) -> list[dict]:
        """Post until it is answered; return what was decided of each."""
        while True:
            try:
                answer = http.post(f"{self._random.choice(self._urls)}/v1/{plural}", json=body)
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            if answer.status_code == 202:
                return answer.json()[plural]
            assert answer.status_code == 503, answer.text
            time.sleep(0.1)

    def _post(self, http: httpx.Client, made) -> None:
        answer = self._ask(http, "payments", [document(item) for _, item in made])
        lowest: dict[int, int] = {}
        for (payer, item), told in zip(made, answer, strict=True):
            if "name" in told:
                self.refused[told["name"]] += 1
                number = int.from_bytes(item.message.nonce, "big")
                lowest[payer] = min(lowest.get(payer, number), number)
            else:
                self.accepted[told["id"]] = item.message
        # nonces beyond a refused one may be accepted: go on above them, the window takes it
        for payer, number in lowest.items():
            self._next[payer] = max(self._next[payer], number + 1)


class RecordLoad(Load):
    """Patients who grant, revoke and appoint without pause, each message right behind the one before it."""

    def __init__(self, town: Town, urls: list[str], seed: int = 1) -> None:
        super().__init__(town, urls, seed)
        self.versions: dict[tuple[str, int], int] = {}

    def _step(self, http: httpx.Client) -> None:
        made = [self._message() for _ in range(self._random.randrange(1, 12))]
        for item, told in zip(made, self._ask(http, "records", [wire.document(each) for each in made]), strict=True):
            if "name" in told:
                self.refused[told["name"]] += 1
            else:
                self.accepted[told["id"]] = item.message

    def _message(self):
        number = self._random.randrange(MEMBERS)
        patient, records = wallet(600 + number), self._town.records
        kind = self._random.choice([*["grants"] * 7, "guardians"])
        version = self.versions[kind, number] = self.versions.get((kind, number), 0) + 1
        words = {"version": version, "deadline": 2**40}
        if kind == "guardians":
            if version % 2:
                return records.appoint(patient, patient.address, wallet(900).address, ["read"], 2**40, **words)
            return records.dismiss(patient, patient.address, wallet(900).address, **words)
        if version % 2:
            return records.grant(patient, wallet(1).address, b"\1" * 32, Terms(1, 1, 0, 2**40), **words)[0]
        return records.revoke(patient, wallet(1).address, b"\1" * 32, **words)


def audit_records(town: Town, database: str, load: RecordLoad) -> Counter[str]:
    """Check that every accepted message ended exactly once, as the chain says, and that no other landed."""
    outbox = Outbox(database)
    settle(outbox)
    landed = Landings(town.records).find_all(list(load.accepted.values()))
    assert all(landing.as_signed for landing in landed.values())  # one event for each: none landed twice
    ends: Counter[str] = Counter()
    for id_ in load.accepted:
        row = outbox.get(id_)
        assert row is not None, f"{id_} was accepted and is lost"
        assert (row.status.value == "carried") == (bytes.fromhex(id_[2:]) in landed), row
        ends[row.status.value] += 1
    versions = sum(count for (kind, _), count in load.versions.items() if kind == "grants")
    on_chain = 0
    for number in range(MEMBERS):
        share = town.records.share(wallet(600 + number).address, wallet(1).address, b"\1" * 32, Terms(1, 1, 0, 2**40))
        on_chain += town.records.version(share.patient, share.blinded)
    assert on_chain <= versions
    outbox.close()
    return ends


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
    made = contract.events.AuthorizationUsed().get_logs(from_block=town.payments.uses.money.block)
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
    engine = engine_of(database)
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
