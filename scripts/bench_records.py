"""Decisions and grants per second of a custodian's ledger in memory: `python -m scripts.bench_records`.

Every way runs on the same machine, in one run, on a fresh chain with the same grants. Ours is `AccessCache`: one
request for the newest block, then decisions in memory; an empty cache that reads the chain. Beside it the ways without:
the contract asked by `eth_call` for each decision, and web3's own event decoder. Ratios count; seconds depend on the
machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from eth_account import Account
from rich.console import Console

from liggare.chain.deployments import Deployments
from liggare.chain.raw import ask
from liggare.chain.sender import Sender
from liggare.ledger.reader import Reader
from liggare.messages import Signed
from liggare.records.cache import AccessCache
from liggare.records.categories import CATEGORIES, PURPOSES, mask
from liggare.records.client import Records, Refusal
from liggare.records.messages import Grant, Terms
from liggare.records.share import Share
from scripts.nodes import Node, funded

BATCH = 50
"""Grants in one transaction, as the relayer carries them."""
FOREVER = 2**48 - 1
TERMS = Terms.of(["Observation", "Condition"], ["TREAT", "HRESCH"], 0, 2**63)
ASKED = mask(CATEGORIES, ["Observation"]), mask(PURPOSES, ["TREAT"])
SECONDS = 3.0
"""How long decisions are counted."""
console = Console(stderr=True)


@dataclass
class Result:
    """What one way reached on one chain."""

    chain: str
    what: str
    way: str
    count: int
    per_second: float


def grants(client: Records, reader: str, count: int) -> Iterator[tuple[Signed[Grant], Share]]:
    """Yield signed grants, each of a patient of its own."""
    for number in range(count):
        patient = Account.from_key((number + 1).to_bytes(4, "big").rjust(32, b"\3"))
        share = client.share(patient.address, reader, number.to_bytes(32, "big"), TERMS)
        words = share.patient, share.blinded, TERMS.commitment(share.salt, 1), 0, 1, FOREVER
        yield Grant(client.domain, *words).sign(patient), share


def fill(node: Node, record: Deployments, count: int) -> list[Share]:
    """Accredit a reader and let `count` patients grant to it; return their shares."""
    client, sender, reader = Records(node.w3, record), Sender(node.w3, funded(0)), funded(1).address
    client.accredit(sender, reader, ["provider"], CATEGORIES, 0, FOREVER)
    made = list(grants(client, reader, count))
    for start in range(0, count, BATCH):
        part = client.batch([signed for signed, _ in made[start : start + BATCH]])
        sent = part.transact({"from": sender.account.address, "gas": 10_000_000})
        while (receipt := ask(node.w3, "eth_getTransactionReceipt", "0x" + bytes(sent).hex())) is None:
            time.sleep(0.002)
        if int(receipt["status"], 16) != 1:
            raise RuntimeError("a transaction of the benchmark failed")
    return [share for _, share in made]


def per_second(decide: Callable[[Share], Refusal], shares: Sequence[Share]) -> tuple[int, float]:
    """Decide on the shares in turn for some seconds; each must be let. Returns how many decisions, and per second."""
    begun, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begun) < SECONDS:
        for _ in range(50):
            if decide(shares[count % len(shares)]) is not Refusal.NOTHING:
                raise RuntimeError("a grant of the benchmark does not let its reader read")
            count += 1
    return count, count / elapsed


def measure(kind: str, count: int) -> Iterator[Result]:
    """Measure every way on one chain, ours first."""
    node = Node(kind)
    try:
        record = node.deploy_records()
        shares = fill(node, record, count)
        client, reader = Records(node.w3, record), funded(1).address

        begun = time.perf_counter()
        cache = AccessCache(node.w3, record)
        if len(cache.sync().standings) != count:
            raise RuntimeError("the cache did not read every grant")
        what = "grants read into an empty cache"
        yield Result(kind, what, "AccessCache", count, count / (time.perf_counter() - begun))
        begun = time.perf_counter()
        found = sum(row.event == "Granted" for row in Reader(node.w3, record).rows())
        yield Result(kind, what, "web3's event decoder", found, found / (time.perf_counter() - begun))

        what, view = "decisions", cache.fresh()
        done = per_second(lambda share: view.why_not(share, *ASKED, reader=reader), shares)
        yield Result(kind, what, "View, in memory", *done)
        done = per_second(lambda share: cache.fresh().why_not(share, *ASKED, reader=reader), shares)
        yield Result(kind, what, "AccessCache, newest block asked for each", *done)
        done = per_second(lambda share: client.why_not(share, *ASKED), shares)
        yield Result(kind, what, "the contract, by eth_call", *done)
    finally:
        node.close()


def table(results: Sequence[Result]) -> str:
    """Return the results as a table in Markdown; each way's ratio is to the first of its kind."""
    lines = ["| chain | what | way | count | per second | ratio |", "|---|---|---|---:|---:|---:|"]
    first: dict[tuple[str, str], float] = {}
    for one in results:
        ratio = one.per_second / first.setdefault((one.chain, one.what), one.per_second)
        words = one.chain, one.what, one.way, f"{one.count:,}", f"{one.per_second:,.0f}", f"{ratio:.3g}"
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chain", action="append", choices=["ganache", "anvil"], help="one of them; both unless given")
    parser.add_argument("--grants", type=int, default=5_000, help="how many grants there are (default: 5,000)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    words = parser.parse_args()
    results = []
    for kind in words.chain or ["ganache", "anvil"]:
        for result in measure(kind, words.grants):
            results.append(result)
            console.print(f"{result.chain}: {result.what}, {result.way}: {result.per_second:,.0f} per second")
    print(json.dumps([asdict(result) for result in results]) if words.json else table(results))


if __name__ == "__main__":
    main()
