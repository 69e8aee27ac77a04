"""Taking in: refusals by stable names, cheap before costly, and nothing that drains the sponsor."""

from __future__ import annotations

import itertools
import secrets
import threading
import time

import pytest
from eth_account import Account

from liggare.chain.sender import Sender
from liggare.errors import RelayRefused
from liggare.messages import HALF_ORDER
from liggare.payments.messages import counter
from liggare.payments.wire import document
from liggare.relay.intake import Intake
from liggare.relay.outbox import OUTSTANDING, Outbox, Row
from liggare.relay.refusals import REFUSALS
from liggare.relay.relayer import Relayer
from liggare.relay.terms import Limits
from tests.nodes import KRONA, funded, wallet
from tests.relay.conftest import NOW, run, status

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture
def intake(outbox, cargo, relayer, clock):
    """The intake with its ordinary limits."""
    return Intake(outbox, cargo, Limits(), relayer.price, clock)


def reason(answer) -> str | None:
    return answer.reason if isinstance(answer, RelayRefused) else None


def test_a_payment_that_was_taken_before_is_told_again(accept, relayer, outbox, pay):
    item = pay(0, 1, 5)
    (first,) = accept(item)
    (again,) = accept(item)
    assert again == first
    run(relayer)
    (late,) = accept(item)
    assert late.status.value == "paid"
    one, two = accept(item, item)
    assert one == two
    assert sum(outbox.counts().values()) == 1


def test_twice_in_one_request_is_once(accept, outbox, pay):
    item = pay(0, 1, 5)
    one, two = accept(item, item)
    assert one == two
    assert sum(outbox.counts().values()) == 1


def test_each_payment_of_a_request_is_decided_for_itself(accept, relayer, outbox, pay):
    items = [pay(0, 1, 5, 0), pay(0, 1, 5000, 1), pay(1, 2, 5, 0), pay(2, 3, 5, 0, valid_before=1)]
    assert [reason(answer) for answer in accept(*items)] == [None, "BalanceShort", None, "Expired"]
    run(relayer)
    assert status(outbox, items[0], items[2]) == ["paid", "paid"]


# each fault by its refusal, in the order in which they are looked for
FAULTS = {
    "Malformed": lambda given: given.update(extra=1),
    "WrongChain": lambda given: given.update(chainId=1),
    "WrongContract": lambda given: given.update(contract="0x" + "11" * 20),
    "Expired": lambda given: given["authorization"].update(validBefore=int(time.time()) + 20),
    "WrongSigner": lambda given: given["authorization"].update(to=wallet(3).address),
    "NonceUsed": lambda given: None,  # the fixture's nonce is used
    "BalanceShort": lambda given: None,  # the fixture's value is too great
}


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_refusals_come_in_order_from_cheap_to_costly(intake, client, pay, anvil, first):
    """A payment with this fault and every later one is refused for this one."""
    names = list(FAULTS)
    client.carry(pay(0, 1, 1, 5), Sender(anvil.w3, funded(5)))
    used = names.index("NonceUsed") >= first
    given = document(pay(0, 1, 5000, 5 if used else 6))
    for name in names[first:]:
        FAULTS[name](given)
    (answer,) = intake.accept([given])
    assert reason(answer) == names[first]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda given: given.pop("signature"), "signature"),
        (lambda given: given.pop("authorization"), "authorization"),
        (lambda given: given.update(bundle=given["authorization"]), "bundle.payments"),
        (lambda given: given.update(signature="0x12"), "signature"),
        (lambda given: given["authorization"].update(value="-1"), "authorization.value"),
        (lambda given: given["authorization"].update(value="1e3"), "authorization.value"),
        (lambda given: given["authorization"].update(value=1.5), "authorization.value"),
        (lambda given: given["authorization"].update(value=True), "authorization.value"),
        (lambda given: given["authorization"].update(value=str(2**64)), "authorization.value"),
        (lambda given: given["authorization"].update(value="١٢"), "authorization.value"),
        (lambda given: given["authorization"].update(validBefore=2**32), "authorization.validBefore"),
        (lambda given: given["authorization"].update(nonce="0x12"), "authorization.nonce"),
        (lambda given: given["authorization"].update(to="anna"), "authorization.to"),
        (lambda given: given["authorization"].update(value=2**53 + 1), "authorization.value"),
    ],
)
def test_what_is_malformed_is_named_by_its_place(intake, pay, change, where):
    given = document(pay(0, 1, 5))
    change(given)
    (answer,) = intake.accept([given])
    assert reason(answer) == "Malformed"
    assert answer.values["at"] == where


@pytest.mark.parametrize("given", [None, 5, "payment", [], {}])
def test_what_is_no_payment_at_all_is_malformed(intake, given):
    (answer,) = intake.accept([given])
    assert reason(answer) == "Malformed"


def test_not_yet_valid(accept, pay, clock):
    early = int(clock()) + 100
    (answer,) = accept(pay(0, 1, 5, valid_after=early))
    assert reason(answer) == "NotYetValid"
    assert answer.values["validAfter"] == early


def test_a_payment_that_expires_before_it_can_land_is_refused(accept, pay, clock):
    soon = int(clock()) + 10
    (answer,) = accept(pay(0, 1, 5, valid_before=soon))
    assert reason(answer) == "Expired"


def test_a_payment_that_expires_on_its_way_fails_by_its_reason(accept, relayer, outbox, client, pay, anvil):
    item = pay(0, 1, 5, valid_before=int(time.time()) + 40)
    accept(item)
    # not so many seconds further: a chain that was set back is behind by as long as the tests have run
    anvil.rpc("evm_setNextBlockTimestamp", int(time.time()) + 60)
    anvil.rpc("evm_mine")
    run(relayer)
    assert status(outbox, item) == ["failed:Expired"]
    assert client.balance(wallet(1).address) == 1000 * KRONA


@pytest.mark.parametrize("change", ["v", "s", "r", "another key", "empty wallet form"])
def test_a_signature_that_is_not_the_payers(intake, pay, change):
    item = pay(0, 1, 5)
    given, signature = document(item), bytearray(item.signature)
    if change == "v":
        signature[64] ^= 7  # 27 <-> 28
    elif change == "r":
        signature[5] ^= 1
    elif change == "s":  # the malleable twin
        s = ORDER - int.from_bytes(signature[32:64], "big")
        assert s > HALF_ORDER
        signature = bytearray(signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]]))
    elif change == "another key":
        signature = bytearray(item.message.sign(wallet(2)).signature)
    else:
        signature = bytearray(96)
    given["signature"] = "0x" + signature.hex()
    (answer,) = intake.accept([given])
    assert reason(answer) == "WrongSigner"


@pytest.mark.parametrize("form", ["2098", "v 0 or 1", "upper case"])
def test_signatures_as_wallets_give_them(intake, relayer, outbox, pay, form):
    item = pay(0, 1, 5)
    given, signature = document(item), item.signature
    if form == "2098":
        s = int.from_bytes(signature[32:64], "big") | (signature[64] - 27) << 255
        given["signature"] = "0x" + (signature[:32] + s.to_bytes(32, "big")).hex()
    elif form == "v 0 or 1":
        given["signature"] = "0x" + (signature[:64] + bytes([signature[64] - 27])).hex()
    else:
        given["signature"] = "0x" + signature.hex().upper()
    (answer,) = intake.accept([given])
    assert isinstance(answer, Row)
    run(relayer)
    assert status(outbox, item) == ["paid"]


def test_a_nonce_on_its_way_is_taken(accept, pay):
    accept(pay(0, 1, 5, 3))
    (answer,) = accept(pay(0, 1, 6, 3))
    assert reason(answer) == "NonceQueued"


def test_counters_on_their_way_never_shut_one_another_out(accept, relayer, outbox, pay):
    """63 apart fit the window in any order, 64 do not."""
    first, near, far = pay(0, 1, 5, 0), pay(0, 1, 5, 63), pay(0, 1, 5, 64)
    assert [reason(answer) for answer in accept(near, far, first)] == [None, None, "NonceApart"]
    run(relayer)
    assert status(outbox, near, far) == ["paid", "paid"]


def test_a_used_canceled_or_old_nonce(accept, client, pay, anvil):
    sender = Sender(anvil.w3, funded(5))
    client.carry(pay(0, 1, 1, 100), sender)
    client.carry_cancel(client.cancel(wallet(0), counter(101)), sender)
    random = secrets.token_bytes(32)
    client.carry(pay(0, 1, 1, random), sender)
    items = [pay(0, 1, 5, nonce) for nonce in (100, 101, random, 37, 38)]
    assert [reason(answer) for answer in accept(*items)] == ["NonceUsed"] * 4 + [None]


def test_money_on_its_way_counts(accept, relayer, outbox, pay):
    items = [pay(0, 1, 600, 0), pay(0, 2, 600, 1), pay(0, 2, 400, 2)]
    answers = accept(*items)
    assert [reason(answer) for answer in answers] == [None, "BalanceShort", None]
    assert answers[1].values == {"free": str(400 * KRONA), "needed": str(600 * KRONA)}
    run(relayer)
    assert status(outbox, items[0], items[2]) == ["paid", "paid"]


def test_an_impossible_payee_shows_in_the_dry_run(accept, pay):
    (answer,) = accept(pay(0, 1, 5, to="0x" + "00" * 20))
    assert (reason(answer), answer.values) == ("NotPayable", {"outcome": "InvalidReceiver"})


# ---------------------------------------------------------------------- quotas


def test_the_quota_of_the_day(accept, relayer, outbox, pay, clock):
    limits = Limits(per_account=3)
    items = [pay(0, 1, 1, number) for number in range(5)]
    answers = accept(*items, limits=limits)
    assert [reason(answer) for answer in answers] == [None, None, None, "QuotaExceeded", "QuotaExceeded"]
    run(relayer)
    (answer,) = accept(items[4], limits=limits)
    assert reason(answer) == "QuotaExceeded"
    assert answer.values == {"used": 3, "quota": 3}
    clock.ahead = 86_400
    (answer,) = accept(items[4], limits=limits)
    assert isinstance(answer, Row)


def test_a_bundle_counts_for_its_payments(accept, bundle):
    (answer,) = accept(bundle(0, [(1, 1), (2, 1), (3, 1), (1, 1)]), limits=Limits(per_account=3))
    assert reason(answer) == "QuotaExceeded"


def test_many_accounts_evade_no_quota(accept, relayer, outbox, client, clock):
    """Mallory splits her money over accounts that nobody knows: all draw on her quota until the day ends."""
    limits = Limits(per_account=10, newcomers=4)
    mallory, day = wallet(0), itertools.count()
    puppets = [Account.from_key(secrets.token_bytes(32)) for _ in range(6)]
    seed = [
        client.pay(mallory, puppet.address, KRONA, nonce=counter(next(day)), valid_before=2**32 - 1)
        for puppet in puppets
    ]
    answers = accept(*seed, limits=limits)
    assert [reason(answer) for answer in answers] == [None] * 4 + ["NewcomersExceeded"] * 2
    run(relayer)
    back = [
        client.pay(puppet, mallory.address, 1, nonce=counter(number), valid_before=2**32 - 1)
        for number in range(3)
        for puppet in puppets[:4]
    ]
    answers = accept(*back, limits=limits)
    taken = [answer for answer in answers if isinstance(answer, Row)]
    assert len(taken) == 10 - 4  # hers and theirs together
    assert {reason(answer) for answer in answers} == {None, "QuotaExceeded"}
    assert {reason(answer) for answer in accept(seed[5], limits=limits)} == {"QuotaExceeded"}


def test_puppets_of_puppets_draw_on_the_first_ones_quota(accept, relayer, client):
    limits = Limits(per_account=3, newcomers=9)
    chain = [wallet(0), *(Account.from_key(secrets.token_bytes(32)) for _ in range(5))]
    taken = []
    for payer, payee in itertools.pairwise(chain):
        item = client.pay(payer, payee.address, KRONA, nonce=counter(0), valid_before=2**32 - 1)
        taken += accept(item, limits=limits)
        run(relayer)
    assert [reason(answer) for answer in taken] == [None, None, None, "QuotaExceeded", "BalanceShort"]


def test_the_sponsors_budget_of_the_day_is_never_exceeded(accept, relayer, outbox, pay, anvil, clock):
    budget = 3 * 10**14
    limits = Limits(budget=budget)
    before = anvil.w3.eth.get_balance(funded(1).address)
    answers = []
    for number in range(30):
        for payer in range(4):
            answers += accept(pay(payer, (payer + 1) % 4, 1, number), limits=limits)
        run(relayer, 3)
    spent = before - anvil.w3.eth.get_balance(funded(1).address)
    assert {reason(answer) for answer in answers} == {None, "BudgetSpent"}
    assert budget // 4 < spent <= budget
    clock.ahead = 86_400
    assert {reason(answer) for answer in accept(pay(0, 1, 1, 40), limits=limits)} == {None}


def test_too_many_at_once(accept, pay):
    with pytest.raises(RelayRefused) as caught:
        accept(*[pay(0, 1, 1, number) for number in range(3)], limits=Limits(per_request=2))
    assert caught.value.reason == "TooMany"


# ---------------------------------------------------------------------- many at once, on either database


def test_a_race_for_one_nonce_has_one_winner(database, cargo, pay, anvil):
    outbox = Outbox(database)
    intake = Intake(outbox, cargo, Limits(), lambda: 1)
    items = [pay(0, 1, value, 0) for value in range(1, 9)]
    answers, gate = [], threading.Barrier(len(items))

    def race(item):
        gate.wait()
        answers.extend(intake.accept([document(item)]))

    threads = [threading.Thread(target=race, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reasons = sorted(str(reason(answer)) for answer in answers)
    assert reasons == ["NonceQueued"] * 7 + ["None"]
    outbox.close()


def test_a_race_for_the_last_money_has_as_many_winners_as_there_is_money(database, cargo, client, pay, anvil):
    outbox = Outbox(database)
    intake = Intake(outbox, cargo, Limits(), lambda: 1)
    items = [pay(0, 1, 300, number) for number in range(8)]
    answers, gate = [], threading.Barrier(len(items))

    def race(item):
        gate.wait()
        answers.extend(intake.accept([document(item)]))

    threads = [threading.Thread(target=race, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(reason(answer)) for answer in answers) == ["BalanceShort"] * 5 + ["None"] * 3
    relayer = Relayer(anvil.w3, funded(1), outbox, [cargo], NOW)
    run(relayer)
    assert outbox.counts()["paid"] == 3
    assert client.balance(wallet(0).address) == 100 * KRONA
    outbox.close()


def test_the_refusals_of_the_manual_are_those_of_the_code():
    assert all(400 <= http < 600 and title for http, title in REFUSALS.values())
    assert OUTSTANDING == ("queued", "sent", "mined")
