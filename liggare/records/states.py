"""What the records' contracts say, as Python values: why a read is refused, and what stands on the chain.

The numbers are those of IRecordAccess and ICareRegistry; `client` asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from eth_typing import ChecksumAddress

__all__ = [
    "REASONS",
    "EmergencyState",
    "GrantState",
    "Guardian",
    "Organisation",
    "Recovery",
    "Refusal",
    "Skipped",
    "Standing",
]


class Refusal(IntEnum):
    """Why a read is refused, as IRecordAccess has it; `NOTHING` where it is not."""

    NOTHING = 0
    NO_GRANT = 1
    REVOKED = 2
    ALL_REVOKED = 3
    OTHER_TERMS = 4
    NOT_YET = 5
    EXPIRED = 6
    CATEGORY_NOT_GRANTED = 7
    PURPOSE_NOT_GRANTED = 8
    GRANTEE_NOT_ACCREDITED = 9
    GRANTEE_SUSPENDED = 10
    GRANTEE_NOT_YET_VALID = 11
    GRANTEE_EXPIRED = 12
    BEYOND_CAP = 13
    KEY_REPLACED = 14
    NOT_AUTHOR = 15
    NO_EMERGENCY = 16
    EMERGENCY_OVER = 17
    EMERGENCY_REFUSED = 18
    NOT_EMERGENCY_SERVICE = 19

    @property
    def solidity(self) -> str:
        """The name in the contract: `NOT_YET` -> `NotYet`."""
        return "".join(word.capitalize() for word in self.name.split("_"))


REASONS: dict[Refusal, str] = {
    Refusal.NOTHING: "it may be read",
    Refusal.NO_GRANT: "the patient has granted nothing under this share",
    Refusal.REVOKED: "the patient has revoked the grant",
    Refusal.ALL_REVOKED: "the patient has revoked everything granted up to then",
    Refusal.OTHER_TERMS: "the terms shown are not those that the patient granted last",
    Refusal.NOT_YET: "the grant begins later",
    Refusal.EXPIRED: "the grant has ended",
    Refusal.CATEGORY_NOT_GRANTED: "the grant does not cover this kind of record",
    Refusal.PURPOSE_NOT_GRANTED: "the grant does not cover this purpose",
    Refusal.GRANTEE_NOT_ACCREDITED: "the reader is not an accredited organisation",
    Refusal.GRANTEE_SUSPENDED: "the reader's accreditation is suspended",
    Refusal.GRANTEE_NOT_YET_VALID: "the reader's accreditation begins later",
    Refusal.GRANTEE_EXPIRED: "the reader's accreditation has ended",
    Refusal.BEYOND_CAP: "an organisation like the reader may never be granted this kind of record",
    Refusal.KEY_REPLACED: "the patient's key was replaced, and what the old one granted counts no more",
    Refusal.NOT_AUTHOR: "who granted may not, or not any more, grant for the patient",
    Refusal.NO_EMERGENCY: "the reader has declared no emergency for this patient",
    Refusal.EMERGENCY_OVER: "the emergency's time is over",
    Refusal.EMERGENCY_REFUSED: "the patient lets nobody read in an emergency",
    Refusal.NOT_EMERGENCY_SERVICE: "the reader is no emergency service",
}
"""The reasons in words, for a person."""


class Standing(IntEnum):
    """How an organisation stands, as ICareRegistry has it."""

    NOT_ACCREDITED = 0
    SUSPENDED = 1
    NOT_YET_VALID = 2
    EXPIRED = 3
    GOOD = 4


@dataclass(frozen=True)
class Organisation:
    """An organisation as the registry has it; bits by `categories.GRANTABLE` and `ROLES`."""

    categories: int
    valid_from: int
    valid_until: int
    break_glass_quota: int
    roles: int
    suspended: bool

    @classmethod
    def unpack(cls, slot: bytes) -> Organisation:
        """Read the word that is stored and told, as ICareRegistry draws it."""
        word = int.from_bytes(slot, "big")

        def field(shift: int, bits: int) -> int:
            return word >> shift & (1 << bits) - 1

        times = field(73, 48), field(25, 48)
        return cls(field(121, 64), *times, field(9, 16), field(1, 8), bool(word & 1))


@dataclass(frozen=True)
class GrantState:
    """What stands on the chain under one key; `terms` is zero where nothing is granted."""

    terms: bytes
    epoch: int
    version: int

    @classmethod
    def unpack(cls, slot: bytes) -> GrantState:
        """Read the word that is stored and told, as IRecordAccess draws it."""
        return cls(bytes(slot[:22]), int.from_bytes(slot[22:27], "big"), int.from_bytes(slot[27:], "big"))


@dataclass(frozen=True)
class Guardian:
    """What was said last of a guardian, as IRecordAccess has it; `rights` is 0 where no appointment stands."""

    appointer: ChecksumAddress
    rights: int
    until: int
    version: int
    serial: int
    under: int


@dataclass(frozen=True)
class Recovery:
    """How a patient's key is recovered, and the recovery on its way: `ready_at` is 0 where there is none."""

    threshold: int
    delay: int
    ready_at: int
    version: int
    successor: ChecksumAddress


@dataclass(frozen=True)
class EmergencyState:
    """The last time that an organisation broke the glass for a patient; all zero for never."""

    reason: int
    until: int
    version: int


@dataclass(frozen=True)
class Skipped:
    """An item of a batch that was not carried out: its place, its message's id, the contract's error by name."""

    index: int
    id: bytes
    reason: str
