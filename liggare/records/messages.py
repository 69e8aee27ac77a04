"""What patients sign to let read, and what readers sign to read.

Times are unix seconds. What a patient grants is `Terms`; only a commitment to it goes on the chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from eth_hash.auto import keccak
from eth_typing import ChecksumAddress

from liggare.errors import InvalidTerms
from liggare.messages import SignedMessage
from liggare.records.categories import CATEGORIES, PURPOSES, mask, names

__all__ = ["Grant", "ReadRequest", "Revoke", "RevokeAll", "Terms", "blind", "grant_key"]

RECORD = re.compile(r"[A-Z][A-Za-z]{0,63}/[A-Za-z0-9.-]{1,64}")
"""A FHIR reference to one record: type and logical id."""


def blind(grantee: str, salt: bytes) -> bytes:
    """Return the blinded grantee: without the salt nobody can tell whom it names."""
    return keccak(_account(grantee) + salt)


def grant_key(patient: str, blinded: bytes) -> bytes:
    """Return the storage key of a grant."""
    return keccak(_account(patient) + blinded)


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

    @classmethod
    def of(cls, categories: Iterable[str], purposes: Iterable[str], not_before: int, expiry: int) -> Terms:
        """Return the terms by names: `Terms.of(["Claim"], ["HPAYMT"], 0, june)`. Raises UnknownName, InvalidTerms."""
        return cls(mask(CATEGORIES, categories), mask(PURPOSES, purposes), not_before, expiry)

    @property
    def category_names(self) -> tuple[str, ...]:
        """The FHIR resource types."""
        return names(CATEGORIES, self.categories)

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


@dataclass(frozen=True)
class ReadRequest(SignedMessage):
    """A grantee's wish to read one record, for a declared purpose, at one custodian, now.

    Never goes on the chain: the custodian checks it and keeps it in its access log as proof of who asked.
    """

    TYPE: ClassVar[str] = "ReadRequest"
    FIELDS: ClassVar[dict[str, str]] = {
        "grantee": "address",
        "custodian": "address",
        "patient": "address",
        "record": "string",
        "purpose": "string",
        "issuedAt": "uint48",
        "expiry": "uint48",
        "nonce": "bytes32",
    }

    grantee: ChecksumAddress
    custodian: ChecksumAddress
    patient: ChecksumAddress
    record: str
    purpose: str
    issued_at: int
    expiry: int
    nonce: bytes
