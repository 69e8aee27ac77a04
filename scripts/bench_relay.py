"""Payments per second, end to end, through the relayer and one by one: `python -m scripts.bench_relay`.

Every way runs on the same machine, in one run, on a fresh chain: members sign, the payments get to the chain, and
the receipts are seen. Ours is the service as operators run it, over HTTP, with its database on disk. The others
send one transaction per payment: plain `transferWithAuthorization`, and OpenZeppelin's ERC2771Forwarder over their
ERC-20; once waiting for each receipt before the next one, once sending all before looking. They do no HTTP, no
database and no dry run. Ratios count; seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from web3.contract import Contract

from liggare import accounts
from liggare.chain.raw import ask
from liggare.messages import Domain
from liggare.payments.client import Payments
from liggare.payments.codec import Item
from liggare.payments.messages import TransferWithAuthorization, counter
from liggare.payments.wire import document
from scripts.nodes import KRONA, Node, free_port, funded, wallet

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = 100
CLIENTS = 4
"""Who sign and post at the same time."""
MOST = 64 * MEMBERS
"""Payments of a run: the window of counter nonces has room for 64 of each member."""
FOREVER = 2**32 - 1
console = Console(stderr=True)


@dataclass
class Result:
    """What one way reached on one chain."""

    chain: str
    way: str
    payments: int
    per_second: float
    gas: int
    """Per payment."""


def receipt_of(node: Node, transaction: bytes) -> Any:
    """Wait for a receipt, as JSON-RPC has it; it must tell of success."""
    while (receipt := ask(node.w3, "eth_getTransactionReceipt", "0x" + bytes(transaction).hex())) is None:
        time.sleep(0.002)
    if int(receipt["status"], 16) != 1:
        raise RuntimeError("a transaction of the benchmark failed")
    return receipt


def give_money(node: Node, folder: Path) -> Payments:
    """Deploy the money and give every member of it."""
    payments = Payments(node.w3, node.deploy(folder / "deployments"))
    for number in range(MEMBERS):
        mint = payments.contract.functions.mint(wallet(number).address, 10**6 * KRONA)
        receipt_of(node, mint.transact({"from": funded(0).address}))
    return payments


def signed(payments: Payments, first: int, count: int) -> list[Item]:
    """Sign the payments numbered from `first` on: members in turn, each by its next counter nonce."""
    made: list[Item] = []
    for number in range(first, first + count):
        payer, turn = wallet(number % MEMBERS), number // MEMBERS
        payee = wallet((number * 7 + turn + 1) % MEMBERS).address
        message = TransferWithAuthorization(payments.domain, payer.address, payee, KRONA, 0, FOREVER, counter(turn))
        made.append(message.sign(payer))
    return made


# ---------------------------------------------------------------------- through the relayer


@contextmanager
def relay(node: Node, folder: Path) -> Iterator[str]:
    """Run the service for the time of a block; its URL."""
    port, key, password = free_port(), folder / "sponsor.json", folder / "password"
    password.write_text("correct horse\n")
    accounts.write(key, funded(1), "correct horse", iterations=2)
    common = ["--rpc", node.url, "--deployments", folder / "deployments", "--password-file", password]
    mine = ["--key", key, "--port", port, "--per-account", MOST, "--database", f"sqlite:///{folder}/relay.db"]
    command = [Path(sys.executable).with_name("liggare"), *common, "serve", "relay", *mine]
    url = f"http://127.0.0.1:{port}"
    with (folder / "relay.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=log, stderr=log)
        try:
            for _ in range(600):
                try:
                    httpx.get(f"{url}/health", timeout=5)
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait()


class Follower(threading.Thread):
    """Follows the stream of changes until so many payments have ended."""

    def __init__(self, url: str, count: int) -> None:
        super().__init__()
        self._url, self._count = url, count
        self.ready = threading.Event()
        self.transactions: set[str] = set()
        self.ends: dict[str, str] = {}

    def run(self) -> None:
        """Follow."""
        with httpx.stream("GET", f"{self._url}/v1/changes", timeout=300) as stream:
            self.ready.set()
            for line in stream.iter_lines():
                told = json.loads(line[5:]) if line.startswith("data:") else {"status": None}
                if told["status"] in ("paid", "failed"):
                    self.ends[told["id"]] = told["status"]
                    self.transactions.add(told["transaction"])
                    if len(self.ends) == self._count:
                        return


def through_relayer(node: Node, count: int, at_once: int) -> Result:
    """Sign, post `at_once` payments in a request, follow the stream, fetch the receipts and count their events."""
    with tempfile.TemporaryDirectory() as name:
        payments = give_money(node, Path(name))
        with relay(node, Path(name)) as url, httpx.Client(base_url=url, timeout=300) as http:
            follower = Follower(url, count)
            follower.start()
            follower.ready.wait()
            begin = time.perf_counter()

            def sign_and_post(place: int) -> None:
                items = signed(payments, place, min(at_once, count - place))
                http.post("/v1/payments", json=[document(item) for item in items]).raise_for_status()

            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(sign_and_post, range(0, count, at_once)))
            follower.join()
            receipts = [receipt_of(node, bytes.fromhex(each[2:])) for each in follower.transactions]
            seconds = time.perf_counter() - begin
    used = payments.w3.keccak(text="AuthorizationUsed(address,bytes32)").to_0x_hex()
    made = sum(log["topics"][0] == used for receipt in receipts for log in receipt["logs"])
    if made != count or set(follower.ends.values()) != {"paid"}:
        raise RuntimeError(f"{made} of {count} payments were made")
    way = f"liggare serve relay, {at_once} payments a request"
    return Result(node.kind, way, count, count / seconds, sum(int(each["gasUsed"], 16) for each in receipts) // count)


# ---------------------------------------------------------------------- one transaction each


class Plain:
    """`transferWithAuthorization` of the same money."""

    name = "transferWithAuthorization"

    def __init__(self, node: Node, folder: Path) -> None:
        self._payments = give_money(node, folder)
        method = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
        self._function = self._payments.contract.get_function_by_signature(method)
        self.to = self._payments.contract.address

    def data(self, number: int) -> str:
        """Sign a payment and return the call that makes it."""
        (item,) = signed(self._payments, number, 1)
        return str(self._function(*item.message.values().values(), item.signature)._encode_transaction_data())


class Forwarded:
    """OpenZeppelin's ERC2771Forwarder over their ERC-20."""

    name = "OpenZeppelin ERC2771Forwarder"

    def __init__(self, node: Node, _: Path) -> None:
        self._forwarder = self._deploy(node, "Forwarder")
        members = [wallet(number).address for number in range(MEMBERS)]
        self._money = self._deploy(node, "ForwardedMoney", self._forwarder.address, members, 10**6 * KRONA)
        self._domain = Domain("Forwarder", "1", node.w3.eth.chain_id, self._forwarder.address)  # type: ignore[arg-type]
        self.to = self._forwarder.address

    @staticmethod
    def _deploy(node: Node, name: str, *arguments: Any) -> Contract:
        path = ROOT / "build" / "contracts" / f"{name}.json"
        if not path.exists():
            sys.exit("bench_relay: `brownie compile` first")
        made = json.loads(path.read_text())
        factory = node.w3.eth.contract(abi=made["abi"], bytecode=made["bytecode"])
        receipt = receipt_of(node, factory.constructor(*arguments).transact({"from": funded(0).address}))
        return node.w3.eth.contract(address=node.w3.to_checksum_address(receipt["contractAddress"]), abi=made["abi"])

    def data(self, number: int) -> str:
        """Sign a request and return the call that executes it."""
        payer, turn = wallet(number % MEMBERS), number // MEMBERS
        call = self._money.encode_abi("transfer", [wallet((number * 7 + turn + 1) % MEMBERS).address, KRONA])
        names = ("from", "to", "value", "gas", "nonce", "deadline", "data")
        kinds = ("address", "address", "uint256", "uint256", "uint256", "uint48", "bytes")
        values = (payer.address, self._money.address, 0, 100_000, turn, 2**48 - 1, call)
        types = {"ForwardRequest": [{"name": n, "type": k} for n, k in zip(names, kinds, strict=True)]}
        signature = payer.sign_typed_data(self._domain.typed(), types, dict(zip(names, values, strict=True))).signature
        request = (payer.address, self._money.address, 0, 100_000, 2**48 - 1, call, signature)
        return str(self._forwarder.encode_abi("execute", [request]))


def one_by_one(node: Node, way: Plain | Forwarded, count: int, *, wait: bool) -> Result:
    """Send one transaction per payment; with `wait`, the next one when the receipt is there."""
    sponsor, fees = funded(2), {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9, "chainId": node.w3.eth.chain_id}
    first = node.w3.eth.get_transaction_count(sponsor.address)
    receipts, sent = [], []
    begin = time.perf_counter()
    for number in range(count):
        fields = {"to": way.to, "data": way.data(number), "nonce": first + number, "gas": 200_000, "value": 0, **fees}
        sent.append(node.w3.eth.send_raw_transaction(sponsor.sign_transaction(fields).raw_transaction))
        if wait:
            receipts.append(receipt_of(node, sent[-1]))
    receipts = receipts or [receipt_of(node, each) for each in sent]
    seconds = time.perf_counter() - begin
    words = f"{way.name}, {'each waits for its receipt' if wait else 'all sent, then the receipts'}"
    return Result(node.kind, words, count, count / seconds, sum(int(each["gasUsed"], 16) for each in receipts) // count)


# ---------------------------------------------------------------------- the run


def measure(kind: str, count: int, single: int) -> Iterator[Result]:
    """Yield every way's result on a chain, each on a fresh node."""
    for at_once in (500, 20):
        made = Node(kind)
        try:
            yield through_relayer(made, count if at_once > 100 else count // 4, at_once)
        finally:
            made.close()
    for way in (Plain, Forwarded):
        for wait in (True, False):
            made = Node(kind)
            try:
                with tempfile.TemporaryDirectory() as folder:
                    yield one_by_one(made, way(made, Path(folder)), single, wait=wait)
            finally:
                made.close()


def table(results: Sequence[Result]) -> str:
    """Return the results as the docs have them."""
    lines = ["| chain | way | payments/s | gas each | ours is |", "|---|---|---:|---:|---:|"]
    for result in results:
        best = next(each for each in results if each.chain == result.chain)
        ratio = "" if result is best else f"{best.per_second / result.per_second:.1f} x"
        lines.append(f"| {result.chain} | {result.way} | {result.per_second:,.0f} | {result.gas:,} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chain", choices=["anvil", "ganache"], action="append", help="both, unless named")
    parser.add_argument("--payments", type=int, default=5000, help=f"through the relayer, {MOST} at most")
    parser.add_argument("--single", type=int, default=300, help="one by one")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    if not 100 <= words.payments <= MOST or not 1 <= words.single <= MOST:
        parser.error(f"payments are 100 to {MOST}, single ones 1 to {MOST}")
    results = []
    for kind in words.chain or ["anvil", "ganache"]:
        for result in measure(kind, words.payments, words.single):
            console.print(f"{result.chain}: {result.way}: {result.per_second:,.0f}/s")
            results.append(result)
    print(json.dumps([asdict(result) for result in results]) if words.json else table(results))


if __name__ == "__main__":
    main()
