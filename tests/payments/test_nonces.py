"""The sliding window of counter nonces (RFC 6479): the 64 newest land in any order, each once."""

from __future__ import annotations

import pytest
from brownie import ZeroFeePayments

from liggare.payments.messages import CancelAuthorization, counter
from tests.payments.conftest import vrs
from tests.support import refused


@pytest.fixture
def use(carry, payment, anna):
    """Use one of Anna's counter nonces by a payment of one unit."""

    def use(number: int):
        return carry(payment(value=1, nonce=counter(number)).sign(anna))

    return use


def test_counters_land_in_any_order(payments, use, anna):
    for number in (5, 3, 64, 4, 1, 2, 0x3F):
        use(number)
    base, window = payments.nonceState(anna.address)
    assert base == 64
    assert [64 - i for i in range(64) if window >> i & 1] == [64, 63, 5, 4, 3, 2, 1]


def test_nonce_zero_is_an_ordinary_nonce(payments, use, anna):
    use(0)
    assert payments.nonceState(anna.address) == (0, 1)
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, counter(0)):
        use(0)


@pytest.mark.parametrize("behind", [0, 1, 62, 63])
def test_a_used_nonce_inside_the_window_is_refused(payments, use, anna, behind):
    use(100 - behind)
    if behind:
        use(100)
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, counter(100 - behind)):
        use(100 - behind)


def test_63_behind_is_still_free(payments, use, anna):
    use(100)
    use(37)
    assert payments.authorizationState(anna.address, counter(37))


@pytest.mark.parametrize("behind", [64, 65, 100])
def test_64_behind_has_fallen_out(payments, use, anna, behind):
    use(100)
    assert payments.authorizationState(anna.address, counter(100 - behind))
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, counter(100 - behind)):
        use(100 - behind)


@pytest.mark.parametrize(("step", "kept"), [(1, True), (63, True), (64, False), (65, False), (2**40, False)])
def test_sliding_forgets_what_falls_out_and_it_counts_as_used(payments, use, anna, step, kept):
    use(1000)
    use(1000 + step)
    base, window = payments.nonceState(anna.address)
    assert (base, window) == (1000 + step, 1 | (1 << step if kept else 0))
    assert payments.authorizationState(anna.address, counter(1000))


def test_the_highest_counter_ends_the_counters_but_not_the_payments(payments, use, carry, payment, anna):
    use(2**64 - 1)
    assert payments.nonceState(anna.address) == (2**64 - 1, 1)
    use(2**64 - 64)
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, counter(2**64 - 65)):
        use(2**64 - 65)
    carry(payment(nonce=b"\xcc" * 32).sign(anna))


def test_2_to_the_64_is_a_random_nonce(payments, carry, payment, anna):
    carry(payment(nonce=(2**64).to_bytes(32, "big")).sign(anna))
    assert payments.nonceState(anna.address) == (0, 0)
    assert not payments.authorizationState(anna.address, counter(0))


def test_a_canceled_nonce_pays_no_more(payments, carry, payment, domain, operator, anna):
    for nonce in (counter(7), b"\xdd" * 32):
        cancel = CancelAuthorization(domain, anna.address, nonce).sign(anna)
        tx = payments.cancelAuthorization(anna.address, nonce, *vrs(cancel.signature), {"from": operator})
        assert tx.events["AuthorizationCanceled"]["authorizer"] == anna.address
        with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, nonce):
            carry(payment(nonce=nonce).sign(anna))
        with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, nonce):
            payments.cancelAuthorization(anna.address, nonce, *vrs(cancel.signature), {"from": operator})


def test_a_paid_nonce_cannot_be_canceled(payments, carry, payment, domain, operator, anna):
    carry(payment().sign(anna))
    cancel = CancelAuthorization(domain, anna.address, counter(1)).sign(anna)
    with refused(ZeroFeePayments, "PaymentsNonceUsed", anna.address, counter(1)):
        payments.cancelAuthorization["address,bytes32,bytes"](
            anna.address, counter(1), cancel.signature, {"from": operator}
        )


def test_mallory_cannot_cancel_annas_payment(payments, domain, operator, anna, mallory):
    cancel = CancelAuthorization(domain, anna.address, counter(1)).sign(mallory)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        payments.cancelAuthorization(anna.address, counter(1), *vrs(cancel.signature), {"from": operator})
    assert not payments.authorizationState(anna.address, counter(1))
