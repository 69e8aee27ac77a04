"""A study again with every slot on a chain: `python -m scripts.bench_energy_chain`.

The same homes, wishes and slots once off chain and then on a fresh Anvil node for each size of batch: homes register,
order and pay in; their meters sign; every slot is cleared and settled by the contract. Afterwards each slot's price and
volume and every account must be those of the study, to the unit. Gas is exact; seconds depend on the machine, and are
those of the node, the client that computes each clearing, and the meters that sign, on the same two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from rich.console import Console
from rich.progress import track

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployment, Deployments
from liggare.chain.sender import Sender
from liggare.energy.agents import Crowd
from liggare.energy.client import Energy
from liggare.energy.homes import wheel
from liggare.energy.messages import UTILITY
from liggare.energy.meter import Meter
from liggare.energy.settlement import Tariffs
from liggare.energy.simulate import Neighbourhood, Study, simulate
from liggare.energy.synthetic import PARK_SLOPE
from liggare.errors import DataMissing
from liggare.ledger.reader import Reader
from liggare.payments.client import Payments
from scripts.nodes import CHAIN_ID, KRONA, Node, funded

ROOT = Path(__file__).resolve().parent.parent
TARIFFS = Tariffs(2_500, 600)
DEPOSIT, FUNDS = 50_000 * KRONA, 1_000_000 * KRONA
FOREVER = 2**48 - 1
YEAR = 365
DAY = 300
"""The first day of the homes' year that is traded: 28 May; an earlier one where the year would end too soon."""
PAYER = 0xFFFF
console = Console(stderr=True)


@dataclass
class Result:
    """What one size of batch took."""

    batch: int
    slots: int
    homes: int
    gas: int
    signing: float
    proposing: float
    carrying: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.signing + self.proposing + self.carrying


def key(number: int) -> LocalAccount:
    """Return a key of its own for each number, the same in each run."""
    account: LocalAccount = Account.from_key(number.to_bytes(32, "big"))
    return account


def neighbourhood(days: int) -> Neighbourhood:
    """Return the measured homes' days, or made ones' where they can't be had."""
    try:
        street = Neighbourhood.citylearn(wheel(ROOT / ".toolchain" / "data"))
    except DataMissing:
        console.print("the measured homes can't be had: made ones stand in")
        street = Neighbourhood.made(17, PARK_SLOPE)
    return street if days == YEAR else street.days(min(DAY, YEAR - 1 - days), days)


def market(node: Node) -> Deployments:
    """Deploy money and market on a node; the operator is registrar and utility."""
    record = node.deploy()
    made, operator = artifact("EnergyMarket"), funded(0)
    genesis = node.w3.eth.get_block("latest")["timestamp"] // 900 * 900
    people = (record.contracts["ZeroFeePayments"].address, operator.address, operator.address)
    arguments = [*people, TARIFFS.retail, TARIFFS.feed_in, TARIFFS.grid_fee, genesis, [60, 600, 86_400]]
    contract = node.w3.eth.contract(abi=made.abi, bytecode=made.bytecode)
    receipt = Sender(node.w3, operator).send(contract.constructor(*arguments))
    where, hash_ = receipt["contractAddress"], receipt["transactionHash"].to_0x_hex()
    place = Deployment(where, hash_, receipt["blockNumber"], arguments, made.source_hash)
    return Deployments(CHAIN_ID, record.genesis, {**record.contracts, "EnergyMarket": place})


class Street:
    """The homes of a study, on a chain."""

    def __init__(self, node: Node, study: Study) -> None:
        self.node, self.study, self.operator = node, study, Sender(node.w3, funded(0))
        self.record = market(node)
        self.energy = Energy(node.w3, self.record)
        homes = range(1, len(study.names) + 1)
        self.meters = {home: Meter(key(0x1000 + home), home, self.energy.domain) for home in homes}
        self.pairs = {home: list(zip(*self._counted(home - 1), strict=True)) for home in homes}

    def _counted(self, column: int) -> tuple[list[int], list[int]]:
        study = self.study
        return study.imported[:, column].tolist(), study.exported[:, column].tolist()

    def settle_in(self, buy: Sequence[int], sell: Sequence[int]) -> None:
        """Register all homes, with their wishes and money, in one slot."""
        payments = Payments(self.node.w3, self.record)
        payments.mint(key(PAYER).address, DEPOSIT * len(self.meters) + FUNDS, self.operator)
        self.pass_until(self.energy.begins(self.energy.current_slot() + 1) + 5)
        for home, meter in self.meters.items():
            self.energy.register(key(home).address, meter.address, self.operator)
            wish = self.energy.order(key(home), home, buy=buy[home - 1], sell=sell[home - 1], cap=2**24 - 1)
            self.energy.carry_order(wish, self.operator)
        for home in (UTILITY, *self.meters):
            salt, value = bytes(32), DEPOSIT if home else FUNDS
            nonce = self.energy.deposit_nonce(home, salt)
            paid = payments.receive(key(PAYER), self.energy.contract.address, value, nonce=nonce, valid_before=FOREVER)
            self.energy.deposit(home, salt, paid, self.operator)

    def run(self, batch: int) -> Result:
        """Clear all slots, `batch` in a transaction."""
        slots = len(self.study.price)
        result = Result(batch, slots, len(self.meters), 0, 0.0, 0.0, 0.0)
        begin = self.energy.next_slot()
        for start in track(range(0, slots, batch), f"{batch} slots a transaction", console=console, transient=True):
            count = min(batch, slots - start)
            first = begin + start
            self.pass_until(self.energy.begins(first + count) + self.energy.gate + 1)
            marks = [time.perf_counter()]
            readings = {
                home: meter.read(first, self.pairs[home][start : start + count]) for home, meter in self.meters.items()
            }
            marks.append(time.perf_counter())
            proposal = self.energy.propose(readings, count)
            marks.append(time.perf_counter())
            result.gas += self.energy.carry_clearing(proposal, self.operator)["gasUsed"]
            marks.append(time.perf_counter())
            result.signing += marks[1] - marks[0]
            result.proposing += marks[2] - marks[1]
            result.carrying += marks[3] - marks[2]
        self.check(begin)
        return result

    def check(self, begin: int) -> None:
        """Compare every slot and every account with the study. Raises RuntimeError."""
        told = [row.arguments for row in Reader(self.node.w3, self.record).rows() if row.event == "SlotCleared"]
        columns = (self.study.lo, self.study.hi, self.study.price, self.study.volume)
        studied = list(zip(range(begin, begin + len(told)), *(column.tolist() for column in columns), strict=True))
        if [tuple(each[name] for name in ("slot", "lo", "hi", "price", "volume")) for each in told] != studied:
            raise RuntimeError("the chain's slots are not the study's")
        balances = [self.energy.balance(home) for home in (UTILITY, *self.meters)]
        if balances != [self.study.till.utility, *self.study.till.balances.values()]:
            raise RuntimeError("the chain's accounts are not the study's")

    def pass_until(self, moment: int) -> None:
        """Let the chain's clock run to a unix time that is still to come."""
        ahead = moment - self.node.w3.eth.get_block("latest")["timestamp"]
        if ahead > 0:
            self.node.rpc("evm_increaseTime", ahead)
            self.node.rpc("evm_mine")


def table(results: Sequence[Result], studied: float) -> str:
    """Return the results as the docs have them."""
    lines = [
        "| slots a transaction | slots | gas per home and slot | slots/s | of it signing | computing | the chain |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in results:
        gas = each.gas // each.slots // each.homes
        parts = (f"{part / each.seconds:.0%}" for part in (each.signing, each.proposing, each.carrying))
        lines.append(
            f"| {each.batch} | {each.slots:,} | {gas:,} | {each.slots / each.seconds:,.0f} | {' | '.join(parts)} |"
        )
    lines.append(f"| off chain | {results[0].slots:,} | | {results[0].slots / studied:,.0f} | | | |")
    return "\n".join(lines)


def main() -> None:
    """Run all sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--days", type=int, default=4, help="days of 96 slots, 1 to 365: all slots of the year")
    parser.add_argument("--batch", type=int, action="append", help="slots a transaction; 1, 16 and 96 unless said")
    words = parser.parse_args()
    if not 1 <= words.days <= YEAR:
        parser.error("days are 1 to 365")
    street = neighbourhood(words.days)
    homes = len(street.homes)
    begin = time.perf_counter()
    crowd = Crowd.of(["fixed"], homes, TARIFFS, 1)
    study = simulate(street, TARIFFS, crowd, deposit=DEPOSIT, funds=FUNDS)
    studied = time.perf_counter() - begin
    wishes = Crowd.of(["fixed"], homes, TARIFFS, 1).wishes(1)
    results = []
    for batch in words.batch or [1, 16, 96]:
        node = Node("anvil")
        try:
            chain = Street(node, study)
            chain.settle_in(wishes.buy[0].tolist(), wishes.sell[0].tolist())
            results.append(chain.run(batch))
        finally:
            node.close()
        console.print(f"{batch} slots a transaction: {results[-1].slots / results[-1].seconds:,.1f} slots/s")
    print(table(results, studied))


if __name__ == "__main__":
    main()
