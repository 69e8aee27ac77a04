"""The digests of what buyers, sellers and arbiters sign, pinned by an implementation that is not ours (ethers)."""

from __future__ import annotations

import pytest

from liggare.messages import Domain, address
from liggare.payments.purchase import NOBODY, Arbitration, Claim, Purchase, Refund, Release, hash_order
from tests.support import outsider

DOMAIN = Domain("Liggare Escrow", "1", 1337, address("0x" + "cc" * 20))
ANNA, BO, CIA = (address("0x" + two * 20) for two in ("aa", "bb", "dd"))
PURCHASE = Purchase(DOMAIN, ANNA, BO, CIA, 120_000_000, 1_800_000_000, 1_900_000_000, b"\xab" * 32)
MESSAGES = {
    "purchase": PURCHASE,
    "purchase without an arbiter": Purchase(DOMAIN, ANNA, BO, NOBODY, 2**128, 2**48, 2**256 - 1, bytes(32)),
    "release": Release(DOMAIN, PURCHASE),
    "refund": Refund(DOMAIN, PURCHASE),
    "claim": Claim(DOMAIN, PURCHASE),
    "arbitration": Arbitration(DOMAIN, PURCHASE, 1, 119_999_999),
}
PINS = {  # made by ethers 6.17.0
    "purchase": "0xb6d0522decba1d7110d043df010942224acd9fab50fd1a75528706d6a0f09c22",
    "purchase without an arbiter": "0x973b5efd8a168a6358ef4546356f4203af0b1174b96998e4164f4a6310d0d1f0",
    "release": "0x52195d41811a35ac40ff986c0e387fc8ac39e8e5abfb9b87fbfc9ed138cdf75d",
    "refund": "0x8eb8b8d57aa3c7597e03f488ebf362b934a67ab7d6607d10b6fe49fdc6d058d0",
    "claim": "0x784ed2a9bf4db8fd6e1610f455d1d0205389d88d02e9c77fe3a01ff50bb6feb9",
    "arbitration": "0xc6fa9084d99b823c31915941e240af19f4890793e3a6af4aefc565831219f6e6",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_digest_is_the_pinned_one(name):
    assert MESSAGES[name].id.to_0x_hex() == PINS[name]


def test_ethers_makes_the_pinned_digests_and_finds_the_signer(anna):
    signed = {name: message.sign(anna) for name, message in MESSAGES.items()}
    items = [
        {"typedData": each.message.typed_data(), "signature": "0x" + each.signature.hex()} for each in signed.values()
    ]
    answers = outsider(items)
    assert [answer["digest"] for answer in answers] == list(PINS.values())
    assert {answer["signer"] for answer in answers} == {anna.address}


def test_an_order_is_hashed_with_its_salt():
    """Made by ethers: keccak256 of 32 bytes of 0x11 and the text."""
    made = hash_order("two bicycles", b"\x11" * 32)
    assert made.hex() == "1d3a9e996525acb487ac152090d88cdf9a781341b092438ecf53b0a3d8117054"
    assert made != hash_order("two bicycles", b"\x12" * 32)
