"""What homes and meters sign: digests as another implementation computes them, and as the contract does."""

from __future__ import annotations

import pytest

from liggare.energy.messages import NEVER, Departure, Order, Readings, Replacement, Withdrawal
from liggare.messages import Domain
from tests.support import outsider

DOMAIN = Domain("Liggare Energy", "1", 1337, "0x602C71e4DAC47a042Ee7f46E0aee17F94A3bA0B6")
TO = "0x66aB6D9362d4F35596279692F0251Db635165871"
PINNED = {
    "Order": (
        Order(DOMAIN, 2, 7, 11, NEVER, 2_000, 600, 5_000),
        "0x83fa9a5d57b5be441762357134069ca13fb965acd45ff4d3e23ff1010ae662e7",
    ),
    "Readings": (
        Readings(DOMAIN, 2, 11, 123_456, 7, bytes.fromhex("0001f4000000000258000001")),
        "0x91c70d0496fcc322a958ee36b462872afbf1b9bdb4e95f2b3baaa0a35d41f923",
    ),
    "Withdrawal": (
        Withdrawal(DOMAIN, 2, TO, 30_000_000, 2**40, bytes(31) + b"\5"),
        "0x8b54a85955ccd92f52852fce4842ff18f1a9e06502c3a710e36ca27ec6e50b23",
    ),
    "Replacement": (
        Replacement(DOMAIN, 2, TO, 7_000, 50, 900, 1, 2**40),
        "0x693d5fd01b3eedd3d0dec8ef1f85cdcd9e36789cb3094cb2d3774fd5fa749f34",
    ),
    "Departure": (
        Departure(DOMAIN, 2, 900, 1, 2**40),
        "0xbfff544d32de0ec6523f020891724c0988adc76c65b54e8a22d8f08d81801b7a",
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_digests_are_pinned(name):
    message, digest = PINNED[name]
    assert message.id.to_0x_hex() == digest


def test_ethers_computes_the_same_digests():
    answers = outsider([{"typedData": message.typed_data()} for message, _ in PINNED.values()])
    assert [answer["digest"] for answer in answers] == [digest for _, digest in PINNED.values()]


def test_the_contract_has_the_same_domain(energy, market):
    from eth_account._utils.encode_typed_data.encoding_and_hashing import hash_domain

    assert bytes(market.DOMAIN_SEPARATOR()) == hash_domain(energy.domain.typed())
