"""The check of a payment against a real chain: right as it is; a page or a node that says something else is found."""

from __future__ import annotations

import pytest
from brownie import OwnedWallet

from liggare.payments.client import random_nonce
from liggare.payments.codec import encode
from liggare.payments.messages import PaymentBundle, counter
from tests.energy.street import KRONA
from tests.nodes import Proxy
from tests.web.checks.conftest import OTHER, receipts_lie

LATER = 2**32 - 1


@pytest.fixture
def paid(carry, payment, anna, payment_claims):
    """What a page says of Anna's payment of 120 to Bo."""
    signed = payment().sign(anna)
    return payment_claims(carry(signed), signed.id)


def test_a_payment_is_right(check, paid, anna):
    result, steps = check("payment", paid)
    assert result == "good", steps
    names = ["chain", "block", "transaction", "receipts", "transfer", "domain", "message", "signature", "nonce"]
    assert list(steps) == names
    assert steps["signature"]["values"] == {"signer": anna.address}
    assert steps["message"]["values"]["id"] == paid["id"]


def test_a_payment_with_its_signature_as_bytes_is_right(check, carry_bytes, payment, anna, payment_claims):
    signed = payment(nonce=random_nonce()).sign(anna)
    assert check("payment", payment_claims(carry_bytes(signed.message, signed.signature), signed.id))[0] == "good"


def test_each_payment_of_a_batch_is_right_and_no_other(
    check, payments, payment, domain, anna, bo, cia, operator, payment_claims
):
    """Two payments and a bundle of two, all in one transaction with one that is skipped."""
    limits = {"valid_before": LATER}
    rows = ({"to": bo.address, "value": 5}, {"to": cia.address, "value": 7})
    items = [
        payment(nonce=counter(1), value=3, **limits).sign(anna),
        payment(nonce=counter(1), value=4, **limits).sign(anna),  # its nonce is used by then
        PaymentBundle(domain, bo.address, rows, 0, LATER, random_nonce()).sign(bo),
        payment(nonce=counter(2), value=9, **limits).sign(anna),
    ]
    receipt = payments.payBatch(encode(items), {"from": operator})
    ids = [items[0].id, items[2].id, items[2].id, items[3].id]
    for number, id_ in enumerate(ids):
        assert check("payment", payment_claims(receipt, id_, number))[0] == "good"
    result, steps = check("payment", payment_claims(receipt, items[1].id, 0))
    assert (result, steps["message"]["rule"]) == ("bad", "id")


def test_a_contract_wallets_payment_is_right(check, payments, payment, carry_bytes, anna, operator, payment_claims):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet.address, KRONA, {"from": operator})
    message = payment(from_=wallet.address, value=KRONA, nonce=random_nonce())
    result, steps = check("payment", payment_claims(carry_bytes(message, message.sign(anna).signature), message.id))
    assert result == "good", steps
    assert steps["signature"]["values"] == {"wallet": wallet.address}


def test_money_that_was_issued_and_money_that_its_owner_sent_is_right(check, payments, anna, operator, payment_claims):
    minted = payments.mint(operator, KRONA, {"from": operator})
    sent = payments.transfer(anna.address, KRONA, {"from": operator})
    for receipt in (minted, sent):
        result, steps = check("payment", payment_claims(receipt))
        assert result == "good", steps
        assert "plain" in steps["message"]["values"]


def test_a_payment_into_the_market_is_right(check, street, bo, payment_claims):
    salt = b"\7" * 32
    street.money.mint(bo.address, KRONA, {"from": street.operator})
    signed = street.payment(2, bo, KRONA, salt)
    claims = payment_claims(street.carry_payment(2, signed, salt), signed.id)
    result, steps = check("payment", claims)
    assert result == "good", steps
    assert steps["message"]["values"]["type"] == "ReceiveWithAuthorization"


def test_an_allowance_that_was_spent_is_not_said_to_be_checked(check, payments, operator, stranger, payment_claims):
    payments.mint(operator, KRONA, {"from": operator})
    payments.approve(stranger, KRONA, {"from": operator})
    receipt = payments.transferFrom(operator, stranger, KRONA, {"from": stranger})
    result, steps = check("payment", payment_claims(receipt))
    assert (result, steps["message"]["reason"]) == ("unknown", "calldata")


TAMPERED = {
    "chain": ("1", "chain", "chain"),
    "contract": (OTHER, "transfer", "transfer"),
    "transaction": ("0x" + "ab" * 32, "block", "transactionThere"),
    "log": ("7", "transfer", "logInTransaction"),
    "payer": (OTHER, "transfer", "payer"),
    "payee": (OTHER, "transfer", "payee"),
    "value": ("121000000", "transfer", "value"),
    "id": ("0x" + "cd" * 32, "message", "id"),
}


@pytest.mark.parametrize("claim", TAMPERED)
def test_a_page_that_tells_a_payment_otherwise_is_found(check, paid, claim):
    value, step, rule = TAMPERED[claim]
    result, steps = check("payment", paid | {claim: value})
    assert (result, steps[step]["state"]) == ("bad", "bad"), steps
    assert steps[step]["rule"] == rule
    assert list(steps)[-1] == step, "what follows has nothing to stand on"


def _change(text, position):
    """The text with one hexadecimal digit changed."""
    return text[:position] + ("0" if text[position] != "0" else "1") + text[position + 1 :]


def _deep(result, *path, position=-1):
    *way, last = path
    inner = result
    for each in way:
        inner = inner[each]
    inner[last] = _change(inner[last], position)
    return result


LIES = {
    "a transaction's payee": ("eth_getBlockByNumber", ("transactions", 0, "input"), 130, "transaction"),
    "a transaction's signature": ("eth_getBlockByNumber", ("transactions", 0, "r"), -1, "transaction"),
    "a header's time": ("eth_getBlockByNumber", ("timestamp",), -1, "block"),
    "a header's receipts": ("eth_getBlockByNumber", ("receiptsRoot",), -1, "block"),
    "a block's hash": ("eth_getBlockByNumber", ("hash",), -1, "block"),
    "an event's amount": ("receipt", ("logs", 1, "data"), -1, "receipts"),
    "an event's payee": ("receipt", ("logs", 1, "topics", 2), -1, "receipts"),
    "whether it failed": ("receipt", ("status",), -1, "receipts"),
    "the gas used": ("receipt", ("cumulativeGasUsed",), -1, "receipts"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_node_that_lies_in_one_digit_is_found(check, paid, rpc_url, lie):
    method, path, position, step = LIES[lie]
    proxy = Proxy(rpc_url)
    try:
        if method == "receipt":
            proxy.lie = receipts_lie(lambda receipt: _deep(receipt, *path, position=position))
        else:
            proxy.lie = lambda asked, result: _deep(result, *path, position=position) if asked == method else result
        result, steps = check("payment", paid, proxy.url)
    finally:
        proxy.close()
    assert (result, steps[step]["state"]) == ("bad", "bad"), steps
    assert list(steps)[-1] == step


def test_a_node_that_drops_an_event_is_found(check, paid, rpc_url):
    proxy = Proxy(rpc_url)
    proxy.lie = receipts_lie(lambda receipt: {**receipt, "logs": receipt["logs"][1:]})
    try:
        result, steps = check("payment", paid, proxy.url)
    finally:
        proxy.close()
    assert (result, steps["receipts"]["rule"]) == ("bad", "receiptsRoot")


def test_a_node_that_is_not_there_and_an_address_that_is_none_leave_all_open(check, paid):
    for url, reason in (
        ("http://127.0.0.1:9", "unreachable"),
        ("http://node.example", "url"),
        ("javascript:alert(1)", "url"),
        ("", "url"),
    ):
        result, steps = check("payment", paid, url or " ")
        assert (result, steps["chain"]["reason"]) == ("unknown", reason)
