"""Checkpoints: all that verification knows at a block, signed, so that the next one goes on from there.

    known -> lines (`liggare.ledger.kept`) -> their digest, chain, deployment, block, rules -> one signed statement
    statement checked -> lines, if they have the digest -> known

A checkpoint is worth what its signer's key is worth: take your own, or that of somebody whose verification you would
believe. Everything before its block is believed, everything after is checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from eth_account.signers.local import LocalAccount

import liggare
from liggare.chain.deployments import Deployments
from liggare.chain.feed import Block
from liggare.errors import (
    CheckpointDamaged,
    CheckpointForeign,
    CheckpointOfAnother,
    CheckpointOutdated,
    DataError,
    LiggareError,
)
from liggare.ledger.kept import Part, lines, take
from liggare.ledger.verify import KeptRules, Report
from liggare.ledger.witness import Witnesses
from liggare.messages import Domain, Signed, SignedMessage, address

__all__ = ["Checkpoint", "Known", "read", "rules_version", "write"]

STATEMENT = 4_096
"""The last line of a file is the statement, and no longer than this many bytes."""


@dataclass(frozen=True)
class Checkpoint(SignedMessage):
    """What is signed. `deployment`, `rules` and `state` are SHA-256 digests, the rest as the chain has it."""

    TYPE: ClassVar[str] = "Checkpoint"
    FIELDS: ClassVar[dict[str, str]] = {
        "genesis": "bytes32",
        "deployment": "bytes32",
        "block": "uint256",
        "blockHash": "bytes32",
        "rules": "bytes32",
        "state": "bytes32",
    }

    genesis: bytes
    deployment: bytes
    block: int
    block_hash: bytes
    rules: bytes
    state: bytes


@dataclass(frozen=True)
class Known:
    """All that verification knows between two events: fresh to read into, or as `verify` left it."""

    rules: Sequence[KeptRules]
    witnesses: Witnesses
    report: Report

    def parts(self) -> Iterator[Part]:
        """Yield what is kept. What is found is not: there is no checkpoint of a ledger that is off."""
        yield Part(self.report, anew=("checked", "unchecked", "findings"))
        witnesses = [name for name in vars(self.witnesses) if name not in ("counts", "unchecked")]
        yield Part(self.witnesses, anew=witnesses)
        signatures = self.witnesses.signatures
        yield Part(signatures, anew=[name for name in vars(signatures) if name != "counts"])
        for one in self.rules:
            yield Part(one, one.anew, one.kinds)


def write(path: Path, signer: LocalAccount, deployments: Deployments, block: Block, known: Known) -> Checkpoint:
    """Write what is known at the end of a block, whole or not at all, for its owner's eyes only; return the statement.

    Raises DataError where the file can't be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    digest = sha256()
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for line in lines(known.parts()):
                digest.update(line)
                file.write(line)
            made = _statement(deployments, block.number, bytes.fromhex(block.hash[2:]), digest.digest())
            file.write(_told(made.sign(signer)))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as exc:
        raise DataError(f"{path} can't be written: {exc.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
    return made


def read(path: Path, signer: str, deployments: Deployments, known: Known) -> Checkpoint:
    """Put into `known`, which is fresh, what the checkpoint knows; return its statement.

    Nothing but the statement is decoded before all of it is known to be what `signer` signed, for this deployment and
    these rules. That the chain still has the block is for the caller to see. Raises CheckpointDamaged,
    CheckpointOfAnother, CheckpointForeign or CheckpointOutdated.
    """
    try:
        with path.open("rb") as file:
            end = _last_line(file)
            found = _signed(path, file.read(STATEMENT), signer, deployments)
            if _digest(file, end) != found.state:
                raise CheckpointDamaged(path, "it was changed since it was signed")
            take(known.parts(), _lines(file, end))
    except OSError as exc:
        raise CheckpointDamaged(path, f"it can't be read: {exc.strerror}") from None
    except ValueError as exc:
        raise CheckpointDamaged(path, str(exc)) from None
    return found


@lru_cache(1)
def rules_version() -> bytes:
    """Return the digest of all of this package's sources: by other ones the same events may lead elsewhere."""
    root = Path(liggare.__file__).parent
    whole = sha256()
    for path in sorted(root.rglob("*.py")):
        whole.update(f"{path.relative_to(root).as_posix()} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.digest()


# ------------------------------------------------------------------ the statement


def _statement(deployments: Deployments, block: int, block_hash: bytes, state: bytes) -> Checkpoint:
    record = {name: asdict(item) for name, item in sorted(deployments.contracts.items())}
    deployment = sha256(json.dumps(record, sort_keys=True).encode()).digest()
    genesis = bytes.fromhex(deployments.genesis[2:])
    first = min(deployments.contracts.values(), key=lambda item: (item.block, item.address))
    domain = Domain("Liggare Checkpoint", "1", deployments.chain_id, first.address)
    return Checkpoint(domain, genesis, deployment, block, block_hash, rules_version(), state)


def _told(signed: Signed[Checkpoint]) -> bytes:
    """Return the statement as the last line of a file."""
    message = signed.message
    words = {
        "chainId": message.domain.chain_id,
        "contract": message.domain.verifying_contract,
        **message.values(),
        "signer": signed.signer(),
        "signature": signed.signature,
    }
    return json.dumps(words, default=lambda value: "0x" + value.hex()).encode() + b"\n"


def _signed(path: Path, line: bytes, signer: str, deployments: Deployments) -> Checkpoint:
    """Return the statement, which `signer` must have made about this deployment by these rules."""
    try:
        words: dict[str, Any] = json.loads(line)
        domain = Domain("Liggare Checkpoint", "1", int(words["chainId"]), address(words["contract"]))
        members: list[Any] = [
            bytes.fromhex(words[name][2:]) if kind == "bytes32" else int(words[name])
            for name, kind in Checkpoint.FIELDS.items()
        ]
        made, by = Checkpoint(domain, *members), str(words["signer"])
        told = _told(Signed(made, bytes.fromhex(words["signature"][2:])))
    except (LiggareError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise CheckpointDamaged(path, "it is none") from None
    if by != signer:
        raise CheckpointOfAnother(path, signer, by)
    if told != line:
        raise CheckpointDamaged(path, "it was changed since it was signed")
    here = _statement(deployments, made.block, made.block_hash, made.state)
    if (made.domain, made.genesis, made.deployment) != (here.domain, here.genesis, here.deployment):
        raise CheckpointForeign(path, made.domain.chain_id, deployments.chain_id)
    if made.rules != here.rules:
        raise CheckpointOutdated(path)
    return made


# ------------------------------------------------------------------ the lines before it


def _last_line(file: BinaryIO) -> int:
    """Return where the last line begins, and go there."""
    size = file.seek(0, os.SEEK_END)
    begin = file.seek(max(size - STATEMENT, 0))
    place = begin + file.read(STATEMENT).rstrip(b"\n").rfind(b"\n") + 1
    return file.seek(place)


def _digest(file: BinaryIO, end: int) -> bytes:
    whole, left = sha256(), end
    file.seek(0)
    while left and (some := file.read(min(left, 1 << 20))):
        whole.update(some)
        left -= len(some)
    return whole.digest()


def _lines(file: BinaryIO, end: int) -> Iterator[bytes]:
    file.seek(0)
    while file.tell() < end:
        yield file.readline()
