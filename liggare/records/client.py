"""Records, from Python: grant and revoke, act for a patient, ask who may read, speak as an organisation.

patient, guardian or emergency service signs -> anyone carries -> the chain holds a commitment, or shows what was done
grantee shows the share and signs in -> the custodian asks `why_not` -> reads
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.abi import function_abi_to_4byte_selector
from eth_utils.crypto import keccak
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, Web3Exception
from web3.logs import DISCARD
from web3.types import TxReceipt

from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender, refusal
from liggare.errors import ChainError, ChainUnreachable, InvalidTerms, SignatureError, UsageError
from liggare.messages import Signed, address, compact
from liggare.records.categories import EMERGENCIES, GRANTABLE, PURPOSES, RIGHTS, ROLES, mask
from liggare.records.messages import (
    Appoint,
    BreakGlass,
    BundledGrant,
    Dismiss,
    Grant,
    GrantBundle,
    GrantFor,
    Recover,
    Revoke,
    RevokeAll,
    RevokeFor,
    SetEmergency,
    SetRecovery,
    StopRecovery,
    Terms,
    blind,
    record_domain,
)
from liggare.records.share import Share
from liggare.records.states import (
    REASONS,
    EmergencyState,
    GrantState,
    Guardian,
    Organisation,
    Recovery,
    Refusal,
    Skipped,
    Standing,
)

__all__ = [
    "REASONS",
    "EmergencyState",
    "GrantState",
    "Guardian",
    "Organisation",
    "Records",
    "Recovery",
    "Refusal",
    "Skipped",
    "Standing",
    "anchor_hash",
]

LIFETIME = 3600
"""How long a message may wait for its block unless the patient says otherwise, in seconds, at least."""


class Records:
    """The records' ledger on one chain. `clock` gives unix seconds."""

    def __init__(self, w3: Web3, deployments: Deployments, *, clock: Callable[[], float] = time.time) -> None:
        self.w3, self.clock = w3, clock
        self.contract = deployments.contract(w3, "RecordAccess")
        self.first_block = deployments.contracts["RecordAccess"].block
        self.registry = deployments.contract(w3, "CareRegistry")
        self.domain = record_domain(deployments)

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
            self._until(deadline),
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
        return Revoke(self.domain, patient.address, blinded, version, self._until(deadline)).sign(patient)

    def revoke_all(
        self, actor: LocalAccount, *, patient: str | None = None, deadline: int | None = None
    ) -> Signed[RevokeAll]:
        """Sign that all that was granted for this pseudonym ends; nothing is sent.

        After a recovery the successor signs and names the patient.
        """
        whose = address(patient or actor.address)
        return RevokeAll(self.domain, whose, self.epoch(whose), self._until(deadline)).sign(actor)

    def bundle(
        self,
        patient: LocalAccount,
        grants: Iterable[tuple[str, bytes, Terms | None]],
        *,
        deadline: int | None = None,
    ) -> tuple[Signed[GrantBundle], list[Share]]:
        """Sign many grants, each (grantee, salt, terms), at once, all or none; terms None revokes. Nothing is sent.

        Returns the shares of what is granted, in order.
        """
        items, shares, versions = [], [], dict[bytes, int]()
        for grantee, salt, terms in grants:
            blinded = blind(address(grantee), salt)
            version = versions.get(blinded, self.version(patient.address, blinded)) + 1
            versions[blinded] = version
            commitment = terms.commitment(salt, version) if terms else bytes(32)
            items.append(BundledGrant(blinded=blinded, terms=commitment, version=version))
            if terms:
                shares.append(self.share(patient.address, grantee, salt, terms))
        whose = address(patient.address)
        message = GrantBundle(self.domain, whose, tuple(items), self.epoch(whose), self._until(deadline))
        return message.sign(patient), shares

    def share(self, patient: str, grantee: str, salt: bytes, terms: Terms, *, author: str | None = None) -> Share:
        """Return what opens a grant, to hand to the grantee; `author` where another than the patient granted."""
        if len(salt) != 32:
            raise InvalidTerms(f"a salt is 32 bytes, not {len(salt)}")
        by = None if author is None or address(author) == address(patient) else address(author)
        chain, contract = self.domain.chain_id, self.contract.address
        return Share(chain, contract, address(patient), address(grantee), salt, terms, by)

    # ------------------------------------------------------------------ those who act for a patient

    def grant_for(
        self,
        author: LocalAccount,
        patient: str,
        grantee: str,
        salt: bytes,
        terms: Terms,
        *,
        version: int | None = None,
        deadline: int | None = None,
    ) -> tuple[Signed[GrantFor], Share]:
        """Sign a grant in the patient's stead: as a guardian with the right, or as a recovery's successor.

        Raises ContractRefused (`RecordsMayNotAct`) where the author is neither. Nothing is sent.
        """
        share = self.share(patient, grantee, salt, terms, author=author.address)
        if version is None:
            version = self.state(share.patient, share.blinded, author=author.address).version + 1
        message = GrantFor(
            self.domain,
            share.patient,
            share.author,
            share.blinded,
            terms.commitment(salt, version),
            self.epoch_of(share.patient, share.author),
            version,
            self._until(deadline),
        )
        return message.sign(author), share

    def revoke_for(
        self,
        signer: LocalAccount,
        patient: str,
        author: str,
        blinded: bytes,
        *,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[RevokeFor]:
        """Sign, as the author or the actor, that what `author` granted ends; `blinded` as GrantedFor tells it."""
        if version is None:
            version = self.state(patient, blinded, author=author).version + 1
        words = (address(patient), address(author), blinded, version, self._until(deadline))
        return RevokeFor(self.domain, *words).sign(signer)

    def appoint(
        self,
        appointer: LocalAccount,
        patient: str,
        guardian: str,
        rights: Iterable[str],
        until: int,
        *,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[Appoint]:
        """Sign, as the actor or a guardian, that somebody is a guardian until then (unix time, exclusive).

        Rights by `categories.RIGHTS`. What the guardian granted and appointed before ends. Nothing is sent.
        """
        if version is None:
            version = self.guardian(patient, guardian).version + 1
        who = (address(patient), appointer.address, address(guardian))
        what = (mask(RIGHTS, rights), until, version, self._until(deadline))
        return Appoint(self.domain, *who, *what).sign(appointer)

    def dismiss(
        self,
        by: LocalAccount,
        patient: str,
        guardian: str,
        *,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[Dismiss]:
        """Sign, as the actor, the appointer or the guardian itself, that a guardianship ends. Nothing is sent."""
        if version is None:
            version = self.guardian(patient, guardian).version + 1
        words = (address(patient), by.address, address(guardian), version, self._until(deadline))
        return Dismiss(self.domain, *words).sign(by)

    def guardian(self, patient: str, guardian: str) -> Guardian:
        """Return what was said last of a guardian; whether it is live, `may_act` tells."""
        found = self.contract.functions.guardians(address(patient), address(guardian)).call()
        return Guardian(address(found[0]), *found[1:])

    def may_act(self, patient: str, who: str, rights: Iterable[str]) -> bool:
        """Tell whether somebody is the patient's actor, or a live guardian with all of these rights."""
        words = (address(patient), address(who), mask(RIGHTS, rights))
        with _chain_errors():
            return bool(self.contract.functions.mayAct(*words).call())

    def actor(self, patient: str) -> ChecksumAddress:
        """Return who acts as the patient: its own key, after a recovery the successor's."""
        with _chain_errors():
            return address(self.contract.functions.actorOf(address(patient)).call())

    # ------------------------------------------------------------------ recovery

    def set_recovery(
        self,
        actor: LocalAccount,
        threshold: int,
        delay: int,
        *,
        patient: str | None = None,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[SetRecovery]:
        """Sign how many guardians recover the key, and after how many seconds; threshold 0: nobody does."""
        whose, number = self._recovery_words(patient or actor.address, version)
        return SetRecovery(self.domain, whose, threshold, delay, number, self._until(deadline)).sign(actor)

    def recover(
        self,
        guardian: LocalAccount,
        patient: str,
        successor: str,
        *,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[Recover]:
        """Approve, as one guardian, that `successor` shall act for the patient.

        All of them sign the very same message: agree on the deadline, unless it is left to the hour's default.
        """
        whose, number = self._recovery_words(patient, version)
        return Recover(self.domain, whose, address(successor), number, self._until(deadline)).sign(guardian)

    def carry_recovery(self, approvals: Sequence[Signed[Recover]], sender: Sender) -> TxReceipt:
        """Begin a recovery by its guardians' approvals, in any order; the sender pays the gas.

        Raises UsageError where they approve different messages, ContractRefused by the contract's names.
        """
        if len({approval.id for approval in approvals}) != 1:
            raise UsageError("the approvals of one recovery are of one and the same message")
        message = approvals[0].message
        signed = sorted((int(each.signer(), 16), each) for each in approvals)
        words = [(each.signer(), each.signature) for _, each in signed]
        return sender.send(self.contract.functions.recover(*message.values().values(), words))

    def stop_recovery(
        self,
        actor: LocalAccount,
        *,
        patient: str | None = None,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[StopRecovery]:
        """Sign that the recovery on its way is stopped; also kills approvals that were not sent."""
        whose, number = self._recovery_words(patient or actor.address, version)
        return StopRecovery(self.domain, whose, number, self._until(deadline)).sign(actor)

    def complete_recovery(self, patient: str, sender: Sender) -> TxReceipt:
        """Complete a recovery whose delay is over; anyone may."""
        return sender.send(self.contract.functions.completeRecovery(address(patient)))

    def recovery(self, patient: str) -> Recovery:
        """Return how a patient's key is recovered, and the recovery on its way."""
        threshold, delay, ready_at, version, successor = self.contract.functions.recoveries(address(patient)).call()
        return Recovery(threshold, delay, ready_at, version, address(successor))

    def _recovery_words(self, patient: str, version: int | None) -> tuple[ChecksumAddress, int]:
        return address(patient), self.recovery(patient).version + 1 if version is None else version

    # ------------------------------------------------------------------ emergencies

    def set_emergency(
        self,
        actor: LocalAccount,
        allowed: bool,
        *,
        patient: str | None = None,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[SetEmergency]:
        """Sign whether emergency services may break the glass; at first they may."""
        whose = address(patient or actor.address)
        number = self.emergency_word(whose)[1] + 1 if version is None else version
        return SetEmergency(self.domain, whose, allowed, number, self._until(deadline)).sign(actor)

    def break_glass(
        self,
        organisation: LocalAccount,
        patient: str,
        reason: str,
        until: int,
        *,
        version: int | None = None,
        deadline: int | None = None,
    ) -> Signed[BreakGlass]:
        """Sign, as an emergency service, to read without a grant until then, 24 hours ahead at most.

        The reason is one of `categories.EMERGENCIES`. Everyone sees it on the chain. Nothing is sent.
        """
        if version is None:
            version = self.emergency(organisation.address, patient).version + 1
        bits = mask({name: PURPOSES[name] for name in EMERGENCIES}, [reason])
        words = (organisation.address, address(patient), bits, until, version, self._until(deadline))
        return BreakGlass(self.domain, *words).sign(organisation)

    def emergency(self, organisation: str, patient: str) -> EmergencyState:
        """Return the last time that an organisation broke the glass for a patient."""
        return EmergencyState(*self.contract.functions.emergencies(address(organisation), address(patient)).call())

    def emergency_word(self, patient: str) -> tuple[bool, int]:
        """Return whether the patient lets emergency services break the glass, and how many words on it landed."""
        allowed, version = self.contract.functions.emergencyOf(address(patient)).call()
        return bool(allowed), int(version)

    def broken_today(self, organisation: str) -> int:
        """Return how often an organisation has broken the glass on the day (UTC) of the newest block."""
        return int(self.contract.functions.brokenToday(address(organisation)).call())

    def why_not_emergency(
        self, organisation: str, patient: str, category: int, purpose: int, *, block: int | None = None
    ) -> Refusal:
        """Return why a broken glass does not let the organisation read; as `why_not`."""
        words = (address(organisation), address(patient), category, purpose)
        with _chain_errors():
            function = self.contract.functions.whyNotEmergency(*words)
            return Refusal(function.call(block_identifier="latest" if block is None else block))

    # ------------------------------------------------------------------ to the chain

    def carry(self, signed: Signed[Any], sender: Sender) -> TxReceipt:
        """Take a signed message to the chain; the sender pays the gas, who signed pays nothing.

        Of a recovery there are several: `carry_recovery`. Raises ContractRefused by the contract's names
        (`RecordsWrongVersion`, …).
        """
        return sender.send(self.function(signed))

    def function(self, signed: Signed[Any]) -> ContractFunction:
        """Return the contract call that carries a signed message: the short form for a key's, else for a wallet's."""
        message, signature = signed.message, signed.signature
        name = message.TYPE[0].lower() + message.TYPE[1:]
        values = list(message.values().values())
        if isinstance(message, GrantBundle):
            values[1] = [tuple(each.values()) for each in values[1]]
            bundle: ContractFunction = self.contract.functions.grantBundle(*values, signature)
            return bundle
        try:
            by_key = isinstance(message, Grant | Revoke | RevokeAll) and signed.signer() == message.patient
        except SignatureError:
            by_key = False
        words = (signature[64], signature[:32], signature[32:64]) if by_key else (signature,)
        kinds = [*message.FIELDS.values(), *(["uint8", "bytes32", "bytes32"] if by_key else ["bytes"])]
        function = self.contract.get_function_by_signature(f"{name}({','.join(kinds)})")
        call: ContractFunction = function(*values, *words)
        return call

    def carry_batch(self, items: Sequence[Signed[Any]], sender: Sender) -> tuple[TxReceipt, list[Skipped]]:
        """Take many patients' Grants and Revokes to the chain at once; returns what was skipped, and why.

        Only keys' signatures fit. Raises SignatureMalformed for another, UsageError for another message.
        """
        receipt = sender.send(self.batch(items))
        told = self.contract.events.Skipped().process_receipt(receipt, errors=DISCARD)
        abi: Any = self.contract.abi
        names = {function_abi_to_4byte_selector(item): item["name"] for item in abi if item["type"] == "error"}
        values = [event["args"] for event in told]
        return receipt, [Skipped(each["index"], bytes(each["id"]), names[each["reason"]]) for each in values]

    def batch(self, items: Sequence[Signed[Any]]) -> ContractFunction:
        """Return the contract call that carries many patients' Grants and Revokes."""
        words = []
        for signed in items:
            message, signature = signed.message, compact(signed.signature)
            if isinstance(message, Grant) and any(message.terms):
                terms, epoch = message.terms, message.epoch
            elif isinstance(message, Revoke):
                terms, epoch = bytes(32), 0
            else:
                raise UsageError(f"a batch carries grants and revokes, no {message.TYPE}")
            members = (message.patient, message.blinded, terms, epoch, message.version, message.deadline)
            words.append((*members, signature[:32], signature[32:]))
        call: ContractFunction = self.contract.functions.grantBatch(words)
        return call

    def deadline(self) -> int:
        """Return a deadline between one and two LIFETIMEs ahead, on the full hour: the same as many others'."""
        return (self.now() // LIFETIME + 2) * LIFETIME

    def _until(self, deadline: int | None) -> int:
        return self.deadline() if deadline is None else deadline

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
        function = self.contract.functions.whyNotBy(
            share.patient, share.author, reader, share.salt, share.terms.values(), category, purpose
        )
        with _chain_errors():
            return Refusal(function.call(block_identifier="latest" if block is None else block))

    def newest(self) -> dict[str, Any]:
        """Return the newest block: `number`, `hash`, `timestamp`."""
        with _chain_errors():
            return dict(self.w3.eth.get_block("latest"))

    def state(self, patient: str, blinded: bytes, *, author: str | None = None) -> GrantState:
        """Return what stands on the chain for a patient and a blinded grantee, granted by the patient or `author`."""
        words = (address(patient), address(author or patient), blinded)
        return GrantState(*self.contract.functions.grantsBy(*words).call())

    def version(self, patient: str, blinded: bytes) -> int:
        """Return how many messages about a grant have landed; the next message names one more."""
        return self.state(patient, blinded).version

    def epoch(self, patient: str) -> int:
        """Return the patient's epoch."""
        return int(self.contract.functions.epochs(address(patient)).call())

    def epoch_of(self, patient: str, author: str) -> int:
        """Return the epoch that grants of this author belong to. Raises ContractRefused where it may grant nothing."""
        with _chain_errors():
            return int(self.contract.functions.epochOf(address(patient), address(author)).call())

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
        """Accredit an organisation, or renew it; the sender is the accreditor. Names by ROLES and GRANTABLE."""
        function = self.registry.functions.accredit(
            address(organisation),
            mask(ROLES, roles),
            mask(GRANTABLE, categories),
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
