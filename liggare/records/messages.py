"""What patients and those who act for them sign to let read, and what readers sign to read.

Times are unix seconds. What a patient grants is `Terms`; only a commitment to it goes on the chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from eth_hash.auto import keccak
from eth_typing import ChecksumAddress

from liggare.chain.deployments import Deployments
from liggare.errors import InvalidTerms
from liggare.messages import Domain, SignedMessage
from liggare.records.categories import GRANTABLE, PURPOSES, RESTRICTED, mask, names

__all__ = [
    "Appoint",
    "BreakGlass",
    "BundledGrant",
    "Dismiss",
    "Grant",
    "GrantBundle",
    "GrantFor",
    "Recover",
    "Revoke",
    "RevokeAll",
    "RevokeFor",
    "SetEmergency",
    "SetRecovery",
    "StopRecovery",
    "Terms",
    "blind",
    "grant_key",
    "grant_key_by",
    "guardian_epoch",
    "record_domain",
]

RECORD = re.compile(r"[A-Z][A-Za-z]{0,63}/[A-Za-z0-9.-]{1,64}")
"""A FHIR reference to one record: type and logical id."""


def blind(grantee: str, salt: bytes) -> bytes:
    """Return the blinded grantee: without the salt nobody can tell whom it names."""
    return keccak(_account(grantee) + salt)


def grant_key(patient: str, blinded: bytes) -> bytes:
    """Return the storage key of a grant by the patient's own key."""
    return keccak(_account(patient) + blinded)


def grant_key_by(patient: str, author: str, blinded: bytes) -> bytes:
    """Return the storage key of a grant by a guardian or the successor."""
    return keccak(_account(patient) + _account(author) + blinded)


def guardian_epoch(epoch: int, serial: int) -> int:
    """Return the epoch that a live guardian's grants belong to (IRecordAccess.epochOf)."""
    return int.from_bytes(keccak(epoch.to_bytes(32, "big") + serial.to_bytes(32, "big"))[-5:], "big")


def _account(text: str) -> bytes:
    """Return an address as an ABI word; by hand, since custodians hash for every read."""
    return bytes(12) + bytes.fromhex(text[2:])


@dataclass(frozen=True)
class Terms:
    """What is granted: all of these categories, for any of these purposes, not before, until before expiry."""

    categories: int
    purposes: int
    not_before: int
    expiry: int

    def __post_init__(self) -> None:
        for field, bits in (("categories", 64), ("purposes", 32), ("not_before", 64), ("expiry", 64)):
            value = getattr(self, field)
            if not isinstance(value, int) or not 0 <= value < 2**bits:
                raise InvalidTerms(f"{field} is a number of {bits} bits, not {value!r}")
        if self.not_before >= self.expiry:
            raise InvalidTerms(f"the grant would end ({self.expiry}) before it begins ({self.not_before})")
        if not self.categories or not self.purposes:
            raise InvalidTerms("a grant has at least one category and one purpose")
        if self.categories == RESTRICTED:
            raise InvalidTerms("RESTRICTED means restricted records of the types beside it: name some")

    @classmethod
    def of(cls, categories: Iterable[str], purposes: Iterable[str], not_before: int, expiry: int) -> Terms:
        """Return the terms by names: `Terms.of(["Claim"], ["HPAYMT"], 0, june)`. Raises UnknownName, InvalidTerms."""
        return cls(mask(GRANTABLE, categories), mask(PURPOSES, purposes), not_before, expiry)

    @property
    def category_names(self) -> tuple[str, ...]:
        """The FHIR resource types, and RESTRICTED at the end where it is granted."""
        return names(GRANTABLE, self.categories)

    @property
    def purpose_names(self) -> tuple[str, ...]:
        """The PurposeOfUse codes."""
        return names(PURPOSES, self.purposes)

    def values(self) -> tuple[int, int, int, int]:
        """Return the members in the order of IRecordAccess.Terms."""
        return self.categories, self.purposes, self.not_before, self.expiry

    def commitment(self, salt: bytes, version: int) -> bytes:
        """Return what goes on the chain (IRecordAccess.hashTerms): equal terms look different at each version."""
        return keccak(salt + b"".join([value.to_bytes(32, "big") for value in (version, *self.values())]))


@dataclass(frozen=True)
class Grant(SignedMessage):
    """Makes or changes a grant; `version` is the key's own and one, `epoch` the patient's."""

    TYPE: ClassVar[str] = "Grant"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "blinded": "bytes32",
        "terms": "bytes32",
        "epoch": "uint40",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    blinded: bytes
    terms: bytes
    epoch: int
    version: int
    deadline: int


@dataclass(frozen=True)
class Revoke(SignedMessage):
    """Revokes a grant, and kills older signatures for it that were not sent."""

    TYPE: ClassVar[str] = "Revoke"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "blinded": "bytes32",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    blinded: bytes
    version: int
    deadline: int


@dataclass(frozen=True)
class RevokeAll(SignedMessage):
    """Revokes all that the pseudonym granted; `epoch` is the one that ends."""

    TYPE: ClassVar[str] = "RevokeAll"
    FIELDS: ClassVar[dict[str, str]] = {"patient": "address", "epoch": "uint40", "deadline": "uint48"}

    patient: ChecksumAddress
    epoch: int
    deadline: int


class BundledGrant(TypedDict):
    """One grant of a bundle; where `terms` is zero, one revoke."""

    blinded: bytes
    terms: bytes
    version: int


@dataclass(frozen=True)
class GrantBundle(SignedMessage):
    """Many grants and revokes of one patient by one signature, all or none."""

    TYPE: ClassVar[str] = "GrantBundle"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "grants": "BundledGrant[]",
        "epoch": "uint40",
        "deadline": "uint48",
    }
    STRUCTS: ClassVar[dict[str, dict[str, str]]] = {
        "BundledGrant": {"blinded": "bytes32", "terms": "bytes32", "version": "uint40"}
    }

    patient: ChecksumAddress
    grants: tuple[BundledGrant, ...]
    epoch: int
    deadline: int

    def values(self) -> dict[str, Any]:
        """Return the members by their EIP-712 names; the grants as a list, as wallets want it."""
        return {**super().values(), "grants": list(self.grants)}


@dataclass(frozen=True)
class GrantFor(SignedMessage):
    """Makes or changes a grant in the patient's stead; `epoch` is the author's (`epochOf`)."""

    TYPE: ClassVar[str] = "GrantFor"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "author": "address",
        "blinded": "bytes32",
        "terms": "bytes32",
        "epoch": "uint40",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    author: ChecksumAddress
    blinded: bytes
    terms: bytes
    epoch: int
    version: int
    deadline: int


@dataclass(frozen=True)
class RevokeFor(SignedMessage):
    """Revokes what `author` granted in the patient's stead; signed by it or the actor."""

    TYPE: ClassVar[str] = "RevokeFor"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "author": "address",
        "blinded": "bytes32",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    author: ChecksumAddress
    blinded: bytes
    version: int
    deadline: int


@dataclass(frozen=True)
class Appoint(SignedMessage):
    """Appoints a guardian; `rights` are bits by `categories.RIGHTS`, `until` is exclusive."""

    TYPE: ClassVar[str] = "Appoint"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "appointer": "address",
        "guardian": "address",
        "rights": "uint8",
        "until": "uint48",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    appointer: ChecksumAddress
    guardian: ChecksumAddress
    rights: int
    until: int
    version: int
    deadline: int


@dataclass(frozen=True)
class Dismiss(SignedMessage):
    """Ends a guardianship; `by` is the actor, the appointer or the guardian itself."""

    TYPE: ClassVar[str] = "Dismiss"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "by": "address",
        "guardian": "address",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    by: ChecksumAddress
    guardian: ChecksumAddress
    version: int
    deadline: int


@dataclass(frozen=True)
class SetRecovery(SignedMessage):
    """Sets how many guardians recover the patient's key, and the delay in seconds; 0 guardians: nobody does."""

    TYPE: ClassVar[str] = "SetRecovery"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "threshold": "uint8",
        "delay": "uint32",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    threshold: int
    delay: int
    version: int
    deadline: int


@dataclass(frozen=True)
class Recover(SignedMessage):
    """Approves, as one of several guardians, that `successor` shall act for the patient."""

    TYPE: ClassVar[str] = "Recover"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "successor": "address",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    successor: ChecksumAddress
    version: int
    deadline: int


@dataclass(frozen=True)
class StopRecovery(SignedMessage):
    """Stops the recovery on its way."""

    TYPE: ClassVar[str] = "StopRecovery"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    version: int
    deadline: int


@dataclass(frozen=True)
class SetEmergency(SignedMessage):
    """Lets emergency services break the glass, or not."""

    TYPE: ClassVar[str] = "SetEmergency"
    FIELDS: ClassVar[dict[str, str]] = {
        "patient": "address",
        "allowed": "bool",
        "version": "uint40",
        "deadline": "uint48",
    }

    patient: ChecksumAddress
    allowed: bool
    version: int
    deadline: int


@dataclass(frozen=True)
class BreakGlass(SignedMessage):
    """An emergency service's wish to read without a grant; `reason` is one bit of PURPOSES."""

    TYPE: ClassVar[str] = "BreakGlass"
    FIELDS: ClassVar[dict[str, str]] = {
        "organisation": "address",
        "patient": "address",
        "reason": "uint32",
        "until": "uint48",
        "version": "uint40",
        "deadline": "uint48",
    }

    organisation: ChecksumAddress
    patient: ChecksumAddress
    reason: int
    until: int
    version: int
    deadline: int


def record_domain(deployments: Deployments) -> Domain:
    """Return what the records' messages are signed for."""
    return Domain("Liggare Records", "1", deployments.chain_id, deployments.contracts["RecordAccess"].address)
