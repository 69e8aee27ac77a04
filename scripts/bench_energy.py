"""What a slot costs as a town grows: `python -m scripts.bench_energy`.

On an Anvil node of its own, with a block gas limit that leaves room: for each number of homes a fresh market, every
home with an order and money, a third with sun. The first slot writes words that were zero and is not counted; then one
slot, then 16 at once. Gas is exact and the same on any machine and chain of these rules (shanghai).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from eth_account import Account
from eth_account.signers.local import LocalAccount
from rich.console import Console
from web3.contract.contract import ContractFunction

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployment, Deployments
from liggare.chain.sender import Sender
from liggare.energy.client import Energy
from liggare.energy.messages import NEVER, NEVER_SELL, Order
from liggare.energy.meter import Meter
from liggare.messages import Signed
from liggare.payments.client import Payments
from scripts.nodes import CHAIN_ID, KRONA, Node, funded

HOMES = (100, 250, 500, 1000, 2000)
BLOCK = 400_000_000
"""Gas of a block of that node; the table says which figures fit in a block of 30 million."""
TARIFFS = (2_500, 600, 0)
FOREVER = 2**48 - 1
console = Console(stderr=True)


def key(number: int) -> LocalAccount:
    """Return a key of its own for each number, the same in each run."""
    account: LocalAccount = Account.from_key(number.to_bytes(32, "big"))
    return account


def measured(homes: int, slot: int) -> dict[int, tuple[int, int]]:
    """Return what the meters count in a slot: made up, the same in each run, a third of the homes with sun."""
    counts = {}
    for home in range(1, homes + 1):
        load, sun = 100 + (home * 37 + slot * 11) % 400, 300 + (home * 53 + slot * 29) % 900
        counts[home] = (max(load - sun, 0), max(sun - load, 0)) if home % 3 == 0 else (load, 0)
    return counts


class Town:
    """A market of its own on a node, and the homes' meters."""

    def __init__(self, node: Node, homes: int) -> None:
        self.node, self.homes = node, homes
        self.operator = Sender(node.w3, funded(0))
        record = node.deploy()
        genesis = node.w3.eth.get_block("latest")["timestamp"] // 900 * 900
        people = (record.contracts["ZeroFeePayments"].address, funded(0).address, funded(0).address)
        arguments = [*people, *TARIFFS, genesis, [60, 600, 86_400]]
        made = artifact("EnergyMarket")
        market = node.w3.eth.contract(abi=made.abi, bytecode=made.bytecode)
        receipt = self.operator.send(market.constructor(*arguments))
        place = Deployment(
            receipt["contractAddress"],
            receipt["transactionHash"].to_0x_hex(),
            receipt["blockNumber"],
            arguments,
            made.source_hash,
        )
        self.record = Deployments(CHAIN_ID, record.genesis, {**record.contracts, "EnergyMarket": place})
        self.energy, self.payments = Energy(node.w3, self.record), Payments(node.w3, self.record)
        self.meters = {home: Meter(key(0x1000 + home), home, self.energy.domain) for home in range(1, homes + 1)}
        self.settle_in()

    def settle_in(self) -> None:
        """Register the homes, place their orders, pay into their accounts: all in one slot."""
        self.pass_until(self.energy.begins(self.energy.current_slot() + 1) + 5)
        function, payer = self.energy.contract.functions, key(0xFFFF)
        start = self.energy.current_slot() + 1
        calls: list[ContractFunction] = [self.payments.contract.functions.mint(payer.address, 10**9 * KRONA)]
        for home in range(self.homes + 1):
            salt, value = bytes(32), (10**6 if home == 0 else 100) * KRONA
            nonce = self.energy.deposit_nonce(home, salt)
            paid = self.payments.receive(payer, self.energy.contract.address, value, nonce=nonce, valid_before=FOREVER)
            if home:
                calls.append(function.registerHome(key(home).address, self.meters[home].address, 0, 0))
                sells = home % 3 == 0
                buy, sell = (1_500, 700 + 7 * home % 500) if sells else (1_000 + 13 * home % 900, NEVER_SELL)
                order = Order(self.energy.domain, home, 1, start, NEVER, buy, sell, 5_000)
                signed: Signed[Order] = order.sign(key(home))
                calls.append(function.placeOrder(tuple(order.values().values()), signed.signature))
            calls.append(function.deposit(home, payer.address, value, 0, FOREVER, salt, paid.signature))
        self.send(calls)
        if function.homeCount().call() != self.homes or self.energy.current_slot() + 1 != start:
            raise RuntimeError("the town did not settle in within one slot")

    def send(self, calls: Sequence[ContractFunction]) -> None:
        """Send many transactions, past what web3.py asks before each; the node mines a hundred in a block."""
        fields = {"from": funded(0).address, "gas": hex(10**6)}
        self.node.rpc("evm_setAutomine", False)
        for number, call in enumerate(calls, 1):
            document = fields | {"to": call.address, "data": call._encode_transaction_data()}
            last = self.node.rpc("eth_sendTransaction", document)
            if number % 100 == 0 or number == len(calls):
                self.node.rpc("evm_mine")
                if self.node.w3.eth.wait_for_transaction_receipt(last)["status"] != 1:
                    raise RuntimeError("a transaction of the setting-in failed")
        self.node.rpc("evm_setAutomine", True)

    def pass_until(self, moment: int) -> None:
        """Let the chain's clock run."""
        ahead = moment - self.node.w3.eth.get_block("latest")["timestamp"]
        if ahead > 0:
            self.node.rpc("evm_increaseTime", ahead)
            self.node.rpc("evm_mine")

    def clear(self, count: int) -> int:
        """Clear the next slots at once; return the gas of the transaction."""
        first = self.energy.next_slot()
        self.pass_until(self.energy.begins(first + count) + self.energy.gate)
        slots = [measured(self.homes, first + t) for t in range(count)]
        readings = {home: meter.read(first, [each[home] for each in slots]) for home, meter in self.meters.items()}
        proposal = self.energy.propose(readings, count)
        if not any(slot.clearing.volume for slot in proposal.slots):
            raise RuntimeError("nothing was traded")
        return self.energy.carry_clearing(proposal, self.operator)["gasUsed"]


def table(rows: Sequence[tuple[int, int, int]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| homes | one slot | per home | 16 slots at once | per home and slot |",
        "| --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {homes:,} | {one:,} | {one // homes:,} | {many:,} | {many // homes // 16:,} |" for homes, one, many in rows
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--homes", type=int, nargs="+", default=HOMES)
    options = parser.parse_args(arguments)
    rows = []
    for homes in options.homes:
        began = time.monotonic()
        node = Node("anvil", gas_limit=BLOCK)
        try:
            town = Town(node, homes)
            town.clear(1)
            rows.append((homes, town.clear(1), town.clear(16)))
        finally:
            node.close()
        console.print(f"{homes} homes: {time.monotonic() - began:.0f} s")
    print(table(rows))


if __name__ == "__main__":
    main()
