"""Rows: one event of one contract, decoded, and where on the chain it stands.

A copy of the ledger is a file with one row a line, as JSON: bytes as 0x text, all else as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from liggare.chain.artifacts import artifact
from liggare.errors import DataError

__all__ = ["Finding", "Row", "read_copy", "typed", "write_copy"]


@dataclass(frozen=True)
class Row:
    """One event. `arguments` are by their Solidity names; bytes stay bytes, addresses are checksummed."""

    block: int
    block_hash: str
    timestamp: int
    transaction: str
    log_index: int
    contract: str
    event: str
    arguments: dict[str, Any]

    @property
    def place(self) -> str:
        """Where the event is, for a person to look up."""
        return f"{self.contract}.{self.event} in block {self.block}, {self.transaction} log {self.log_index}"


@dataclass(frozen=True)
class Finding:
    """Something that is off: where, which rule in words, and both values."""

    place: str
    rule: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}; expected {self.expected}, found {self.actual}"


def write_copy(rows: Iterable[Row], path: Path) -> int:
    """Write rows to a file, one a line, and return how many."""
    count = 0
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        for row in rows:
            file.write(json.dumps(asdict(row), default=lambda value: "0x" + value.hex()) + "\n")
            count += 1
    partial.replace(path)
    return count


def read_copy(path: Path) -> Iterator[Row]:
    """Yield the rows of a file that `write_copy` wrote. Raises DataError naming the first line that is off."""
    try:
        with path.open() as file:
            for number, line in enumerate(file, 1):
                try:
                    row = Row(**json.loads(line))
                    yield Row(**{**vars(row), "arguments": typed(row.contract, row.event, row.arguments)})
                except (ValueError, TypeError, KeyError, StopIteration) as exc:
                    raise DataError(f"{path}, line {number}: no row of the ledger ({exc})") from None
    except OSError as exc:
        raise DataError(f"{path} can't be read: {exc.strerror}") from None


def typed(contract: str, event: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON gave them with bytes as bytes, as the contract's ABI has them.

    Raises ValueError where they are not the event's, KeyError or StopIteration where there is no such event.
    """
    kinds = _kinds(contract, event)
    if kinds.keys() != arguments.keys():
        raise ValueError(f"{event} has {', '.join(kinds)}")
    return {name: bytes.fromhex(value[2:]) if kinds[name] else value for name, value in arguments.items()}


@lru_cache(256)
def _kinds(contract: str, event: str) -> dict[str, bool]:
    """Return the names of an event's arguments, and whether each is bytes."""
    abi = next(i for i in artifact(contract).abi if i["type"] == "event" and i["name"] == event)
    kinds = {each["name"]: each["type"] for each in abi["inputs"]}
    return {name: kind.startswith("bytes") and kind[-1] != "]" for name, kind in kinds.items()}
