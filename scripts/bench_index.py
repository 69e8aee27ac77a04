"""Events per second that the index takes in, from nothing, and how fast it answers: `python -m scripts.bench_index`.

A fresh Anvil with so many events of payments, in full transactions: each by its own signature (`--each 1`, two events
a payment) or so many by one (a payroll). Then the follower reads all of it, every header checked and every payment's id
computed from its calldata, into SQLite in a temporary folder, or into a database that `--database` names, which should
be empty; and every kind of question is asked, with other words each time. Of the reading, the time in which it waited
for the node is told. Both share this machine's processors.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from sqlalchemy.engine import make_url

from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.ledger.follower import Follower
from liggare.ledger.index import Index
from liggare.ledger.queries import Ledger
from liggare.payments.client import Payments
from liggare.payments.codec import Item
from liggare.payments.ids import PaymentIds
from liggare.payments.messages import PaymentBundle, counter
from scripts.bench_relay import FOREVER, MEMBERS, give_money, signed
from scripts.nodes import CHAIN_ID, Node, funded, wallet

PAYMENTS = 4_000
"""Payments in a transaction, where one signature is for many; else an eighth of it."""
GAS = 100_000_000
console = Console(stderr=True)
draw = random.Random(6)  # noqa: S311


def bundles(payments: Payments, first: int, count: int, each: int) -> list[Item]:
    """Sign bundles of `each` payments, numbered from `first` on: members in turn, each by its next counter nonce."""
    made: list[Item] = []
    for number in range(first, first + count):
        payer = wallet(number % MEMBERS)
        to = [{"to": wallet(draw.randrange(MEMBERS)).address, "value": draw.randrange(1, 100)} for _ in range(each)]
        nonce = counter(number // MEMBERS)
        made.append(PaymentBundle(payments.domain, payer.address, tuple(to), 0, FOREVER, nonce).sign(payer))
    return made


def fill(node: Node, payments: Payments, events: int, each: int) -> None:
    """Make so many events of payments: `each` payments by one signature."""
    sender = Sender(node.w3, funded(1))
    items = PAYMENTS // 8 if each == 1 else PAYMENTS // each
    for first in track(range(0, events // (each + 1), items), "paying", console=console, transient=True):
        made = signed(payments, first, items) if each == 1 else bundles(payments, first, items, each)
        payments.carry_batch(made, sender)


def timed(what: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return the same function, which notes how long it took."""

    def call(*words: Any) -> Any:
        started = time.perf_counter()
        try:
            return what(*words)
        finally:
            spent.append(time.perf_counter() - started)

    return call


def read(url: str, record: Deployments, index: Index) -> Ledger:
    """Read the chain into the index and tell how long it took."""
    w3, spent = connect(url, CHAIN_ID), list[float]()
    follower = Follower(w3, record, index, ids=PaymentIds(record))
    w3.provider.make_batch_request = timed(w3.provider.make_batch_request, spent)  # type: ignore[attr-defined]
    started = time.perf_counter()
    follower.look()
    seconds, ledger = time.perf_counter() - started, Ledger(index, follower.ledger)
    count = sum(total.count for total in ledger.totals().values())
    print(f"{count:,} events in {seconds:.1f} s: {count / seconds:,.0f} events/s", end="")
    print(f"; {sum(spent):.1f} s of it waiting for the node")
    return ledger


def ask(ledger: Ledger, times: int) -> None:
    """Ask every kind of question and tell how long answers take."""
    rows = ledger.about("event:ZeroFeePayments.Transfer", most=500).rows

    def someone() -> str:
        return wallet(draw.randrange(MEMBERS)).address

    def before() -> int:
        return draw.randrange(2, ledger.health().read.number) << 20  # type: ignore[union-attr]

    def payment() -> Any:
        row = draw.choice(rows)
        found = ledger.payment(row.transaction, row.log_index)
        return found and found.id and ledger.about(found.id)

    questions: dict[str, Callable[[], Any]] = {
        "the latest 50": ledger.latest,
        "50 from somewhere in the past": lambda: ledger.latest(50, before()),
        "an account's 50 newest": lambda: ledger.about(someone()),
        "an account's 50 from somewhere": lambda: ledger.about(someone(), before=before()),
        "of one account, of one kind": lambda: ledger.about(someone(), "event:ZeroFeePayments.AuthorizationUsed"),
        "a payment, and by its id": payment,
        "totals": ledger.totals,
        "health": ledger.health,
    }
    for words, question in questions.items():
        spent: list[float] = []
        for _ in range(times):
            timed(question, spent)()
        spent.sort()
        print(f"{words:<34}{spent[times // 2] * 1e3:>8.1f} ms, 95th percentile{spent[times * 19 // 20] * 1e3:>8.1f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=1, help="payments by one signature")
    parser.add_argument("--times", type=int, default=200, help="how often each question is asked")
    parser.add_argument("--database", action="append", help="such as postgresql://liggare@127.0.0.1/bench; repeatable")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        node = Node("anvil", gas_limit=GAS)
        try:
            payments = give_money(node, Path(folder))
            fill(node, payments, arguments.events, arguments.each)
            record = Deployments.load(Path(folder) / "deployments", CHAIN_ID)
            for database in arguments.database or [f"sqlite:///{folder}/index.db"]:
                print(f"\n{make_url(database).get_backend_name()}")
                with Index(database) as index:
                    ask(read(node.url, record, index), arguments.times)
        finally:
            node.close()


if __name__ == "__main__":
    main()
