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
    "transfer": "",
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
