"""The compiled contracts that ship with the package: `liggare/abi/<Contract>.json`.

Each file holds `abi`, `bytecode` (creation code, hexadecimal, no 0x) and `sourceHash`.
`make abi` writes them from Brownie's build; a test checks that they are current.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["Artifact", "artifact", "names"]


@dataclass(frozen=True)
class Artifact:
    """One compiled contract; `source_hash` is the SHA-256 over its own and its imports' sources."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    source_hash: str


@cache
def artifact(name: str) -> Artifact:
    """Return the compiled contract of this name. Raises KeyError where there is none."""
    file = resources.files("liggare").joinpath("abi", f"{name}.json")
    if not file.is_file():
        raise KeyError(f"no contract named {name} in this release; there are {', '.join(names())}")
    document = json.loads(file.read_text())
    return Artifact(name, document["abi"], bytes.fromhex(document["bytecode"]), document["sourceHash"])


@cache
def names() -> tuple[str, ...]:
    """Return the names of the contracts that ship, sorted."""
    folder = resources.files("liggare").joinpath("abi")
    return tuple(sorted(file.name.removesuffix(".json") for file in folder.iterdir()))
