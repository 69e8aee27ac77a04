"""The index: rows come back as they were, are found by what they are about, and go with their block."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liggare.chain.feed import Block
from liggare.errors import IndexUnavailable
from liggare.ledger.events import Events
from liggare.ledger.index import ABOUT, Index, about
from liggare.ledger.queries import Ledger
from tests.ledger.test_events import EVENTS, RECORD, log_of


def kept(index, ledger):
    """Return all rows of a ledger, in chain order."""
    return list(Ledger(index, ledger).rows())


def block(number, fork=0):
    return Block(number, f"0x{number:062x}{fork:02x}", f"0x{number - 1:062x}{fork:02x}", 1_800_000_000 + number, 0)


def rows_of(number, fork=0, names=None):
    """Return a row of each event (or of those named), in one block."""
    here, rows = block(number, fork), []
    for place, (contract, item) in enumerate(EVENTS):
        if names is None or item["name"] in names:
            log = {**log_of(contract, item), "blockNumber": hex(number), "blockHash": here.hash}
            rows += Events(RECORD).rows([{**log, "logIndex": hex(place)}], [here])
    return rows


@pytest.fixture
def ledger(index):
    """A ledger of which nothing but its first block is read."""
    number = index.ledger(RECORD)
    assert index.add(number, None, [block(1)], [])
    return number


def test_every_event_comes_back_as_it_was(index, ledger):
    rows = rows_of(2)
    assert index.add(ledger, block(1), [block(2)], rows)
    assert kept(index, ledger) == rows
    assert index.read_to(ledger) == block(2)


def test_rows_are_found_by_all_they_are_about(index, ledger):
    rows = rows_of(2)
    index.add(ledger, block(1), [block(2)], rows)
    look = Ledger(index, ledger)
    for row in rows:
        for term in about(row):
            assert row in look.about(term, most=500).rows, term
        for value in row.arguments.values():
            if isinstance(value, str) and len(value) == 42:
                assert row in look.about(value, most=500).rows


def test_a_batch_is_found_by_each_of_its_slots():
    (row,) = rows_of(2, names={"ReadingsTaken"})
    row = replace(row, arguments={**row.arguments, "firstSlot": 10, "count": 3})
    assert about(row) == {"event:EnergyMarket.ReadingsTaken", "slot:10", "slot:11", "slot:12"}
    huge = replace(row, arguments={**row.arguments, "firstSlot": 10, "count": 2**200})
    assert len(about(huge)) == 1025


def test_what_says_nothing_is_no_term():
    (row,) = rows_of(2, names={"Transfer"})
    row = replace(row, arguments={"from": "0x" + "00" * 20, "to": "0x" + "Ab" * 20, "value": 1})
    assert about(row) == {"event:ZeroFeePayments.Transfer", "0x" + "ab" * 20}


def test_what_is_read_already_is_not_taken_in_again(index, ledger):
    rows = rows_of(2)
    assert index.add(ledger, block(1), [block(2)], rows)
    assert not index.add(ledger, block(1), [block(2)], rows)
    assert not index.add(ledger, None, [block(1)], [])
    assert not index.add(ledger, block(1, fork=1), [block(2, fork=1)], rows_of(2, fork=1))
    assert kept(index, ledger) == rows


def test_ledgers_side_by_side_do_not_mix(index, ledger):
    other = index.ledger(replace(RECORD, genesis="0xbeef"))
    assert other != ledger
    assert index.ledger(RECORD) == ledger
    index.add(other, None, [block(1)], [])
    mine, theirs = rows_of(2, names={"Transfer"}), rows_of(2, names={"Granted"})
    index.add(ledger, block(1), [block(2)], mine)
    index.add(other, block(1), [block(2)], theirs)
    index.cut(other, block(1))
    assert (kept(index, ledger), kept(index, other)) == (mine, [])


def test_a_block_that_is_cut_goes_with_all_that_is_of_it(index, ledger):
    before = rows_of(2)
    index.add(ledger, block(1), [block(2)], before)
    totals = Ledger(index, ledger).totals()
    later = rows_of(3) + rows_of(4)
    index.add(ledger, block(2), [block(3), block(4)], later)
    assert Ledger(index, ledger).totals()["ZeroFeePayments.Transfer"].count == 3
    assert index.cut(ledger, block(2)) == len(later)
    assert kept(index, ledger) == before
    assert Ledger(index, ledger).totals() == totals
    with index.database.read() as connection:
        keys = {each.key for each in connection.execute(ABOUT.select())}
    assert len(keys) == len(before)
    assert index.add(ledger, block(2), [block(3)], rows_of(3))


def test_totals_are_exact_beyond_64_bits(index, ledger):
    (row,) = rows_of(2, names={"Approval"})
    rows = [replace(row, log_index=n, arguments={**row.arguments, "value": 2**255 + n}) for n in range(3)]
    index.add(ledger, block(1), [block(2)], rows)
    total = Ledger(index, ledger).totals()["ZeroFeePayments.Approval"]
    assert (total.count, total.value) == (3, 3 * 2**255 + 3)


def test_a_death_half_way_leaves_nothing_half(index, ledger, database, monkeypatch):
    honest = Index._insert

    def dies(self, connection, table, values):
        honest(self, connection, table, values)
        if table is ABOUT:
            raise KeyboardInterrupt

    monkeypatch.setattr(Index, "_insert", dies)
    with pytest.raises(KeyboardInterrupt):
        index.add(ledger, block(1), [block(2)], rows_of(2))
    monkeypatch.undo()
    with Index(database) as again:
        assert (kept(again, ledger), again.read_to(ledger)) == ([], block(1))
        assert Ledger(again, ledger).totals() == {}
        assert again.add(ledger, block(1), [block(2)], rows_of(2))


def test_a_database_that_is_not_there_is_named(tmp_path):
    with pytest.raises(IndexUnavailable, match="does not answer"):
        Index(f"sqlite:///{tmp_path}/none/index.db")
