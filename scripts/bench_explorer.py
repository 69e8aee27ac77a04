"""How long the explorer's pages take with a million rows indexed: `python -m scripts.bench_explorer`.

A fresh Anvil with four days of a street's market, read by the follower; then made-up payments in full batches, two rows
each, put into the index behind them, and the chain's clock run to the same block, so that balances are asked of a real
node. The follower then rests, since the made-up blocks are not the node's. One reader asks each page in turn over
loopback, server and node on the same processors; then 10,000 requests come at once.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import uvicorn
from rich.console import Console

from liggare.chain.connection import connect
from liggare.chain.feed import Block
from liggare.energy.agents import Crowd
from liggare.energy.simulate import simulate
from liggare.ledger.follower import Follower
from liggare.ledger.index import Index
from liggare.ledger.queries import Ledger
from liggare.ledger.rows import Row
from liggare.web.explorer.app import explorer
from liggare.web.ledger import Service
from scripts.bench_energy_chain import DEPOSIT, FUNDS, TARIFFS, Street, neighbourhood
from scripts.nodes import CHAIN_ID, KRONA, Node, free_port, wallet

BATCH = 500
"""Payments in a block."""
ACCOUNTS = 1_000
console = Console(stderr=True)


def a_street(node: Node, days: int) -> Street:
    """Let a street trade so many days on the node."""
    homes = neighbourhood(days)
    crowd = Crowd.of(["fixed"], len(homes.homes), TARIFFS, 1)
    street = Street(node, simulate(homes, TARIFFS, crowd, deposit=DEPOSIT, funds=FUNDS))
    wishes = Crowd.of(["fixed"], len(homes.homes), TARIFFS, 1).wishes(1)
    street.settle_in(wishes.buy[0].tolist(), wishes.sell[0].tolist())
    street.run(96)
    return street


def hash_of(*words: object) -> str:
    """Return a made-up hash."""
    return "0x" + hashlib.sha256(repr(words).encode()).hexdigest()


def fill(index: Index, ledger: int, count: int) -> Block:
    """Put so many payments behind what is read, a block each full batch; return the last block."""
    before = index.read_to(ledger)
    if before is None:
        raise RuntimeError("the chain has not been read")
    with console.status("filling the index"):
        for first in range(0, count, BATCH):
            number, time_ = before.number + 1, before.time + 12
            block = Block(number, hash_of("block", number), before.hash, time_, 0)
            rows, transaction = [], hash_of("transaction", number)
            for log in range(BATCH):
                payer, payee = (wallet((first + log * step) % ACCOUNTS).address for step in (1, 7))
                place = (number, block.hash, time_, transaction)
                used = {"authorizer": payer, "nonce": bytes.fromhex(hash_of(first + log)[2:])}
                rows.append(Row(*place, 2 * log, "ZeroFeePayments", "AuthorizationUsed", used))
                moved = {"from": payer, "to": payee, "value": KRONA * (log + 1)}
                rows.append(Row(*place, 2 * log + 1, "ZeroFeePayments", "Transfer", moved))
            if not index.add(ledger, before, [block], rows):
                raise RuntimeError("somebody else fills this index")
            before = block
    return before


class Resting(Follower):
    """Says that the index is current, and reads nothing."""

    def run(self, stop: threading.Event, pause: float = 0.5) -> None:
        """Note it until told to stop."""
        while not stop.is_set():
            self._index.note(self.ledger, None, None)
            stop.wait(pause)


@contextmanager
def served(service: Service, most: int = 64) -> Iterator[str]:
    """Run the explorer in a thread; yield its address."""
    port = free_port()
    config = uvicorn.Config(explorer(service, most=most), port=port, log_config=None, timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def paths(ledger: Ledger, slot: int) -> dict[str, list[str]]:
    """Return the pages to ask, several of a kind where they differ."""
    rows = ledger.latest(400).rows
    transfers = [row for row in rows if row.event == "Transfer"]
    nonces = ["0x" + row.arguments["nonce"].hex() for row in rows if row.event == "AuthorizationUsed"]
    return {
        "overview": ["/"],
        "overview, far back": [f"/?before={2**20 * (100 + each)}" for each in range(50)],
        "payment": [f"/payments/{row.transaction}/{row.log_index}" for row in transfers],
        "account": [f"/accounts/{row.arguments['to']}" for row in transfers],
        "its payments": [f"/accounts/{row.arguments['to']}?only=payments" for row in transfers],
        "transaction": [f"/transactions/{row.transaction}" for row in transfers],
        "its further events": [f"/transactions/{row.transaction}?first={row.log_index}" for row in transfers],
        "id": [f"/ids/{nonce}" for nonce in nonces],
        "search": [f"/search?q={nonce}" for nonce in nonces],
        "slot": [f"/slots/{slot + each}" for each in range(300)],
        "prices": ["/prices"],
        "home": [f"/homes/{home}?days=all" for home in range(1, 18)],
        "grants": ["/grants"],
        "logs": ["/logs"],
    }


def measure(http: httpx.Client, pages: list[str], times: int) -> np.ndarray:
    """Return how long each of so many requests took, in ms."""
    took = []
    for number in range(times):
        started = time.perf_counter()
        answer = http.get(pages[number % len(pages)])
        took.append((time.perf_counter() - started) * 1_000)
        if answer.status_code not in (200, 303):
            raise RuntimeError(f"{pages[number % len(pages)]}: {answer.status_code}")
    return np.array(took[times // 10 :])


def crowd(url: str, count: int) -> tuple[Counter[int], float]:
    """Ask so many times, 500 connections at once; return the answers by status, and the seconds."""
    limits = httpx.Limits(max_connections=500, keepalive_expiry=1)
    started = time.perf_counter()
    with httpx.Client(base_url=url, limits=limits, timeout=120) as http, ThreadPoolExecutor(500) as pool:
        statuses = Counter(pool.map(lambda _: http.get("/").status_code, range(count)))
    return statuses, time.perf_counter() - started


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=4, help="days of the market, 1 to 10")
    parser.add_argument("--times", type=int, default=300, help="requests of each page")
    parser.add_argument("--crowd", type=int, default=10_000, help="requests at once")
    words = parser.parse_args()
    node = Node("anvil")
    with tempfile.TemporaryDirectory() as folder:
        try:
            street = a_street(node, words.days)
            w3, index = connect(node.url, CHAIN_ID), Index(f"sqlite:///{folder}/index.db")
            follower = Resting(w3, street.record, index)
            follower.look()
            slot = min(row.arguments["slot"] for row in Ledger(index, follower.ledger).prices(500).rows)
            last = fill(index, follower.ledger, words.rows // 2)
            node.rpc("anvil_mine", hex(last.number - node.w3.eth.block_number))
            service = Service(w3, street.record, index, follower)
            with served(service) as url, httpx.Client(base_url=url, timeout=30) as http:
                while "curve-title" not in http.get(f"/slots/{slot + 300}").text:
                    time.sleep(0.2)  # the market is replayed
                rows = sum(total.count for total in service.ledger.totals().values())
                print(f"{rows:,} rows\n\n| page | p50 ms | p95 ms | p99 ms |\n|---|---:|---:|---:|")
                for name, pages in paths(service.ledger, slot).items():
                    took = measure(http, pages, words.times)
                    print(f"| {name} | {' | '.join(f'{np.percentile(took, part):.1f}' for part in (50, 95, 99))} |")
                statuses, seconds = crowd(url, words.crowd)
                told = ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))
                print(f"\n{words.crowd:,} requests at once: {told}, in {seconds:.1f} s")
            index.close()
        finally:
            node.close()


if __name__ == "__main__":
    main()
