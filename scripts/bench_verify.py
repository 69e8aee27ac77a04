"""How fast the ledger is verified: `python -m scripts.bench_verify` prints the tables of docs/verify.md.

Replay: made-up rows of payments between 1,000 accounts under the payments' rules. Signatures: signed payments,
recovered over all processors. From a node: real payments in batches on a local Anvil, read by `chain.proven`, followed
call by call, with each signature and all state checked. Memory is the peak of a process of its own for each size.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from liggare.chain.deployments import Deployment, Deployments
from liggare.chain.feed import Block
from liggare.chain.sender import Sender
from liggare.cli.ledger import all_calls
from liggare.ledger.checkpoint import Known, read, write
from liggare.ledger.reader import Reader
from liggare.ledger.rows import Finding, Row
from liggare.ledger.signatures import FEW, Claim, Form, Signatures
from liggare.ledger.verify import ChainState, Report, verify
from liggare.ledger.witness import Witnesses
from liggare.messages import Domain, address
from liggare.payments.client import Payments
from liggare.payments.messages import TransferWithAuthorization, counter
from liggare.payments.rules import CONTRACT, ZERO, PaymentRules
from scripts.nodes import KRONA, Node, funded, wallet

FOREVER = 2**32 - 1
MADE_UP = Deployment(address("0x" + "11" * 20), "0x", 0, [], "")


def clean(findings: list[Finding]) -> None:
    """Stop where something is off: a rate of wrong answers is none."""
    if findings:
        raise RuntimeError(f"honest payments are found to be off: {findings[0]}")


def rows(count: int, offset: int = 0) -> Iterator[Row]:
    """Yield made-up rows: mintings, then payments of two events each, 100 payments a transaction.

    Nonces count up from `offset`: from 2**64 on each is one by itself, which is never forgotten.
    """
    draw = random.Random(6)  # noqa: S311 payments, the same in each run
    people = [address("0x" + f"{number + 1:040x}") for number in range(1000)]
    for number, person in enumerate(people):
        yield Row(1, "0x", 1, "0x", number, CONTRACT, "Transfer", {"from": ZERO, "to": person, "value": 10**15})
    for number in range((count - len(people)) // 2):
        payer, payee = draw.choice(people), draw.choice(people)
        block, place = 2 + number // 100, number % 100 * 2
        used = {"authorizer": payer, "nonce": (number + offset).to_bytes(32, "big")}
        yield Row(block, "0x", block, f"{block:#x}", place, CONTRACT, "AuthorizationUsed", used)
        paid = {"from": payer, "to": payee, "value": number % 997}
        yield Row(block, "0x", block, f"{block:#x}", place + 1, CONTRACT, "Transfer", paid)


def replay(count: int) -> tuple[float, float]:
    """Replay so many rows; return events a minute, and the peak of memory in MB."""
    started = time.perf_counter()
    report = verify(rows(count), [PaymentRules()])
    clean(report.findings)
    rate = report.rows / (time.perf_counter() - started) * 60
    return rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def going_on(count: int, offset: int) -> tuple[float, float, float, float, float]:
    """Replay so many rows, write a checkpoint and read it; return the seconds of each, its MB, reading's peak MB."""
    record, signer = Deployments(1337, "0x" + "11" * 32, {CONTRACT: MADE_UP}), wallet(0)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        known = Known([PaymentRules()], Witnesses([], Signatures(lambda _: lambda *__: False)), Report())
        times = [time.perf_counter()]
        clean(verify(rows(count, offset), known.rules, report=known.report).findings)
        times.append(time.perf_counter())
        write(path, signer, record, Block(1, record.genesis, record.genesis, 1, 0), known)
        times.append(time.perf_counter())
        del known
        with multiprocessing.get_context("spawn").Pool(1) as one:
            took, peak = one.apply(reading, (path, record, signer.address))
        return times[1] - times[0], times[2] - times[1], took, path.stat().st_size / 2**20, peak


def reading(path: Path, record: Deployments, signer: str) -> tuple[float, float]:
    """Read a checkpoint; return the seconds, and the peak of memory in MB."""
    known = Known([PaymentRules()], Witnesses([], Signatures(lambda _: lambda *__: False)), Report())
    started = time.perf_counter()
    read(path, signer, record, known)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def signatures(count: int) -> float:
    """Check so many signatures; return how many a second, the processes' start left out."""
    domain = Domain("Liggare Krona", "1", 1337, address("0x" + "11" * 20))
    people = [wallet(number) for number in range(200)]
    claims = []
    for number in range(count):
        payer = people[number % len(people)]
        message = TransferWithAuthorization(domain, payer.address, people[0].address, 5, 0, FOREVER, counter(number))
        signed = message.sign(payer)
        claims.append(Claim("", (payer.address,), bytes(signed.id), signed.signature, Form.KEY, 1))
    with Signatures(lambda _: lambda *__: False) as checked:
        findings = [found for claim in claims[: FEW + 8_000] for found in checked.add(claim)] + list(checked.close())
        started = time.perf_counter()
        findings += [found for claim in claims for found in checked.add(claim)] + list(checked.close())
        took = time.perf_counter() - started
    clean(findings)
    return count / took


def whole(batches: int, size: int = 200) -> tuple[int, float]:
    """Verify real payments on an Anvil of its own; return how many events there were, and events a second."""
    node = Node("anvil")
    try:
        deployments = node.deploy()
        money, sender = Payments(node.w3, deployments), Sender(node.w3, funded(0))
        people = [wallet(number) for number in range(50)]
        for person in people:
            money.mint(person.address, 1000 * KRONA, sender)
        for batch in range(batches):
            items = [
                money.pay(
                    people[n % 50],
                    people[(n + 1) % 50].address,
                    1 + n,
                    nonce=counter(batch * size + n),
                    valid_before=FOREVER,
                )
                for n in range(size)
            ]
            money.carry_batch(items, sender)
        head = node.w3.eth.block_number
        rules = [PaymentRules()]
        started = time.perf_counter()
        with all_calls(node.w3, deployments, rules) as calls:
            found = Reader(node.w3, deployments, proven=True).rows(end=head)
            report = verify(found, rules, ChainState(node.w3, deployments, head), calls)
        took = time.perf_counter() - started
        clean(report.findings)
        if report.checked["signatures"] != batches * size:
            raise RuntimeError(f"{report.checked['signatures']} signatures were checked, not {batches * size}")
        return report.rows, report.rows / took
    finally:
        node.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="rows of the larger replay")
    parser.add_argument("--signatures", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=50, help="of 200 real payments each")
    options = parser.parse_args()
    print("| replayed, no signatures | events a minute | peak of memory, MB |\n|---|---|---|")
    for count in (options.events // 4, options.events):
        with multiprocessing.get_context("spawn").Pool(1) as one:
            rate, peak = one.apply(replay, (count,))
        print(f"| {count:,} events | {rate:,.0f} | {peak:,.0f} |", flush=True)
    print("\n| checkpoint of | replayed in, s | written in, s | read in, s | MB | peak of reading, MB |")
    print("|---|---|---|---|---|---|")
    for words, offset in (("counted nonces", 0), ("random nonces, all kept", 2**64)):
        figures = " | ".join(f"{figure:,.2f}" for figure in going_on(options.events, offset))
        print(f"| {options.events:,} events, {words} | {figures} |", flush=True)
    print("\n| | a second |\n|---|---|")
    print(f"| signatures checked, of {options.signatures:,} | {signatures(options.signatures):,.0f} |", flush=True)
    count, rate = whole(options.batches)
    print(f"| events verified from a node, proofs, calls, signatures and state, of {count:,} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
