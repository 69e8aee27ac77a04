"""The operator, tick by tick: slots are settled once and rightly, whatever breaks off, and whoever else is at work."""

from __future__ import annotations

import pytest
from web3.exceptions import Web3Exception

from liggare.energy.intake import Limits
from liggare.energy.operator import Pace
from liggare.energy.wire import Deposit, SignedDeposit, SignedOrder, SignedWithdrawal, document
from liggare.errors import MarketRefused
from tests.energy.operator.town import ANNA, BO, CIA, SUN
from tests.nodes import KRONA


def test_a_slot_is_cleared_when_its_gate_opens(town, desk):
    first = town.first
    town.go_to(first + 1, 10)
    assert [each.new for each in desk.take(town.documents(town.read(first)))] == [True] * 3
    desk.run()
    assert town.cleared() == {}
    town.end_of(first)
    desk.run()
    assert town.cleared()[first]["volume"] == 800
    assert town.cleared()[first]["price"] == 1_000
    assert town.energy.next_slot() == first + 1
    assert town.missing() == set()
    assert desk.store.open() == []


def test_many_slots_of_one_signature_are_cleared_at_once(town, desk_at, database):
    desk = desk_at(database, pace=Pace(slots=16, settle_in=0))
    town.end_of(town.first + 39)
    for first, count in ((town.first, 16), (town.first + 16, 16), (town.first + 32, 8)):
        desk.take(town.documents(town.read(first, count)))
    desk.run(12)
    assert sorted(town.cleared()) == list(range(town.first, town.first + 40))
    blocks = {town.node.w3.eth.get_block(log["blockNumber"])["number"] for log in _logs(town, "ReadingsTaken")}
    assert len(blocks) == 3


def _logs(town, name):
    return town.energy.contract.events[name]().get_logs(from_block=0)


def test_who_is_missing_is_waited_for_within_the_grace_and_marked_after_it(town, desk):
    first = town.first
    town.end_of(first)
    desk.take(town.documents(town.read(first, homes=(ANNA, BO))))
    desk.run()
    assert town.energy.next_slot() == first
    town.end_of(first, 599)
    desk.run()
    assert town.energy.next_slot() == first
    town.end_of(first, 605)
    desk.run()
    assert town.missing() == {(CIA, first)}
    assert town.cleared()[first]["volume"] == 500


def test_a_home_that_was_missing_is_caught_up(town, desk):
    first = town.first
    town.end_of(first, 605)
    desk.take(town.documents(town.read(first, homes=(ANNA, BO))))
    town.meters[CIA].count([SUN[CIA]])
    desk.run()
    town.end_of(first + 1)
    desk.take(town.documents(town.read(first + 1)))
    desk.run()
    assert town.cleared()[first + 1]["volume"] == 800
    assert town.energy.contract.functions.countersOf(CIA).call() == [600, 0]


def test_nobody_is_marked_just_after_the_operator_came_back(town, desk_at, tmp_path):
    first = town.first
    town.end_of(first, 605)
    clock = _Clock(town.energy.begins(first + 1) + 605)
    desk = desk_at(f"sqlite:///{tmp_path}/late.db", pace=Pace(settle_in=30), clock=clock)
    desk.take(town.documents(town.read(first, homes=(ANNA, BO))))
    desk.run()
    assert town.missing() == set()
    desk.take(town.documents(town.read(first, homes=(CIA,))))
    desk.run()
    assert town.cleared()[first]["volume"] == 800


class _Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_slots_that_nobody_measured_are_closed_after_the_timeout(town, desk):
    first = town.first
    town.go_to(first + 4, 86_400 + 5)
    desk.run()
    assert town.closed() == [(first, first + 4)]
    assert town.energy.next_slot() == first + 4


def test_a_slot_without_any_reading_before_one_that_has_them_is_passed_after_its_grace(town, desk):
    first = town.first
    for meter, counted in zip(town.meters.values(), SUN.values(), strict=True):
        meter.count([counted])
    town.end_of(first + 1, 605)
    desk.take(town.documents(town.read(first + 1)))
    desk.run()
    assert sorted(town.cleared()) == [first, first + 1]
    assert town.cleared()[first + 1]["volume"] == 800


def test_a_home_joins_and_batches_are_cut_there(town, desk_at, tmp_path):
    desk = desk_at(f"sqlite:///{tmp_path}/cut.db", pace=Pace(slots=8, settle_in=0))
    first = town.first
    begin = (first // 8 + 1) * 8
    town.go_to(begin + 2, 5)
    town.energy.register(town.owners[ANNA].address, "0x" + "12" * 20, town.issuer)
    town.end_of(begin + 7)
    desk.intake.moment(fresh=0)
    desk.take(town.documents(town.read(first, begin - first)))
    desk.run()
    assert town.energy.next_slot() == begin
    desk.intake.moment(fresh=0)
    _, upto = desk.operator.wanted()
    assert upto == begin + 3
    desk.take(town.documents(town.read(begin, 3)))
    desk.run()
    assert town.energy.next_slot() == begin + 3


def test_a_posted_reading_is_used(town, desk):
    first = town.first
    town.end_of(first)
    town.energy.post(town.read(first, homes=(CIA,))[CIA], town.issuer)
    desk.take(town.documents(town.read(first, homes=(ANNA, BO))))
    desk.run()
    assert town.cleared()[first]["volume"] == 800
    assert town.missing() == set()


def test_a_home_that_posts_a_slot_in_the_middle_of_a_batch_does_not_stop_the_others(town, desk_at, tmp_path):
    """It gives no batch, but one posted slot may not be left out: the others' batches are posted too, and all go on."""
    desk = desk_at(f"sqlite:///{tmp_path}/mean.db", pace=Pace(slots=4, settle_in=0))
    first = town.first
    count = (first // 4 + 1) * 4 - first
    if count < 2:
        town.end_of(first)
        desk.take(town.documents(town.read(first)))
        desk.run()
        first, count = first + 1, 4
    town.end_of(first + count - 1, 605)
    desk.take(town.documents(town.read(first, count, homes=(ANNA, BO))))
    town.meters[CIA].count([SUN[CIA]])
    town.energy.post(town.read(first + 1, homes=(CIA,))[CIA], town.issuer)
    desk.run(4 * count + 8)
    cleared = town.cleared()
    assert [cleared[slot]["volume"] for slot in range(first, first + count)] == [500, 800] + [500] * (count - 2)
    assert town.posts() == 3


# ---------------------------------------------------------------------- dying between two steps


class Died(BaseException):
    """The process is gone."""


def _die(*_, **__):
    raise Died


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("_store", "booking"),  # before the row
        ("_operator", "_broadcast"),  # between row and send
        ("_operator", "_receipt"),  # between send and block
        ("_store", "end"),  # between block and row
    ],
)
def test_a_slot_survives_a_death_at_each_step(town, desk_at, database, monkeypatch, where, what):
    first = town.first
    town.end_of(first)
    desk = desk_at(database)
    desk.take(town.documents(town.read(first)))
    target = desk.store if where == "_store" else desk.operator
    monkeypatch.setattr(target, what, _die)
    with pytest.raises(Died):
        desk.run()
    again = desk_at(database)
    again.run()
    assert list(town.cleared()) == [first]
    assert town.cleared()[first]["volume"] == 800
    assert again.store.open() == []
    town.end_of(first + 1)
    again.take(town.documents(town.read(first + 1)))
    again.run()
    assert list(town.cleared()) == [first, first + 1]


def test_what_was_written_and_never_sent_is_let_go_where_another_settled_the_slot(town, desk_at, tmp_path, monkeypatch):
    first = town.first
    town.end_of(first)
    signed = town.read(first)
    desk = desk_at(f"sqlite:///{tmp_path}/one.db")
    desk.take(town.documents(signed))
    monkeypatch.setattr(desk.operator, "_broadcast", _die)
    with pytest.raises(Died):
        desk.run()
    town.energy.clear(signed, town.issuer)
    again = desk_at(f"sqlite:///{tmp_path}/one.db")
    again.run()
    assert again.store.open() == []
    used = town.node.w3.eth.get_transaction_count(again.account.address)
    town.end_of(first + 1)
    again.take(town.documents(town.read(first + 1)))
    again.run()
    assert sorted(town.cleared()) == [first, first + 1]
    assert town.node.w3.eth.get_transaction_count(again.account.address) == used + 1


def test_a_block_that_is_taken_back_is_cleared_again(town, desk):
    first = town.first
    town.end_of(first)
    mark = town.node.rpc("evm_snapshot")
    desk.take(town.documents(town.read(first)))
    desk.run()
    assert town.energy.next_slot() == first + 1
    town.node.rpc("evm_revert", mark)
    assert town.energy.next_slot() == first
    desk.run()
    assert town.energy.next_slot() == first + 1
    assert town.cleared()[first]["volume"] == 800


def test_a_transaction_that_waits_too_long_pays_more(town, desk_at, tmp_path):
    first = town.first
    town.end_of(first)
    clock = _Clock(town.energy.begins(first + 1) + 100)
    desk = desk_at(f"sqlite:///{tmp_path}/slow.db", clock=clock)
    town.node.rpc("anvil_setAutomine", False)
    desk.take(town.documents(town.read(first)))
    desk.run(2)
    assert len(desk.store.open()[0].forms) == 1
    clock.now += 31
    desk.run(1)
    forms = desk.store.open()[0].forms
    assert len(forms) == 2
    assert forms[1].max_fee > forms[0].max_fee * 9 // 8
    town.node.rpc("evm_mine")
    town.node.rpc("anvil_setAutomine", True)
    desk.run(2)
    assert list(town.cleared()) == [first]
    assert desk.store.open() == []


def test_a_batch_that_the_contract_refuses_leaves_the_others_alone(town, desk):
    """As where a meter was registered with a key that signs otherwise than the operator checks."""
    first = town.first
    town.end_of(first, 605)
    signed = town.read(first)
    desk.take(town.documents(signed))
    with desk.store._database.write() as connection:
        connection.exec_driver_sql(f"UPDATE market_readings SET signature = x'{'11' * 64}1b' WHERE home = {CIA}")
    desk.run()
    assert town.missing() == {(CIA, first)}
    assert town.cleared()[first]["volume"] == 500


# ---------------------------------------------------------------------- others


def test_a_slot_that_another_cleared_is_taken_as_done(town, desk):
    first = town.first
    town.end_of(first)
    signed = town.read(first)
    desk.take(town.documents(signed))
    town.energy.clear(signed, town.issuer)
    desk.run()
    assert town.node.w3.eth.get_transaction_count(desk.account.address) == 0
    assert list(town.cleared()) == [first]


def test_two_operators_with_nothing_in_common(town, desk_at, tmp_path):
    """Both send the same slot into one block: the contract takes one, the other sees it done and goes on."""
    first = town.first
    desks = [desk_at(f"sqlite:///{tmp_path}/{number}.db", number) for number in (1, 2)]
    for slot in (first, first + 1):
        town.end_of(slot)
        signed = town.read(slot)
        town.node.rpc("anvil_setAutomine", False)
        for desk in desks:
            desk.take(town.documents(signed))
            desk.run(2)
        town.node.rpc("evm_mine")
        town.node.rpc("anvil_setAutomine", True)
        for desk in desks:
            desk.run()
    assert list(town.cleared()) == [first, first + 1]
    counts = [town.node.w3.eth.get_transaction_count(desk.account.address) for desk in desks]
    assert counts == [2, 2]
    assert all(desk.store.open() == [] for desk in desks)


def test_two_operators_on_one_database_share_the_work(town, desk_at, postgres):
    url = postgres.database("shared")
    desks = [desk_at(url, number) for number in (1, 2)]
    first = town.first
    town.end_of(first)
    desks[0].take(town.documents(town.read(first)))
    town.node.rpc("anvil_setAutomine", False)
    for desk in desks:
        desk.run(2)
    town.node.rpc("evm_mine")
    town.node.rpc("anvil_setAutomine", True)
    for desk in desks:
        desk.run()
    assert list(town.cleared()) == [first]
    counts = [town.node.w3.eth.get_transaction_count(desk.account.address) for desk in desks]
    assert sorted(counts) == [0, 1], "only one sends it"


def test_a_dead_operators_transaction_is_finished_by_another(town, desk_at, postgres, monkeypatch):
    url = postgres.database("heirs")
    clock = _Clock(town.energy.begins(town.first + 1) + 100)
    dead, heir = desk_at(url, 1, clock=clock), desk_at(url, 2, clock=clock)
    town.end_of(town.first)
    dead.take(town.documents(town.read(town.first)))
    monkeypatch.setattr(dead.operator, "_broadcast", _die)
    with pytest.raises(Died):
        dead.run()
    heir.run()
    assert town.cleared() == {}, "within its lease it is waited for"
    clock.now += 31
    heir.run()
    assert list(town.cleared()) == [town.first]
    assert heir.store.open() == []


# ---------------------------------------------------------------------- messages


def test_orders_deposits_and_withdrawals_are_carried_for_members_without_ether(town, desk_at, database):
    desk = desk_at(database)
    order = town.wish(CIA, buy=2_400)
    salt, paid = town.payment(CIA, 50 * KRONA, salt=bytes([7]) * 32)
    out = town.energy.withdrawal(town.owners[BO], BO, 20 * KRONA)
    rows = [_hand_in(town, desk, item) for item in (order, (CIA, salt, paid), out)]
    assert {row.status for row in rows} == {"queued"}
    desk.run()
    assert [desk.store.message(row.id).status for row in rows] == ["done"] * 3
    assert town.energy.order_of(CIA, town.first).buy_limit == 2_400
    assert town.energy.balance(CIA) == 1_050 * KRONA
    assert town.payments.balance(town.owners[BO].address) == 20 * KRONA
    assert town.node.w3.eth.get_balance(town.owners[BO].address) == 0
    for row in rows:
        found = desk.store.message(row.id)
        receipt = town.node.w3.eth.get_transaction_receipt(found.transaction)
        assert (receipt["status"], receipt["blockNumber"]) == (1, found.block)


def _hand_in(town, desk, item):
    if isinstance(item, tuple):
        item = Deposit(*item)
    body = document(item, town.energy.domain)
    kinds = {"order": SignedOrder, "deposit": SignedDeposit, "withdrawal": SignedWithdrawal}
    return desk.intake.message(next(kinds[name] for name in kinds if name in body).model_validate(body))


def test_a_message_handed_in_again_is_carried_once(town, desk):
    out = town.energy.withdrawal(town.owners[BO], BO, 20 * KRONA)
    assert _hand_in(town, desk, out) == _hand_in(town, desk, out)
    desk.run()
    assert _hand_in(town, desk, out).status == "done"
    desk.run()
    assert town.payments.balance(town.owners[BO].address) == 20 * KRONA


def test_a_message_that_another_carried_is_done(town, desk):
    out, order = town.energy.withdrawal(town.owners[BO], BO, 20 * KRONA), town.wish(CIA, buy=2_000)
    early = _hand_in(town, desk, out)
    receipt = town.energy.withdraw(out, town.issuer)
    town.energy.carry_order(order, town.issuer)
    assert _hand_in(town, desk, order).status == "done", "the door sees it"
    desk.run()
    row = desk.store.message(early.id)
    assert (row.status, row.transaction) == ("done", receipt["transactionHash"].to_0x_hex())


def test_a_message_that_can_not_be_carried_any_more_fails_by_the_contracts_word(town, desk):
    order = town.wish(CIA, buy=2_000)
    row = _hand_in(town, desk, order)
    town.go_to(town.first, 5)
    desk.run()
    row = desk.store.message(row.id)
    assert (row.status, row.reason) == ("failed", "EnergySlotBegun")


@pytest.mark.parametrize("what", ["_broadcast", "_receipt"])
def test_a_message_survives_a_death(town, desk_at, database, monkeypatch, what):
    desk = desk_at(database)
    row = _hand_in(town, desk, town.energy.withdrawal(town.owners[BO], BO, 20 * KRONA))
    monkeypatch.setattr(desk.operator, what, _die)
    with pytest.raises(Died):
        desk.run()
    again = desk_at(database)
    again.run()
    assert again.store.message(row.id).status == "done"
    assert town.payments.balance(town.owners[BO].address) == 20 * KRONA


def test_messages_do_not_hold_up_slots_nor_slots_messages(town, desk_at, tmp_path):
    desk = desk_at(f"sqlite:///{tmp_path}/busy.db", limits=Limits(per_day=100))
    town.end_of(town.first + 2)
    for slot in range(town.first, town.first + 3):
        desk.take(town.documents(town.read(slot)))
    rows = [_hand_in(town, desk, town.energy.withdrawal(town.owners[BO], BO, KRONA)) for _ in range(20)]
    desk.run(16)
    assert len(town.cleared()) == 3
    assert {desk.store.message(row.id).status for row in rows} == {"done"}


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda town: town.energy.withdrawal(town.owners[ANNA], BO, KRONA), "WrongSigner"),
        (lambda town: town.energy.withdrawal(town.owners[BO], BO, 9_999 * KRONA), "NotCarriable"),
        (lambda town: town.energy.withdrawal(town.owners[BO], 9, KRONA), "HomeUnknown"),
        (lambda town: town.wish(BO, buy=1_000, seq=1), "NotCarriable"),
        (lambda town: (BO, *town.payment(BO, 500)), "DepositTooSmall"),
    ],
)
def test_a_message_is_refused_by_name(town, desk, make, name):
    with pytest.raises(MarketRefused) as caught:
        _hand_in(town, desk, make(town))
    assert caught.value.name == name
    assert desk.store.waiting() == 0


def test_who_asks_too_often_waits_for_the_next_day(town, desk_at, tmp_path):
    desk = desk_at(f"sqlite:///{tmp_path}/quota.db", limits=Limits(per_day=2))
    for _ in range(2):
        _hand_in(town, desk, town.energy.withdrawal(town.owners[BO], BO, KRONA))
    with pytest.raises(MarketRefused) as caught:
        _hand_in(town, desk, town.energy.withdrawal(town.owners[BO], BO, KRONA))
    assert caught.value.name == "QuotaExceeded"
    _hand_in(town, desk, town.energy.withdrawal(town.owners[CIA], CIA, KRONA))


# ---------------------------------------------------------------------- a node that dies


def test_a_node_that_is_gone_stops_nothing_for_good(town, desk, monkeypatch):
    first = town.first
    town.end_of(first)
    desk.take(town.documents(town.read(first)))
    provider = desk.energy.w3.provider
    ask, batch = provider.make_request, provider.make_batch_request

    def gone(*_):
        raise Web3Exception("gone")

    monkeypatch.setattr(provider, "make_request", gone)
    monkeypatch.setattr(provider, "make_batch_request", gone)
    with pytest.raises(Web3Exception):
        desk.run()
    monkeypatch.setattr(provider, "make_request", ask)
    monkeypatch.setattr(provider, "make_batch_request", batch)
    desk.run()
    assert list(town.cleared()) == [first]
