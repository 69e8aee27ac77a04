"""The rules of a batch, without any chain: contradictions, counters back, jumps and gaps, and what is due."""

from __future__ import annotations

import random

import pytest

from liggare.energy.batches import Batch, check_against, due
from liggare.energy.codec import pack
from liggare.errors import MarketRefused


def batch(first: int, pairs, start=(100, 50), id_: str | None = None) -> Batch:
    return Batch(id_ or f"{first}+{len(pairs)}", 1, first, *start, pack(pairs), b"")


TEN = batch(10, [(5, 1), (6, 2), (7, 3)])


def refused(new: Batch, *others: Batch) -> str | None:
    try:
        check_against(new, others)
    except MarketRefused as exc:
        return exc.name
    return None


@pytest.mark.parametrize(
    ("new", "name"),
    [
        (batch(11, [(6, 2)], (105, 51)), None),  # a part of it
        (batch(8, [(1, 0), (4, 5), (5, 1)], (95, 45)), None),  # reaches into it
        (batch(13, [(1, 1)], (118, 56)), None),  # right after
        (batch(20, [(1, 1)], (118, 56)), None),  # later, nothing counted
        (batch(20, [(1, 1)], (500, 500)), None),  # later: the line was down
        (batch(5, [(1, 1)], (1, 1)), None),  # earlier
        (batch(11, [(6, 3)], (105, 51)), "Contradiction"),  # another delta
        (batch(11, [(6, 2)], (106, 51)), "Contradiction"),  # another counter
        (batch(10, [(5, 1), (6, 2), (7, 4)]), "Contradiction"),
        (batch(12, [(7, 3), (1, 1)], (112, 53)), "Contradiction"),
        (batch(13, [(1, 1)], (117, 56)), "CounterBack"),
        (batch(20, [(1, 1)], (118, 55)), "CounterBack"),
        (batch(5, [(1, 1)], (100, 50)), "CounterBack"),  # ends beyond the later one's beginning
        (batch(13, [(1, 1)], (119, 56)), "CounterGap"),
        (batch(9, [(1, 1)], (98, 49)), "CounterGap"),
    ],
)
def test_a_batch_against_another(new, name):
    assert refused(new, TEN) == name


def test_a_contradiction_names_the_batch_that_was_there_before():
    with pytest.raises(MarketRefused) as caught:
        check_against(batch(10, [(5, 2)]), [batch(13, [(9, 9)], (0, 0)), TEN])
    assert caught.value.values == {"kept": TEN.id}


def test_whatever_an_honest_meter_signs_agrees_and_one_more_wh_does_not():
    """Any batches of one run of counters agree; one Wh more in one that others tell of too does not."""
    chance, contradicted = random.Random(5), 0
    for _ in range(500):
        pairs = [(chance.randrange(50), chance.randrange(50)) for _ in range(chance.randrange(2, 13))]
        run = batch(0, pairs, (0, 0)).counters()

        def cut(pairs=pairs, run=run) -> Batch:
            first = chance.randrange(len(pairs))
            return batch(first, pairs[first : chance.randrange(first, len(pairs)) + 1], run[first])

        others, honest = [cut() for _ in range(chance.randrange(1, 5))], cut()
        assert refused(honest, *others) is None
        t = chance.randrange(honest.count)
        told = pairs[honest.first : honest.end]
        told[t] = (told[t][0] + 1, told[t][1])
        if any(other.first <= honest.first + t < other.end for other in others):
            assert refused(batch(honest.first, told, honest.start), *others) == "Contradiction"
            contradicted += 1
    assert contradicted > 100


def test_what_is_due_goes_on_from_the_last_whole_batch():
    assert due([], 10, (100, 50), ()) == (10, (100, 50))
    assert due([TEN], 10, (100, 50), ()) == (13, (118, 56))
    assert due([TEN, batch(13, [(1, 1)], (118, 56))], 10, (100, 50), ()) == (14, (119, 57))
    assert due([batch(20, [(1, 1)], (500, 500))], 10, (100, 50), ()) == (10, (100, 50))


def test_a_batch_across_a_cut_is_due_again_up_to_it_and_from_it_on():
    assert due([TEN], 10, (100, 50), {12}) == (10, (100, 50))
    assert due([TEN, batch(10, [(5, 1), (6, 2)])], 10, (100, 50), {12}) == (12, (111, 53))
