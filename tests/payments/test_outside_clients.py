"""Wallets and clients that we did not write: what they sign lands on the chain, what we sign they take for ours."""

from __future__ import annotations

import pytest

from liggare.messages import Signed
from liggare.payments.client import random_nonce
from liggare.payments.codec import Outcome
from liggare.payments.invoices import Invoice
from liggare.payments.messages import (
    CancelAuthorization,
    PaymentBundle,
    Permit,
    ReceiveWithAuthorization,
    TransferWithAuthorization,
    counter,
)
from tests.payments.conftest import KRONA, vrs
from tests.support import FOREVER, outsider, refused

LIBRARIES = ["ethers", "viem", "eth-sig-util"]
LATER = 2**32 - 1


def key(account) -> str:
    return "0x" + bytes(account.key).hex()


@pytest.fixture(params=LIBRARIES)
def signed_by(request):
    """Sign by a library that is not ours: `signed_by(anna, message)`; the signature is all that comes from it."""

    def signed_by(account, message):
        item = {"typedData": message.typed_data(), "library": request.param, "key": key(account)}
        (answer,) = outsider([item])
        return Signed(message, bytes.fromhex(answer["signature"][2:]))

    return signed_by


def test_a_payment_signed_elsewhere_lands(signed_by, carry, payment, payments, anna, bo):
    carry(signed_by(anna, payment()))
    assert payments.balanceOf(bo.address) == 1120 * KRONA


def test_a_payment_with_a_random_nonce_signed_elsewhere_lands(signed_by, carry_bytes, payment, payments, anna, bo):
    signed = signed_by(anna, payment(nonce=random_nonce(), value=2**53 + 1))  # beyond what JavaScript counts
    payments.mint(anna.address, 2**53, {"from": payments.issuer()})
    carry_bytes(signed.message, signed.signature)
    assert payments.balanceOf(bo.address) == 1000 * KRONA + 2**53 + 1


def test_a_payment_into_a_contract_signed_elsewhere_lands(signed_by, domain, payments, operator, anna):
    nonce = random_nonce()
    message = ReceiveWithAuthorization(domain, anna.address, operator.address, 7 * KRONA, 0, FOREVER, nonce)
    signed = signed_by(anna, message)
    payments.receiveWithAuthorization(*message.values().values(), *vrs(signed.signature), {"from": operator})
    assert payments.balanceOf(operator) == 7 * KRONA


def test_a_cancellation_signed_elsewhere_lands(signed_by, domain, payments, operator, anna):
    message = CancelAuthorization(domain, anna.address, random_nonce())
    signed = signed_by(anna, message)
    payments.cancelAuthorization(anna.address, message.nonce, *vrs(signed.signature), {"from": operator})
    assert payments.authorizationState(anna.address, message.nonce)


def test_a_bundle_signed_elsewhere_lands(signed_by, domain, client, carrier, payments, anna, bo, cia):
    rows = ({"to": bo.address, "value": KRONA}, {"to": cia.address, "value": 2 * KRONA})
    bundle = signed_by(anna, PaymentBundle(domain, anna.address, rows, 0, LATER, counter(1)))
    assert client.carry_batch([bundle], carrier)[1] == [Outcome.PAID]
    assert [payments.balanceOf(each.address) // KRONA for each in (anna, bo, cia)] == [997, 1001, 1002]


def test_an_allowance_signed_elsewhere_lands(signed_by, domain, payments, operator, anna, bo):
    signed = signed_by(anna, Permit(domain, anna.address, bo.address, 2**256 - 1, 0, FOREVER))
    words = (anna.address, bo.address, 2**256 - 1, FOREVER)
    payments.permit["address,address,uint256,uint256,uint8,bytes32,bytes32"](
        *words, *vrs(signed.signature), {"from": operator}
    )
    assert payments.allowance(anna.address, bo.address) == 2**256 - 1


def test_a_signature_made_elsewhere_is_for_its_message_alone(signed_by, carry, payment, payments, anna):
    signed = signed_by(anna, payment())
    altered = Signed(payment(value=121 * KRONA), signed.signature)
    with refused(payments, "PaymentsInvalidSignature", anna.address):
        carry(altered)


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_we_sign_is_ours_elsewhere_and_only_as_it_was_signed(library, domain, anna, bo):
    authorization = (domain, anna.address, bo.address, 120 * KRONA, 0, FOREVER, counter(7))
    rows = ({"to": bo.address, "value": 1}, {"to": anna.address, "value": 2**80 - 1})
    messages = [
        TransferWithAuthorization(*authorization),
        ReceiveWithAuthorization(*authorization),
        CancelAuthorization(domain, anna.address, b"\xab" * 32),
        PaymentBundle(domain, anna.address, rows, 0, LATER, counter(7)),
        Permit(domain, anna.address, bo.address, 2**256 - 1, 3, FOREVER),
        Invoice(domain, anna.address, bo.address, 120 * KRONA, LATER, b"\xcd" * 32),
    ]
    items = [
        {"typedData": each.typed_data(), "library": library, "signature": "0x" + each.sign(anna).signature.hex()}
        for each in messages
    ]
    answers = outsider(items)
    assert [answer["signer"] for answer in answers] == [anna.address] * len(messages)
    assert [answer["digest"] for answer in answers] == [each.id.to_0x_hex() for each in messages]
    crossed = [{**item, "signature": items[index - 1]["signature"]} for index, item in enumerate(items)]
    assert anna.address not in [answer["signer"] for answer in outsider(crossed)]


def test_the_libraries_sign_alike(payment, anna):
    """Deterministic signatures (RFC 6979): whoever signs the same wish with the same key signs the same bytes."""
    items = [{"typedData": payment().typed_data(), "library": each, "key": key(anna)} for each in LIBRARIES]
    assert {answer["signature"] for answer in outsider(items)} == {"0x" + payment().sign(anna).signature.hex()}
