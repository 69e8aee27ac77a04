"""Signatures to be checked, by the thousand, over all processors; wallets are asked on the chain.

claim -> recovered in another process -> the signer's own key, or a contract wallet that took it then -> finding
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from enum import Enum
from multiprocessing import get_context
from typing import NamedTuple

from eth_typing import ChecksumAddress

from liggare.errors import SignatureMalformed
from liggare.ledger.rows import Finding
from liggare.messages import address, expand, recover_key

__all__ = ["FEW", "Claim", "Form", "Signatures", "Wallets"]

Wallets = Callable[[int], Callable[[ChecksumAddress, bytes, bytes], bool]]
"""A block -> who asks contract wallets there (ERC-1271): account, digest, signature -> whether it takes it."""

CHUNK = 2_000
"""How many signatures are checked in one go."""
FEW = 20_000
"""Up to so many are checked in this process: to start others takes longer."""
WAITING = 8
"""How many such goes may wait, so that memory does not grow with the ledger."""


class Form(Enum):
    """By what a contract takes a signature."""

    KEY = "the signer's key"
    WALLET = "a contract wallet"
    EITHER = "the key, or else the wallet"


class Claim(NamedTuple):
    """That a message was signed. `block` is where it landed; several `signers`: one of them."""

    place: str
    signers: tuple[str, ...]
    digest: bytes
    signature: bytes
    form: Form
    block: int


class Signatures:
    """Checks claims; at the end, `close` tells the last findings. Use as a context, which ends the processes."""

    def __init__(self, wallets: Wallets, *, processes: int | None = None) -> None:
        """`processes`: how many check at once (default: one for each processor); few claims are checked in this one."""
        self._wallets, self._processes = wallets, processes or os.cpu_count() or 1
        self._claims: list[Claim] = []
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: list[tuple[list[Claim], Future[list[bytes]]]] = []
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Signatures:
        return self

    def __exit__(self, *problem: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, claim: Claim) -> Iterator[Finding]:
        """Note a claim; yield what is off with earlier ones."""
        self._claims.append(claim)
        if len(self._claims) < CHUNK:
            return
        if self.counts["signatures"] < FEW and self._pool is None:
            claims, self._claims = self._claims, []
            yield from self._judge(claims, recovered(_plain(claims)))
            return
        if self._pool is None:
            # spawned: a fork would take along what other threads hold
            self._pool = ProcessPoolExecutor(self._processes, mp_context=get_context("spawn"))
        self._waiting.append((self._claims, self._pool.submit(recovered, _plain(self._claims))))
        self._claims = []
        while self._waiting and (len(self._waiting) > WAITING or self._waiting[0][1].done()):
            claims, future = self._waiting.pop(0)
            yield from self._judge(claims, future.result())

    def close(self) -> Iterator[Finding]:
        """Yield what is off with all that is left."""
        for claims, future in self._waiting:
            yield from self._judge(claims, future.result())
        yield from self._judge(self._claims, recovered(_plain(self._claims)))
        self._waiting, self._claims = [], []

    def holds(self, claim: Claim) -> bool:
        """Check one claim at once."""
        return self._holds(claim, *recovered(_plain([claim])))

    def _judge(self, claims: Sequence[Claim], keys: Sequence[bytes]) -> Iterator[Finding]:
        for claim, key in zip(claims, keys, strict=True):
            self.counts["signatures"] += 1
            if not self._holds(claim, key):
                signer = "0x" + key.hex() if key else "nobody's key"
                yield Finding(claim.place, "it was signed by whom it had to be", " or ".join(claim.signers), signer)

    def _holds(self, claim: Claim, key: bytes) -> bool:
        if claim.form is not Form.WALLET and any(key == bytes.fromhex(who[2:]) for who in claim.signers):
            return True
        if claim.form is Form.KEY:
            return False
        self.counts["contract wallets asked"] += 1
        # it was asked in the middle of the block, of which a node knows the two ends
        return any(
            self._wallets(block)(address(who), claim.digest, claim.signature)
            for who in claim.signers
            for block in (claim.block - 1, claim.block)
        )


def _plain(claims: Sequence[Claim]) -> list[tuple[bytes, bytes]]:
    return [(claim.digest, claim.signature) for claim in claims]


def recovered(pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Return whose key, as an address's 20 bytes, signed each digest; nothing where no key did."""
    found = []
    for digest, signature in pairs:
        try:
            found.append(recover_key(digest, expand(signature) if len(signature) == 64 else signature))
        except SignatureMalformed:
            found.append(b"")
    return found
