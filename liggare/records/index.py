"""The index of an access log: how many entries each pseudonym has, in one root that anyone can recompute.

    pseudonym -> 256 bits of its hash -> a place among 2^256 -> (count, its newest entry) -> root

A sparse Merkle tree. Its root is an entry of the log itself, and so under each posted head. Who is shown fewer entries
than were counted finds out by the proof for their place; who counts wrong is found by anyone who replays the log.
A proof tells of the others only that there are some: their leaves are hashes over an entry that nobody can guess. The
custodian tells one pseudonym's place to nobody but to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from liggare.messages import address

__all__ = ["NOTHING", "Count", "Index", "place", "verify_count"]

DEPTH = 256


class Count(NamedTuple):
    """How many entries a pseudonym has in the log, and the leaf hash of the newest."""

    entries: int
    newest: bytes


NOTHING = Count(0, bytes(32))
"""What a pseudonym without entries has."""

Sibling = tuple[int, bytes]
"""A level of the tree, 1 just under the root, and the hash beside the path there."""


def place(pseudonym: str) -> int:
    """Return the place of a pseudonym: the 256 bits of SHA-256 of its address."""
    return int.from_bytes(hashlib.sha256(bytes.fromhex(address(pseudonym)[2:])).digest(), "big")


def _leaf(where: int, count: Count) -> bytes:
    words = where.to_bytes(32, "big") + count.entries.to_bytes(8, "big") + count.newest
    return hashlib.sha256(b"\x00" + words).digest()


def _pair(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _empties() -> list[bytes]:
    """Return the root of an empty subtree at each level."""
    found = [hashlib.sha256(b"").digest()]
    for _ in range(DEPTH):
        found.append(_pair(found[-1], found[-1]))
    return found[::-1]


EMPTY = _empties()


def _bit(where: int, level: int) -> int:
    """Return whether the path goes right (1) or left (0) below a level."""
    return where >> (DEPTH - 1 - level) & 1


class _Leaf:
    """A subtree with one pseudonym in it, however many levels high."""

    __slots__ = ("count", "hashed", "where")

    def __init__(self, where: int, count: Count) -> None:
        self.where, self.count = where, count
        self.hashed: tuple[int, bytes] = (-1, b"")

    def hash(self, level: int) -> bytes:
        if self.hashed[0] != level:
            node = _leaf(self.where, self.count)
            for above in range(DEPTH - 1, level - 1, -1):
                beside = EMPTY[above + 1]
                node = _pair(beside, node) if _bit(self.where, above) else _pair(node, beside)
            self.hashed = level, node
        return self.hashed[1]


class _Branch:
    """A subtree with two pseudonyms or more."""

    __slots__ = ("hashed", "left", "right")

    def __init__(self, left: _Node, right: _Node) -> None:
        self.left, self.right = left, right
        self.hashed = b""

    def hash(self, level: int) -> bytes:
        if not self.hashed:
            self.hashed = _pair(_hash(self.left, level + 1), _hash(self.right, level + 1))
        return self.hashed


_Node = _Leaf | _Branch | None


def _hash(node: _Node, level: int) -> bytes:
    return EMPTY[level] if node is None else node.hash(level)


def _put(node: _Node, level: int, leaf: _Leaf) -> _Leaf | _Branch:
    """Return the subtree with the leaf in it; what was there stays as it is."""
    if node is None or (isinstance(node, _Leaf) and node.where == leaf.where):
        return leaf
    left, right = (node.left, node.right) if isinstance(node, _Branch) else (None, None)
    if isinstance(node, _Leaf):
        left, right = (None, node) if _bit(node.where, level) else (node, None)
    if _bit(leaf.where, level):
        return _Branch(left, _put(right, level + 1, leaf))
    return _Branch(_put(left, level + 1, leaf), right)


class Index:
    """The counts of all pseudonyms: a value, so that `put` gives another index and older ones still prove theirs."""

    __slots__ = ("_top",)

    def __init__(self, top: _Node = None) -> None:
        self._top = top

    def put(self, pseudonym: str, count: Count) -> Index:
        """Return the index with another count for the pseudonym."""
        return Index(_put(self._top, 0, _Leaf(place(pseudonym), count)))

    def get(self, pseudonym: str) -> Count:
        """Return the pseudonym's count; `NOTHING` for one without entries."""
        where, node, level = place(pseudonym), self._top, 0
        while isinstance(node, _Branch):
            node, level = (node.right if _bit(where, level) else node.left), level + 1
        return node.count if node is not None and node.where == where else NOTHING

    @property
    def root(self) -> bytes:
        """The root; the first call after a `put` hashes what is new."""
        return _hash(self._top, 0)

    def proof(self, pseudonym: str) -> list[Sibling]:
        """Return the hashes beside the pseudonym's path, but for those of empty subtrees, from the top."""
        where, node, level = place(pseudonym), self._top, 0
        beside: list[tuple[int, _Node]] = []
        while isinstance(node, _Branch):
            right = _bit(where, level)
            beside.append((level + 1, node.left if right else node.right))
            node, level = (node.right if right else node.left), level + 1
        if node is not None and node.where != where:  # another's subtree of one: it parts from the path further down
            apart = DEPTH - (node.where ^ where).bit_length() + 1
            beside.append((apart, _Leaf(node.where, node.count)))
        return [(level, _hash(other, level)) for level, other in beside if other is not None]


def verify_count(pseudonym: str, count: Count, root: bytes, proof: Sequence[Sibling]) -> bool:
    """Tell whether the proof shows that the index of this root has this count for the pseudonym."""
    where, beside = place(pseudonym), dict(proof)
    if len(beside) != len(proof) or any(not 1 <= level <= DEPTH for level in beside):
        return False
    node = _leaf(where, count) if count != NOTHING else EMPTY[DEPTH]
    for level in range(DEPTH, 0, -1):
        other = beside.get(level, EMPTY[level])
        node = _pair(other, node) if _bit(where, level - 1) else _pair(node, other)
    return node == root
