"""What tests of every domain share."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path

import brownie
from brownie import web3
from brownie.convert.utils import build_function_selector, get_type_strings
from brownie.exceptions import decode_typed_error
from brownie.network.state import _notify_registry
from eth_abi import encode

from liggare.ledger.rows import Row

ROOT = Path(__file__).resolve().parent.parent
GAS = ROOT / "gas.json"
HL7 = ROOT.parent / "shared" / "data" / "fhir-r4-examples"
"""HL7's 385 R4 examples, where they lie beside the repository; tests of them skip where they don't."""
FOREVER = 2**48 - 1
"""A valid-before that never comes; fixed, since calldata's zero bytes count in gas."""


def rpc(method: str, *parameters):
    """Call the node directly; raise on its error."""
    answer = web3.provider.make_request(method, list(parameters))
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["result"]


@contextmanager
def isolated():
    """Set the chain back when the block ends. Nests, unlike Brownie's `chain.snapshot`."""
    mark = rpc("evm_snapshot")
    # the clock ran on while the chain was set back: let the newest block, which `now` reads, catch up
    rpc("evm_mine")
    try:
        yield
    finally:
        rpc("evm_revert", mark)
        # Brownie waits for ever for a nonce that its history says is taken: let it forget too
        _notify_registry(web3.eth.block_number)


def now() -> int:
    """The newest block's time."""
    return web3.eth.get_block("latest")["timestamp"]


def pass_time(seconds: int) -> None:
    """Let the chain's clock run and mine a block at the new time; a clock that is ahead already stays."""
    if seconds > 0:
        rpc("evm_increaseTime", seconds)
        rpc("evm_mine")


def refused(container, name: str, *values):
    """Expect a revert with exactly this custom error: `with refused(ZeroFeePayments, "PaymentsExpired", 5, 7):`."""
    item = next(i for i in container.abi if i["type"] == "error" and i["name"] == name)
    types = get_type_strings(item["inputs"])
    plain = [str(value) if kind == "address" else value for kind, value in zip(types, values, strict=True)]
    return brownie.reverts(decode_typed_error(build_function_selector(item) + encode(types, plain).hex()))


def rows_by_web3(w3, deployments):
    """Return all rows of a ledger as web3's own decoding of logs gives them."""
    rows = []
    for name, item in deployments.contracts.items():
        contract = deployments.contract(w3, name)
        for event in contract.events:
            for log in event().get_logs(from_block=0):
                block = w3.eth.get_block(log["blockNumber"])
                where = log["blockNumber"], block["hash"].to_0x_hex(), block["timestamp"]
                place = log["transactionHash"].to_0x_hex(), log["logIndex"]
                rows.append(Row(*where, *place, name, log["event"], dict(log["args"])))
        assert all(row.contract != name or item.block <= row.block for row in rows)
    return sorted(rows, key=lambda row: (row.block, row.log_index))


def outsider(items):
    """Return what an EIP-712 implementation that is not ours makes of typed data; `outsider.mjs` says how to ask."""
    script = ROOT / "tests" / "outsider.mjs"
    ran = subprocess.run(["node", script], input=json.dumps(items), capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


class GasBook:
    """`gas.json`: a flat object, dotted name -> gas. Exact: a rise and a fall both fail until it is rewritten."""

    def __init__(self, *, write: bool) -> None:
        self.write = write
        self.known: dict[str, int] = json.loads(GAS.read_text()) if GAS.exists() else {}
        self.fresh: dict[str, int] = {}

    def __call__(self, name: str, used: int) -> None:
        """Check `used` against the book, or note it for `close` under `--write-gas`."""
        if self.write:
            self.fresh[name] = used
            return
        assert name in self.known, f"{name} ({used}) is not in gas.json; `make gas` writes it"
        assert used == self.known[name], f"{name} uses {used} gas, gas.json says {self.known[name]}"

    def close(self) -> None:
        """Write what was measured, under `--write-gas`."""
        if self.write and self.fresh:
            GAS.write_text(json.dumps(dict(sorted({**self.known, **self.fresh}.items())), indent=2) + "\n")
