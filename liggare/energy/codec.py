"""The packed calldata of a clearing: hints, and one entry per home in home order. Big-endian throughout.

    hints     per slot      uint24 lo | uint24 hi
    readings  per home      0                                                          no reading
                            1 | 64 bytes signature | 6 bytes per slot                  counters continue
                            2 | uint48 imported | uint48 exported | 64 | 6 per slot    after a gap
                            3                                                          as posted on chain

The 6 bytes of a slot are uint24 imported | uint24 exported, Wh. The signature is EIP-2098's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from liggare.energy.messages import Readings
from liggare.errors import InvalidReadings
from liggare.messages import Signed, compact

__all__ = [
    "Entry",
    "Tag",
    "decode_hints",
    "decode_readings",
    "encode_hints",
    "encode_readings",
    "entry",
    "pack",
    "unpack",
]

PAIR = 6
SIGNATURE = 64
COUNTERS = 12


class Tag(IntEnum):
    """The forms of a home's entry."""

    MISSING = 0
    CONTINUES = 1
    CATCH_UP = 2
    POSTED = 3


@dataclass(frozen=True)
class Entry:
    """What a batch says of one home. `counters` (imported, exported) only after a gap."""

    tag: Tag
    signature: bytes = b""
    deltas: bytes = b""
    counters: tuple[int, int] | None = None


def pack(pairs: Iterable[tuple[int, int]]) -> bytes:
    """Return Wh imported and exported per slot as deltas. Raises InvalidReadings beyond 24 bits."""
    packed = bytearray()
    for imported, exported in pairs:
        if not (0 <= imported < 2**24 and 0 <= exported < 2**24):
            raise InvalidReadings(f"a slot counts 0 to 2^24 - 1 Wh each way, not {imported} and {exported}")
        packed += imported.to_bytes(3, "big") + exported.to_bytes(3, "big")
    return bytes(packed)


def unpack(deltas: bytes) -> list[tuple[int, int]]:
    """Return deltas (or hints) as pairs of numbers."""
    if len(deltas) % PAIR:
        raise InvalidReadings(f"6 bytes per slot, not {len(deltas)} bytes")
    numbers = [int.from_bytes(deltas[i : i + 3], "big") for i in range(0, len(deltas), 3)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def encode_hints(hints: Iterable[tuple[int, int]]) -> bytes:
    """Return the intervals of clearing prices, slot by slot."""
    return pack(hints)


def decode_hints(data: bytes) -> list[tuple[int, int]]:
    """Return the intervals of clearing prices."""
    return unpack(data)


def entry(signed: Signed[Readings] | None, counters: tuple[int, int]) -> Entry:
    """Return the entry of a home whose stored counters are `counters`; without a reading, the mark of that."""
    if signed is None:
        return Entry(Tag.MISSING)
    message = signed.message
    start = (message.imported, message.exported)
    if start == counters:
        return Entry(Tag.CONTINUES, compact(signed.signature), message.deltas)
    return Entry(Tag.CATCH_UP, compact(signed.signature), message.deltas, start)


def encode_readings(entries: Sequence[Entry]) -> bytes:
    """Return the entries of all homes, in home order."""
    packed = bytearray()
    for item in entries:
        packed.append(item.tag)
        if item.counters is not None:
            packed += b"".join(number.to_bytes(6, "big") for number in item.counters)
        packed += item.signature + item.deltas
    return bytes(packed)


def decode_readings(data: bytes, homes: int, count: int) -> list[Entry]:
    """Return the entries of `homes` homes and `count` slots. Raises InvalidReadings as strictly as the contract."""
    entries: list[Entry] = []
    place = 0

    def take(length: int) -> bytes:
        nonlocal place
        if place + length > len(data):
            raise InvalidReadings(f"home {len(entries) + 1}: {place + length} bytes are needed, there are {len(data)}")
        place += length
        return data[place - length : place]

    for home in range(1, homes + 1):
        tag = take(1)[0]
        if tag in (Tag.MISSING, Tag.POSTED):
            entries.append(Entry(Tag(tag)))
        elif tag in (Tag.CONTINUES, Tag.CATCH_UP):
            counters = None
            if tag == Tag.CATCH_UP:
                counters = (int.from_bytes(take(6), "big"), int.from_bytes(take(6), "big"))
            entries.append(Entry(Tag(tag), take(SIGNATURE), take(PAIR * count), counters))
        else:
            raise InvalidReadings(f"home {home}: an entry begins with 0 to 3, not {tag}")
    if place != len(data):
        raise InvalidReadings(f"{place} bytes are needed, there are {len(data)}")
    return entries
