"""What homes and meters sign: orders, readings, withdrawals, another meter, leave.

Prices are thousandths of the currency per kWh, energy is Wh, so their product is exactly units of 10^-6 of the money.
Slots are numbers; slot n runs for 900 seconds from genesis + 900 n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak

from liggare.chain.deployments import Deployments
from liggare.errors import InvalidReadings
from liggare.messages import Domain, SignedMessage

__all__ = [
    "NEVER",
    "NEVER_BUY",
    "NEVER_SELL",
    "SLOT_SECONDS",
    "UTILITY",
    "Departure",
    "Order",
    "Readings",
    "Replacement",
    "Withdrawal",
    "deposit_nonce",
    "energy_domain",
]

SLOT_SECONDS = 900
NEVER = 2**24 - 1
"""The slot that never comes: until it, an order holds for good."""
NEVER_BUY = 0
"""The buy limit of an order that does not buy."""
NEVER_SELL = 2**24 - 1
"""The sell limit of an order that does not sell."""
UTILITY = 0
"""The number of the utility's account."""


@dataclass(frozen=True)
class Order(SignedMessage):
    """A home's standing wish, signed by its owner; the highest `seq` wins from its first slot on. Cap 0 withdraws."""

    TYPE: ClassVar[str] = "Order"
    FIELDS: ClassVar[dict[str, str]] = {
        "home": "uint24",
        "seq": "uint32",
        "fromSlot": "uint24",
        "untilSlot": "uint24",
        "buyLimit": "uint24",
        "sellLimit": "uint24",
        "cap": "uint24",
    }

    home: int
    seq: int
    from_slot: int
    until_slot: int
    buy_limit: int
    sell_limit: int
    cap: int


@dataclass(frozen=True)
class Readings(SignedMessage):
    """What a meter measured in consecutive slots: the counters at the first one's beginning, then 6 bytes per slot."""

    TYPE: ClassVar[str] = "Readings"
    FIELDS: ClassVar[dict[str, str]] = {
        "home": "uint24",
        "firstSlot": "uint24",
        "imported": "uint48",
        "exported": "uint48",
        "deltas": "bytes",
    }

    home: int
    first_slot: int
    imported: int
    exported: int
    deltas: bytes

    def __post_init__(self) -> None:
        if not self.deltas or len(self.deltas) % 6:
            raise InvalidReadings(f"deltas are 6 bytes per slot, of at least one slot, not {len(self.deltas)} bytes")

    @property
    def count(self) -> int:
        """How many slots were measured."""
        return len(self.deltas) // 6

    def pairs(self) -> list[tuple[int, int]]:
        """Return the Wh imported and exported in each slot."""
        return [
            (int.from_bytes(self.deltas[i : i + 3], "big"), int.from_bytes(self.deltas[i + 3 : i + 6], "big"))
            for i in range(0, len(self.deltas), 6)
        ]


@dataclass(frozen=True)
class Withdrawal(SignedMessage):
    """Money out of a home's account, or the utility's, signed by the owner; `value` in units of 10^-6."""

    TYPE: ClassVar[str] = "Withdrawal"
    FIELDS: ClassVar[dict[str, str]] = {
        "home": "uint24",
        "to": "address",
        "value": "uint256",
        "validBefore": "uint256",
        "nonce": "bytes32",
    }

    home: int
    to: ChecksumAddress
    value: int
    valid_before: int
    nonce: bytes


@dataclass(frozen=True)
class Replacement(SignedMessage):
    """Another meter in the place of a home's, signed by its owner and sent by the registrar.

    `imported` and `exported` are the new meter's counters, `last_imported` and `last_exported` the old one's, in Wh at
    the beginning of the slot after the one that runs.
    """

    TYPE: ClassVar[str] = "Replacement"
    FIELDS: ClassVar[dict[str, str]] = {
        "home": "uint24",
        "meter": "address",
        "imported": "uint48",
        "exported": "uint48",
        "lastImported": "uint48",
        "lastExported": "uint48",
        "validBefore": "uint256",
    }

    home: int
    meter: ChecksumAddress
    imported: int
    exported: int
    last_imported: int
    last_exported: int
    valid_before: int


@dataclass(frozen=True)
class Departure(SignedMessage):
    """A home moves out, signed by its owner and sent by the registrar; the counters are its meter's then, in Wh."""

    TYPE: ClassVar[str] = "Departure"
    FIELDS: ClassVar[dict[str, str]] = {
        "home": "uint24",
        "lastImported": "uint48",
        "lastExported": "uint48",
        "validBefore": "uint256",
    }

    home: int
    last_imported: int
    last_exported: int
    valid_before: int


def deposit_nonce(home: int, salt: bytes) -> bytes:
    """Return the nonce that a payment into a home's account must have, so that it can't be credited to another."""
    return keccak(home.to_bytes(32, "big") + salt)


def energy_domain(deployments: Deployments) -> Domain:
    """Return what the market's messages are signed for."""
    return Domain("Liggare Energy", "1", deployments.chain_id, deployments.contracts["EnergyMarket"].address)
