"""What a patient does with a custodian's answer to "who has read my records?": believe nothing, check everything.

    answer -> posted head -> goes on from the head seen last -> index: how many -> each entry, in order -> its evidence

Everything is checked against the head that stands on the chain. The custodian could still have handed out a record
without writing it down; but an entry that was written can't be left out, changed or moved without being found here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from liggare.errors import (
    AccessHidden,
    AccessRewritten,
    DataError,
    InvalidAddress,
    LogForked,
    LogUnposted,
    ProofInvalid,
)
from liggare.messages import address
from liggare.records.audit import Logged, Release, index_entry, opened
from liggare.records.client import Records
from liggare.records.evidence import faults
from liggare.records.index import NOTHING, Count, verify_count
from liggare.records.signin import Wallet, ask_wallet
from liggare.records.tree import ACCESSES, Head, canonical, leaf_hash, verify_consistency, verify_inclusion

__all__ = ["Access", "Accesses", "check_accesses"]


@dataclass(frozen=True)
class Access:
    """One time that somebody was shown the patient's records; `on_ledger` where a posted head covers it."""

    serial: int
    release: Release
    on_ledger: bool

    @property
    def organisation(self) -> ChecksumAddress:
        """Who read."""
        return self.release.reader

    @property
    def purpose(self) -> str:
        """What for: a PurposeOfUse code."""
        return self.release.purpose

    @property
    def time(self) -> int:
        """When, in unix seconds."""
        return self.release.time

    @property
    def records(self) -> tuple[str, ...]:
        """What was shown."""
        return self.release.records


@dataclass(frozen=True)
class Accesses:
    """All of them, oldest first, and the head to remember: the next answer must go on from it."""

    head: Head
    accesses: list[Access]


def check_accesses(
    document: Any, records: Records, custodian: str, pseudonym: str, remembered: Head | None = None
) -> Accesses:
    """Check a custodian's answer (`AccessLog.proof`) and return the accesses.

    `remembered` is the head of this custodian's log that was seen last. Raises ProofInvalid, LogForked, AccessHidden,
    AccessRewritten by kind; LogUnposted, with what is shown, where no head is on the chain; ChainError where the chain
    does not answer.
    """
    try:
        answer = _Answer.read(document)
    except (LookupError, TypeError, ValueError, AttributeError, InvalidAddress) as exc:
        raise ProofInvalid(f"what is shown is no answer of the form {ACCESSES}: {exc!r}") from None
    domain = records.domain
    for what, here, told in (
        ("custodian", address(custodian), answer.custodian),
        ("chain", domain.chain_id, answer.chain_id),
        ("contract", domain.verifying_contract, answer.contract),
        ("patient", address(pseudonym), answer.patient),
    ):
        if here != told:
            raise ProofInvalid(f"what is shown is about the {what} {told}, not {here}")
    posted = records.log_head(answer.custodian)
    if any(posted):
        _check_head(answer, posted, remembered)
        _check_index(answer)
    elif remembered is not None and remembered.size:
        raise LogForked(f"no head of the log is posted, and one of {remembered.size} entries was seen before")
    elif answer.head.size or answer.entries or answer.count.entries:
        raise AccessRewritten("entries are shown as posted, though no head is")
    _check_complete(answer)
    wallet = ask_wallet(records.w3)
    newest, number, found = bytes(32), -1, []
    for shown in [*answer.entries, *answer.later]:
        if shown.number is not None:
            if shown.number <= number:
                raise AccessRewritten(f"access {shown.logged.serial} stands in the log before the one that it follows")
            number = shown.number
        _check_entry(shown, answer, newest, records, wallet)
        newest = shown.leaf
        found.append(Access(shown.logged.serial, shown.logged.release, shown.number is not None))
    if not any(posted):
        raise LogUnposted(answer.custodian, found)
    return Accesses(answer.head, found)


@dataclass(frozen=True)
class _Shown:
    """An entry as it is shown; `number` is None for one after the posted head."""

    logged: Logged
    leaf: bytes
    number: int | None
    proof: list[bytes]

    @classmethod
    def read(cls, entry: Any, number: Any = None, proof: Any = ()) -> _Shown:
        return cls(opened(entry), leaf_hash(canonical(entry)), number, _hashes(proof))


@dataclass(frozen=True)
class _Answer:
    """A custodian's answer, read and not believed."""

    custodian: ChecksumAddress
    chain_id: int
    contract: ChecksumAddress
    patient: ChecksumAddress
    head: Head
    consistency: list[bytes]
    index_root: bytes
    index_proof: list[bytes]
    count: Count
    siblings: list[tuple[int, bytes]]
    entries: list[_Shown]
    later: list[_Shown]

    @classmethod
    def read(cls, document: Any) -> _Answer:
        if document["liggare"] != ACCESSES:
            raise ValueError(f"it says {document['liggare']!r}")
        index: Mapping[str, Any] = document["index"]
        try:
            entries = [_Shown.read(one["entry"], _whole(one["number"]), one["proof"]) for one in document["entries"]]
            later = [_Shown.read(entry) for entry in document["later"]]
        except DataError as exc:
            raise AccessRewritten(f"an entry is shown that no log holds: {exc}") from None
        return cls(
            address(document["custodian"]),
            _whole(document["chainId"]),
            address(document["contract"]),
            address(document["patient"]),
            Head(_whole(document["size"]), _hash(document["root"])),
            _hashes(document["consistency"]),
            _hash(index["root"]),
            _hashes(index["proof"]),
            Count(_whole(index["entries"]), _hash(index["newest"])),
            [(_whole(level), _hash(beside)) for level, beside in index["siblings"]],
            entries,
            later,
        )


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _hash(value: str) -> bytes:
    found = bytes.fromhex(value.removeprefix("0x"))
    if len(found) != 32:
        raise ValueError("a hash is 32 bytes")
    return found


def _hashes(values: Any) -> list[bytes]:
    return [_hash(value) for value in values]


def _check_head(answer: _Answer, word: bytes, remembered: Head | None) -> None:
    """Raise unless the answer is about the log as it was posted last, and that goes on from what was seen."""
    head, size = answer.head, int.from_bytes(word[24:], "big")
    if head.size < size:
        raise AccessHidden(f"a log of {head.size} entries is shown, {size} were posted; ask again")
    if head.word != word:
        raise LogForked(f"the log shown has another head than the one posted, of {size} entries")
    if remembered is None or not remembered.size:
        return
    goes_on = verify_consistency(remembered.size, remembered.root, head.size, head.root, answer.consistency)
    if not goes_on:
        raise LogForked(f"the log of {head.size} entries does not go on from the one of {remembered.size} seen before")


def _check_index(answer: _Answer) -> None:
    """Raise unless the log's own index, posted with it, counts for the patient what the answer says."""
    head, leaf = answer.head, leaf_hash(canonical(index_entry(answer.index_root)))
    if not verify_inclusion(leaf, head.size - 1, head.size, head.root, answer.index_proof):
        raise AccessHidden("the index shown is not the one under the posted head")
    if not verify_count(answer.patient, answer.count, answer.index_root, answer.siblings):
        raise AccessHidden(f"the posted index does not count {answer.count.entries} entries for the patient")


def _check_complete(answer: _Answer) -> None:
    """Raise unless the entries are as many as counted, in their order, and the last is the newest counted."""
    for shown in answer.entries:
        head, number = answer.head, shown.number
        assert number is not None  # noqa: S101  read so
        if not verify_inclusion(shown.leaf, number, head.size, head.root, shown.proof):
            raise AccessRewritten(f"access {shown.logged.serial} is not entry {number} under the posted head")
    serials = [shown.logged.serial for shown in answer.entries]
    missing = sorted({*range(1, answer.count.entries + 1)} - {*serials})
    if missing:
        told = ", ".join(map(str, missing[:10]))
        raise AccessHidden(f"{len(missing)} of {answer.count.entries} accesses are left out: {told}")
    if serials != list(range(1, answer.count.entries + 1)):
        raise AccessRewritten("the accesses are not shown in their order, each once")
    newest = answer.entries[-1].leaf if answer.entries else NOTHING.newest
    if newest != answer.count.newest:
        raise AccessRewritten(f"access {len(serials)} is not the newest one that the posted index counts")
    for expected, shown in enumerate(answer.later, answer.count.entries + 1):
        if shown.logged.serial > expected:
            raise AccessHidden(f"access {expected}, not on the ledger yet, is left out")
        if shown.logged.serial < expected:
            raise AccessRewritten("the accesses that are not on the ledger yet are not in their order, each once")


def _check_entry(shown: _Shown, answer: _Answer, newest: bytes, records: Records, wallet: Wallet) -> None:
    """Raise unless an entry is the patient's, follows the one before it, and holds its reader's word."""
    logged = shown.logged
    if logged.release.patient != answer.patient:
        raise ProofInvalid(f"access {logged.serial} is another patient's, {logged.release.patient}")
    if logged.release.custodian != answer.custodian:
        raise ProofInvalid(f"access {logged.serial} is at another custodian, {logged.release.custodian}")
    if logged.previous != newest:
        raise AccessRewritten(f"access {logged.serial} does not name the one before it")
    for fault in faults(logged.release, records.domain, wallet):
        raise AccessRewritten(f"access {logged.serial}: {fault.rule}; expected {fault.expected}, found {fault.actual}")
