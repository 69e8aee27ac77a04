"""What the operator does next, without any chain: who is waited for, who is marked, what is closed."""

from __future__ import annotations

import json

import pytest

from liggare.energy.batches import Batch
from liggare.energy.book import Home, MeterChange, Moment, Posted
from liggare.energy.codec import pack
from liggare.energy.plan import CALL, Clear, Close, Post, Times, Wait, edge, plan, room
from tests.support import GAS

ZERO = "0x" + "00" * 20
TIMES = Times(genesis=0, gate=60, grace=600, timeout=86_400)
A, B, C = 1, 2, 3


HOMES = tuple(Home(number, ZERO, ZERO, 0) for number in (A, B, C))


def moment(next_slot=100, homes=HOMES, **changes):
    counters = dict.fromkeys(range(1, len(homes) + 1), (0, 0))
    fields = {"changes": (), "history": (), "orders": {}, "posted": {}, "counters": counters}
    return Moment(1, 0, next_slot, 0, dict.fromkeys(counters, 0), homes=homes, **{**fields, **changes})


def batch(home, first=100, count=1, start=(0, 0)):
    return Batch(f"{home}:{first}+{count}", home, first, *start, pack([(1, 0)] * count), b"")


def kept(*batches):
    found = {}
    for each in batches:
        found.setdefault(each.home, []).append(each)
    return found


def after(slot, seconds):
    """So many seconds after a slot's end."""
    return (slot + 1) * 900 + seconds


def decide(batches, now, at=None, **changes):
    return plan(at or moment(), kept(*batches), now, TIMES, **changes)


def outline(step):
    assert isinstance(step, Clear)
    return step.first, step.count, {home: each.id for home, each in step.batches.items()}, step.missing


ALL = [batch(A), batch(B), batch(C)]


@pytest.mark.parametrize("seconds", [-899, 0, 59])
def test_before_the_gate_nothing_happens(seconds):
    assert decide(ALL, after(100, seconds)) == Wait(after(100, 60))


def test_with_everybody_it_is_cleared_at_the_gate():
    assert outline(decide(ALL, after(100, 60))) == (100, 1, {A: "1:100+1", B: "2:100+1", C: "3:100+1"}, ())


def test_who_is_missing_is_waited_for_until_the_grace_and_not_longer():
    assert decide(ALL[:2], after(100, 599)) == Wait(after(100, 600))
    assert outline(decide(ALL[:2], after(100, 600)))[3] == (C,)


def test_nobody_is_marked_before_the_operator_listened():
    assert decide(ALL[:2], after(100, 700), since=after(100, 710)) == Wait(after(100, 710))
    assert outline(decide(ALL, after(100, 700), since=after(100, 710)))[3] == ()


def test_the_longest_batch_that_all_signed_is_cleared():
    four = [batch(home, 100, 4) for home in (A, B, C)]
    assert outline(decide([*ALL, *four], after(103, 60)))[1] == 4
    assert outline(decide([*ALL, *four], after(102, 60)))[1] == 1
    assert outline(decide([*ALL, *four], after(103, 60), most=3))[1] == 1


def test_meters_of_another_size_of_batch_are_waited_for_and_then_the_most_decide():
    four = [batch(A, 100, 4), batch(B, 100, 4), batch(C)]
    assert decide(four, after(100, 700), slots=4) == Wait(after(103, 600))
    assert outline(decide(four, after(103, 600), slots=4))[1:] == (4, {A: "1:100+4", B: "2:100+4"}, (C,))


def test_a_home_alone_can_not_pull_the_others_into_its_size_of_batch():
    given = [batch(A, 100, 4), batch(B, 100, 4), batch(C), batch(C, 101)]
    assert outline(decide(given, after(103, 600), slots=4))[3] == (C,)


def test_nobody_at_all_is_waited_for_until_the_timeout_and_then_closed_at_once():
    assert decide([], after(100, 86_399)) == Wait(after(100, 86_400))
    assert decide([], after(104, 86_400)) == Close(100, 105)


def test_slots_with_readings_are_not_closed():
    assert decide([batch(A, 103)], after(110, 86_400)) == Close(100, 103)
    assert outline(decide([batch(A)], after(110, 86_400))) == (100, 1, {A: "1:100+1"}, (B, C))


def test_an_empty_slot_before_one_with_readings_is_passed_after_its_grace():
    late = Times(genesis=0, gate=60, grace=2_000, timeout=86_400)
    assert plan(moment(), kept(batch(A, 101)), after(101, 100), late) == Wait(after(100, 2_000))
    assert outline(decide([batch(A, 101)], after(101, 600)))[:3] == (100, 1, {})


def test_a_batch_below_the_chains_counters_counts_as_none():
    at = moment(counters={A: (5, 0), B: (0, 0), C: (0, 0)})
    assert decide(ALL, after(100, 70), at) == Wait(after(100, 600))
    assert outline(decide(ALL, after(100, 600), at))[3] == (A,)


def test_a_batch_that_the_contract_refused_counts_as_none():
    assert outline(decide(ALL, after(100, 600), bad={"2:100+1"}))[3] == (B,)


def test_a_new_meters_counters_count_from_its_slot_on():
    change = MeterChange(B, 100, ZERO, (7, 0), (0, 0))
    at = moment(changes=(change,), history=(change,))
    assert outline(decide([batch(A), batch(B, start=(7, 0)), batch(C)], after(100, 60), at))[3] == ()
    assert isinstance(decide(ALL, after(100, 60), at), Wait)


def test_no_batch_goes_across_a_cut():
    homes = (Home(A, ZERO, ZERO, 0), Home(B, ZERO, ZERO, 0), Home(C, ZERO, ZERO, 102))
    long = [batch(A, 100, 4), batch(B, 100, 4)]
    late = Times(genesis=0, gate=60, grace=4_000, timeout=86_400)
    at = moment(homes=homes)
    assert plan(at, kept(*long), after(103, 100), late, slots=4) == Wait(after(101, 4_000))
    short = [batch(A, 100, 2), batch(B, 100, 2)]
    assert outline(plan(at, kept(*long, *short), after(103, 100), late, slots=4))[:2] == (100, 2)


def test_a_batch_across_a_cut_that_was_not_signed_anew_is_posted_after_the_grace():
    homes = (*HOMES[:2], Home(C, ZERO, ZERO, 102))
    long = [batch(A, 100, 4), batch(B, 100, 4)]
    step = decide(long, after(103, 600), moment(homes=homes), slots=4)
    assert isinstance(step, Post)
    assert [each.id for each in step.batches] == ["1:100+4", "2:100+4"]
    everywhere = {slot: Posted((0, 0), (1, 0)) for slot in range(100, 104)}
    at = moment(homes=homes, posted={A: everywhere, B: everywhere})
    assert outline(decide(long, after(103, 600), at, slots=4)) == (100, 1, {}, ())


def test_a_home_that_moved_out_is_not_waited_for():
    homes = (Home(A, ZERO, ZERO, 0), Home(B, ZERO, ZERO, 0), Home(C, ZERO, ZERO, 0, 100))
    assert outline(decide(ALL[:2], after(100, 60), moment(homes=homes)))[3] == ()


def test_a_posted_reading_is_one():
    at = moment(posted={C: {100: Posted((0, 0), (1, 0))}})
    assert outline(decide(ALL[:2], after(100, 60), at)) == (100, 1, {A: "1:100+1", B: "2:100+1"}, ())


def test_a_posted_slot_inside_a_batch_makes_the_others_post_theirs():
    at = moment(posted={C: {102: Posted((0, 0), (1, 0))}})
    four = [batch(A, 100, 4), batch(B, 100, 4)]
    step = decide(four, after(103, 600), at, slots=4)
    assert isinstance(step, Post)
    assert [each.id for each in step.batches] == ["1:100+4", "2:100+4"]
    everywhere = {slot: Posted((0, 0), (1, 0)) for slot in range(100, 104)}
    at = moment(posted={A: everywhere, B: everywhere, C: {102: Posted((0, 0), (1, 0))}})
    assert outline(decide(four, after(103, 600), at, slots=4)) == (100, 1, {}, (C,))


def test_a_slot_that_the_contract_will_not_clear_is_closed_after_the_timeout():
    assert isinstance(decide(ALL, after(100, 70), stuck=True), Clear)
    assert decide(ALL, after(100, 86_400), stuck=True) == Close(100, 101)


def test_a_market_without_homes_is_closed():
    assert decide([], after(100, 86_400), moment(homes=())) == Close(100, 101)


def test_batches_end_at_multiples_and_cuts():
    assert [edge(first, 4, {105, 90}) for first in (100, 103, 104, 105, 108)] == [104, 104, 105, 108, 112]


def test_what_fits_is_what_was_measured():
    """The figures of gas.json are below what is reckoned with, so that a batch that fits does fit."""
    gas = json.loads(GAS.read_text())
    for homes, slots in ((100, 1), (100, 16), (17, 16)):
        used = gas[f"energy.slot.n{homes}.k{slots}"] * homes * slots
        assert room(homes, used - CALL) < slots <= room(homes, int(used * 1.35) + CALL)
    assert room(1000, 15_500_000) == 1
    assert room(1200, 15_500_000) == 0
