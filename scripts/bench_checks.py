"""How long a reader's own check takes: `python -m scripts.bench_checks`.

A street of homes trades on a fresh Anvil, and a batch of payments lands in one block. Then the checks that pages bundle
run by Node (V8, as in Chromium) against that node: a payment of the batch, and the last slot, for which the market is
replayed from its beginning. Seconds include the node's answers, on the same two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from liggare.energy.agents import Crowd
from liggare.energy.simulate import simulate
from liggare.ledger.reader import Reader
from liggare.payments.client import Payments, random_nonce
from scripts.bench_energy_chain import DEPOSIT, FUNDS, TARIFFS, Street, key, neighbourhood
from scripts.nodes import CHAIN_ID, Node

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import { check } from "./liggare/web/checks/checks.js";
const [kind, claims, url] = JSON.parse(process.argv[1]);
const steps = {}, began = {};
const begin = performance.now();
const result = await check(kind, claims, url, ({ name, state, ...more }) => {
  began[name] ??= performance.now();
  steps[name] = { state, seconds: (performance.now() - began[name]) / 1000, ...more };
});
console.log(JSON.stringify({ result, steps, seconds: (performance.now() - begin) / 1000 }));
"""
UNTIL = 2**32 - 1
console = Console(stderr=True)


def check(kind: str, claims: dict[str, str], url: str) -> Any:
    """Run one check by Node. Raises RuntimeError where all is not right."""
    words = ["node", "--input-type=module", "-e", SCRIPT, json.dumps([kind, claims, url])]
    answer = json.loads(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    if answer["result"] != "good":
        raise RuntimeError(f"an honest {kind} is {answer['result']}: {answer['steps']}")
    return answer


def pay(street: Street, count: int) -> dict[str, str]:
    """Pay `count` times in one transaction; return what a page says of the last payment."""
    payments, payer = Payments(street.node.w3, street.record), key(0xFFFE)
    payments.mint(payer.address, count, street.operator)
    signed = [
        payments.pay(payer, key(0x2000 + number).address, 1, nonce=random_nonce(), valid_before=UNTIL)
        for number in range(count)
    ]
    receipt, _ = payments.carry_batch(signed, street.operator)
    contract = street.record.contracts["ZeroFeePayments"]
    last = signed[-1]
    return {
        "chain": str(CHAIN_ID),
        "contract": contract.address,
        "block": str(contract.block),
        "transaction": receipt["transactionHash"].to_0x_hex(),
        "log": str(len(receipt["logs"]) - 1),
        "payer": payer.address,
        "payee": last.message.to,
        "value": "1",
        "id": last.id.to_0x_hex(),
    }


def slot(street: Street) -> dict[str, str]:
    """Return what a page says of the last slot that was cleared."""
    told = [row for row in Reader(street.node.w3, street.record).rows() if row.event == "SlotCleared"][-1]
    contract = street.record.contracts["EnergyMarket"]
    shown = {name: str(told.arguments[name]) for name in ("slot", "price", "lo", "hi", "volume")}
    where = {"chain": str(CHAIN_ID), "contract": contract.address, "block": str(contract.block)}
    return {**where, **shown, "transaction": told.transaction}


def main() -> None:
    """Make the ledger, run the checks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--days", type=int, default=4, help="days of 96 slots, 1 to 10")
    parser.add_argument("--payments", type=int, default=300, help="payments in the block")
    words = parser.parse_args()
    homes = neighbourhood(words.days)
    study = simulate(homes, TARIFFS, Crowd.of(["fixed"], len(homes.homes), TARIFFS, 1), deposit=DEPOSIT, funds=FUNDS)
    wishes = Crowd.of(["fixed"], len(homes.homes), TARIFFS, 1).wishes(1)
    node = Node("anvil")
    try:
        street = Street(node, study)
        street.settle_in(wishes.buy[0].tolist(), wishes.sell[0].tolist())
        begin = time.perf_counter()
        street.run(1)
        console.print(f"made {len(study.price)} slots in {time.perf_counter() - begin:.0f} s")
        paid = check("payment", pay(street, words.payments), node.url)
        cleared = check("slot", slot(street), node.url)
    finally:
        node.close()
    events, replay = cleared["steps"]["events"], cleared["steps"]["replay"]
    slots, count = replay["values"]["slots"], events["values"]["count"]
    print("| check | of | seconds |")
    print("|---|---|---:|")
    print(f"| a payment | one of {words.payments:,} in a transaction | {paid['seconds']:.2f} |")
    print(f"| a slot | {len(homes.homes)} homes, {slots:,} slots, {count:,} events | {cleared['seconds']:.2f} |")
    print(f"| of it reading events | {count / events['seconds']:,.0f} events/s | {events['seconds']:.2f} |")
    print(f"| of it computing anew | {slots / replay['seconds']:,.0f} slots/s | {replay['seconds']:.2f} |")


if __name__ == "__main__":
    main()
