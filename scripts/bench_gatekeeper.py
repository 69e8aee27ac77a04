"""Reads per second and their latency through a gatekeeper as it runs: `python -m scripts.bench_gatekeeper`.

The same application runs twice, each in a process of its own on the first core: whole, and bare, with the ledger check,
the records' decryption and the access log replaced by parts that do nothing (every read is let, records lie in memory,
no release is written down). Chain and clients have the other core. Both are asked in turn, so that what else the
machine does falls on both alike. Ratios count; rates depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from rich.console import Console

from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.records.audit import Release
from liggare.records.categories import CATEGORIES
from liggare.records.client import Records, Refusal
from liggare.records.fhir import Resource
from liggare.records.keyring import Keyring, MasterKey
from liggare.records.store import Store, Stored
from liggare.records.visit import Gatekeeper
from liggare.web.gatekeeper import application, assemble
from scripts.bench_records import FOREVER, grants
from scripts.nodes import CHAIN_ID, Node, free_port, funded

MASTER = MasterKey(bytes(range(32)))
PATIENTS = 20
OBSERVATIONS = 20
"""Of each patient."""
ROUNDS = 3
CUSTODIAN, READER = funded(0), funded(1)
ASKED = {"read": "Observation/{}", "search, 10 records": "Observation?date=ge2020&_count=10"}
console = Console(stderr=True)


# ------------------------------------------------------------------ what is asked for


def observation(number: int, patient: int) -> Resource:
    """Return a blood pressure with its two components, some 1,200 bytes."""

    def coded(code: str, words: str) -> dict[str, Any]:
        return {"coding": [{"system": "http://loinc.org", "code": code, "display": words}], "text": words}

    def measured(code: str, words: str, value: int) -> dict[str, Any]:
        unit = {"unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
        return {"code": coded(code, words), "valueQuantity": {"value": value, **unit}}

    category = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    return {
        "resourceType": "Observation",
        "id": f"p{patient}-{number}",
        "status": "final",
        "category": [{"coding": [category]}],
        "code": coded("85354-9", "Blood pressure panel with all children optional"),
        "subject": {"reference": f"Patient/p{patient}"},
        "effectiveDateTime": f"202{number % 6}-03-{number % 28 + 1:02}T09:30:00+01:00",
        "component": [
            measured("8480-6", "Systolic blood pressure", 100 + number),
            measured("8462-4", "Diastolic blood pressure", 60 + number),
        ],
    }


# ------------------------------------------------------------------ parts that do nothing


@dataclass(frozen=True)
class Open:
    """Lets everything be read, and asks nobody; a ledger and its view."""

    number: int = 1
    block_hash: str = "0x" + "00" * 32

    def fresh(self) -> Open:
        """Return itself."""
        return self

    @property
    def time(self) -> int:
        """The clock's."""
        return int(time.time())

    def why_not(self, *_: Any, **__: Any) -> Refusal:
        """Return that nothing is against it."""
        return Refusal.NOTHING

    why_not_emergency = why_not

    def actor(self, pseudonym: str) -> Any:
        """Return the pseudonym."""
        return pseudonym

    def may_act(self, *_: Any) -> bool:
        """Tell that anybody may."""
        return True


class Memory:
    """Records in memory, as they are."""

    def __init__(self, store: Store, pseudonyms: Iterable[str]) -> None:
        self._charts = {pseudonym: store.charts(pseudonym) for pseudonym in pseudonyms}
        charts = [chart for each in self._charts.values() for chart in each]
        self._kept = {chart: store.newest(chart) for chart in charts}
        self._by_name = {
            (chart, each["resourceType"], each["id"]): each for chart, kept in self._kept.items() for each in kept
        }

    def put(self, resource: Resource, *, expected_version: int | None = None) -> Stored:
        """Keep nothing."""
        raise NotImplementedError

    def get(self, chart: str | None, kind: str, identity: str, _: int | None = None) -> Resource | None:
        """Return a record."""
        return self._by_name.get((chart, kind, identity))

    def newest(self, chart: str | None, kinds: Iterable[str] | None = None) -> list[Resource]:
        """Return a chart's records of these types."""
        return [each for each in self._kept[chart] if kinds is None or each["resourceType"] in kinds]

    def shared(self, *_: Any) -> Resource | None:
        """Return nothing."""
        return None

    def charts(self, pseudonym: str) -> frozenset[str]:
        """Return the charts of a pseudonym."""
        return self._charts[pseudonym]


class Unwritten:
    """A book in which nothing is written."""

    def append(self, releases: Sequence[Release]) -> list[int]:
        """Forget them."""
        return [0 for _ in releases]

    def proof(self, *_: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}


# ------------------------------------------------------------------ the services


@contextmanager
def served(folder: Path, node: Node, *words: str) -> Iterator[tuple[str, int]]:
    """Run a gatekeeper in a process on the first core; yields its URL and its process."""
    port = free_port()
    command = [sys.executable, "-m", "scripts.bench_gatekeeper", "--serve", str(folder), node.url, str(port), *words]
    process = subprocess.Popen(command)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{url}/fhir/metadata")
                break
            except httpx.TransportError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("the gatekeeper does not start") from None
                time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(20)


def serve(folder: Path, node: str, port: int, pseudonyms: Sequence[str]) -> None:
    """Be a gatekeeper until told to stop: a bare one where pseudonyms are named."""
    pin(0)
    w3, record = connect(node, CHAIN_ID), Deployments.load(folder, CHAIN_ID)
    kept, keyring = f"sqlite:///{folder}/whole.db", folder / "keyring"
    parts: dict[str, Any] = {}
    if pseudonyms:
        with closing(Store(kept, Keyring(keyring, MASTER))) as store:
            parts = {"ledger": Open(), "archive": Memory(store, pseudonyms), "book": Unwritten()}
        kept = f"sqlite:///{folder}/bare.db"
    service = assemble(w3, record, Sender(w3, CUSTODIAN), f"http://127.0.0.1:{port}", kept, keyring, MASTER, **parts)
    uvicorn.run(application(service), port=port, log_config=None, access_log=False)
    service.close()


def pin(core: int) -> None:
    """Stay on one core, where there are two."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > core:
        os.sched_setaffinity(0, {cores[core]})


def spent(process: int) -> float:
    """Return the seconds of processor that a process has used, on Linux."""
    told = Path(f"/proc/{process}/stat")
    words = told.read_text().rpartition(")")[2].split() if told.exists() else ["0"] * 13
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------ the clients


async def ask(url: str, tokens: Sequence[str], path: str, connections: int, seconds: float) -> list[float]:
    """Ask for as many seconds over so many connections; returns how long each answer took, in seconds."""
    host, port = url.removeprefix("http://").split(":")
    end = time.perf_counter() + seconds
    took: list[float] = []

    async def client(number: int) -> None:
        chosen = random.Random(number)  # noqa: S311  what is asked for, not a secret
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < end:
            patient = chosen.randrange(len(tokens))
            where = path.format(f"p{patient}-{chosen.randrange(OBSERVATIONS)}")
            head = f"GET /fhir/{where} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {tokens[patient]}\r\n\r\n"
            began = time.perf_counter()
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            took.append(time.perf_counter() - began)
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"the gatekeeper answered {answer[:40]!r}")
        writer.close()

    await asyncio.gather(*(client(number) for number in range(connections)))
    return took


@dataclass
class Result:
    """What one service reached: milliseconds in which half and 95 of 100 were answered, and of the processor each."""

    asked: str
    service: str
    connections: int
    per_second: float
    p50: float
    p95: float
    processor: float


def fill(node: Node, folder: Path) -> tuple[Records, list[Any]]:
    """Let the patients grant, and put their records into a store; returns the shares."""
    record = node.deploy(folder, records=True)
    records, sender = Records(node.w3, record), Sender(node.w3, CUSTODIAN)
    for number, role in ((0, "provider"), (1, "provider")):
        records.accredit(sender, funded(number).address, [role], CATEGORIES, 0, FOREVER)
    made = list(grants(records, READER.address, PATIENTS))
    for signed, _ in made:
        records.carry(signed, sender)
    store = Store(f"sqlite:///{folder}/whole.db", Keyring(folder / "keyring", MASTER))
    for patient, (_, share) in enumerate(made):
        store.link(share.patient, f"Patient/p{patient}")
        for number in range(OBSERVATIONS):
            store.put(observation(number, patient))
    store.close()
    return records, [share for _, share in made]


def measure(kind: str, connections: Sequence[int], seconds: float) -> Iterator[Result]:
    """Measure both services, in turn."""
    with tempfile.TemporaryDirectory() as made:
        folder, node = Path(made), Node(kind)
        try:
            records, shares = fill(node, folder)
            pseudonyms = [share.patient for share in shares]
            with served(folder, node) as whole, served(folder, node, *pseudonyms) as bare:
                services = {"whole": whole, "bare": bare}
                tokens = {name: sign_in(url, records, shares) for name, (url, _) in services.items()}
                pin(1)
                for what, path in ASKED.items():
                    for number in connections:
                        yield from compare(what, path, number, seconds, services, tokens)
        finally:
            node.close()


def compare(
    what: str,
    path: str,
    connections: int,
    seconds: float,
    services: dict[str, tuple[str, int]],
    tokens: dict[str, list[str]],
) -> Iterator[Result]:
    """Ask the services in turn, several times."""
    took: dict[str, list[float]] = {name: [] for name in services}
    used = dict.fromkeys(services, 0.0)
    for turn in range(ROUNDS + 1):
        for name, (url, process) in services.items():
            before = spent(process)
            found = asyncio.run(ask(url, tokens[name], path, connections, seconds / ROUNDS if turn else 0.5))
            if turn:  # before, they get warm
                took[name] += found
                used[name] += spent(process) - before
    for name, each in took.items():
        cut = [1000 * moment for moment in statistics.quantiles(each, n=20)]
        yield Result(what, name, connections, len(each) / seconds, cut[9], cut[18], 1000 * used[name] / len(each))


def sign_in(url: str, records: Records, shares: Sequence[Any]) -> list[str]:
    """Sign the reader in for each patient; returns the tokens."""
    with Gatekeeper(url, CUSTODIAN.address, records) as gate:
        made = [gate.sign_in(READER, "TREAT", ["patient/*.rs"], shares=[share], lifetime=900) for share in shares]
        return [visit.token for visit in made]


def table(results: Sequence[Result]) -> str:
    """Return the results as a table in Markdown; the ratio is of the whole service's rate to the bare one's."""
    heads = "asked", "connections", "service", "per second", "p50 ms", "p95 ms", "processor ms", "ratio"
    lines = [f"| {' | '.join(heads)} |", "|---|---:|---|---:|---:|---:|---:|---:|"]
    bare = {(one.asked, one.connections): one.per_second for one in results if one.service == "bare"}
    for one in results:
        figures = f"{one.per_second:,.0f}", f"{one.p50:.1f}", f"{one.p95:.1f}", f"{one.processor:.2f}"
        ratio = f"{one.per_second / bare[one.asked, one.connections]:.2f}" if one.service == "whole" else ""
        lines.append(f"| {' | '.join([one.asked, str(one.connections), one.service, *figures, ratio])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chain", default="anvil", choices=["ganache", "anvil"])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=6.0, help="for each figure")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.serve:
        folder, node, port, *pseudonyms = words.serve
        serve(Path(folder), node, int(port), pseudonyms)
        return
    console.print(f"load before: {os.getloadavg()[0]:.1f}")
    results = []
    for result in measure(words.chain, words.connections, words.seconds):
        results.append(result)
        console.print(f"{result.asked}, {result.connections} connections, {result.service}: {result.per_second:,.0f}/s")
    console.print(f"load after: {os.getloadavg()[0]:.1f}")
    print(json.dumps([asdict(result) for result in results]) if words.json else table(results))


if __name__ == "__main__":
    main()
