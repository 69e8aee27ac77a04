"""The book tells what the contract tells, asks for what is new only, and begins anew where the chain was set back."""

from __future__ import annotations

import pytest

import liggare.energy.book as module
from liggare.energy.book import Book
from liggare.energy.messages import NEVER
from tests.energy.operator.town import ANNA, BO, CIA, SUN


@pytest.fixture
def book(town):
    """A book of everything."""
    return Book(town.node.w3, town.energy.contract, town.energy.domain, town.energy.first_block, outcomes=True)


def check(town, moment) -> None:
    view = town.energy.contract.functions
    assert moment.next_slot == view.nextSlot().call()
    assert moment.debt == view.debt().call()
    for home in (0, *SUN):
        assert moment.balances[home] == view.balanceOf(home).call()
    for home in SUN:
        assert moment.counters[home] == tuple(view.countersOf(home).call())
        owner, _, *slots = view.homeOf(home).call()
        known = moment.homes[home - 1]
        assert (known.owner, known.from_slot, known.until_slot) == (owner, *slots)
        order = moment.order(home, moment.next_slot)
        terms = view.orderOf(home, moment.next_slot).call()[1:]
        assert terms == ([0, 0, 0, 0] if order is None else terms)
        if order is not None:
            assert terms == [order.until_slot, order.buy_limit, order.sell_limit, order.cap]


def test_the_book_says_what_the_contract_says(town, book):
    check(town, book.look())
    town.end_of(town.first)
    town.energy.carry_order(town.wish(CIA, buy=1_400, from_slot=town.first + 2), town.issuer)
    town.energy.clear(town.read(town.first, homes=(ANNA, BO, CIA)), town.issuer)
    moment = book.look()
    check(town, moment)
    outcome = moment.outcomes[town.first]
    assert (outcome.price, outcome.volume, outcome.missing) == (1_000, 800, ())


def test_changes_of_meters_are_known_before_and_after_they_are_in_force(town, book):
    signed = town.energy.replacement(town.owners[BO], BO, "0x" + "22" * 20, last=(0, 0))
    town.energy.replace_meter(signed, town.issuer)
    town.energy.move_out(town.energy.departure(town.owners[CIA], CIA, last=(0, 0)), town.issuer)
    from_slot = town.energy.changes()[0].from_slot
    moment = book.look()
    assert [change.home for change in moment.changes] == [BO, CIA]
    assert moment.meter(BO, from_slot) == "0x" + "22" * 20
    assert moment.meter(CIA, from_slot) is None
    assert moment.homes[CIA - 1].until_slot == from_slot != NEVER
    assert from_slot in moment.cuts()


def test_a_chain_that_was_set_back_is_read_anew(town, book):
    mark = town.node.rpc("evm_snapshot")
    town.energy.carry_order(town.wish(CIA, buy=1_400), town.issuer)
    assert book.look().order(CIA, town.first).buy_limit == 1_400
    town.node.rpc("evm_revert", mark)
    assert book.look().order(CIA, town.first).buy_limit == 1_500
    town.energy.carry_order(town.wish(CIA, buy=1_300), town.issuer)
    town.node.rpc("evm_mine")
    moment = book.look()
    assert moment.order(CIA, town.first).buy_limit == 1_300
    check(town, moment)


def test_a_look_asks_for_new_events_only(town, book, monkeypatch):
    book.look()
    asked, ask = [], module.ask
    monkeypatch.setattr(module, "ask", lambda w3, *words: asked.append(words[1]) or ask(w3, *words))
    book.look()
    assert asked == []
    town.energy.carry_order(town.wish(CIA, buy=1_400), town.issuer)
    book.look()
    (where,) = asked
    assert where["fromBlock"] == where["toBlock"] == hex(town.node.w3.eth.block_number)


def test_what_was_closed_and_who_was_missing_is_told(town, book):
    town.end_of(town.first, 605)
    town.energy.clear(town.read(town.first, homes=(ANNA, BO)), town.issuer)
    town.go_to(town.first + 3, 86_405)
    town.energy.close(town.first + 3, town.issuer)
    moment = book.look()
    assert moment.outcomes[town.first].missing == (CIA,)
    assert [moment.outcomes[town.first + ahead].price for ahead in (1, 2)] == [None, None]
