"""Payments as cargo: the gas that is reckoned always suffices, whatever is carried, and is not beyond reason."""

from __future__ import annotations

import random
import secrets

import pytest
from eth_account import Account

from liggare.chain.sender import Sender
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization, counter
from liggare.payments.wire import document
from liggare.relay.outbox import Entry
from tests.nodes import KRONA, funded, wallet


def used_gas(anvil, cargo, entries: list[Entry]) -> tuple[int, int]:
    """Carry them; return what was used and what had been reckoned."""
    freight = cargo.load(entries)
    sent = anvil.w3.eth.send_transaction(
        {
            "from": funded(1).address,
            "to": freight.to,
            "data": freight.data,
            "gas": freight.gas,
            "accessList": freight.access,
        }
    )
    receipt = anvil.w3.eth.wait_for_transaction_receipt(sent)
    assert receipt["status"] == 1
    return receipt["gasUsed"], freight.gas


def read_all(cargo, items) -> list[Entry]:
    return [cargo.read(document(item)) for item in items]


@pytest.mark.parametrize("kind", ["counter", "random", "far counter", "new payees"])
@pytest.mark.parametrize("count", [1, 3, 60])
def test_the_gas_reckoned_suffices_for_payments(anvil, cargo, client, kind, count):
    items = []
    for number in range(count):
        payer = wallet(number % 4)
        nonce = {"random": secrets.token_bytes(32), "far counter": counter(2**40 + number)}.get(kind, counter(number))
        payee = Account.from_key(secrets.token_bytes(32)) if kind == "new payees" else wallet((number + 1) % 4)
        message = TransferWithAuthorization(
            client.domain, payer.address, payee.address, 2**40 - 1 if number == 0 else KRONA, 0, 2**32 - 1, nonce
        )
        items.append(message.sign(payer))
    used, reckoned = used_gas(anvil, cargo, read_all(cargo, items))
    assert used <= reckoned <= 4 * used


@pytest.mark.parametrize("rows", [1, 10, 200])
@pytest.mark.parametrize("fresh", [False, True])
def test_the_gas_reckoned_suffices_for_bundles(anvil, cargo, client, rows, fresh):
    chance = random.Random(rows)
    payees = [
        Account.from_key(chance.randbytes(32)).address if fresh else wallet(number % 4).address
        for number in range(rows)
    ]
    payments = tuple({"to": payee, "value": 1000 + number} for number, payee in enumerate(payees))
    message = PaymentBundle(client.domain, wallet(0).address, payments, 0, 2**32 - 1, secrets.token_bytes(32))
    used, reckoned = used_gas(anvil, cargo, read_all(cargo, [message.sign(wallet(0))]))
    assert used <= reckoned <= 4 * used


def test_what_is_skipped_costs_no_more_than_was_reckoned(anvil, cargo, client, pay):
    """Every item bad in its own way: a used nonce, too much, expired, a wrong key."""
    used_before = pay(0, 1, 1, 0)
    client.carry(used_before, Sender(anvil.w3, funded(5)))
    wrong = pay(1, 2, 1, 0).message.sign(wallet(3))
    items = [used_before, pay(2, 1, 9999, 0), pay(3, 1, 1, 0, valid_before=1), wrong] * 10
    used, reckoned = used_gas(anvil, cargo, read_all(cargo, items))
    assert used <= reckoned


def test_the_list_of_places_is_there_where_it_pays(cargo, pay):
    few = read_all(cargo, [pay(0, 1, 1, 0)])
    many = read_all(cargo, [pay(0, 1, 1, secrets.token_bytes(32)) for _ in range(30)])
    assert cargo.load(few).access == []
    assert len(cargo.load(many).access[0]["storageKeys"]) == 32
