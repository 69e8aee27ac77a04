"""The outbox on SQLite and on PostgreSQL: nothing half-done, nothing claimed twice, and what is there stays."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from liggare.chain.worker import Form
from liggare.errors import OutboxUnavailable, SettingsError
from liggare.relay.outbox import Account, Entry, Lane, Outbox, Result, Status

PAYMENTS = Lane("payment")


@pytest.fixture
def outbox(database):
    """An empty outbox of either kind."""
    made = Outbox(database)
    yield made
    made.close()


def entry(number: int, **changes) -> Entry:
    members = {
        "id": f"0x{number:064x}",
        "kind": "payment",
        "alone": False,
        "account": "0x" + "aa" * 20,
        "nonce": f"0x{number:064x}",
        "total": 2**100 + number,
        "units": 1,
        "gas": 20_000,
        "body": "{}",
        "signature": b"\x01",
    }
    return Entry(**{**members, **changes})


def put(outbox, *entries, now=1000.0) -> None:
    with outbox.write() as connection:
        outbox.put(connection, entries, {each.account: each.account for each in entries}, now)


BATCH = {
    "kind": "payment",
    "sender": "0x" + "bb" * 20,
    "nonce": 0,
    "to": "0x" + "cc" * 20,
    "data": b"\x02",
    "access": "[]",
    "gas": 100,
}
FACTS = {"transaction": "0x" + "dd" * 32, "block": 7, "block_hash": "0x" + "ee" * 32, "gas_used": 90, "cost": "900"}


def book(outbox, claimer, ids, **changes):
    with outbox.write() as connection:
        return outbox.book(connection, claimer, ids, {**BATCH, "cost": "0", **changes}, 1000.0)


def test_a_message_goes_all_the_way(outbox):
    put(outbox, entry(1), entry(2))
    rows = outbox.claim("one", PAYMENTS, 10, 1030.0, 1000.0)
    assert [row.total for row in rows] == [2**100 + 1, 2**100 + 2]
    batch = book(outbox, "one", [row.id for row in rows])
    sending = Form("0x" + "ff" * 32, b"raw", 5, 1, 1000.0)
    with outbox.write() as connection:
        outbox.add_sending(connection, batch, sending)
        assert outbox.committed_cost(connection, "payment", 0) == 500
    assert outbox.batches("open")[0].sendings == (sending,)
    assert outbox.mine(batch, FACTS, 1001.0)
    assert outbox.counts() == {"queued": 0, "sent": 0, "mined": 2, "paid": 0, "carried": 0, "failed": 0}
    results = [
        Result(rows[0].id, None, FACTS["transaction"], 7),
        Result(rows[1].id, "Expired", FACTS["transaction"], 7),
    ]
    assert outbox.settle(batch, results, FACTS, 1002.0)
    assert [outbox.get(row.id).status for row in rows] == [Status.PAID, Status.FAILED]
    assert not outbox.settle(batch, results, FACTS, 1003.0)  # only once
    steps = [(change.id[-1], change.status.value) for change in outbox.changes(0, 100)]
    assert [step for each, step in steps if each == "1"] == ["queued", "sent", "mined", "paid"]
    assert [step for each, step in steps if each == "2"] == ["queued", "sent", "mined", "failed"]
    with outbox.read() as connection:
        assert outbox.committed_cost(connection, "payment", 0) == 900


def test_an_end_is_an_end(outbox):
    put(outbox, entry(1))
    outbox.finish([Result(entry(1).id, "Expired")], 1001.0)
    outbox.finish([Result(entry(1).id, None, "0x1", 5)], 1002.0)
    assert outbox.get(entry(1).id).status is Status.FAILED
    assert [change.status.value for change in outbox.changes(0, 10)] == ["queued", "failed"]


def test_a_claim_is_one_relayers_until_it_ends(outbox):
    put(outbox, *[entry(number) for number in range(4)])
    assert len(outbox.claim("one", PAYMENTS, 3, 1030.0, 1000.0)) == 3
    assert len(outbox.claim("two", PAYMENTS, 3, 1030.0, 1000.0)) == 1
    assert len(outbox.claim("one", PAYMENTS, 9, 1030.0, 1000.0)) == 3
    assert len(outbox.claim("two", PAYMENTS, 9, 1060.0, 1030.0)) == 4
    ids = [entry(number).id for number in range(3)]
    assert book(outbox, "one", ids) is None  # its claim has ended, another has them
    assert outbox.counts()["queued"] == 4


def test_what_must_land_in_order_waits_for_what_another_has(outbox):
    """A relayer killed between claim and sending, and two side by side, once let a later version land first."""
    kind = {"kind": "record"}
    grants, alone = Lane("record", ordered=True), Lane("record", alone=True, ordered=True)
    other = "0x" + "ab" * 20
    put(outbox, entry(1, **kind), entry(2, **kind), entry(3, **kind, alone=True), entry(4, **kind, account=other))

    def claim(name, lane, limit, now, sender="theirs"):
        return [int(row.id, 16) for row in outbox.claim(name, lane, limit, now + 30, now, sender)]

    assert claim("one", grants, 1, 1000.0) == [1]
    assert outbox.waiting("two", grants, 1000.0, "ours") == (1, 1000.0)
    assert claim("two", grants, 9, 1000.0) == [4]
    assert claim("two", alone, 9, 1000.0) == []
    assert claim("two", grants, 9, 1031.0) == [1, 2, 4]  # the claim has ended
    book(outbox, "two", [entry(1).id], sender="ours")
    assert claim("two", grants, 9, 1031.0, "ours") == [2, 4]  # the chain takes a sender's transactions in their order
    assert claim("three", alone, 9, 1070.0, "theirs") == []  # but not another's after ours
    outbox.mine(outbox.batches("open")[0].id, FACTS, 1070.0)
    assert claim("three", alone, 9, 1070.0, "theirs") == [3]


def test_many_claimers_never_share_a_message(outbox):
    put(outbox, *[entry(number) for number in range(200)])
    taken: dict[str, list[str]] = {}

    def work(name):
        taken[name] = []
        while found := [row.id for row in outbox.claim(name, PAYMENTS, 7, time.time() + 60, time.time())]:
            taken[name] += found
            with outbox.write() as connection:
                nonce = outbox.free_nonce(connection, name, 0)
                changes = {"sender": name, "nonce": nonce, "cost": "0"}
                assert outbox.book(connection, name, found, {**BATCH, **changes}, time.time())

    threads = [threading.Thread(target=work, args=(f"worker{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_ids = [each for ids in taken.values() for each in ids]
    assert len(all_ids) == len(set(all_ids)) == 200


def test_a_nonce_of_a_payer_stands_once_among_those_on_their_way(outbox):
    put(outbox, entry(1, nonce="0x7"))
    with pytest.raises(IntegrityError):
        put(outbox, entry(2, nonce="0x7"), entry(3))
    assert outbox.get(entry(3).id) is None  # nothing of it is there
    outbox.finish([Result(entry(1).id, "Expired")], 1001.0)
    put(outbox, entry(2, nonce="0x7"))


def test_a_sender_uses_a_nonce_once_unless_it_died(outbox):
    put(outbox, entry(1), entry(2))
    outbox.claim("one", PAYMENTS, 9, 1030.0, 1000.0)
    first = book(outbox, "one", [entry(1).id])
    with pytest.raises(IntegrityError):
        book(outbox, "one", [entry(2).id])
    with outbox.write() as connection:
        assert outbox.free_nonce(connection, BATCH["sender"], 0) == 1
    assert outbox.bury(first, {}, 1001.0)
    assert outbox.get(entry(1).id).status is Status.QUEUED
    with outbox.write() as connection:
        assert outbox.free_nonce(connection, BATCH["sender"], 0) == 0


def test_a_reorganised_batch_is_open_again(outbox):
    put(outbox, entry(1))
    outbox.claim("one", PAYMENTS, 9, 1030.0, 1000.0)
    batch = book(outbox, "one", [entry(1).id])
    assert outbox.mine(batch, FACTS, 1001.0)
    assert outbox.unmine(batch, 1002.0)
    assert not outbox.unmine(batch, 1002.0)
    row = outbox.get(entry(1).id)
    assert (row.status, row.transaction, row.block) == (Status.SENT, None, None)


def test_quotas_are_counted_by_root_and_day(outbox):
    with outbox.write() as connection:
        outbox.put(
            connection, [entry(1, units=5), entry(2, account="0xb")], {entry(1).account: "r", "0xb": "r"}, 1000.0
        )
        outbox.put(connection, [entry(3)], {entry(3).account: "r"}, 1000.0 + 86_400)
        outbox.meet(connection, [Account("x", "r", 0), Account("y", "r", 0), Account("z", "r", 1)])
        outbox.meet(connection, [Account("x", "other", 0)])  # who is known stays as he is known
    with outbox.read() as connection:
        assert outbox.spent_units(connection, "payment", ["r", "s"], 0) == {"r": 6}
        assert outbox.newcomers(connection, ["r"], 0) == {"r": 2}
        assert outbox.known_accounts(connection, ["x", "w"]) == {"x": Account("x", "r", 0)}


def test_changes_are_told_from_any_point_on(outbox):
    put(outbox, *[entry(number) for number in range(5)])
    all_ = outbox.changes(0, 100)
    assert [change.seq for change in all_] == sorted(change.seq for change in all_)
    assert outbox.changes(all_[2].seq, 100) == all_[3:]
    assert outbox.changes(0, 2) == all_[:2]
    assert [change.id for change in outbox.changes(0, 100, ids=[entry(3).id])] == [entry(3).id]
    assert outbox.changes(0, 100, account="0x" + "ab" * 20) == []
    assert outbox.last_change() == all_[-1].seq


def test_another_release_of_the_tables_is_refused(database, outbox):
    with outbox.write() as connection:
        connection.execute(text("UPDATE schema SET version = 99"))
    with pytest.raises(SettingsError, match="version 99"):
        Outbox(database)


def test_what_was_written_is_there_after_a_restart(database, outbox):
    put(outbox, entry(1))
    outbox.close()
    again = Outbox(database)
    assert again.get(entry(1).id).total == 2**100 + 1
    again.close()


@pytest.mark.parametrize("url", ["relay.db", "nonsense://x", ""])
def test_a_url_that_is_none(url):
    with pytest.raises(SettingsError, match=r"is none, such as"):
        Outbox(url)


def test_a_database_that_is_not_there_is_named_without_its_password():
    with pytest.raises(OutboxUnavailable) as caught:
        Outbox("postgresql://me:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in str(caught.value)


def test_a_failure_in_a_transaction_undoes_it(outbox):
    class Death(BaseException):
        pass

    def die_before_the_commit():
        with outbox.write() as connection:
            outbox.put(connection, [entry(1)], {entry(1).account: "r"}, 1000.0)
            raise Death

    with pytest.raises(Death):
        die_before_the_commit()
    assert outbox.get(entry(1).id) is None
