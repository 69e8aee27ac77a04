"""The access log's tree: RFC 9162's against vectors that we did not write.

The vectors are those of the Certificate Transparency projects (transparency-dev/merkle, testonly/constants.go and
testdata/): the roots of the logs of the first 0 to 8 inputs, and proofs within them.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode

import pytest

from liggare.errors import DataError
from liggare.records.tree import Tree, verify_consistency, verify_inclusion

INPUTS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A, B, C = (
    "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4=",
    "vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=",
    "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=",
)
INCLUSION = {  # (index, size): proof
    (0, 1): [],
    (0, 8): ["lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=", A, "a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ="],
    (5, 8): [B, "yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA=", C],
    (2, 3): ["+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU="],
    (1, 5): ["bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=", A, B],
}
CONSISTENCY = {  # (first, second): proof
    (1, 1): [],
    (1, 8): ["lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=", A, "a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ="],
    (6, 8): ["DrxdNDf74tsVi58Sah0RjjCBgQMdCpSfje3t68VY72o=", "yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA=", C],
    (2, 5): [A, B],
    (6, 7): ["DrxdNDf74tsVi58Sah0RjjCBgQMdCpSfje3t68VY72o=", "sIaT7C5yFZcTBkHoIR5+7cy0wmQTlj7ubB4u0W/7Gl8=", C],
}


@pytest.fixture(scope="module")
def tree():
    """The reference log of eight entries."""
    return Tree(INPUTS)


@pytest.fixture(scope="module")
def long_tree():
    """A log of 70 entries."""
    return Tree([str(number).encode() for number in range(70)])


def test_roots_are_the_reference_ones(tree):
    assert [tree.root(size).hex() for size in range(9)] == ROOTS


def test_inclusion_proofs_are_the_reference_ones(tree):
    for (index, size), proof in INCLUSION.items():
        assert tree.inclusion(index, size) == [b64decode(node) for node in proof]


def test_consistency_proofs_are_the_reference_ones(tree):
    for (first, second), proof in CONSISTENCY.items():
        assert tree.consistency(first, second) == [b64decode(node) for node in proof]


def test_every_proof_is_verified(long_tree):
    for size in range(1, 71):
        root = long_tree.root(size)
        for index in range(0, size, 3):
            proof = long_tree.inclusion(index, size)
            assert verify_inclusion(long_tree.leaf(index), index, size, root, proof)
        for first in range(1, size + 1, 3):
            proof = long_tree.consistency(first, size)
            assert verify_consistency(first, long_tree.root(first), size, root, proof)


def by_the_book(entries):
    """MTH of RFC 9162, 2.1.1, as it is written there."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    k = split(entries)
    return hashlib.sha256(b"\1" + by_the_book(entries[:k]) + by_the_book(entries[k:])).digest()


def split(entries):
    """The largest power of two below the number of entries."""
    return max(2**power for power in range(12) if 2**power < len(entries))


def path(m, entries):
    """PATH of RFC 9162, 2.1.3.1."""
    if len(entries) == 1:
        return []
    k = split(entries)
    if m < k:
        return [*path(m, entries[:k]), by_the_book(entries[k:])]
    return [*path(m - k, entries[k:]), by_the_book(entries[:k])]


def subproof(m, entries, whole=True):
    """SUBPROOF of RFC 9162, 2.1.4.1."""
    if m == len(entries):
        return [] if whole else [by_the_book(entries)]
    k = split(entries)
    if m <= k:
        return [*subproof(m, entries[:k], whole), by_the_book(entries[k:])]
    return [*subproof(m - k, entries[k:], False), by_the_book(entries[:k])]


def test_roots_and_proofs_are_those_of_the_rfcs_own_definitions():
    entries = [str(number).encode() for number in range(37)]
    tree = Tree(entries)
    for size in range(1, len(entries) + 1):
        part = entries[:size]
        assert tree.root(size) == by_the_book(part)
        assert all(tree.inclusion(m, size) == path(m, part) for m in range(size))
        assert all(tree.consistency(m, size) == subproof(m, part) for m in range(1, size + 1))


def test_no_altered_proof_is_verified(tree):
    root, first_root = tree.root(8), tree.root(6)
    proof, leaf = tree.inclusion(5, 8), tree.leaf(5)
    altered = [proof[:-1], [*proof, proof[0]], proof[::-1], [bytes(32), *proof[1:]], []]
    assert not any(verify_inclusion(leaf, 5, 8, root, one) for one in altered)
    assert not verify_inclusion(leaf, 4, 8, root, proof)
    assert not verify_inclusion(leaf, 5, 4, root, proof)
    assert not verify_inclusion(leaf, 8, 8, root, proof)
    assert not verify_inclusion(tree.leaf(4), 5, 8, root, proof)
    assert not verify_inclusion(b"", 0, 1, b"", [])
    chain = tree.consistency(6, 8)
    changed = [chain[:-1], [*chain, chain[0]], chain[::-1], [bytes(32), *chain[1:]], []]
    assert not any(verify_consistency(6, first_root, 8, root, one) for one in changed)
    assert not verify_consistency(6, root, 8, root, chain)
    assert not verify_consistency(6, first_root, 8, first_root, chain)
    assert not verify_consistency(8, root, 6, first_root, chain)
    assert not verify_consistency(8, root, 8, first_root, [])


def test_what_the_log_does_not_have_is_refused(tree):
    with pytest.raises(DataError, match="no entry 8"):
        tree.inclusion(8)
    with pytest.raises(DataError, match="has 8 entries, not 9"):
        tree.root(9)
    with pytest.raises(DataError, match="can't be shown to continue"):
        tree.consistency(0)
