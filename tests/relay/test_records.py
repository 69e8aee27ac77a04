"""Carrying the records' messages: each lands once as it was signed, or ends by the contract's reason, come what may."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from liggare.chain.sender import Sender
from liggare.errors import RelayRefused
from liggare.records import wire
from liggare.records.messages import Terms
from liggare.records.wire import Approved, function
from liggare.relay.intake import Intake
from liggare.relay.outbox import Outbox, Row
from liggare.relay.relayer import Relayer
from liggare.relay.terms import Limits, Pace
from tests.nodes import funded, wallet
from tests.relay.conftest import NOW, PATIENT, RECORD_LIMITS, run, status
from tests.relay.test_intake import reason

TERMS = Terms(1, 1, 0, 2**40)
LATER = 2**40


@pytest.fixture
def stranger(anvil):
    """Somebody with ether who carries what he gets hold of."""
    return Sender(anvil.w3, funded(5))


def version(records, signed) -> int:
    return records.version(signed.message.patient, signed.message.blinded)


def test_grants_and_revokes_are_carried_in_one_batch(hand_over, relayer, outbox, records, grant, revoke, anvil):
    items = [*(grant(number, number) for number in range(50)), revoke(60, 1)]
    assert all(isinstance(row, Row) for row in hand_over(*items))
    run(relayer)
    assert status(outbox, *items) == ["carried"] * 51
    assert len({outbox.get(item.id.to_0x_hex()).transaction for item in items}) == 1
    transaction = outbox.get(items[0].id.to_0x_hex()).transaction
    receipt = anvil.w3.eth.get_transaction_receipt(transaction)
    assert receipt["gasUsed"] <= 34_000 * 51  # issue 4, through the relayer
    assert {version(records, item) for item in items} == {1}
    assert {anvil.w3.eth.get_balance(item.message.patient) for item in items} == {0}


def test_payments_and_records_share_a_sponsor_and_no_transaction(
    accept, hand_over, relayer, outbox, pay, grant, records, anvil
):
    payments = [pay(0, 1, 5, number) for number in range(3)]
    alone = records.set_emergency(wallet(PATIENT + 3), False)
    grants = [grant(number, 1) for number in range(3)]
    for payment, message in zip(payments, [*grants[:2], alone], strict=True):
        accept(payment)
        hand_over(message)
    hand_over(grants[2])
    run(relayer)
    assert status(outbox, *payments) == ["paid"] * 3
    assert status(outbox, *grants, alone) == ["carried"] * 4
    made = outbox.batches("done")
    assert len(made) == 3
    assert sorted(batch.kind for batch in made) == ["payment", "record", "record"]
    nonces = [batch.nonce for batch in made]
    assert nonces == list(range(nonces[0], nonces[0] + 3))


def test_every_message_is_carried(hand_over, relayer, outbox, records, hospital, anvil):
    """A patient's whole life by messages alone: nobody of them ever holds ether."""
    patient, aunt, uncle, successor = wallet(PATIENT), wallet(701), wallet(702), wallet(703)
    whose = patient.address

    def carried(item):
        (answer,) = hand_over(item)
        assert isinstance(answer, Row), answer
        run(relayer)
        assert status(outbox, item) == ["carried"], item.message.TYPE

    carried(
        records.bundle(patient, [(wallet(1).address, b"\1" * 32, TERMS), (wallet(2).address, b"\2" * 32, TERMS)])[0]
    )
    carried(records.appoint(patient, whose, aunt.address, ["grant", "recover"], LATER))
    carried(records.appoint(patient, whose, uncle.address, ["recover"], LATER))
    carried(records.grant_for(aunt, whose, wallet(3).address, b"\1" * 32, TERMS)[0])
    blinded = records.share(whose, wallet(3).address, b"\1" * 32, TERMS).blinded
    carried(records.revoke_for(patient, whose, aunt.address, blinded))
    carried(records.revoke_all(patient))
    carried(records.set_emergency(patient, True))
    carried(records.break_glass(hospital, whose, "ETREAT", records.now() + 3600))
    carried(records.set_recovery(patient, 2, 86_400))
    carried(Approved.of([records.recover(who, whose, successor.address) for who in (uncle, aunt)]))
    carried(records.stop_recovery(patient))
    carried(Approved.of([records.recover(who, whose, successor.address) for who in (uncle, aunt)]))
    carried(records.dismiss(patient, whose, uncle.address))
    assert not records.may_act(whose, uncle.address, ["recover"])
    people = (patient, aunt, uncle, successor, hospital)
    assert {anvil.w3.eth.get_balance(who.address) for who in people} == {0}


# ---------------------------------------------------------------------- refusals


def test_refusals_come_in_order_from_cheap_to_costly(outbox, record_cargo, relayer, clock, grant, records, stranger):
    records.carry(grant(0, 1), stranger)
    faults = {
        "Malformed": lambda given: given.update(extra=1),
        "WrongChain": lambda given: given.update(chainId=1),
        "WrongContract": lambda given: given.update(contract="0x" + "11" * 20),
        "Expired": lambda given: given["message"].update(deadline=int(clock()) + 20),
        "QuotaExceeded": None,  # by the limits
        "WrongSigner": lambda given: given["message"].update(terms="0x" + "77" * 32),
        "OutOfTurn": None,  # the version has landed
    }
    names = list(faults)
    for first, expected in enumerate(names):
        given = wire.document(grant(0, 1, version=1))
        for name in names[first:]:
            if faults[name] is not None:
                faults[name](given)
        limits = Limits(per_account=0 if first <= names.index("QuotaExceeded") else 20, budget=10**18)
        (answer,) = Intake(outbox, record_cargo, limits, relayer.price, clock).accept([given])
        assert reason(answer) == expected


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda given: given.pop("signature"), "signature"),
        (lambda given: given.pop("message"), "message"),
        (lambda given: given.pop("type"), "type"),
        (lambda given: given.update(type="Transfer"), "type"),
        (lambda given: given["message"].update(version=-1), "message.version"),
        (lambda given: given["message"].update(version=2**40), "message.version"),
        (lambda given: given["message"].update(version=True), "message.version"),
        (lambda given: given["message"].update(patient="anna"), "message.patient"),
        (lambda given: given["message"].update(blinded="0x12"), "message.blinded"),
        (lambda given: given["message"].update(terms="0x" + "00" * 32), "message.terms"),
        (lambda given: given["message"].pop("epoch"), "message.epoch"),
    ],
)
def test_what_is_malformed_is_named_by_its_place(outbox, record_cargo, grant, change, where):
    given = wire.document(grant(0, 1))
    change(given)
    (answer,) = Intake(outbox, record_cargo, RECORD_LIMITS, lambda: 1).accept([given])
    assert (reason(answer), answer.values["at"]) == ("Malformed", where)


@pytest.mark.parametrize("given", [None, 5, "grant", [], {}])
def test_what_is_no_message_at_all_is_malformed(outbox, record_cargo, given):
    (answer,) = Intake(outbox, record_cargo, RECORD_LIMITS, lambda: 1).accept([given])
    assert reason(answer) == "Malformed"


def test_what_the_contract_would_refuse_is_refused_at_the_door(hand_over, records, hospital, anvil):
    """Each would cost its whole transaction: strangers' words, emergencies without an office, recoveries by nobody."""
    patient, mallory = wallet(PATIENT), wallet(900)
    whose, later = patient.address, records.now() + 3600
    refused = {
        records.revoke_all(mallory, patient=whose): "WrongSigner",
        records.set_recovery(mallory, 1, 86_400, patient=whose): "WrongSigner",
        records.appoint(mallory, whose, wallet(901).address, ["grant"], LATER): "NotCarriable",
        records.break_glass(mallory, whose, "BTG", later): "NotCarriable",
        records.break_glass(hospital, whose, "BTG", records.now() + 2 * 86_400): "NotCarriable",
        records.dismiss(patient, whose, wallet(1).address, version=5): "OutOfTurn",
        records.revoke_for(mallory, whose, wallet(901).address, b"\1" * 32): "WrongSigner",
        Approved.of([records.recover(wallet(902), whose, mallory.address)]): "NotCarriable",
    }
    assert [reason(answer) for answer in hand_over(*refused)] == list(refused.values())
    assert anvil.w3.eth.get_transaction_count(funded(1).address) == 0


def test_a_suspended_organisation_breaks_nothing(hand_over, records, hospital, anvil):
    records.suspend(Sender(anvil.w3, funded(0)), hospital.address)
    (answer,) = hand_over(records.break_glass(hospital, wallet(PATIENT).address, "BTG", records.now() + 3600))
    assert (reason(answer), answer.values) == ("NotCarriable", {"outcome": "RecordsNotEmergencyService"})


# ---------------------------------------------------------------------- in their turn


def test_a_revoke_right_behind_its_grant_lands_right_behind_it(hand_over, relayer, outbox, records, grant, revoke):
    """Whoever granted by mistake need not wait for the grant to land: both are in one block."""
    wrong, end = grant(0, 1), revoke(0, 1, version=2)
    hand_over(wrong)
    (answer,) = hand_over(end)
    assert isinstance(answer, Row)
    run(relayer)
    assert status(outbox, wrong, end) == ["carried", "carried"]
    assert len({outbox.get(item.id.to_0x_hex()).block for item in (wrong, end)}) == 1
    assert records.state(wrong.message.patient, wrong.message.blinded).terms == bytes(22)


def test_a_version_on_its_way_is_taken_and_one_with_a_gap_is_not(hand_over, grant, revoke):
    hand_over(grant(0, 1))
    assert [reason(answer) for answer in hand_over(revoke(0, 1), revoke(0, 1, version=3))] == [
        "NonceQueued",
        "OutOfTurn",
    ]


def test_what_waits_for_another_ends_with_it(hand_over, outbox, record_cargo, cargo, grant, revoke, anvil, clock):
    """The first expires before a transaction is made: the second can never land, and is not kept for ever."""
    slow = Relayer(anvil.w3, funded(1), outbox, [cargo, record_cargo], Pace(wait=0, fresh=0), clock=clock)
    first = grant(0, 1, deadline=int(clock()) + 60)
    second = revoke(0, 1, version=2)
    assert [reason(answer) for answer in hand_over(first, second)] == [None, None]
    anvil.rpc("evm_setNextBlockTimestamp", int(clock()) + 120)
    anvil.rpc("evm_mine")
    run(slow)
    assert status(outbox, first, second) == ["failed:RecordsExpired", "failed:RecordsWrongVersion"]


def test_alone_ones_in_a_row_land_in_their_order(hand_over, relayer, outbox, records):
    patient, guardian = wallet(PATIENT), wallet(701).address
    items = [
        records.appoint(patient, patient.address, guardian, ["read"], LATER, version=1),
        records.dismiss(patient, patient.address, guardian, version=2),
        records.appoint(patient, patient.address, guardian, ["grant"], LATER, version=3),
    ]
    assert [reason(answer) for answer in hand_over(*items)] == [None] * 3
    run(relayer)
    assert status(outbox, *items) == ["carried"] * 3
    assert records.may_act(patient.address, guardian, ["grant"])


# ---------------------------------------------------------------------- strangers, and a world that moves


def test_a_stranger_who_carries_first_changes_nothing(hand_over, relayer, outbox, records, grant, stranger):
    items = [grant(0, 1), grant(1, 1)]
    alone = records.set_emergency(wallet(PATIENT + 2), False)
    hand_over(*items, alone)
    receipts = [records.carry(item, stranger) for item in (items[0], alone)]
    run(relayer)
    assert status(outbox, *items, alone) == ["carried"] * 3
    for item, receipt in zip((items[0], alone), receipts, strict=True):
        assert outbox.get(item.id.to_0x_hex()).transaction == receipt["transactionHash"].to_0x_hex()
    assert {version(records, item) for item in items} == {1}


@pytest.mark.parametrize("alone", [False, True])
def test_a_stranger_between_dry_run_and_block_changes_nothing_either(
    hand_over, relayer, outbox, records, grant, anvil, alone
):
    item = records.set_emergency(wallet(PATIENT), False) if alone else grant(0, 1)
    hand_over(item, grant(1, 1))
    anvil.rpc("anvil_setAutomine", False)
    relayer.tick()
    fields = {"from": funded(5).address, "gas": 200_000, "maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**12}
    function(records, item).transact(fields)
    anvil.rpc("evm_mine")
    run(relayer)
    assert status(outbox, item, grant(1, 1)) == ["carried", "carried"]
    row = outbox.get(item.id.to_0x_hex())
    assert anvil.w3.eth.get_transaction_receipt(row.transaction)["from"] == funded(5).address


def test_a_grant_superseded_on_its_way_fails_by_the_chain_and_nothing_else_does(
    hand_over, relayer, outbox, records, grant, revoke, stranger
):
    """The patient has a carrier kill the grant that the relayer keeps waiting."""
    mistake, other = grant(0, 1), grant(1, 1)
    hand_over(mistake, other)
    records.carry(revoke(0, 1), stranger)
    run(relayer)
    assert status(outbox, mistake, other) == ["failed:RecordsWrongVersion", "carried"]
    assert records.state(mistake.message.patient, mistake.message.blinded).terms == bytes(22)


def test_a_bad_item_in_a_block_stops_nobody_else(
    hand_over, outbox, record_cargo, cargo, records, grant, revoke, anvil, clock
):
    """Superseded between the dry run and the block: skipped by the contract, with its reason."""
    quick = Relayer(anvil.w3, funded(1), outbox, [cargo, record_cargo], Pace(wait=0), clock=clock)
    bad, good = grant(0, 1), [grant(number, 1) for number in range(1, 4)]
    hand_over(good[0], bad, *good[1:])
    anvil.rpc("anvil_setAutomine", False)
    quick.tick()
    fields = {"from": funded(5).address, "gas": 200_000, "maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**12}
    records.function(revoke(0, 1)).transact(fields)
    anvil.rpc("evm_mine")
    run(quick)
    assert status(outbox, bad, *good) == ["failed:RecordsWrongVersion", *["carried"] * 3]
    assert outbox.get(bad.id.to_0x_hex()).transaction == outbox.get(good[0].id.to_0x_hex()).transaction


def test_an_alone_one_that_reverts_in_its_block_is_tried_no_more_than_twice(
    hand_over, outbox, record_cargo, cargo, records, anvil, clock, monkeypatch
):
    """A wallet that says yes to the dry run and no to the block costs the sponsor two transactions, not more."""
    relayer = Relayer(anvil.w3, funded(1), outbox, [cargo, record_cargo], NOW, clock=clock)
    item = records.set_emergency(wallet(PATIENT), False)
    hand_over(item)
    monkeypatch.setattr(record_cargo, "dry_run", lambda entries, *_, **__: [None] * len(entries))
    load = record_cargo.load

    def starve(entries):
        freight = load(entries)
        return type(freight)(freight.to, freight.data, 30_000, [])

    monkeypatch.setattr(record_cargo, "load", starve)
    before = anvil.w3.eth.get_transaction_count(funded(1).address)
    run(relayer, 20)
    assert status(outbox, item) == ["failed:Reverted"]
    assert anvil.w3.eth.get_transaction_count(funded(1).address) == before + 2


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("step", ["claim", "load", "_sign", "add_sending", "_broadcast"])
def test_a_death_at_any_step_loses_and_doubles_nothing(
    hand_over, relayer, outbox, cargo, record_cargo, records, grant, anvil, clock, step, alone, monkeypatch
):
    items = [records.set_emergency(wallet(PATIENT), False)] if alone else [grant(0, 1), grant(1, 2)]
    hand_over(*items)
    target = {"claim": outbox, "add_sending": outbox, "load": record_cargo}.get(step, relayer)

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, step, die)
        with pytest.raises(Killed):
            relayer.tick()
    fresh = Relayer(anvil.w3, funded(1), outbox, [cargo, record_cargo], NOW, clock=clock)
    clock.ahead = 31  # the dead one's claim ends by itself
    run(fresh)
    assert status(outbox, *items) == ["carried"] * len(items)
    if alone:
        assert records.emergency_word(items[0].message.patient) == (False, 1)
    else:
        assert {version(records, item) for item in items} == {1}


@pytest.mark.parametrize("confirmations", [1, 3])
def test_a_reorganisation_carries_everything_once(
    hand_over, outbox, cargo, record_cargo, records, grant, anvil, clock, confirmations
):
    pace = Pace(wait=0, fresh=0, confirmations=confirmations)
    relayer = Relayer(anvil.w3, funded(1), outbox, [cargo, record_cargo], pace, clock=clock)
    items = [grant(0, 1), records.set_emergency(wallet(PATIENT), False)]
    hand_over(*items)
    anvil.rpc("anvil_mine", "0x5")
    relayer.tick()
    relayer.tick()
    assert status(outbox, *items) == (["carried"] * 2 if confirmations == 1 else ["mined"] * 2)
    anvil.rpc("anvil_rollback", 2)
    assert version(records, items[0]) == 0
    run(relayer)
    anvil.rpc("anvil_mine", "0x3")
    run(relayer)
    assert status(outbox, *items) == ["carried", "carried"]
    assert version(records, items[0]) == 1


def test_a_dead_relayers_grants_are_finished_by_another(
    hand_over, relayer, outbox, cargo, record_cargo, records, grant, anvil, clock
):
    item = grant(0, 1)
    hand_over(item)
    anvil.rpc("anvil_setAutomine", False)
    relayer.tick()
    (batch,) = outbox.batches("open")
    anvil.rpc("anvil_dropTransaction", batch.sendings[0].hash)
    anvil.rpc("anvil_setAutomine", True)
    other = Relayer(anvil.w3, funded(2), outbox, [cargo, record_cargo], NOW, clock=clock)
    clock.ahead = 31
    run(other)
    assert status(outbox, item) == ["carried"]
    assert version(records, item) == 1


def test_one_that_carries_payments_alone_leaves_records_to_others(hand_over, outbox, cargo, grant, anvil, clock):
    item = grant(0, 1)
    hand_over(item)
    run(Relayer(anvil.w3, funded(2), outbox, [cargo], NOW, clock=clock))
    assert status(outbox, item) == ["queued"]


# ---------------------------------------------------------------------- draining the sponsor


def test_the_quota_of_a_pseudonym_and_what_ends_a_grant_has_as_much_again(hand_over, grant, revoke, clock):
    limits = Limits(per_account=3, budget=10**18)
    grants = [grant(0, number) for number in range(4)]
    assert [reason(each) for each in hand_over(*grants, limits=limits)] == [None] * 3 + ["QuotaExceeded"]
    ends = [revoke(0, number, version=2) for number in range(3)] + [revoke(0, 9)]
    answers = hand_over(*ends, limits=limits)
    assert [reason(each) for each in answers] == [None] * 3 + ["QuotaExceeded"]
    assert answers[3].values == {"used": 6, "quota": 6}
    clock.ahead = 86_400
    assert isinstance(hand_over(grant(0, 5, deadline=2**40), limits=limits)[0], Row)


def test_a_bundle_counts_for_its_grants(hand_over, records):
    grants = [(wallet(number).address, b"\1" * 32, TERMS) for number in range(4)]
    (answer,) = hand_over(records.bundle(wallet(PATIENT), grants)[0], limits=Limits(per_account=3, budget=10**18))
    assert reason(answer) == "QuotaExceeded"


def test_a_guardian_uses_up_its_own_quota_and_not_the_patients(hand_over, relayer, records, grant):
    patient, aunt, limits = wallet(PATIENT), wallet(701), Limits(per_account=2, budget=10**18)
    hand_over(records.appoint(patient, patient.address, aunt.address, ["grant"], LATER), limits=limits)
    run(relayer)
    grants = [records.grant_for(aunt, patient.address, wallet(n).address, b"\1" * 32, TERMS)[0] for n in range(4)]
    answers = hand_over(*grants, limits=limits)
    assert [reason(each) for each in answers] == [None, None, "QuotaExceeded", "QuotaExceeded"]
    assert isinstance(hand_over(grant(0, 1), limits=limits)[0], Row)


def test_any_number_of_pseudonyms_spends_no_more_than_the_days_budget(
    hand_over, accept, relayer, outbox, pay, grant, records, hospital, anvil, clock
):
    """Pseudonyms cost nothing: only the budget bounds them. Payments have another; emergencies its last tenth."""
    limits = Limits(per_account=20, budget=4 * 10**15)
    before = anvil.w3.eth.get_balance(funded(1).address)
    reasons = set()
    for number in range(0, 400, 4):
        reasons |= {reason(each) for each in hand_over(*(grant(number + k, 1) for k in range(4)), limits=limits)}
        run(relayer, 3)
        if "BudgetSpent" in reasons:
            break
    spent = before - anvil.w3.eth.get_balance(funded(1).address)
    assert reasons == {None, "BudgetSpent"}
    assert limits.budget // 3 < spent <= limits.budget * 9 // 10
    assert isinstance(accept(pay(0, 1, 1, 0), limits=Limits(budget=10**15))[0], Row)
    emergency = records.break_glass(hospital, wallet(PATIENT).address, "BTG", records.now() + 3600)
    assert isinstance(hand_over(emergency, limits=limits)[0], Row)
    run(relayer)
    assert before - anvil.w3.eth.get_balance(funded(1).address) <= limits.budget + 10**15
    clock.ahead = 86_400
    assert isinstance(hand_over(grant(500, 1, deadline=2**40), limits=limits)[0], Row)


def test_an_organisation_counts_as_itself_and_no_further_than_the_registry_says(
    hand_over, relayer, outbox, records, hospital
):
    """Five emergencies a day: the relayer's own quota does not stand in their way, the registry's does."""
    limits = Limits(per_account=1, budget=10**18)
    answers = []
    for number in range(6):
        later = records.now() + 3600
        answers += hand_over(
            records.break_glass(hospital, wallet(PATIENT + number).address, "BTG", later), limits=limits
        )
        run(relayer)
    assert [reason(each) for each in answers] == [None] * 5 + ["NotCarriable"]
    assert answers[5].values == {"outcome": "RecordsQuotaUsed"}


# ---------------------------------------------------------------------- privacy


def test_the_outbox_holds_no_more_than_the_chain_will_show(hand_over, relayer, outbox, grant, tmp_path):
    """No salt, no grantee, no terms: the message's commitment is all that the relayer ever sees."""
    item = grant(0, 1)
    hand_over(item)
    run(relayer)
    outbox.close()
    raw = (tmp_path / "relay.db").read_bytes()
    assert item.message.patient[2:].lower().encode() in raw.lower()
    assert wallet(1).address[2:].lower().encode() not in raw.lower()
    assert b"\1" * 32 not in raw
    assert ("01" * 32).encode() not in raw


def test_payments_changes_do_not_tell_of_records(hand_over, accept, outbox, pay, grant):
    payment, item = pay(0, 1, 5), grant(0, 1)
    accept(payment)
    hand_over(item)
    assert {change.id for change in outbox.changes(0, 100)} == {payment.id.to_0x_hex()}
    assert [change.id for change in outbox.changes(0, 100, kind="record")] == [item.id.to_0x_hex()]
    assert outbox.get(item.id.to_0x_hex(), "payment") is None


def test_an_outbox_of_the_release_before_is_refused(tmp_path):
    made = Outbox(f"sqlite:///{tmp_path}/old.db")
    with made.write() as connection:
        connection.execute(text("UPDATE schema SET version = 1"))
    made.close()
    with pytest.raises(Exception, match="version 1") as caught:
        Outbox(f"sqlite:///{tmp_path}/old.db")
    assert not isinstance(caught.value, RelayRefused)
