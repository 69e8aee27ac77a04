"""`codec`: what is packed comes out again, and what is cut off, padded or unknown is refused."""

from __future__ import annotations

import pytest

from liggare.energy.codec import (
    Entry,
    Tag,
    decode_hints,
    decode_readings,
    encode_hints,
    encode_readings,
    pack,
    unpack,
)
from liggare.energy.messages import Readings
from liggare.errors import InvalidReadings, SignatureMalformed
from liggare.messages import compact, expand

DELTAS = pack([(1, 2), (2**24 - 1, 0)])
ENTRIES = [
    Entry(Tag.CONTINUES, bytes(range(64)), DELTAS),
    Entry(Tag.MISSING),
    Entry(Tag.CATCH_UP, bytes(64), DELTAS, (2**47, 5)),
    Entry(Tag.POSTED),
]


def test_readings_come_out_as_they_went_in():
    assert decode_readings(encode_readings(ENTRIES), 4, 2) == ENTRIES


def test_hints_and_deltas_come_out_as_they_went_in():
    assert decode_hints(encode_hints([(600, 2500), (1, 1)])) == [(600, 2500), (1, 1)]
    assert unpack(DELTAS) == [(1, 2), (2**24 - 1, 0)]


def test_signatures_come_out_as_they_went_in(anna, bo, domain):
    for signer in (anna, bo):
        for slot in range(20):
            signature = Readings(domain, 1, slot, 0, 0, DELTAS).sign(signer).signature
            assert expand(compact(signature)) == signature


@pytest.mark.parametrize("length", range(0, 168, 13))
def test_truncated_readings_are_refused(length):
    with pytest.raises(InvalidReadings, match="are needed"):
        decode_readings(encode_readings(ENTRIES)[:length], 4, 2)


def test_padded_and_unknown_readings_are_refused():
    with pytest.raises(InvalidReadings, match="are needed, there are"):
        decode_readings(encode_readings(ENTRIES) + b"\0", 4, 2)
    with pytest.raises(InvalidReadings, match="home 1: an entry begins with 0 to 3, not 4"):
        decode_readings(b"\4", 1, 1)


@pytest.mark.parametrize("pair", [(-1, 0), (0, 2**24)])
def test_more_than_24_bits_of_energy_are_refused(pair):
    with pytest.raises(InvalidReadings, match="0 to 2"):
        pack([pair])


def test_misaligned_deltas_are_refused(domain):
    for deltas in (b"", bytes(5)):
        with pytest.raises(InvalidReadings, match="6 bytes per slot"):
            Readings(domain, 1, 1, 0, 0, deltas)
    with pytest.raises(InvalidReadings, match="6 bytes per slot"):
        unpack(bytes(7))


def test_a_signature_of_another_length_is_refused():
    with pytest.raises(SignatureMalformed):
        compact(bytes(64))
