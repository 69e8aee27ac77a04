"""The package's own client, against the chain: a message with an id before anything is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liggare.errors import ContractRefused, DataError, InvalidAddress, InvalidAmount, SignatureMalformed, WrongSigner
from liggare.messages import recover
from liggare.payments.client import amount, random_nonce, text
from liggare.payments.codec import Outcome
from liggare.payments.messages import counter
from tests.payments.conftest import KRONA
from tests.support import FOREVER

pytestmark = pytest.mark.usefixtures("payments")
LATER = 2**32 - 1


def test_a_payment_has_its_id_before_it_is_sent(client, carrier, anna, bo):
    signed = client.pay(anna, bo.address, 7 * KRONA, valid_before=FOREVER)
    assert len(signed.id) == 32
    receipt = client.carry(signed, carrier)
    assert receipt["status"] == 1
    assert client.balance(bo.address) == 1007 * KRONA
    assert client.is_used(signed)


def test_the_next_counter_follows_the_chain(client, carrier, anna, bo):
    assert client.nonces(anna.address).next() == 0
    for expected in (0, 1, 2):
        signed = client.pay(anna, bo.address, 1, valid_before=FOREVER)
        assert int.from_bytes(signed.message.nonce, "big") == expected
        client.carry(signed, carrier)


def test_a_refusal_arrives_by_its_name_and_values(client, carrier, anna, bo):
    with pytest.raises(ContractRefused) as caught:
        client.carry(client.pay(anna, bo.address, 2000 * KRONA, valid_before=FOREVER), carrier)
    assert caught.value.name == "PaymentsInsufficientBalance"
    assert caught.value.arguments == {
        "account": anna.address,
        "balance": 1000 * KRONA,
        "needed": 2000 * KRONA,
    }


def test_a_second_carrier_is_told_that_it_landed(client, carrier, anna, bo):
    signed = client.pay(anna, bo.address, 1, nonce=random_nonce(), valid_before=FOREVER)
    client.carry(signed, carrier)
    with pytest.raises(ContractRefused) as caught:
        client.carry(signed, carrier)
    assert caught.value.name == "PaymentsNonceUsed"
    assert signed.message.nonce.hex() in str(caught.value)


def test_a_canceled_payment_does_not_land(client, carrier, anna, bo):
    nonce = random_nonce()
    client.carry_cancel(client.cancel(anna, nonce), carrier)
    with pytest.raises(ContractRefused, match="PaymentsNonceUsed"):
        client.carry(client.pay(anna, bo.address, 1, nonce=nonce, valid_before=FOREVER), carrier)


def test_a_batch_tells_what_became_of_each_item(client, carrier, anna, bo, cia):
    items = [
        client.pay(anna, bo.address, 5 * KRONA, valid_before=LATER),
        client.bundle(bo, [(anna.address, KRONA), (cia.address, 2 * KRONA)], valid_before=LATER),
        client.pay(anna, bo.address, 5 * KRONA, nonce=counter(0), valid_before=LATER),
        client.pay(cia, bo.address, 5000 * KRONA, valid_before=LATER),
    ]
    _, outcomes = client.carry_batch(items, carrier)
    assert outcomes == [Outcome.PAID, Outcome.PAID, Outcome.NONCE_USED, Outcome.INSUFFICIENT_BALANCE]
    assert [client.balance(each.address) // KRONA for each in (anna, bo, cia)] == [996, 1002, 1002]


def test_a_payment_too_great_for_a_batch_is_refused_before_anything_is_sent(client, carrier, anna, bo):
    great = client.pay(anna, bo.address, 2**64, valid_before=LATER)
    with pytest.raises(DataError, match="no packed form"):
        client.carry_batch([great], carrier)


def test_a_signature_is_checked_without_the_chain(client, anna, bo):
    signed = client.pay(anna, bo.address, 1, valid_before=FOREVER)
    signed.check(anna.address)
    with pytest.raises(WrongSigner):
        signed.check(bo.address)
    with pytest.raises(SignatureMalformed, match="65 bytes"):
        replace(signed, signature=b"short").check(anna.address)


def test_recover_is_as_strict_as_the_contract(client, anna, bo):
    signed = client.pay(anna, bo.address, 1, valid_before=FOREVER)
    r, s, v = signed.signature[:32], signed.signature[32:64], signed.signature[64]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    twin = r + (order - int.from_bytes(s, "big")).to_bytes(32, "big") + bytes([55 - v])
    for bad in (twin, r + s + b"\0", r + bytes(32) + bytes([v]), bytes(32) + s + bytes([v])):
        with pytest.raises(SignatureMalformed):
            recover(signed.id, bad)


@pytest.mark.parametrize(
    ("words", "units"), [("0", 0), ("12.50", 12_500_000), ("0.000001", 1), ("120", 120_000_000), ("1e3", 10**9)]
)
def test_amounts_are_exact(words, units):
    assert amount(words) == units


@pytest.mark.parametrize("words", ["", "x", "-1", "0.0000001", "NaN", "inf", "1e40"])
def test_an_amount_that_is_none_is_refused(words):
    with pytest.raises(InvalidAmount):
        amount(words)


@pytest.mark.parametrize(("units", "words"), [(0, "0.00"), (1, "0.000001"), (12_500_000, "12.50"), (-5, "-0.000005")])
def test_amounts_are_told_as_the_currency_writes_them(units, words):
    assert text(units) == words


def test_an_address_with_a_wrong_digit_is_refused(client, anna, bo):
    wrong = bo.address[:-1] + ("0" if bo.address[-1] != "0" else "1")
    with pytest.raises(InvalidAddress):
        client.pay(anna, wrong, 1)
