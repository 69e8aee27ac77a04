"""A purchase: its terms, what buyer, seller and arbiter sign about it, and the file in which they hand it on.

Amounts are integers in units of 10^-6 of the currency; times are unix seconds. The id of the terms (their
EIP-712 digest) is the purchase's id on the chain, what the seller signs as an offer, and the nonce of the
payment by which the buyer takes it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak

from liggare.errors import DataError, LiggareError
from liggare.messages import Domain, Signed, SignedMessage, address

__all__ = ["NOBODY", "Arbitration", "Claim", "Offer", "Purchase", "Refund", "Release", "hash_order"]

NOBODY = address("0x" + "0" * 40)
"""The arbiter of a purchase without one."""


def hash_order(order: str, salt: bytes) -> bytes:
    """Return what the chain sees of an order: the Keccak-256 of the salt and its text."""
    return bytes(keccak(salt + order.encode()))


@dataclass(frozen=True)
class Purchase(SignedMessage):
    """The terms. Signed by the seller they are an offer."""

    TYPE: ClassVar[str] = "Purchase"
    FIELDS: ClassVar[dict[str, str]] = {
        "buyer": "address",
        "seller": "address",
        "arbiter": "address",
        "value": "uint256",
        "claimAfter": "uint256",
        "reclaimAfter": "uint256",
        "orderHash": "bytes32",
    }

    buyer: ChecksumAddress
    seller: ChecksumAddress
    arbiter: ChecksumAddress
    value: int
    claim_after: int
    reclaim_after: int
    order_hash: bytes


@dataclass(frozen=True)
class _Word(SignedMessage):
    """A word about a purchase, which shows all terms to who signs."""

    FIELDS: ClassVar[dict[str, str]] = {"purchase": "Purchase"}
    STRUCTS: ClassVar[dict[str, dict[str, str]]] = {"Purchase": Purchase.FIELDS}

    purchase: Purchase

    def values(self) -> dict[str, Any]:
        """Return the members by their EIP-712 names, the terms as a dictionary."""
        return {**super().values(), "purchase": self.purchase.values()}


@dataclass(frozen=True)
class Release(_Word):
    """The buyer gives the money to the seller."""

    TYPE: ClassVar[str] = "Release"


@dataclass(frozen=True)
class Refund(_Word):
    """The seller gives the money back."""

    TYPE: ClassVar[str] = "Refund"


@dataclass(frozen=True)
class Claim(_Word):
    """The seller takes the money while the buyer is silent."""

    TYPE: ClassVar[str] = "Claim"


@dataclass(frozen=True)
class Arbitration(_Word):
    """The arbiter divides the money: the two parts are the whole value."""

    TYPE: ClassVar[str] = "Arbitration"
    FIELDS: ClassVar[dict[str, str]] = {"purchase": "Purchase", "toBuyer": "uint256", "toSeller": "uint256"}

    to_buyer: int
    to_seller: int


@dataclass(frozen=True)
class Offer:
    """What the seller hands to the buyer: the signed terms, and the order that their hash stands for.

    The order and its salt are for the two (and their arbiter) alone: the chain sees the hash.
    """

    signed: Signed[Purchase]
    order: str
    salt: bytes

    @property
    def purchase(self) -> Purchase:
        """The terms."""
        return self.signed.message

    def write(self, path: Path) -> None:
        """Write the offer to a new file, as JSON. Raises DataError where there is one already."""
        terms = {name: "0x" + v.hex() if isinstance(v, bytes) else v for name, v in self.purchase.values().items()}
        document = {
            "chainId": self.purchase.domain.chain_id,
            "escrow": self.purchase.domain.verifying_contract,
            "order": self.order,
            "salt": "0x" + self.salt.hex(),
            "terms": terms,
            "signature": "0x" + self.signed.signature.hex(),
        }
        try:
            with path.open("x") as file:
                file.write(json.dumps(document, indent=2) + "\n")
        except OSError as exc:
            raise DataError(f"the offer can't be written to {path}: {exc.strerror}") from None

    @classmethod
    def read(cls, path: Path, domain: Domain) -> Offer:
        """Read an offer made for this domain.

        Raises DataError where the file is none, is for another chain or contract, its order is not the one
        hashed, or the seller's key did not sign it. (A seller with a contract wallet brings terms by hand.)
        """
        try:
            document = json.loads(path.read_text())
            where = (int(document["chainId"]), address(document["escrow"]))
            salt, order = _data(document["salt"]), str(document["order"])
            purchase = Purchase(domain, **_terms(document["terms"]))
            offer = cls(Signed(purchase, _data(document["signature"])), order, salt)
        except OSError as exc:
            raise DataError(f"the offer {path} can't be read: {exc.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise DataError(f"{path} is no offer ({exc!r})") from None
        if where != (domain.chain_id, domain.verifying_contract):
            raise DataError(f"{path} is an offer for chain {where[0]} and the escrow at {where[1]}, not this one")
        if hash_order(order, salt) != purchase.order_hash:
            raise DataError(f"{path}: the order is not the one that the terms name by its hash")
        try:
            offer.signed.check(purchase.seller)
        except LiggareError as exc:
            raise DataError(f"{path} is not signed by the seller: {exc}") from None
        return offer


def _terms(document: dict[str, Any]) -> dict[str, Any]:
    """Return the terms of a file as Purchase takes them."""
    if set(document) != set(Purchase.FIELDS):
        raise ValueError(f"the terms are {', '.join(Purchase.FIELDS)}")
    times = ("value", "claimAfter", "reclaimAfter")
    if not all(type(document[name]) is int and 0 <= document[name] < 2**256 for name in times):
        raise ValueError(f"{', '.join(times)} are whole numbers")
    if len(_data(document["orderHash"])) != 32:
        raise ValueError("orderHash has 32 bytes")
    people = {name: address(document[name]) for name in ("buyer", "seller", "arbiter")}
    return {
        **people,
        "value": document["value"],
        "claim_after": document["claimAfter"],
        "reclaim_after": document["reclaimAfter"],
        "order_hash": _data(document["orderHash"]),
    }


def _data(text: str) -> bytes:
    if not re.fullmatch(r"0x([0-9a-fA-F]{2})*", text):
        raise ValueError(f"{text!r} is not 0x and hexadecimal digits")
    return bytes.fromhex(text[2:])
