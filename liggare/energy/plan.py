"""What an operator does next, as a pure function of what the chain shows, what is kept and what time it is.

    nothing ended                        Wait until the gate
    every home's batch of these slots    Clear
    some missing, within the grace       Wait
    some missing, after it               Clear, the missing marked
    nobody's batch at all                Wait, and Close after the timeout
    a home posted a slot in the middle   Post the others' batches too: posted readings are cleared one slot at a time
    a home joins in the middle           Post the batches that go across that slot, unless they came anew, cut there

Whatever is decided, the contract decides again: a plan that is out of date is refused there and made anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from liggare.energy.batches import Batch
from liggare.energy.book import Moment
from liggare.energy.messages import SLOT_SECONDS

__all__ = ["Clear", "Close", "Post", "Times", "Wait", "edge", "plan", "room"]

# the most that a clearing uses, in gas: the figures `energy.slot.…` of gas.json, rounded up
CALL, HOME, READING = 100_000, 13_400, 1_700


@dataclass(frozen=True)
class Times:
    """The market's clock: unix time of slot 0, and its waits in seconds."""

    genesis: int
    gate: int
    grace: int
    timeout: int

    def begins(self, slot: int) -> int:
        """Return the unix time at which a slot begins."""
        return self.genesis + slot * SLOT_SECONDS

    def ended(self, now: float, wait: int = 0) -> int:
        """Return the first slot that did not end `wait` seconds ago."""
        return max(int(now) - wait - self.genesis, 0) // SLOT_SECONDS


@dataclass(frozen=True)
class Clear:
    """Clear `count` slots from `first` on with these batches by home; `missing` homes are marked."""

    first: int
    count: int
    batches: Mapping[int, Batch] = field(default_factory=dict)
    missing: tuple[int, ...] = ()


@dataclass(frozen=True)
class Close:
    """Close the slots from `first` to `upto` - 1."""

    first: int
    upto: int


@dataclass(frozen=True)
class Post:
    """Post these batches on the chain."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True)
class Wait:
    """Nothing can be done before `until`, unix time, unless more readings come."""

    until: float


def room(homes: int, gas: int) -> int:
    """Return how many slots of so many homes fit a transaction of so much gas; 0 where not even one does."""
    left = gas - CALL - HOME * homes
    return max(left // (READING * max(homes, 1)), 0)


def edge(first: int, slots: int, cuts: Collection[int]) -> int:
    """Return where the batch that begins with slot `first` ends: at the next multiple of `slots`, or a cut before."""
    return min([(first // slots + 1) * slots, *(cut for cut in cuts if cut > first)])


def plan(
    moment: Moment,
    kept: Mapping[int, Collection[Batch]],
    now: float,
    times: Times,
    *,
    slots: int = 1,
    most: int = 96,
    since: float = 0,
    bad: Collection[str] = (),
    stuck: bool = False,
) -> Clear | Close | Post | Wait:
    """Decide.

    `kept` are the batches by home, `slots` the size of batch that meters are asked for, `most` the slots that fit a
    transaction. `since` is a moment before which nobody is marked as missing, whatever the grace: the operator was not
    there to listen. `bad` are ids of batches that the contract refused; `stuck` says that it refused the first slot's
    clearing for no home's reason, so that after the timeout it is better closed.
    """
    first = moment.next_slot
    cuts = [cut for cut in moment.cuts() if cut > first]
    fits = min([times.ended(now, times.gate) - first, most, *(cut - first for cut in cuts)])
    if fits < 1:
        return Wait(times.begins(first + 1) + times.gate)
    homes = [home.number for home in moment.homes if home.takes_part(first)]
    usable = _usable(moment, kept, homes, bad)
    exact: dict[int, dict[int, Batch]] = {}
    for home, batches in usable.items():
        for batch in batches:
            if batch.first == first and batch.count <= fits:
                exact.setdefault(batch.count, {})[home] = batch
    posted = {home for home in homes if first in moment.posted.get(home, ())}
    whole = [count for count, found in exact.items() if _answered(found, posted, count) == set(homes)]
    if posted and posted == set(homes):
        whole.append(1)
    timed_out = times.ended(now, times.timeout)
    if stuck and timed_out > first:
        return Close(first, first + 1)
    if whole:
        return Clear(first, max(whole), exact.get(max(whole), {}))

    told = [batch.first for batches in usable.values() for batch in batches if batch.end > first]
    told += [slot for home in homes for slot in moment.posted.get(home, ()) if slot >= first]
    begun = min(told, default=None)
    if begun is None or begun > first:
        upto = timed_out if begun is None else min(timed_out, begun)
        if upto > first:
            return Close(first, upto)
        if begun is None:
            return Wait(times.begins(first + 1) + times.timeout)

    wanted = min(edge(first, slots, cuts), first + most) - first
    opens = max(times.begins(first + wanted) + times.grace, since)
    if now < opens:
        return Wait(opens)
    graced = min(fits, times.ended(now, times.grace) - first)
    answers = {
        count: _answered(exact.get(count, {}), posted, count)
        for count in {1, *(count for count in (*exact, wanted) if count <= graced)}
    }

    def best(counts: Collection[int]) -> int:
        return max(counts, key=lambda count: (len(answers[count]), count == wanted, count))

    free = [count for count in answers if not _barred(moment, homes, answers[count], first, count)]
    count = best(free)
    barred = best(answers)
    left_out = tuple(exact[barred][home] for home in sorted(answers[barred] - answers[count]) if home in exact[barred])
    if barred not in free and left_out:
        return Post(left_out)
    if across := _across(usable, set(homes) - answers[count] - posted, first, cuts):
        return Post(across)
    missing = tuple(home for home in homes if home not in answers[count])
    return Clear(first, count, exact.get(count, {}), missing)


def _usable(
    moment: Moment, kept: Mapping[int, Collection[Batch]], homes: Collection[int], bad: Collection[str]
) -> dict[int, list[Batch]]:
    """Return the batches that the contract would take as far as counters go, by home."""
    start = moment.start()
    return {
        home: [
            batch
            for batch in kept.get(home, ())
            if batch.id not in bad
            and batch.first >= moment.next_slot
            and (
                batch.first > moment.next_slot
                or (batch.imported >= start[home][0] and batch.exported >= start[home][1])
            )
        ]
        for home in homes
    }


def _across(
    usable: Mapping[int, list[Batch]], homes: Collection[int], first: int, cuts: Collection[int]
) -> tuple[Batch, ...]:
    """Return a batch of each of these homes that begins in time and goes across a cut that nobody foresaw."""
    found = {
        home: batch
        for home in sorted(homes)
        for batch in usable[home]
        if batch.first == first and any(first < cut < batch.end for cut in cuts)
    }
    return tuple(found.values())


def _answered(found: Mapping[int, Batch], posted: Collection[int], count: int) -> set[int]:
    """Return the homes that have a reading in a clearing of `count` slots; posted ones count in one of one slot."""
    return set(found) | (set(posted) if count == 1 else set())


def _barred(moment: Moment, homes: Collection[int], answered: Collection[int], first: int, count: int) -> bool:
    """Tell whether a home would be marked as missing in a slot of which it posted its reading."""
    slots = range(first, first + count)
    return any(slot in moment.posted.get(home, ()) for home in homes if home not in answered for slot in slots)
