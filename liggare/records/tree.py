"""The Merkle tree of the access log, and its proofs (RFC 9162, 2.1; SHA-256).

entry -> leaf -> root of the first n entries -> that this entry is in it, that it goes on from an older root
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from liggare.errors import DataError, LogDamaged

__all__ = [
    "ACCESSES",
    "Head",
    "Tree",
    "canonical",
    "leaf_hash",
    "read_lines",
    "verify_consistency",
    "verify_inclusion",
]

ACCESSES = "accesses/1"
"""The form of a custodian's answer to a patient."""


class Head(NamedTuple):
    """The log's first `size` entries have this root."""

    size: int
    root: bytes

    @property
    def word(self) -> bytes:
        """The head as RecordAccess keeps it."""
        return self.root[:24] + self.size.to_bytes(8, "big")


def canonical(entry: dict[str, Any]) -> bytes:
    """Return an entry's one line: sorted members, no spaces, ASCII."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of an entry (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A Merkle tree that grows; hashes of whole subtrees are kept, so each question costs O(log n).

    Two hashes per entry, 64 bytes, end to end.
    """

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self._levels = [bytearray()]
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._levels[0]) // 32

    def append(self, entry: bytes) -> None:
        """Add an entry's leaf."""
        self.append_leaf(leaf_hash(entry))

    def append_leaf(self, node: bytes) -> None:
        """Add a leaf hash."""
        level = 0
        self._levels[0] += node
        while len(self._levels[level]) % 64 == 0:
            node = _node_hash(bytes(self._levels[level][-64:-32]), node)
            level += 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node

    def leaf(self, index: int) -> bytes:
        """Return the leaf hash of an entry."""
        return self._node(0, index)

    def _node(self, level: int, index: int) -> bytes:
        return bytes(self._levels[level][32 * index : 32 * index + 32])

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` entries (default: all)."""
        size = self._checked(len(self) if size is None else size)
        return self._hash(0, size) if size else hashlib.sha256(b"").digest()

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that an entry is in the log of `size` entries (RFC 9162, 2.1.3.1)."""
        size = self._checked(len(self) if size is None else size)
        if not 0 <= index < size:
            raise DataError(f"the log of {size} entries has no entry {index}")
        proof, start, end = [], 0, size
        while end - start > 1:
            split = start + _split(end - start)
            if index < split:
                proof.append(self._hash(split, end))
                end = split
            else:
                proof.append(self._hash(start, split))
                start = split
        return proof[::-1]

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """Return the proof that the log of `second` entries continues that of `first` (RFC 9162, 2.1.4.1)."""
        second = self._checked(len(self) if second is None else second)
        if not 0 < first <= second:
            raise DataError(f"a log of {second} entries can't be shown to continue one of {first}")
        if first == second:
            return []
        proof, start, end, whole = [], 0, second, True
        while first != end:
            split = start + _split(end - start)
            if first <= split:
                proof.append(self._hash(split, end))
                end = split
            else:
                proof.append(self._hash(start, split))
                start, whole = split, False
        if not whole:
            proof.append(self._hash(start, end))
        return proof[::-1]

    def _checked(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise DataError(f"the log has {len(self)} entries, not {size}")
        return size

    def _hash(self, start: int, end: int) -> bytes:
        """Return the hash over entries `start` to `end`, exclusive; `start` is where a subtree of this split begins."""
        count = end - start
        if count & (count - 1) == 0 and start % count == 0:
            return self._node(count.bit_length() - 1, start // count)
        split = start + _split(count)
        return _node_hash(self._hash(start, split), self._hash(split, end))


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def verify_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the proof shows that the leaf hash is entry `index` of a log of this size and root.

    RFC 9162, 2.1.3.2, step by step.
    """
    if not 0 <= index < size or len(leaf) != len(root) or len(root) != 32:
        return False
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = _node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = _node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and node == root


def verify_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the proof shows that the second log begins with all of the first.

    RFC 9162, 2.1.4.2, step by step.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path or not proof:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for node in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = _node_hash(node, fr), _node_hash(node, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = _node_hash(sr, node)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


def read_lines(whole: bytes, path: Path) -> list[bytes]:
    """Return a log file's lines. Raises LogDamaged where one is not the canonical form of an entry."""
    lines = whole.split(b"\n")[:-1]
    for number, line in enumerate(lines):
        try:
            kept = json.loads(line)
        except ValueError:
            raise LogDamaged(f"{path}: entry {number} is no JSON") from None
        if not isinstance(kept, dict) or canonical(kept) != line:
            raise LogDamaged(f"{path}: entry {number} is not as it is written")
    return lines
