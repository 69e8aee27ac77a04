"""What must hold of a meter's batch before it is kept: pure rules over the market at one moment and other batches.

slots ended -> home takes part -> one meter -> its signature -> counters against other batches, and against the chain
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from liggare.energy.book import Moment
from liggare.energy.messages import Readings
from liggare.errors import MarketRefused, SignatureMalformed
from liggare.messages import Domain, Signed

__all__ = ["MOST_COUNTER", "Batch", "check_against", "check_counters", "check_meter", "check_slots", "due"]

MOST_COUNTER = 2**47
"""Wh: both counters must be below it when a batch begins, says the contract."""
Counts = tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """A signed batch of readings, as it is kept; `id` is its EIP-712 digest."""

    id: str
    home: int
    first: int
    imported: int
    exported: int
    deltas: bytes
    signature: bytes

    @classmethod
    def of(cls, signed: Signed[Readings]) -> Batch:
        """Return what is kept of a signed batch."""
        at = signed.message
        return cls(signed.id.to_0x_hex(), at.home, at.first_slot, at.imported, at.exported, at.deltas, signed.signature)

    def signed(self, domain: Domain) -> Signed[Readings]:
        """Return the signed message again."""
        message = Readings(domain, self.home, self.first, self.imported, self.exported, self.deltas)
        return Signed(message, self.signature)

    @property
    def count(self) -> int:
        """How many slots it tells of."""
        return len(self.deltas) // 6

    @property
    def end(self) -> int:
        """The slot after its last."""
        return self.first + self.count

    @property
    def start(self) -> Counts:
        """The counters at its beginning."""
        return self.imported, self.exported

    def counters(self) -> list[Counts]:
        """Return the counters at the beginning of each of its slots, and at its end."""
        numbers = [int.from_bytes(self.deltas[i : i + 3], "big") for i in range(0, len(self.deltas), 3)]
        found = [self.start]
        for imported, exported in zip(numbers[::2], numbers[1::2], strict=True):
            found.append((found[-1][0] + imported, found[-1][1] + exported))
        return found


def check_slots(batch: Batch, moment: Moment, current: int) -> None:
    """Raise MarketRefused unless all slots have ended before `current`, and one meter measured the home in them."""
    if batch.end > current:
        words = f"the batch goes up to slot {batch.end - 1}, and slot {current} runs"
        raise MarketRefused("Future", words, last=batch.end - 1, current=current)
    if batch.home == 0 or batch.home > len(moment.homes):
        raise MarketRefused("HomeUnknown", f"there is no home {batch.home}", homes=len(moment.homes))
    home = moment.homes[batch.home - 1]
    if not (home.takes_part(batch.first) and home.takes_part(batch.end - 1)):
        words = f"home {batch.home} takes part in slots {home.from_slot} to {home.until_slot - 1}"
        raise MarketRefused("HomeAbsent", words, fromSlot=home.from_slot, untilSlot=home.until_slot)
    for change in moment.history:
        if change.home == batch.home and batch.first < change.from_slot < batch.end:
            words = f"the meter of home {batch.home} changes in slot {change.from_slot}"
            raise MarketRefused("AcrossChange", words, slot=change.from_slot)


def check_meter(signed: Signed[Readings], moment: Moment) -> None:
    """Raise MarketRefused unless the meter that measures the home signed exactly this."""
    meter = moment.meter(signed.message.home, signed.message.first_slot)
    try:
        signer: str | None = signed.signer()
    except SignatureMalformed:
        signer = None
    if signer != meter:
        words = f"{meter} measures home {signed.message.home}, {signer or 'nobody'} signed"
        raise MarketRefused("ForeignMeter", words, expected=meter, actual=signer)


def check_against(batch: Batch, others: Iterable[Batch]) -> None:
    """Raise MarketRefused where the batch does not agree with the `others` that the same meter signed.

    Contradictions come first; of them `kept` names the batch that was there before.
    """
    known = sorted(others, key=lambda other: other.first)
    for other in known:
        low, high = max(batch.first, other.first), min(batch.end, other.end)
        if low >= high:
            continue
        mine = batch.counters()[low - batch.first : high - batch.first + 1]
        theirs = other.counters()[low - other.first : high - other.first + 1]
        if mine != theirs:
            words = f"batch {other.id} of the same meter says otherwise of slots {low} to {high - 1}"
            raise MarketRefused("Contradiction", words, kept=other.id)
    for other in known:
        if other.end <= batch.first:
            _follows(other, batch)
        elif batch.end <= other.first:
            _follows(batch, other)


def _follows(earlier: Batch, later: Batch) -> None:
    end, begin = earlier.counters()[-1], later.start
    if begin[0] < end[0] or begin[1] < end[1]:
        words = f"slot {earlier.end} begins at {end} Wh at least, slot {later.first} is said to begin at {begin}"
        raise MarketRefused("CounterBack", words, atLeast=list(end), given=list(begin))
    if earlier.end == later.first and begin != end:
        words = f"slot {later.first} begins where the batch before ended, at {end} Wh, not at {begin}"
        raise MarketRefused("CounterGap", words, expected=list(end), given=list(begin))


def check_counters(batch: Batch, moment: Moment) -> None:
    """Raise MarketRefused where the chain would not take the counters, or has settled the slots."""
    if max(batch.start) >= MOST_COUNTER:
        raise MarketRefused("CounterTooHigh", f"counters begin below 2^47 Wh, not at {batch.start}")
    if batch.first < moment.next_slot:
        words = f"slots before {moment.next_slot} are settled; the batch begins with slot {batch.first}"
        raise MarketRefused("SlotsSettled", words, next=moment.next_slot)
    counters = moment.counters[batch.home]
    for change in moment.changes:
        if change.home == batch.home and change.from_slot <= batch.first:
            counters = change.counters
    if batch.imported < counters[0] or batch.exported < counters[1]:
        words = f"the market has settled up to {counters} Wh, slot {batch.first} is said to begin at {batch.start}"
        raise MarketRefused("CounterBack", words, atLeast=list(counters), given=list(batch.start))


def due(batches: Iterable[Batch], first: int, start: Counts, cuts: Collection[int]) -> tuple[int, Counts]:
    """Return the slot, from `first` on, with which a meter's next batch should begin, and its counters there.

    `start` are the counters at `first`. A batch that goes across a cut can't be cleared: its slots are due again, up to
    the cut and from it on.
    """
    known = list(batches)
    slot, counters = first, start
    while True:
        whole = [batch for batch in known if batch.first == slot and not any(slot < cut < batch.end for cut in cuts)]
        if not whole:
            break
        longest = max(whole, key=lambda batch: batch.end)
        slot, counters = longest.end, longest.counters()[-1]
    for batch in known:
        if batch.first <= slot < batch.end:
            counters = batch.counters()[slot - batch.first]
    return slot, counters
