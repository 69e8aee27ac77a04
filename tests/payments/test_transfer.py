"""ERC-20 and ERC-2612 for wallets and contracts that already exist."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import ZeroFeePayments
from brownie import accounts as brownie_accounts

from liggare.payments.messages import Permit
from tests.payments.conftest import KRONA, vrs
from tests.support import FOREVER, now, refused


@pytest.fixture
def dan(payments, operator):
    """A member with ether of his own and 100 of our money."""
    payments.mint(brownie_accounts[4], 100 * KRONA, {"from": operator})
    return brownie_accounts[4]


def test_transfer_moves_the_amount(payments, dan, bo):
    tx = payments.transfer(bo.address, 30 * KRONA, {"from": dan})
    assert tx.return_value is True
    assert (payments.balanceOf(dan), payments.balanceOf(bo.address)) == (70 * KRONA, 1030 * KRONA)


def test_transfer_beyond_the_balance_is_refused(payments, dan, bo):
    with refused(ZeroFeePayments, "PaymentsInsufficientBalance", dan.address, 100 * KRONA, 101 * KRONA):
        payments.transfer(bo.address, 101 * KRONA, {"from": dan})


def test_transfer_from_uses_the_allowance(payments, dan, bo, stranger):
    payments.approve(stranger, 40 * KRONA, {"from": dan})
    payments.transferFrom(dan, bo.address, 30 * KRONA, {"from": stranger})
    assert payments.allowance(dan, stranger) == 10 * KRONA
    with refused(ZeroFeePayments, "PaymentsInsufficientAllowance", stranger.address, 10 * KRONA, 11 * KRONA):
        payments.transferFrom(dan, bo.address, 11 * KRONA, {"from": stranger})


def test_the_greatest_allowance_never_runs_out(payments, dan, bo, stranger):
    payments.approve(stranger, 2**256 - 1, {"from": dan})
    payments.transferFrom(dan, bo.address, 30 * KRONA, {"from": stranger})
    assert payments.allowance(dan, stranger) == 2**256 - 1


@pytest.fixture
def permit(domain, anna, stranger):
    """Anna's allowance of 40 to the stranger."""
    return Permit(domain, anna.address, stranger.address, 40 * KRONA, 0, FOREVER)


def test_a_permit_sets_the_allowance_once(payments, permit, anna, operator, stranger):
    words = (anna.address, stranger, 40 * KRONA, FOREVER, *vrs(permit.sign(anna).signature))
    payments.permit(*words, {"from": operator})
    assert payments.allowance(anna.address, stranger) == 40 * KRONA
    assert payments.nonces(anna.address) == 1
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        payments.permit(*words, {"from": operator})


def test_a_permit_comes_as_bytes_too(payments, permit, anna, operator, stranger):
    method = payments.permit["address,address,uint256,uint256,bytes"]
    method(anna.address, stranger, 40 * KRONA, FOREVER, permit.sign(anna).signature, {"from": operator})
    assert payments.allowance(anna.address, stranger) == 40 * KRONA


def test_a_late_permit_is_refused(payments, permit, anna, operator, stranger):
    late = replace(permit, deadline=now() - 1).sign(anna)
    with pytest.raises(Exception, match=f"PaymentsExpired: {late.message.deadline}, "):
        payments.permit(
            anna.address, stranger, 40 * KRONA, late.message.deadline, *vrs(late.signature), {"from": operator}
        )


def test_mallory_cannot_permit_for_anna(payments, permit, anna, mallory, operator, stranger):
    with refused(ZeroFeePayments, "PaymentsInvalidSignature", anna.address):
        payments.permit(
            anna.address, stranger, 40 * KRONA, FOREVER, *vrs(permit.sign(mallory).signature), {"from": operator}
        )


def test_it_introduces_itself(payments, domain):
    assert (payments.name(), payments.symbol(), payments.decimals()) == ("Liggare Krona", "LKR", 6)
    fields, name, version, chain, contract, salt, extensions = payments.eip712Domain()
    assert (name, version, chain, contract) == (
        domain.name,
        domain.version,
        domain.chain_id,
        domain.verifying_contract,
    )
    assert (fields, salt, extensions) == ("0x0f", "0x" + "0" * 64, ())
