"""Where the money keeps accounts and nonces, and what a batch's access list (EIP-2930) saves."""

from __future__ import annotations

import pytest
from eth_account import Account

from liggare.payments.codec import encode
from liggare.payments.messages import counter
from liggare.payments.storage import FEWEST, access_list, account_slot, nonce_slot
from tests.payments.conftest import KRONA
from tests.support import isolated

RANDOM = b"\xab" * 32


def word_at(w3, payments, slot):
    return int.from_bytes(w3.eth.get_storage_at(payments.address, slot), "big")


@pytest.fixture
def batch(payments, payment, operator, anna):
    """Anna's payments to as many people as are wanted, the first by a random nonce."""

    def batch(count):
        people = [Account.from_key(bytes([5]) * 31 + bytes([i + 1])).address for i in range(count)]
        nonces = [RANDOM, *(counter(i + 1) for i in range(1, count))]
        return [
            payment(to=to, value=1, nonce=nonce, valid_before=2**32 - 1).sign(anna)
            for to, nonce in zip(people, nonces, strict=True)
        ]

    return batch


def test_an_account_is_one_word_at_its_address_turned(w3, payments, carry, payment, anna, bo):
    carry(payment(nonce=counter(5)).sign(anna))
    assert word_at(w3, payments, account_slot(int(anna.address, 16))) == 880 * KRONA << 128 | 5 << 64 | 1
    assert word_at(w3, payments, account_slot(int(bo.address, 16))) == 1120 * KRONA << 128


def test_no_account_reaches_the_variables(w3, payments):
    """The least and the greatest address lie as far from slot 0 as 160 bits reach; the first variables are below 16."""
    assert account_slot(0) == 2**256 - 1
    assert account_slot(2**160 - 1) == 2**256 - 2**160
    assert [slot for slot in range(16) if word_at(w3, payments, slot)] == [5, 6, 7], "supply, issuer, symbol"


def test_a_random_nonce_has_its_place_in_the_mapping(w3, payments, carry, payment, anna):
    slot = nonce_slot(anna.address, RANDOM)
    assert word_at(w3, payments, slot) == 0
    carry(payment(nonce=RANDOM).sign(anna))
    assert word_at(w3, payments, slot) == 1


def test_each_place_in_the_list_saves_a_hundred_gas(client, carrier, batch):
    items = batch(30)
    (entry,) = listed = access_list(client.contract.address, items)
    assert len(entry["storageKeys"]) == len(set(entry["storageKeys"])) == 32, "31 accounts and a random nonce"
    used = []
    for one in (None, listed):
        with isolated():
            receipt = carrier.send(client.contract.functions.payBatch(encode(items)), access_list=one)
            assert receipt["status"] == 1
            used.append(receipt["gasUsed"])
    assert used[0] - used[1] == 32 * 100 - 2400


def test_a_list_that_would_not_pay_is_left_out(client, carrier, batch):
    assert access_list(client.contract.address, batch(FEWEST - 3)) is None
    assert access_list(client.contract.address, batch(FEWEST - 2)) is not None
    receipt, _ = client.carry_batch(batch(2), carrier)
    assert not client.w3.eth.get_transaction(receipt["transactionHash"]).get("accessList")


def test_a_batch_is_sent_with_its_list(client, carrier, batch):
    items = batch(30)
    receipt, _ = client.carry_batch(items, carrier)
    sent = client.w3.eth.get_transaction(receipt["transactionHash"])["accessList"]
    (listed,) = access_list(client.contract.address, items)
    assert [(entry["address"], list(entry["storageKeys"])) for entry in sent] == [
        (listed["address"], listed["storageKeys"])
    ]
