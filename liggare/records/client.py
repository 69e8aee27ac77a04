"""Records, from Python: grant and revoke, ask who may read, speak as an organisation.

patient signs -> anyone carries -> the chain holds a commitment
grantee shows the share, signs a request -> the custodian asks `why_not` -> reads
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import requests
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, Web3Exception
from web3.types import TxReceipt

from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender, refusal
from liggare.errors import ChainError, ChainUnreachable, InvalidTerms, SignatureError
from liggare.messages import Domain, Signed, address
from liggare.records.categories import CATEGORIES, ROLES, mask
from liggare.records.messages import Grant, ReadRequest, Revoke, RevokeAll, Terms, blind
from liggare.records.share import Share

__all__ = ["REASONS", "GrantState", "Organisation", "Records", "Refusal", "Standing", "anchor_hash"]

LIFETIME = 3600
"""How long a message may wait for its block unless the patient says otherwise, in seconds, at least."""
REQUEST_LIFETIME = 120
"""How long a read request is good for, in seconds."""


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
    """An organisation as the registry has it; bits by `categories.CATEGORIES` and `ROLES`."""

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


class Records:
    """The records' ledger on one chain. `clock` gives unix seconds."""

    def __init__(self, w3: Web3, deployments: Deployments, *, clock: Callable[[], float] = time.time) -> None:
        self.w3, self.clock = w3, clock
        self.contract = deployments.contract(w3, "RecordAccess")
        self.registry = deployments.contract(w3, "CareRegistry")
        self.domain = Domain("Liggare Records", "1", deployments.chain_id, self.contract.address)

    # ------------------------------------------------------------------ the patient

    def grant(
        self,
        patient: LocalAccount,
        grantee: str,
        salt: bytes,
        terms: Terms,
        *,
        version: int | None = None,
        deadline: int | None = None,
    ) -> tuple[Signed[Grant], Share]:
        """Sign a grant, new or changed, and return it with the share to hand the grantee; nothing is sent.

        Without a version the next one is taken as the chain shows it: for a second message about the same
        grant that is not on the chain yet, pass it.
        """
        share = self.share(patient.address, grantee, salt, terms)
        if version is None:
            version = self.version(share.patient, share.blinded) + 1
        message = Grant(
            self.domain,
            share.patient,
            share.blinded,
            terms.commitment(salt, version),
            self.epoch(share.patient),
            version,
            self.deadline() if deadline is None else deadline,
        )
        return message.sign(patient), share

    def revoke(
        self,
        patient: LocalAccount,
        grantee: str,
        salt: bytes,
        *,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[Revoke]:
        """Sign that a grant ends; nothing is sent."""
        blinded = blind(address(grantee), salt)
        if version is None:
            version = self.version(patient.address, blinded) + 1
        until = self.deadline() if deadline is None else deadline
        return Revoke(self.domain, patient.address, blinded, version, until).sign(patient)

    def revoke_all(self, patient: LocalAccount, *, deadline: int | None = None) -> Signed[RevokeAll]:
        """Sign that all that this pseudonym granted ends; nothing is sent."""
        until = self.deadline() if deadline is None else deadline
        return RevokeAll(self.domain, patient.address, self.epoch(patient.address), until).sign(patient)

    def share(self, patient: str, grantee: str, salt: bytes, terms: Terms) -> Share:
        """Return what opens a grant, to hand to the grantee."""
        if len(salt) != 32:
            raise InvalidTerms(f"a salt is 32 bytes, not {len(salt)}")
        return Share(self.domain.chain_id, self.contract.address, address(patient), address(grantee), salt, terms)

    def carry(self, signed: Signed[Any], sender: Sender) -> TxReceipt:
        """Take a signed Grant, Revoke or RevokeAll to the chain; the sender pays the gas, the patient nothing.

        Raises ContractRefused by the contract's names (`RecordsWrongVersion`, …).
        """
        return sender.send(self.function(signed))

    def function(self, signed: Signed[Any]) -> ContractFunction:
        """Return the contract call that carries a signed message: the short form for a key's, else for a wallet's."""
        message, signature = signed.message, signed.signature
        name = {Grant: "grant", Revoke: "revoke", RevokeAll: "revokeAll"}[type(message)]
        try:
            by_key = signed.signer() == message.patient
        except SignatureError:
            by_key = False
        words = (signature[64], signature[:32], signature[32:64]) if by_key else (signature,)
        kinds = [*message.FIELDS.values(), *(["uint8", "bytes32", "bytes32"] if by_key else ["bytes"])]
        function = self.contract.get_function_by_signature(f"{name}({','.join(kinds)})")
        call: ContractFunction = function(*message.values().values(), *words)
        return call

    def deadline(self) -> int:
        """Return a deadline between one and two LIFETIMEs ahead, on the full hour: the same as many others'."""
        return (self.now() // LIFETIME + 2) * LIFETIME

    def now(self) -> int:
        """Return the time: the clock's, or the newest block's where that is ahead."""
        return max(int(self.clock()), int(self.newest()["timestamp"]))

    # ------------------------------------------------------------------ who may read

    def may_read(
        self, share: Share, category: int, purpose: int, *, grantee: str | None = None, block: int | None = None
    ) -> bool:
        """Tell whether the grantee may read records of all these category bits for this purpose."""
        return self.why_not(share, category, purpose, grantee=grantee, block=block) is Refusal.NOTHING

    def why_not(
        self, share: Share, category: int, purpose: int, *, grantee: str | None = None, block: int | None = None
    ) -> Refusal:
        """Return why the grantee may not read, `Refusal.NOTHING` if it may, at the newest or the given block.

        Raises ChainUnreachable or ChainError where the chain does not say: never take that for a yes.
        """
        reader = share.grantee if grantee is None else address(grantee)
        function = self.contract.functions.whyNot(
            share.patient, reader, share.salt, share.terms.values(), category, purpose
        )
        with _chain_errors():
            return Refusal(function.call(block_identifier="latest" if block is None else block))

    def newest(self) -> dict[str, Any]:
        """Return the newest block: `number`, `hash`, `timestamp`."""
        with _chain_errors():
            return dict(self.w3.eth.get_block("latest"))

    def state(self, patient: str, blinded: bytes) -> GrantState:
        """Return what stands on the chain for a patient and a blinded grantee."""
        return GrantState(*self.contract.functions.grants(address(patient), blinded).call())

    def version(self, patient: str, blinded: bytes) -> int:
        """Return how many messages about a grant have landed; the next message names one more."""
        return self.state(patient, blinded).version

    def epoch(self, patient: str) -> int:
        """Return the patient's epoch."""
        return int(self.contract.functions.epochs(address(patient)).call())

    def request(
        self, grantee: LocalAccount, share: Share, custodian: str, record: str, purpose: str
    ) -> Signed[ReadRequest]:
        """Sign a request to read one record ("Claim/100150") for a purpose ("HPAYMT") at a custodian."""
        now = self.now()
        message = ReadRequest(
            self.domain,
            grantee.address,
            address(custodian),
            share.patient,
            record,
            purpose,
            now,
            now + REQUEST_LIFETIME,
            secrets.token_bytes(32),
        )
        return message.sign(grantee)

    # ------------------------------------------------------------------ organisations

    def accredit(
        self,
        sender: Sender,
        organisation: str,
        roles: Iterable[str],
        categories: Iterable[str],
        valid_from: int,
        valid_until: int,
        break_glass_quota: int = 0,
    ) -> TxReceipt:
        """Accredit an organisation, or renew it; the sender is the accreditor. Names by ROLES and CATEGORIES."""
        function = self.registry.functions.accredit(
            address(organisation),
            mask(ROLES, roles),
            mask(CATEGORIES, categories),
            valid_from,
            valid_until,
            break_glass_quota,
        )
        return sender.send(function)

    def suspend(self, sender: Sender, organisation: str) -> TxReceipt:
        """Let an organisation read nothing; the sender is the accreditor."""
        return sender.send(self.registry.functions.suspend(address(organisation)))

    def resume(self, sender: Sender, organisation: str) -> TxReceipt:
        """End a suspension; the sender is the accreditor."""
        return sender.send(self.registry.functions.resume(address(organisation)))

    def organisation(self, organisation: str) -> Organisation:
        """Return an organisation as the registry has it; all zero for one that never was accredited."""
        return Organisation(*self.registry.functions.organisations(address(organisation)).call())

    def standing(self, organisation: str) -> Standing:
        """Return how an organisation stands at the newest block."""
        return Standing(self.registry.functions.standingOf(address(organisation)).call()[0])

    # ------------------------------------------------------------------ custodians

    def anchor(self, sender: Sender, salted_hash: bytes) -> TxReceipt:
        """Put a record's salted hash down; the sender is the custodian, an accredited provider."""
        return sender.send(self.contract.functions.anchorRecord(salted_hash))

    def anchored(self, salted_hash: bytes) -> tuple[ChecksumAddress, int] | None:
        """Return who anchored a salted hash and when, or None."""
        custodian, when = self.contract.functions.anchors(salted_hash).call()
        return (address(custodian), int(when)) if when else None

    def post_log_head(self, sender: Sender, size: int, head: bytes) -> TxReceipt:
        """Put down the head of the sender's access log, after the one that stands."""
        predecessor = self.log_head(sender.account.address)
        return sender.send(self.contract.functions.postLogHead(predecessor, size, head))

    def log_head(self, custodian: str) -> bytes:
        """Return the word that stands for a custodian's log: 24 bytes of its root, then 8 of its size."""
        with _chain_errors():
            return bytes(self.contract.functions.logHeads(address(custodian)).call())


def anchor_hash(custodian: str, salt: bytes, content: bytes) -> bytes:
    """Return the salted hash of a record; it names the custodian, so nobody can claim another's by being first."""
    return keccak(bytes.fromhex(address(custodian)[2:]) + salt + keccak(content))


@contextmanager
def _chain_errors() -> Iterator[None]:
    """Name what a node does wrong."""
    try:
        yield
    except requests.exceptions.RequestException as exc:
        raise ChainUnreachable("the node", type(exc).__name__) from None
    except ContractLogicError as exc:
        raise refusal(exc) from None
    except (Web3Exception, ValueError) as exc:
        raise ChainError(f"the node gave no answer: {exc}") from None
