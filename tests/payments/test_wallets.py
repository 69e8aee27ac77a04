"""Contract wallets (ERC-1271) pay too, and a hostile one hurts nobody but itself."""

from __future__ import annotations

import pytest
from brownie import HostileWallet, OwnedWallet, ZeroFeePayments, history

from liggare.payments.messages import Permit, counter
from tests.payments.conftest import KRONA
from tests.support import FOREVER, refused


@pytest.fixture
def wallet(payments, operator, anna):
    """Anna's contract wallet with 100 in it."""
    contract = OwnedWallet.deploy(anna.address, {"from": operator})
    payments.mint(contract, 100 * KRONA, {"from": operator})
    return contract


def test_a_wallet_pays_by_its_owners_signature(payments, wallet, payment, carry_bytes, anna, bo):
    message = payment(from_=wallet.address, value=10 * KRONA)
    carry_bytes(message, message.sign(anna).signature)
    assert payments.balanceOf(bo.address) == 1010 * KRONA
    with refused(ZeroFeePayments, "PaymentsNonceUsed", wallet.address, counter(1)):
        carry_bytes(message, message.sign(anna).signature)


def test_a_wallet_refuses_a_stranger(payments, wallet, payment, carry_bytes, mallory):
    message = payment(from_=wallet.address, value=10 * KRONA)
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", wallet.address):
        carry_bytes(message, message.sign(mallory).signature)


def test_a_wallet_permits(payments, wallet, domain, anna, operator, stranger):
    message = Permit(domain, wallet.address, stranger.address, 5, 0, FOREVER)
    method = payments.permit["address,address,uint256,uint256,bytes"]
    method(wallet, stranger, 5, FOREVER, message.sign(anna).signature, {"from": operator})
    assert payments.allowance(wallet, stranger) == 5


@pytest.mark.parametrize("mood", range(4), ids=["burns gas", "floods", "answers short", "reverts"])
def test_a_hostile_wallet_is_refused_at_a_bounded_cost(payments, operator, payment, carry_bytes, mood):
    wallet = HostileWallet.deploy(mood, {"from": operator})
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", wallet.address):
        carry_bytes(payment(from_=wallet.address, value=0), b"\x01" * 65)
    assert history[-1].gas_used < 230_000
