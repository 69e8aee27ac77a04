"""Rows: one event of one contract, decoded, and where on the chain it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Finding", "Row"]


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
