"""`transferWithAuthorization`: a member signs, anyone carries, the amount arrives whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import ZeroFeePayments

from liggare.messages import HALF_ORDER, compact
from liggare.payments.messages import ReceiveWithAuthorization, counter
from tests.payments.conftest import KRONA
from tests.support import now, refused

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def high_s(signature: bytes) -> bytes:
    """The malleable twin of a signature: s in the upper half, v flipped; the same signer to a lax reader."""
    s = int.from_bytes(signature[32:64], "big")
    assert s <= HALF_ORDER
    return signature[:32] + (ORDER - s).to_bytes(32, "big") + bytes([55 - signature[64]])


def test_the_amount_arrives_whole(payments, carry, payment, anna, bo):
    carry(payment().sign(anna))
    assert payments.balanceOf(anna.address) == 880 * KRONA
    assert payments.balanceOf(bo.address) == 1120 * KRONA


def test_neither_needs_ether(carry, payment, anna, bo, w3):
    carry(payment().sign(anna))
    assert w3.eth.get_balance(anna.address) == w3.eth.get_balance(bo.address) == 0


def test_it_tells_the_payment_and_the_nonce(carry, payment, anna, bo):
    events = carry(payment().sign(anna)).events
    assert events["AuthorizationUsed"] == {"authorizer": anna.address, "nonce": "0x" + counter(1).hex()}
    assert events["Transfer"] == {"from": anna.address, "to": bo.address, "value": 120 * KRONA}


@pytest.mark.parametrize("form", [bytes, compact], ids=["65 bytes", "64 bytes (EIP-2098)"])
def test_the_signature_may_come_as_bytes(payments, carry_bytes, payment, anna, bo, form):
    carry_bytes(payment(), form(payment().sign(anna).signature))
    assert payments.balanceOf(bo.address) == 1120 * KRONA


def test_a_payment_to_oneself_changes_no_balance(payments, carry, payment, anna):
    carry(payment(to=anna.address).sign(anna))
    assert payments.balanceOf(anna.address) == 1000 * KRONA


def test_a_payment_of_nothing_uses_its_nonce(payments, carry, payment, anna):
    carry(payment(value=0).sign(anna))
    assert payments.authorizationState(anna.address, counter(1))


def test_all_of_the_money_can_be_paid(payments, carry, payment, anna, bo):
    carry(payment(value=1000 * KRONA).sign(anna))
    assert (payments.balanceOf(anna.address), payments.balanceOf(bo.address)) == (0, 2000 * KRONA)


def test_more_than_the_balance_is_refused_and_the_nonce_kept(payments, carry, payment, anna):
    have, need = 1000 * KRONA, 1000 * KRONA + 1
    with refused(ZeroFeePayments, "PaymentsInsufficientBalance", anna.address, have, need):
        carry(payment(value=need).sign(anna))
    assert not payments.authorizationState(anna.address, counter(1))


@pytest.mark.parametrize("value", [2**128, 2**256 - 1])
def test_an_amount_beyond_128_bits_is_refused(payments, carry, payment, anna, value):
    with refused(ZeroFeePayments, "PaymentsInsufficientBalance", anna.address, 1000 * KRONA, value):
        carry(payment(value=value).sign(anna))


def test_a_payment_works_once(payments, carry, payment, anna):
    signed = payment().sign(anna)
    carry(signed)
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, counter(1)):
        carry(signed)


def test_an_expired_payment_is_refused(carry, payment, anna, payments):
    end = now() - 5
    with pytest.raises(Exception, match=f"PaymentsExpired: {end}, "):
        carry(payment(valid_before=end).sign(anna))


def test_a_payment_before_its_time_is_refused(carry, payment, anna, payments):
    start = now() + 500
    with pytest.raises(Exception, match=f"PaymentsNotYetValid: {start}, "):
        carry(payment(valid_after=start).sign(anna))


def test_money_to_nobody_is_refused(carry, payment, anna, payments):
    nobody = "0x" + "0" * 40
    with refused(ZeroFeePayments, "PaymentsInvalidReceiver", nobody):
        carry(payment(to=nobody).sign(anna))


def test_money_to_the_contract_itself_is_refused(carry, payment, anna, payments):
    with refused(ZeroFeePayments, "PaymentsInvalidReceiver", payments.address):
        carry(payment(to=payments.address).sign(anna))


@pytest.mark.parametrize(
    "change",
    [{"value": 121 * KRONA}, {"valid_before": 2**40}, {"valid_after": 1}, {"nonce": counter(2)}],
    ids=["amount", "expiry", "start", "nonce"],
)
def test_an_altered_payment_is_refused(carry, payment, payments, anna, change):
    signed = payment().sign(anna)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry(replace(signed, message=payment(**change)))


def test_a_payment_redirected_to_mallory_is_refused(carry, payment, payments, anna, mallory):
    signed = payment().sign(anna)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry(replace(signed, message=payment(to=mallory.address)))


def test_mallory_cannot_sign_for_anna(carry, payment, payments, anna, mallory):
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry(payment().sign(mallory))


@pytest.mark.parametrize("change", [{"chain_id": 1}, {"verifying_contract": "0x" + "11" * 20}, {"version": "2"}])
def test_a_payment_for_another_chain_or_contract_is_refused(carry, payment, payments, anna, domain, change):
    elsewhere = payment(domain=replace(domain, **change)).sign(anna)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry(replace(elsewhere, message=payment()))


def test_a_receive_authorization_is_no_transfer_authorization(carry, payment, payments, anna):
    members = payment()
    receive = ReceiveWithAuthorization(
        members.domain,
        members.from_,
        members.to,
        members.value,
        members.valid_after,
        members.valid_before,
        members.nonce,
    )
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry(replace(receive.sign(anna), message=members))


def test_the_malleable_twin_is_refused(carry, carry_bytes, payment, payments, anna):
    signed = payment().sign(anna)
    twin = high_s(signed.signature)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry(replace(signed, signature=twin))
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry_bytes(payment(), twin)


@pytest.mark.parametrize("length", [0, 1, 63, 66, 4096])
def test_a_signature_of_odd_length_is_refused(carry_bytes, payment, payments, anna, length):
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        carry_bytes(payment(), b"\x01" * length)


def test_the_zero_address_cannot_be_made_to_sign(payments, payment, operator):
    nobody = "0x" + "0" * 40
    message = payment(from_=nobody, value=0)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", nobody):
        payments.transferWithAuthorization(*message.values().values(), 27, b"\0" * 32, b"\0" * 32, {"from": operator})


def test_a_random_nonce_works_once(payments, carry, payment, anna):
    signed = payment(nonce=b"\xab" * 32).sign(anna)
    carry(signed)
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, b"\xab" * 32):
        carry(signed)


def test_a_random_nonce_of_one_payer_is_free_for_another(payments, carry, payment, anna, bo):
    carry(payment(nonce=b"\xab" * 32).sign(anna))
    carry(payment(from_=bo.address, to=anna.address, nonce=b"\xab" * 32).sign(bo))
    assert payments.balanceOf(anna.address) == 1000 * KRONA
