"""The rules of a custodian's access log: each line is judged again, against the replayed ledger and the heads posted.

    lines -> roots posted -> each entry's form, number, index -> its evidence -> its block and time -> the ledger then

Whoever holds the lines and a node needs to believe nobody. Findings name entries by number, never what was read.

An entry names records, not what is in them. So that each type was granted is checked here; that a record went out as a
normal one though it is labelled restricted, or contains what was not granted, no entry can tell: that rests on the
custodian's one filter (`release`), as it does that there are labels at all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from web3.exceptions import Web3Exception

from liggare.errors import DataError
from liggare.ledger.rows import Finding
from liggare.messages import Domain
from liggare.records.audit import Release, index_entry, opened
from liggare.records.categories import CATEGORIES, PURPOSES, RIGHTS
from liggare.records.client import Refusal
from liggare.records.evidence import faults
from liggare.records.index import Count, Index
from liggare.records.signin import Wallet
from liggare.records.standing import Standings
from liggare.records.tree import Tree, canonical, leaf_hash

__all__ = ["LAG", "Blocks", "LogRules", "Posted"]

LAG = 60
"""How long after its successor's time a block may still be taken for the newest, in seconds."""
READ = 1 << RIGHTS["read"]

Blocks = Callable[[int], tuple[str, int]]
"""Block number -> its hash (0x…) and timestamp, as the chain has them; raises a Web3Exception where there is none."""


class Posted(Protocol):
    """A log head as it was posted."""

    @property
    def block(self) -> int:
        """In which block."""

    @property
    def size(self) -> int:
        """How many entries it counts."""

    @property
    def root(self) -> bytes:
        """Their Merkle root."""


class LogRules:
    """Checks one custodian's log, from its first line on."""

    def __init__(
        self,
        custodian: str,
        domain: Domain,
        blocks: Blocks,
        at: Callable[[int], Standings],
        wallets: Callable[[int], Wallet] | None = None,
    ) -> None:
        """`at` tells who could read at the end of a block; `wallets` asks contract wallets at one, None takes none."""
        self.custodian, self.domain, self.blocks, self.at, self.wallets = custodian, domain, blocks, at, wallets
        self.counts: Counter[str] = Counter()
        self._index = Index()

    def check(self, lines: Sequence[bytes], heads: Sequence[Posted]) -> Iterator[Finding]:
        """Yield all that is off with the log."""
        yield from self._check_heads(lines, heads)
        for number, line in enumerate(lines):
            place = f"access log of {self.custodian}, entry {number}"
            for rule, expected, actual in self._check_line(line):
                yield Finding(place, rule, expected, actual)

    def _check_heads(self, lines: Sequence[bytes], heads: Sequence[Posted]) -> Iterator[Finding]:
        place, tree = f"access log of {self.custodian}", Tree(lines)
        for head in heads:
            self.counts["log roots"] += 1
            if head.size > len(tree):
                rule = "the access log has every entry that its posted heads count"
                yield Finding(place, rule, head.size, len(tree))
                continue
            root = tree.root(head.size)
            if root != head.root:
                rule = f"the access log's first {head.size} entries have the root posted in block {head.block}"
                yield Finding(place, rule, "0x" + head.root.hex(), "0x" + root.hex())
            if b'"kind":"index"' not in lines[head.size - 1]:
                rule = f"the last entry under the head posted in block {head.block} is the index of all others"
                yield Finding(place, rule, "an index", f"entry {head.size - 1}")

    def _check_line(self, line: bytes) -> Iterator[tuple[str, object, object]]:
        rule = "an entry is a release or an index, as they are written"
        try:
            kept = json.loads(line)
            index = kept["kind"] == "index"
            logged = None if index else opened(kept)
            sound = canonical(kept) == line
        except (DataError, LookupError, TypeError, ValueError) as exc:
            yield rule, "such an entry", type(exc).__name__
            return
        if not sound:
            yield rule, "its canonical form", "another"
        if logged is None:
            yield from self._check_index(kept)
            return
        release, serial, previous = logged
        self.counts["reads in access logs"] += 1
        count = self._index.get(release.patient)
        self._index = self._index.put(release.patient, Count(count.entries + 1, leaf_hash(line)))
        if serial != count.entries + 1:
            yield "a patient's entries are numbered from 1 on", count.entries + 1, serial
        if previous != count.newest:
            yield "an entry names the patient's one before it", "0x" + count.newest.hex(), "0x" + previous.hex()
        if release.custodian != self.custodian:
            yield "a custodian logs its own releases", self.custodian, release.custodian
        yield from self.check_release(release)

    def _check_index(self, kept: dict[str, object]) -> Iterator[tuple[str, object, object]]:
        self.counts["indexes of access logs"] += 1
        expected = index_entry(self._index.root)
        if kept != expected:
            yield "an index counts all entries before it", expected["root"], kept.get("root")

    def check_release(self, release: Release) -> Iterator[tuple[str, object, object]]:
        """Yield what is off with one release: the rule in words, what was expected, what was found."""
        wallet = self.wallets(release.block) if self.wallets else _no_wallet
        yield from faults(release, self.domain, wallet)
        block = self._block(release.block)
        if block is None or block[0] != release.block_hash:
            rule = "an entry names a block of this chain"
            yield rule, block[0] if block else "a block that there is", release.block_hash
        if block is None:
            return
        if release.time < block[1]:
            yield "a release is at its block's time or after", f"from {block[1]}", release.time
        after = self._block(release.block + 1)
        if after is not None and release.time > after[1] + LAG:
            rule = "a release is decided at the newest block"
            yield rule, f"until {after[1] + LAG}, {LAG} s after the next block", release.time
        yield from self._check_covered(release, block[1])

    def _block(self, number: int) -> tuple[str, int] | None:
        try:
            return self.blocks(number)
        except (Web3Exception, LookupError):
            return None

    def _check_covered(self, release: Release, timestamp: int) -> Iterator[tuple[str, object, object]]:
        """Check that the ledger let the reader see each kind of record that was released, or was asked for in vain."""
        moment = self.at(release.block)
        if not release.shares and not release.emergency:
            if release.purpose == "PATRQT":
                acts = moment.actor(release.patient) == release.reader
            else:
                acts = moment.may_act(release.patient, release.reader, READ, release.time)
            if not acts:
                yield "who reads as the patient is it, or a guardian who may", "such a reader", release.reader
            return
        asked = release.records or [release.query.partition("?")[0]]
        kinds = {record.partition("/")[0] for record in asked} & CATEGORIES.keys()
        rule = f"every read is covered by a {'broken glass' if release.emergency else 'grant'} at its block"
        every = [1 << bit for bit in CATEGORIES.values()]
        for categories in [[1 << CATEGORIES[kind]] for kind in sorted(kinds)] or [every]:
            reasons = list(self._reasons(moment, release, categories, timestamp))
            if Refusal.NOTHING not in reasons:
                yield rule, "one that lets it", reasons[0].solidity

    @staticmethod
    def _reasons(moment: Standings, release: Release, categories: list[int], timestamp: int) -> Iterator[Refusal]:
        """Yield why each thing that the release stands on does not let it, with any of these categories."""
        purpose, times = 1 << PURPOSES[release.purpose], (timestamp, release.time)
        for category in categories:
            if release.emergency:
                yield moment.why_not_emergency(release.reader, release.patient, category, purpose, *times)
            for share in release.shares:
                grant = share.patient, share.author, share.grantee, share.salt, share.terms
                yield moment.why_not(*grant, category, purpose, *times)


def _no_wallet(*_: object) -> bool:
    return False
