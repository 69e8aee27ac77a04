"""The index: one root for all counts, the same by the definition; a proof for each count and for none."""

from __future__ import annotations

import hashlib
import random

import pytest

from liggare.records.index import DEPTH, NOTHING, Count, Index, place, verify_count
from tests.records.releases import person

PEOPLE = [person(number).address for number in range(40)]
COUNTS = {who: Count(number + 1, hashlib.sha256(who.encode()).digest()) for number, who in enumerate(PEOPLE[:30])}


def built(counts):
    index = Index()
    for who, count in counts.items():
        index = index.put(who, count)
    return index


def defined(counts, level=0):
    """The root by its definition, without any of the shortcuts but that an empty subtree's is known."""
    if not counts:
        return hashlib.sha256(b"").digest() if level == DEPTH else EMPTY[level]
    if level == DEPTH:
        ((where, count),) = counts.items()
        return hashlib.sha256(
            b"\0" + where.to_bytes(32, "big") + count.entries.to_bytes(8, "big") + count.newest
        ).digest()
    sides = [{w: c for w, c in counts.items() if w >> (DEPTH - 1 - level) & 1 == side} for side in (0, 1)]
    left, right = (defined(side, level + 1) for side in sides)
    return hashlib.sha256(b"\1" + left + right).digest()


EMPTY = [b""] * DEPTH + [hashlib.sha256(b"").digest()]
for number in range(DEPTH - 1, -1, -1):
    EMPTY[number] = hashlib.sha256(b"\1" + EMPTY[number + 1] * 2).digest()


@pytest.fixture(scope="module")
def index():
    """The counts of thirty of forty people."""
    return built(COUNTS)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 30])
def test_the_root_is_the_one_defined(size):
    some = dict(list(COUNTS.items())[:size])
    assert built(some).root == defined({place(who): count for who, count in some.items()})


def test_the_order_of_entries_does_not_matter_only_the_last_count():
    order = list(COUNTS.items())
    random.Random(5).shuffle(order)
    index = Index()
    for who, count in order:
        index = index.put(who, Count(9, bytes(32))).put(who, count)
    assert index.root == built(COUNTS).root


def test_each_count_is_proven_and_no_other(index):
    for who, count in COUNTS.items():
        proof = index.proof(who)
        assert index.get(who) == count
        assert verify_count(who, count, index.root, proof)
        for other in (Count(count.entries - 1, count.newest), Count(count.entries, bytes(32)), NOTHING):
            assert not verify_count(who, other, index.root, proof)


def test_that_there_is_none_is_proven_too(index):
    for who in PEOPLE[30:]:
        proof = index.proof(who)
        assert index.get(who) == NOTHING
        assert verify_count(who, NOTHING, index.root, proof)
        assert not verify_count(who, Count(1, bytes(32)), index.root, proof)


def test_a_proof_is_for_one_person_and_one_root(index):
    who, other = PEOPLE[3], PEOPLE[4]
    proof = index.proof(who)
    assert not verify_count(other, COUNTS[who], index.root, proof)
    assert not verify_count(who, COUNTS[who], index.put(other, Count(99, bytes(32))).root, proof)


def test_no_altered_proof_is_verified(index):
    who, count, root = PEOPLE[3], COUNTS[PEOPLE[3]], index.root
    proof = index.proof(who)
    assert len(proof) > 3
    for altered in (
        proof[1:],
        [*proof, proof[0]],
        [*proof, (0, bytes(32))],
        [*proof, (DEPTH + 1, bytes(32))],
        [(proof[0][0], proof[1][1]), *proof[1:]],
        [],
    ):
        assert not verify_count(who, count, root, altered)


def test_an_older_index_still_proves_what_it_counted(index):
    later = index.put(PEOPLE[0], Count(50, b"\x01" * 32)).put(PEOPLE[35], Count(1, b"\x02" * 32))
    assert verify_count(PEOPLE[0], COUNTS[PEOPLE[0]], index.root, index.proof(PEOPLE[0]))
    assert verify_count(PEOPLE[35], NOTHING, index.root, index.proof(PEOPLE[35]))
    assert verify_count(PEOPLE[35], Count(1, b"\x02" * 32), later.root, later.proof(PEOPLE[35]))


def test_a_proof_is_short(index):
    assert max(len(index.proof(who)) for who in PEOPLE) < 20
