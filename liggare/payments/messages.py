"""What members sign to pay: ERC-3009 authorizations and ERC-2612 permits.

Amounts are integers in units of 10^-6 of the currency; times are unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from eth_typing import ChecksumAddress

from liggare.chain.deployments import Deployments
from liggare.messages import Domain, SignedMessage

__all__ = [
    "CancelAuthorization",
    "PaymentBundle",
    "Permit",
    "ReceiveWithAuthorization",
    "TransferWithAuthorization",
    "counter",
    "money_domain",
]


def counter(number: int) -> bytes:
    """Return a counter nonce, 0 to 2^64 - 1, in its 32-byte form."""
    if not 0 <= number < 2**64:
        raise ValueError(f"a counter nonce is below 2^64, not {number}")
    return number.to_bytes(32, "big")


@dataclass(frozen=True)
class _Authorization(SignedMessage):
    """The members that ERC-3009's two payment messages share."""

    FIELDS: ClassVar[dict[str, str]] = {
        "from": "address",
        "to": "address",
        "value": "uint256",
        "validAfter": "uint256",
        "validBefore": "uint256",
        "nonce": "bytes32",
    }

    from_: ChecksumAddress
    to: ChecksumAddress
    value: int
    valid_after: int
    valid_before: int
    nonce: bytes


@dataclass(frozen=True)
class TransferWithAuthorization(_Authorization):
    """A payment that anyone may carry (ERC-3009); valid strictly between the two times."""

    TYPE: ClassVar[str] = "TransferWithAuthorization"


@dataclass(frozen=True)
class ReceiveWithAuthorization(_Authorization):
    """A payment that only the payee may carry: into an escrow, a vault, a market (ERC-3009)."""

    TYPE: ClassVar[str] = "ReceiveWithAuthorization"


@dataclass(frozen=True)
class PaymentBundle(SignedMessage):
    """Many payments of one payer under one signature: all of them happen, or none.

    `payments` are dictionaries {"to": address, "value": units}, at least one, in the order to be paid.
    """

    TYPE: ClassVar[str] = "PaymentBundle"
    FIELDS: ClassVar[dict[str, str]] = {
        "from": "address",
        "payments": "Payment[]",
        "validAfter": "uint256",
        "validBefore": "uint256",
        "nonce": "bytes32",
    }
    STRUCTS: ClassVar[dict[str, dict[str, str]]] = {"Payment": {"to": "address", "value": "uint256"}}

    from_: ChecksumAddress
    payments: tuple[dict[str, Any], ...]
    valid_after: int
    valid_before: int
    nonce: bytes

    def values(self) -> dict[str, Any]:
        """Return the members by their EIP-712 names; the payments as a list, as wallets want it."""
        return {**super().values(), "payments": list(self.payments)}


@dataclass(frozen=True)
class CancelAuthorization(SignedMessage):
    """Gives up a nonce that was not used yet (ERC-3009)."""

    TYPE: ClassVar[str] = "CancelAuthorization"
    FIELDS: ClassVar[dict[str, str]] = {"authorizer": "address", "nonce": "bytes32"}

    authorizer: ChecksumAddress
    nonce: bytes


@dataclass(frozen=True)
class Permit(SignedMessage):
    """An allowance by signature (ERC-2612); `nonce` is the contract's `nonces(owner)`."""

    TYPE: ClassVar[str] = "Permit"
    FIELDS: ClassVar[dict[str, str]] = {
        "owner": "address",
        "spender": "address",
        "value": "uint256",
        "nonce": "uint256",
        "deadline": "uint256",
    }

    owner: ChecksumAddress
    spender: ChecksumAddress
    value: int
    nonce: int
    deadline: int


def money_domain(deployments: Deployments) -> Domain:
    """Return what payments are signed for, by the record of the contract's making."""
    item = deployments.contracts["ZeroFeePayments"]
    return Domain(str(item.arguments[0]), "1", deployments.chain_id, item.address)
