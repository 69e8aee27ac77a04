"""Carrying: what was accepted ends exactly once as paid or failed, whatever happens in between."""

from __future__ import annotations

import secrets
import threading

import pytest

from liggare.chain.sender import Sender
from liggare.errors import RelayRefused
from liggare.relay.outbox import Row
from liggare.relay.relayer import Relayer
from liggare.relay.terms import Pace
from tests.nodes import KRONA, funded, wallet
from tests.relay.conftest import NOW, run, status


def balances(client, count: int = 4) -> list[float]:
    return [client.balance(wallet(number).address) / KRONA for number in range(count)]


def test_payments_are_carried_in_one_batch(accept, relayer, outbox, client, pay, bundle):
    items = [pay(0, 1, 5, 0), pay(0, 2, 7, 1), pay(1, 2, 1, secrets.token_bytes(32)), bundle(2, [(3, 2), (0, 1)])]
    assert all(isinstance(row, Row) for row in accept(*items))
    assert status(outbox, *items) == ["queued"] * 4
    run(relayer)
    assert status(outbox, *items) == ["paid"] * 4
    assert balances(client) == [989, 1004, 1005, 1002]
    assert len({outbox.get(item.id.to_0x_hex()).transaction for item in items}) == 1
    receipt = client.find(items[0])
    assert receipt["transactionHash"].to_0x_hex() == outbox.get(items[0].id.to_0x_hex()).transaction
    assert receipt["from"] == funded(1).address


def test_the_order_of_acceptance_is_the_order_of_payment(accept, relayer, outbox, client, pay):
    """Bo pays on what he is about to get: it is refused before Anna's payment is accepted, taken after it landed."""
    first, second = pay(0, 1, 1000), pay(1, 2, 1500)
    (refused,) = accept(second)
    assert isinstance(refused, RelayRefused)
    assert refused.reason == "BalanceShort"
    accept(first)
    run(relayer)
    assert isinstance(accept(second)[0], Row)
    run(relayer)
    assert balances(client) == [0, 500, 2500, 1000]


def test_a_stranger_who_submits_an_item_first_changes_nothing(accept, relayer, outbox, client, pay, anvil):
    items = [pay(0, 1, 5, 0), pay(0, 2, 7, 1)]
    accept(*items)
    receipt = client.carry(items[0], Sender(anvil.w3, funded(5)))
    run(relayer)
    assert status(outbox, *items) == ["paid", "paid"]
    assert outbox.get(items[0].id.to_0x_hex()).transaction == receipt["transactionHash"].to_0x_hex()
    assert balances(client) == [988, 1005, 1007, 1000]


def test_a_stranger_between_dry_run_and_block_changes_nothing_either(accept, relayer, outbox, client, pay, anvil):
    items = [pay(0, 1, 5, 0), pay(0, 2, 7, 1)]
    accept(*items)
    anvil.rpc("anvil_setAutomine", False)
    relayer.tick()  # the batch is in the pool, with the ordinary fee
    function = client.contract.get_function_by_signature(
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
    )(*items[0].message.values().values(), items[0].signature)
    fields = {"from": funded(5).address, "gas": 200_000, "maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**12}
    function.transact(fields)  # front-running costs him dearly, and gains nothing
    anvil.rpc("evm_mine")
    run(relayer)
    assert status(outbox, *items) == ["paid", "paid"]
    assert client.find(items[0])["from"] == funded(5).address
    assert balances(client) == [988, 1005, 1007, 1000]


def test_money_that_moves_between_dry_run_and_block_fails_one_payment_by_its_reason(
    accept, relayer, outbox, client, pay, anvil
):
    items = [pay(0, 1, 600, 0), pay(3, 2, 7, 0)]
    accept(*items)
    anvil.rpc("anvil_setAutomine", False)
    relayer.tick()
    # anna gives her money away by herself
    other = pay(0, 2, 700, 1)
    function = client.contract.get_function_by_signature(
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
    )(*other.message.values().values(), other.signature)
    function.transact(
        {"from": funded(5).address, "gas": 200_000, "maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**12}
    )
    anvil.rpc("evm_mine")
    run(relayer)
    assert status(outbox, *items) == ["failed:InsufficientBalance", "paid"]
    assert balances(client) == [300, 1000, 1707, 993]


def test_money_gone_before_the_batch_is_made_fails_without_a_transaction(accept, relayer, outbox, client, pay, anvil):
    item, other = pay(0, 1, 600, 0), pay(0, 2, 700, 1)
    accept(item)
    client.carry(other, Sender(anvil.w3, funded(5)))
    before = anvil.w3.eth.get_transaction_count(funded(1).address)
    run(relayer)
    assert status(outbox, item) == ["failed:InsufficientBalance"]
    assert anvil.w3.eth.get_transaction_count(funded(1).address) == before


def test_what_was_tried_at_the_door_a_moment_ago_is_not_tried_again(accept, outbox, cargo, client, pay, anvil, clock):
    """Its money went in between: the contract skips it, by its reason, and pays the other."""
    relayer = Relayer(anvil.w3, funded(1), outbox, [cargo], Pace(wait=0), clock=clock)
    items = [pay(0, 1, 600, 0), pay(3, 2, 7, 0)]
    accept(*items)
    client.carry(pay(0, 2, 700, 1), Sender(anvil.w3, funded(5)))
    run(relayer)
    assert status(outbox, *items) == ["failed:InsufficientBalance", "paid"]
    assert outbox.get(items[0].id.to_0x_hex()).transaction is not None


def test_a_canceled_payment_fails_by_its_reason(accept, relayer, outbox, client, pay, anvil):
    item = pay(0, 1, 600, 3)
    accept(item)
    client.carry_cancel(client.cancel(wallet(0), item.message.nonce), Sender(anvil.w3, funded(5)))
    run(relayer)
    assert status(outbox, item) == ["failed:NonceUsed"]
    assert balances(client)[:2] == [1000, 1000]


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


@pytest.mark.parametrize("step", ["claim", "load", "_sign", "add_sending", "_broadcast"])
def test_a_death_at_any_step_loses_and_doubles_nothing(
    accept, relayer, outbox, cargo, client, pay, anvil, clock, step, monkeypatch
):
    items = [pay(0, 1, 5, 0), pay(1, 2, 7, 0)]
    accept(*items)
    target = {"claim": outbox, "add_sending": outbox, "load": cargo}.get(step, relayer)

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, step, die)
        with pytest.raises(Killed):
            relayer.tick()
    fresh = Relayer(anvil.w3, funded(1), outbox, [cargo], NOW, clock=clock)
    clock.ahead = 31  # the dead one's claim ends by itself
    run(fresh)
    assert status(outbox, *items) == ["paid", "paid"]
    assert balances(client) == [995, 998, 1007, 1000]


def test_what_was_sent_and_not_noted_is_not_sent_twice(accept, relayer, outbox, cargo, client, pay, anvil, monkeypatch):
    """Killed right after the broadcast: the stored transaction is the one that landed."""
    item = pay(0, 1, 5)
    accept(item)
    send = relayer._broadcast

    def send_and_die(sending):
        send(sending)
        raise Killed

    monkeypatch.setattr(relayer, "_broadcast", send_and_die)
    with pytest.raises(Killed):
        relayer.tick()
    assert status(outbox, item) == ["sent"]
    fresh = Relayer(anvil.w3, funded(1), outbox, [cargo], NOW)
    before = anvil.w3.eth.get_transaction_count(funded(1).address)
    run(fresh)
    assert status(outbox, item) == ["paid"]
    assert anvil.w3.eth.get_transaction_count(funded(1).address) == before
    assert balances(client) == [995, 1005, 1000, 1000]


def test_a_dropped_transaction_is_sent_again_as_it_was(accept, relayer, outbox, client, pay, anvil):
    item = pay(0, 1, 5)
    accept(item)
    anvil.rpc("anvil_setAutomine", False)
    relayer.tick()
    (batch,) = outbox.batches("open")
    anvil.rpc("anvil_dropTransaction", batch.sendings[0].hash)
    anvil.rpc("evm_mine")
    relayer.tick()
    anvil.rpc("evm_mine")
    run(relayer)
    assert status(outbox, item) == ["paid"]
    assert outbox.get(item.id.to_0x_hex()).transaction == batch.sendings[0].hash


def test_a_transaction_that_waits_too_long_is_replaced_by_a_dearer_one(
    accept, relayer, outbox, client, pay, anvil, clock
):
    item = pay(0, 1, 5)
    accept(item)
    anvil.rpc("anvil_setAutomine", False)
    relayer.tick()
    clock.ahead = 31
    relayer.tick()
    (batch,) = outbox.batches("open")
    first, second = batch.sendings
    assert second.max_fee > first.max_fee * 9 // 8
    assert second.tip > first.tip * 9 // 8
    anvil.rpc("evm_mine")
    run(relayer)
    assert status(outbox, item) == ["paid"]
    assert outbox.get(item.id.to_0x_hex()).transaction == second.hash
    assert balances(client) == [995, 1005, 1000, 1000]


def test_a_fee_is_never_raised_above_the_most(accept, outbox, cargo, client, pay, anvil, clock):
    item = pay(0, 1, 5)
    most = anvil.w3.eth.gas_price * 3
    careful = Relayer(
        anvil.w3, funded(1), outbox, [cargo], Pace(wait=0, fresh=0, most_fee=most, patience=10), clock=clock
    )
    accept(item)
    anvil.rpc("anvil_setAutomine", False)
    for _ in range(30):
        careful.tick()
        clock.ahead += 11
    (batch,) = outbox.batches("open")
    assert 1 < len(batch.sendings) < 30
    assert max(sending.max_fee for sending in batch.sendings) <= most


@pytest.mark.parametrize("confirmations", [1, 3])
def test_a_reorganisation_pays_everything_once(accept, outbox, cargo, client, pay, anvil, clock, confirmations):
    """The chain takes the payment's block back; the same transaction lands again."""
    relayer = Relayer(
        anvil.w3, funded(1), outbox, [cargo], Pace(wait=0, fresh=0, confirmations=confirmations), clock=clock
    )
    items = [pay(0, 1, 5, 0), pay(1, 2, 7, 0)]
    accept(*items)
    anvil.rpc("anvil_mine", "0x5")
    relayer.tick()
    relayer.tick()
    assert status(outbox, *items) == (["paid"] * 2 if confirmations == 1 else ["mined"] * 2)
    anvil.rpc("anvil_rollback", 1)
    assert balances(client) == [1000, 1000, 1000, 1000]
    run(relayer)
    anvil.rpc("anvil_mine", "0x3")
    run(relayer)
    assert status(outbox, *items) == ["paid", "paid"]
    assert balances(client) == [995, 998, 1007, 1000]


def test_a_reorganisation_that_brings_another_payment_first_fails_by_the_chain(
    accept, outbox, cargo, client, pay, anvil, clock
):
    """Anna's money went elsewhere in the chain that won: before the confirmations nobody was told `paid`."""
    relayer = Relayer(anvil.w3, funded(1), outbox, [cargo], Pace(wait=0, fresh=0, confirmations=3), clock=clock)
    item, other = pay(0, 1, 600, 0), pay(0, 2, 700, 1)
    accept(item)
    relayer.tick()
    relayer.tick()
    assert status(outbox, item) == ["mined"]
    anvil.rpc("anvil_rollback", 1)
    client.carry(other, Sender(anvil.w3, funded(5)))
    anvil.rpc("anvil_mine", "0x3")
    run(relayer)
    anvil.rpc("anvil_mine", "0x3")
    run(relayer)
    assert status(outbox, item) == ["failed:InsufficientBalance"]
    assert balances(client) == [300, 1000, 1700, 1000]


def test_a_nonce_that_went_to_another_transaction_of_the_sponsor_is_noticed(
    accept, relayer, outbox, client, pay, anvil, clock
):
    """The sponsor's key was used beside the relayer: the batch goes again under another nonce."""
    item = pay(0, 1, 5)
    accept(item)
    anvil.rpc("anvil_setAutomine", False)
    relayer.tick()
    (batch,) = outbox.batches("open")
    anvil.rpc("anvil_dropTransaction", batch.sendings[0].hash)
    anvil.rpc("anvil_setAutomine", True)
    receipt = anvil.w3.eth.wait_for_transaction_receipt(
        anvil.w3.eth.send_transaction({"from": funded(1).address, "to": funded(2).address, "value": 1})
    )
    assert receipt["status"] == 1
    run(relayer)
    assert status(outbox, item) == ["sent"]  # the node may only be slow to show the receipt
    clock.ahead = 6
    run(relayer)
    assert status(outbox, item) == ["paid"]
    assert balances(client) == [995, 1005, 1000, 1000]


def test_messages_wait_for_company_and_no_longer(accept, outbox, cargo, pay, anvil, clock):
    relayer = Relayer(anvil.w3, funded(1), outbox, [cargo], Pace(wait=10, most=3), clock=clock)
    first = [pay(0, 1, 1, 0), pay(0, 1, 1, 1)]
    accept(*first)
    run(relayer)
    assert status(outbox, *first) == ["queued", "queued"]
    third = pay(0, 1, 1, 2)
    accept(third)  # the batch is full
    run(relayer)
    assert status(outbox, *first, third) == ["paid"] * 3
    alone = pay(0, 1, 1, 3)
    accept(alone)
    run(relayer)
    assert status(outbox, alone) == ["queued"]
    clock.ahead = 11
    run(relayer)
    assert status(outbox, alone) == ["paid"]


def test_a_batch_keeps_to_its_gas(accept, outbox, cargo, pay, anvil, clock):
    relayer = Relayer(anvil.w3, funded(1), outbox, [cargo], Pace(wait=0, fresh=0, gas=200_000), clock=clock)
    items = [pay(0, 1, 1, number) for number in range(20)]
    accept(*items)
    run(relayer, 20)
    assert status(outbox, *items) == ["paid"] * 20
    made = outbox.batches("done")
    assert len(made) > 1
    assert all(batch.gas <= 200_000 for batch in made)
    receipts = [anvil.w3.eth.get_transaction_receipt(batch.transaction) for batch in made]
    assert all(receipt["gasUsed"] < batch.gas for receipt, batch in zip(receipts, made, strict=True))


def test_an_item_that_makes_batches_revert_ends_alone(accept, outbox, cargo, pay, anvil, clock, monkeypatch):
    """Whatever reverts a batch whole (here a gas limit that is too low for one item) stops nobody else for long."""
    relayer = Relayer(anvil.w3, funded(1), outbox, [cargo], NOW, clock=clock)
    bad, good = pay(0, 1, 1, 0), pay(1, 2, 1, 0)
    accept(bad, good)
    load, bad_id = cargo.load, bad.id.to_0x_hex()

    def starve(entries):
        freight = load(entries)
        low = 40_000 if any(entry.id == bad_id for entry in entries) else freight.gas
        return type(freight)(freight.to, freight.data, low, freight.access)

    monkeypatch.setattr(cargo, "load", starve)
    monkeypatch.setattr(cargo, "dry_run", lambda entries, **_: [None] * len(entries))
    run(relayer, 30)
    assert status(outbox, good) == ["paid"]
    assert status(outbox, bad) == ["failed:Reverted"]


def test_two_relayers_share_one_outbox(accept, relayer, outbox, cargo, client, pay, anvil, clock):
    other = Relayer(anvil.w3, funded(2), outbox, [cargo], Pace(wait=0, fresh=0, most=3), clock=clock)
    items = [pay(number % 4, (number + 1) % 4, 1, number // 4) for number in range(40)]
    accept(*items)
    for _ in range(20):
        other.tick()
        relayer.tick()
    assert status(outbox, *items) == ["paid"] * 40
    assert {batch.sender for batch in outbox.batches("done")} == {funded(1).address, funded(2).address}
    assert balances(client) == [1000] * 4


def test_a_dead_relayers_transactions_are_finished_by_another(
    accept, relayer, outbox, cargo, client, pay, anvil, clock
):
    """The other one has not the key, and needs none: the signed transaction is stored."""
    item = pay(0, 1, 5)
    accept(item)
    anvil.rpc("anvil_setAutomine", False)
    relayer.tick()
    (batch,) = outbox.batches("open")
    anvil.rpc("anvil_dropTransaction", batch.sendings[0].hash)
    anvil.rpc("anvil_setAutomine", True)
    other = Relayer(anvil.w3, funded(2), outbox, [cargo], NOW, clock=clock)
    run(other)
    assert status(outbox, item) == ["sent"]
    clock.ahead = 31
    run(other)
    assert status(outbox, item) == ["paid"]
    assert balances(client) == [995, 1005, 1000, 1000]


def test_the_worker_outlives_what_nobody_thought_of(accept, relayer, outbox, pay, monkeypatch):
    item, stop, failures = pay(0, 1, 5), threading.Event(), iter([KeyError("a fault"), RuntimeError("another")])
    accept(item)
    tick = relayer.tick

    def faulty():
        for failure in failures:
            raise failure
        busy = tick()
        if outbox.counts()["paid"]:
            stop.set()
        return busy

    monkeypatch.setattr(relayer, "tick", faulty)
    worker = threading.Thread(target=relayer.run, args=(stop,))
    worker.start()
    worker.join(20)
    assert not worker.is_alive()
    assert status(outbox, item) == ["paid"]
