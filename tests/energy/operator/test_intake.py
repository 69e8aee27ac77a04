"""What a meter may not tell: each lie has its name, none is kept, and a contradiction is evidence for anyone."""

from __future__ import annotations

import threading

import pytest

from liggare.energy.batches import MOST_COUNTER
from liggare.energy.intake import Taken
from liggare.energy.meter import Meter
from liggare.energy.store import MOST_CONTRADICTIONS, Store
from liggare.errors import MarketRefused, SettingsError
from scripts.bench_energy_chain import key
from tests.energy.operator.town import ANNA, BO, CIA


def one(town, desk, signed):
    """Hand one batch in; return the name of what became of it."""
    (taken,) = desk.take(town.documents([signed]))
    if isinstance(taken, MarketRefused):
        return taken.name
    return "new" if taken.new else "known"


@pytest.fixture
def bo(town):
    """Bo's meter."""
    return town.meters[BO]


def meter(town, home=BO, imported=0, exported=0):
    """A meter of Bo's key at other counters."""
    return Meter(key(0x1000 + home), home, town.energy.domain, imported=imported, exported=exported)


def test_a_batch_is_taken_once(town, desk, bo):
    town.end_of(town.first)
    signed = bo.read(town.first, [(500, 0)])
    assert [one(town, desk, signed) for _ in range(3)] == ["new", "known", "known"]


def test_a_counter_that_goes_back(town, desk, bo):
    town.end_of(town.first + 2)
    assert one(town, desk, bo.read(town.first, [(500, 0)])) == "new"
    assert one(town, desk, meter(town, imported=499).read(town.first + 1, [(1, 0)])) == "CounterBack"
    assert one(town, desk, meter(town, imported=499).read(town.first + 2, [(1, 0)])) == "CounterBack"


def test_a_counter_that_goes_back_behind_the_chain(town, desk, bo):
    town.end_of(town.first)
    desk.take(town.documents(town.read(town.first)))
    desk.run()
    with desk.store._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM market_readings")
    town.end_of(town.first + 1)
    assert one(town, desk, meter(town, imported=499).read(town.first + 1, [(1, 0)])) == "CounterBack"


def test_a_counter_that_jumps(town, desk, bo):
    town.end_of(town.first + 1)
    assert one(town, desk, bo.read(town.first, [(500, 0)])) == "new"
    assert one(town, desk, meter(town, imported=501).read(town.first + 1, [(1, 0)])) == "CounterGap"


def test_after_a_gap_the_counters_catch_up(town, desk, bo):
    """The line was down for a slot: what was counted in it settles with the grid."""
    town.end_of(town.first + 2)
    assert one(town, desk, bo.read(town.first, [(500, 0)])) == "new"
    bo.count([(500, 0)])
    assert one(town, desk, bo.read(town.first + 2, [(500, 0)])) == "new"


def test_counters_that_the_market_does_not_take(town, desk):
    town.end_of(town.first)
    assert one(town, desk, meter(town, imported=MOST_COUNTER).read(town.first, [(1, 0)])) == "CounterTooHigh"
    assert one(town, desk, meter(town, imported=MOST_COUNTER - 1).read(town.first, [(1, 0)])) == "new"


def test_a_reading_of_a_slot_that_still_runs(town, desk, bo):
    town.end_of(town.first)
    assert one(town, desk, bo.read(town.first, [(500, 0), (500, 0)])) == "Future"


def test_a_foreign_meter(town, desk):
    town.end_of(town.first)
    for number in (0x1000 + ANNA, 0x100 + BO, 0x77):
        stranger = Meter(key(number), BO, town.energy.domain)
        assert one(town, desk, stranger.read(town.first, [(500, 0)])) == "ForeignMeter"


def test_slots_before_the_home_joined_and_after_it_left(town, desk, bo):
    assert one(town, desk, meter(town).read(town.first - 1, [(1, 0)])) in ("HomeAbsent", "Future")
    town.energy.move_out(town.energy.departure(town.owners[BO], BO, last=(0, 0)), town.issuer)
    town.end_of(town.first + 1)
    assert one(town, desk, bo.read(town.first, [(500, 0)])) == "HomeAbsent"


def test_a_meter_that_was_replaced(town, desk):
    """From its slot on the new one signs; a batch across that slot is nobody's."""
    new = key(0x2222)
    town.go_to(town.first, 5)
    town.energy.replace_meter(town.energy.replacement(town.owners[BO], BO, new.address, last=(500, 0)), town.issuer)
    town.end_of(town.first + 1)
    assert one(town, desk, meter(town).read(town.first, [(250, 0), (250, 0)])) == "AcrossChange"
    assert one(town, desk, meter(town).read(town.first, [(500, 0)])) == "new"
    assert one(town, desk, meter(town, imported=500).read(town.first + 1, [(1, 0)])) == "ForeignMeter"
    assert one(town, desk, Meter(new, BO, town.energy.domain).read(town.first + 1, [(1, 0)])) == "new"


def test_settled_slots(town, desk, bo):
    town.end_of(town.first + 1)
    desk.take(town.documents(town.read(town.first, homes=(ANNA, CIA))))
    town.end_of(town.first, 605)
    desk.run()
    assert one(town, desk, bo.read(town.first, [(500, 0)])) == "SlotsSettled"
    assert desk.store.kept(0).get(BO) is None


def test_a_contradiction_is_evidence_and_the_first_batch_stays(town, desk):
    town.end_of(town.first)
    honest, lie = meter(town).read(town.first, [(500, 0)]), meter(town).read(town.first, [(100, 0)])
    assert [one(town, desk, each) for each in (honest, lie, lie, honest)] == [
        "new",
        "Contradiction",
        "Contradiction",
        "known",
    ]
    (pair,) = desk.store.contradictions(BO)
    for batch, signed in ((pair.kept, honest), (pair.refused, lie)):
        assert batch.signed(town.energy.domain) == signed
        batch.signed(town.energy.domain).check(town.meters[BO].address)


def test_a_contradiction_of_slots_that_are_settled_is_evidence_too(town, desk):
    town.end_of(town.first)
    desk.take(town.documents(town.read(town.first)))
    desk.run()
    assert one(town, desk, meter(town).read(town.first, [(100, 0)])) == "Contradiction"
    assert len(desk.store.contradictions(BO)) == 1


def test_what_a_stranger_signs_is_no_evidence(town, desk, bo):
    town.end_of(town.first)
    one(town, desk, bo.read(town.first, [(500, 0)]))
    assert one(town, desk, Meter(key(5), BO, town.energy.domain).read(town.first, [(1, 0)])) == "ForeignMeter"
    assert desk.store.contradictions(BO) == []


def test_a_meter_gone_mad_does_not_fill_the_disk(town, desk, bo):
    town.end_of(town.first)
    one(town, desk, bo.read(town.first, [(500, 0)]))
    lies = [meter(town).read(town.first, [(number, 0)]) for number in range(MOST_CONTRADICTIONS + 5)]
    answers = desk.take(town.documents(lies))
    assert {each.name for each in answers} == {"Contradiction"}
    assert len(desk.store.contradictions(BO)) == MOST_CONTRADICTIONS


def test_of_two_that_contradict_at_once_one_is_kept(town, desk_at, database):
    """Two operators on one database, eight posts at the same time: the database's lock decides."""
    desks = [desk_at(database, number) for number in (1, 2)]
    town.end_of(town.first)
    documents = town.documents([meter(town).read(town.first, [(500 + number, 0)]) for number in range(8)])
    for each in desks:
        each.intake.moment()
    answers: list = []
    threads = [
        threading.Thread(target=lambda n=n, document=document: answers.extend(desks[n % 2].take([document])))
        for n, document in enumerate(documents)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(isinstance(each, Taken) for each in answers) == 1
    assert len(answers) == 8
    assert len(desks[0].store.contradictions(BO)) == 7


def test_a_database_of_another_market_is_refused(town, desk, tmp_path):
    with pytest.raises(SettingsError, match="another chain, or at another address"):
        Store(f"sqlite:///{tmp_path}/desk.db", town.record.genesis, "0x" + "11" * 20)
