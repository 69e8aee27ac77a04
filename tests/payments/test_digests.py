"""The digests of what members sign, pinned by an implementation that is not ours (ethers)."""

from __future__ import annotations

import pytest

from liggare.messages import Domain, address
from liggare.payments.messages import (
    CancelAuthorization,
    PaymentBundle,
    Permit,
    ReceiveWithAuthorization,
    TransferWithAuthorization,
    counter,
)
from tests.support import outsider

DOMAIN = Domain("Liggare Krona", "1", 1337, address("0x" + "cc" * 20))
ANNA, BO = address("0x" + "aa" * 20), address("0x" + "bb" * 20)
AUTHORIZATION = (DOMAIN, ANNA, BO, 120_000_000, 0, 2**40 - 1, counter(7))
PAYMENTS = ({"to": BO, "value": 1}, {"to": ANNA, "value": 2**80 - 1})
MESSAGES = {
    "transfer": TransferWithAuthorization(*AUTHORIZATION),
    "receive": ReceiveWithAuthorization(*AUTHORIZATION),
    "cancel": CancelAuthorization(DOMAIN, ANNA, b"\xab" * 32),
    "permit": Permit(DOMAIN, ANNA, BO, 2**256 - 1, 3, 2**48),
    "bundle": PaymentBundle(DOMAIN, ANNA, PAYMENTS, 0, 2**40 - 1, counter(7)),
}
PINS = {  # made by ethers 6.17.0
    "transfer": "0x28b4a10c91a988541f06879f52df7c23e31fcb5d5ae5a7e3c222e0291c6d8f1f",
    "receive": "0x7c7e16250056db4bae3ba151b337850d951f262394bb3eff5bd7ff5bc4620d17",
    "cancel": "0x4613eebe205e22c4d52c9327a4379e081b4d4b6269e5486ee621f5b0c07a09c9",
    "permit": "0xf797a90a31604d36cf09010442d3067fcc84ee799323f4fb8b4f5eaf020bd21e",
    "bundle": "0x0ab318a285386792356f4c86205e04035fe7d7b99843233597438d58aadd848a",
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
