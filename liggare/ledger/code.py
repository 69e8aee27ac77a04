"""Whether the contracts run the code that the sources compile to.

    creation code of the sources -> its last part, the runtime code -> the chain's code but for immutable values

A compiler leaves 32 zero bytes after a PUSH32 where the constructor writes an immutable value (solc 0.8). What stands
there is not compared: the constructor's arguments are on record, and what the contract answers is replayed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from web3 import Web3

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployments
from liggare.ledger.rows import Finding

__all__ = ["check_code", "differs"]

IMMUTABLE = re.compile(b"\x7f" + bytes(32), re.DOTALL)


def check_code(w3: Web3, deployments: Deployments, block: int) -> Iterator[Finding]:
    """Yield a finding for each contract whose code at the block is not the sources'."""
    for name, item in deployments.contracts.items():
        code = bytes(w3.eth.get_code(item.address, block))
        place = differs(artifact(name).bytecode, code)
        if place is not None:
            actual = f"{len(code)} bytes, other from byte {place} on" if code else "no code"
            rule = "the code at the address is what the sources compile to"
            yield Finding(f"{name} at {item.address}", rule, f"sources {item.sourceHash[:12]}…", actual)


def differs(creation: bytes, code: bytes) -> int | None:
    """Return the first byte in which code on the chain is not that of the creation code; None where there is none."""
    if not code or len(code) >= len(creation):
        return 0
    runtime = creation[-len(code) :]
    masked = bytearray(code)
    for hole in IMMUTABLE.finditer(runtime):
        masked[hole.start() + 1 : hole.end()] = bytes(32)
    return next((place for place, (one, two) in enumerate(zip(runtime, masked, strict=True)) if one != two), None)
