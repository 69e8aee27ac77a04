"""Events per second that the index takes in, from nothing: `python -m scripts.bench_index`.

A fresh Anvil with so many payments in full batches, two events each; then the follower reads all of it, every header
checked and every payment's id computed from its calldata, into SQLite in a temporary folder, or into a database that
`--database` names, which should be empty. Of the time, that in which it waited for the node is told. Both share this
machine's processors.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy.engine import make_url

from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.ledger.follower import Follower
from liggare.ledger.index import Index
from liggare.ledger.queries import Ledger
from liggare.payments.client import Payments
from liggare.payments.ids import PaymentIds
from scripts.bench_relay import give_money, signed
from scripts.nodes import CHAIN_ID, Node, funded

BATCH = 500
"""Payments in a transaction."""
console = Console(stderr=True)


def fill(node: Node, payments: Payments, count: int) -> None:
    """Make so many payments, one full batch a block."""
    sender = Sender(node.w3, funded(1))
    with console.status("paying"):
        for first in range(0, count, BATCH):
            payments.carry_batch(signed(payments, first, BATCH), sender)


def timed(what: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return the same function, which notes how long it took."""

    def call(*words: Any) -> Any:
        started = time.perf_counter()
        try:
            return what(*words)
        finally:
            spent.append(time.perf_counter() - started)

    return call


def measure(url: str, record: Deployments, database: str) -> tuple[int, float, float]:
    """Return the events, the seconds until all are in, and for how many of them the node was waited for."""
    w3, spent = connect(url, CHAIN_ID), list[float]()
    with Index(database) as index:
        follower = Follower(w3, record, index, step=32, ids=PaymentIds(record))
        w3.provider.make_batch_request = timed(w3.provider.make_batch_request, spent)  # type: ignore[attr-defined]
        started = time.perf_counter()
        follower.look()
        seconds = time.perf_counter() - started
        count = sum(total.count for total in Ledger(index, follower.ledger).totals().values())
    return count, seconds, sum(spent)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payments", type=int, default=30_000)
    parser.add_argument("--database", help="such as postgresql://liggare@127.0.0.1/bench; SQLite without it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        node = Node("anvil", gas_limit=60_000_000)
        try:
            payments = give_money(node, Path(folder))
            fill(node, payments, arguments.payments)
            record = Deployments.load(Path(folder) / "deployments", CHAIN_ID)
            database = arguments.database or f"sqlite:///{folder}/index.db"
            count, seconds, waited = measure(node.url, record, database)
            name = make_url(database).get_backend_name()
            print(f"{name:<12}{count:>10,} events{seconds:>8.1f} s{count / seconds:>10,.0f} events/s", end="")
            print(f"   {waited:.1f} s of it waiting for the node")
        finally:
            node.close()


if __name__ == "__main__":
    main()
