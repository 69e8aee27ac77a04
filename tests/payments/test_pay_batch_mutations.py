"""Batches with bytes changed: whatever they say, no money is made and nobody pays what he did not sign."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from brownie import OwnedWallet
from eth_account import Account
from web3.exceptions import ContractLogicError, Web3RPCError
from web3.logs import DISCARD

from liggare.chain.sender import refusal
from liggare.payments.codec import encode
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization, counter
from tests.payments.conftest import KRONA
from tests.support import isolated

MUTATIONS = 300
PEOPLE = [Account.from_key(bytes([7] * 31 + [i])) for i in range(1, 5)]
LATER = 2**32 - 1


@pytest.fixture
def signed(payments, operator, domain):
    """Every kind of item, in an order that takes both loops and the readable way; some spend what others bring."""
    one, two, three, four = PEOPLE
    wallet = OwnedWallet.deploy(one.address, {"from": operator})
    for who in (one.address, two.address, wallet.address):
        payments.mint(who, 1000 * KRONA, {"from": operator})

    def pay(payer, to, value, nonce, by=None):
        message = TransferWithAuthorization(domain, payer.address, to.address, value * KRONA, 0, LATER, nonce)
        one = message.sign(by or payer)
        # a byte more, and it takes a contract wallet's form; `packed` takes the byte away again
        return one if by is None else replace(one, signature=one.signature + b"\0")

    rows = tuple({"to": to.address, "value": value * KRONA} for to, value in ((two, 30), (three, 40), (two, 50)))
    return [
        pay(one, two, 100, counter(5)),
        pay(two, three, 900, counter(1)),
        pay(one, three, 7, counter(3)),
        PaymentBundle(domain, one.address, rows, 0, LATER, counter(6)).sign(one),
        pay(three, four, 500, b"\xcd" * 32),
        pay(wallet, four, 60, counter(1), by=one),
        PaymentBundle(domain, four.address, rows[:1], 0, LATER, counter(1)).sign(four),
        pay(three, one, 3, counter(1)),
    ]


def packed(items) -> bytes:
    """The batch, with the wallet's signature of 65 bytes in a contract wallet's form."""
    return encode(items).replace((66).to_bytes(32, "big"), (65).to_bytes(32, "big"))


def logs(contract, event, receipt):
    """The event's arguments, in order."""
    return [log["args"] for log in contract.events[event]().process_receipt(receipt, DISCARD)]


def refused_by(w3, call) -> str | None:
    """Why the contract refuses a call; None if it does not."""
    try:
        w3.eth.call(call)
    except (ContractLogicError, Web3RPCError) as error:
        return str(refusal(error))
    return None


def payments_of(item):
    """What was signed: payer, nonce and the transfers."""
    message = item.message
    rows = getattr(message, "payments", None) or [{"to": message.to, "value": message.value}]
    return (message.from_, message.nonce), [(message.from_, row["to"], row["value"]) for row in rows]


def mutated(dice: random.Random, batch: bytes, starts: list[int]) -> bytes:
    """The batch with one to three things done to it: to single bytes, counts, accounts or whole items."""
    changed = bytearray(batch)
    accounts = int.from_bytes(batch[:2], "big")

    def entry():
        return 4 + 20 * dice.randrange(accounts)

    for _ in range(dice.choice([1, 1, 1, 2])):
        where = dice.randrange(len(changed))
        head = dice.choice(starts)
        match dice.choice([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9]):
            case 0:  # a bit
                changed[where] ^= 1 << dice.randrange(8)
            case 1:  # a byte
                changed[where] = dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)])
            case 2:  # something of a head: flags, places, value, times, nonce
                changed[min(head + dice.randrange(24), len(changed) - 1)] = dice.choice([0, 1, 2, 0x40, 0x80, 0xFF])
            case 3:  # a place in a head
                changed[min(head + dice.choice([5, 7]), len(changed) - 1)] = dice.randrange(accounts + 2)
            case 4:  # one account for another
                to, source = entry(), entry()
                changed[to : to + 20] = changed[source : source + 20]
            case 5:  # the counts
                changed[dice.choice([1, 3])] = dice.randrange(12)
            case 6:  # an end
                del changed[where:]
            case 7:  # bytes lost
                del changed[where : where + dice.choice([1, 10, 20, 32, 88])]
            case 8:  # bytes come in
                changed[where:where] = dice.randbytes(dice.choice([1, 10, 20, 32, 88]))
            case _:  # an item once more, and counted
                changed += batch[head : head + 88]
                changed[3] = (changed[3] + 1) % 256
        if not changed:
            break
    return bytes(changed)


def starts_of(items) -> list[int]:
    """Where in the batch each item begins."""
    whole = encode(items)
    table = 4 + 20 * int.from_bytes(whole[:2], "big")
    sizes = [len(encode([item])) - 4 - 20 * int.from_bytes(encode([item])[:2], "big") for item in items]
    assert table + sum(sizes) == len(whole)
    return [table + sum(sizes[:number]) for number in range(len(items))]


@pytest.mark.timeout(400)  # some hundred batches; two workers share the machine
def test_no_changed_byte_makes_money_or_takes_anybodys(w3, client, operator, signed):
    whole, starts = packed(signed), starts_of(signed)
    dice = random.Random(20261125)
    rightful = dict(payments_of(item) for item in signed)
    money, supply = client.contract, client.supply()
    known = {who for transfers in rightful.values() for payer, payee, _ in transfers for who in (payer, payee)}
    before = {who: client.balance(who) for who in known}
    done = {"reverted": 0, "carried out": 0, "paid something": 0}
    for number in range(MUTATIONS):
        batch = whole if number == 0 else mutated(dice, whole, starts)
        call = {"from": operator.address, "to": money.address, "gas": 3_000_000, "gasPrice": 2 * 10**9}
        call["data"] = money.encode_abi("payBatch", [batch])
        if (refused := refused_by(w3, call)) is not None:
            assert "PaymentsBatch" in refused, batch.hex()
            done["reverted"] += 1
            continue
        with isolated():
            receipt = w3.eth.wait_for_transaction_receipt(w3.eth.send_transaction(call), poll_latency=0.01)
            assert receipt["status"] == 1
            done["carried out"] += 1
            used = [(each["authorizer"], each["nonce"]) for each in logs(money, "AuthorizationUsed", receipt)]
            moved = [(each["from"], each["to"], each["value"]) for each in logs(money, "Transfer", receipt)]
            assert len(set(used)) == len(used), "each nonce once"
            assert moved == [row for one in used for row in rightful[one]], batch.hex()
            done["paid something"] += bool(used)
            assert number or len(used) == len(signed), "unchanged, all of it is paid"
            balances = dict(before)
            for payer, payee, value in moved:
                balances[payer] -= value
                balances[payee] += value
            named = {batch[4 + 20 * i : 24 + 20 * i] for i in range(int.from_bytes(batch[:2], "big"))}
            strangers = {w3.to_checksum_address(one) for one in named} - known
            after = {who: client.balance(who) for who in known | strangers}
            assert after == {**dict.fromkeys(strangers, 0), **balances}, batch.hex()
            assert (sum(after.values()), client.supply()) == (sum(before.values()), supply)
    assert min(done.values()) > MUTATIONS // 4, done
