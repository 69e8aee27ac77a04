"""`placeOrder`: a home states its wish once; whoever carries it can't change, omit or revive it."""

from __future__ import annotations

import pytest
from brownie import EnergyMarket, accounts

from liggare.energy.messages import NEVER, Order
from tests.energy.street import FIRST, key
from tests.support import refused

ANNA, BO, CIA = 1, 2, 3


def terms(street, home, slot):
    """Number, end, limits and cap of a home's order in a slot."""
    return tuple(street.market.orderOf(home, slot))


def test_an_order_is_in_force_from_its_first_slot_to_its_last(street):
    street.place(BO, seq=7, from_slot=FIRST + 1, until_slot=FIRST + 3, buy_limit=2_000, cap=900)
    assert terms(street, BO, FIRST) == (7, 0, 0, 0, 0)
    assert terms(street, BO, FIRST + 1) == terms(street, BO, FIRST + 2) == (7, FIRST + 3, 2_000, NEVER, 900)
    assert terms(street, BO, FIRST + 3) == (7, 0, 0, 0, 0)


def test_its_id_is_the_digest_that_was_signed(street, bo):
    signed = street.wish(BO, buy_limit=2_000).sign(bo)
    event = street.carry(signed).events["OrderPlaced"]
    assert event["id"] == signed.id.to_0x_hex()


def test_a_higher_number_takes_the_place_of_all_that_begin_later(street):
    street.place(BO, seq=1, from_slot=FIRST, buy_limit=1_000)
    street.place(BO, seq=2, from_slot=FIRST + 5, buy_limit=2_000)
    street.place(BO, seq=3, from_slot=FIRST + 2, buy_limit=1_500)
    assert [terms(street, BO, FIRST + t)[2] for t in (0, 2, 5, 9)] == [1_000, 1_500, 1_500, 1_500]


def test_the_owner_may_place_without_a_signature(street):
    home = street.move_in(accounts[7])
    street.market.placeOrder((home, 1, FIRST, NEVER, 2_000, NEVER, 900), b"", {"from": accounts[7]})
    assert terms(street, home, FIRST)[2] == 2_000


def test_an_order_of_cap_zero_withdraws(street):
    street.place(BO, buy_limit=2_000)
    street.place(BO, seq=2, cap=0)
    assert terms(street, BO, FIRST) == (2, NEVER, 0, NEVER, 0)


def test_an_old_order_is_refused(street, bo):
    street.place(BO, seq=2, buy_limit=1_000)
    for seq in (1, 2):
        with refused(EnergyMarket, "EnergyOrderOutdated", BO, seq, 2):
            street.place(BO, seq=seq, buy_limit=2_000)


def test_an_order_cannot_reach_back(street):
    with refused(EnergyMarket, "EnergySlotBegun", FIRST - 1, FIRST - 1):
        street.place(BO, from_slot=FIRST - 1, buy_limit=2_000)


def test_slots_already_metered_are_cleared_under_the_order_of_their_time(trading):
    trading.end_of(FIRST + 1)  # slot 13 runs, 11 and 12 are not cleared
    trading.place(ANNA, seq=2, from_slot=FIRST + 3, sell_limit=2_400)
    trading.place(ANNA, seq=3, from_slot=FIRST + 4, sell_limit=2_450)
    assert [terms(trading, ANNA, FIRST + t)[3] for t in range(5)] == [1_000, 1_000, 1_000, 2_400, 2_450]
    trading.end_of(FIRST + 4)
    receipt = trading.clear(trading.read(FIRST, *5 * [{ANNA: (0, 800), BO: (100, 0), CIA: (0, 0)}]), count=5)
    assert [event["volume"] for event in receipt.events["SlotCleared"]] == [100, 100, 100, 0, 0]


def test_an_order_that_ends_before_it_begins_is_refused(street):
    with refused(EnergyMarket, "EnergyOrderEmpty", FIRST, FIRST):
        street.place(BO, until_slot=FIRST, buy_limit=2_000)


def test_an_order_of_nobody_is_refused(street, bo):
    for home in (0, 4):
        signed = Order(street.domain, home, 1, FIRST, NEVER, 2_000, NEVER, 1).sign(bo)
        with refused(EnergyMarket, "EnergyUnknownHome", home, 3):
            street.carry(signed)


def test_nobody_orders_for_another(street, bo, mallory):
    with refused(EnergyMarket, "EnergyInvalidSignature", bo.address):
        street.carry(street.wish(BO, buy_limit=2_000).sign(mallory))


@pytest.mark.parametrize("other", ["chain", "market"])
def test_an_order_for_another_market_or_chain_is_refused(street, bo, other):
    at = street.domain
    domain = at.__class__(
        at.name,
        at.version,
        1 if other == "chain" else at.chain_id,
        key(5).address if other == "market" else at.verifying_contract,
    )
    signed = Order(domain, BO, 1, FIRST, NEVER, 2_000, NEVER, 1).sign(bo)
    with refused(EnergyMarket, "EnergyInvalidSignature", bo.address):
        street.carry(signed)


def test_sixteen_orders_cannot_wait(street):
    for i in range(1, 16):
        street.place(BO, seq=i, from_slot=FIRST + i, buy_limit=1_000 + i)
    with refused(EnergyMarket, "EnergyTooManyOrders", BO, 15):
        street.place(BO, seq=16, from_slot=FIRST + 16, buy_limit=2_000)
    street.end_of(FIRST + 15)
    counts = 16 * [{ANNA: (0, 10), BO: (10, 0), CIA: (0, 0)}]
    street.clear(street.read(FIRST, *counts), count=16)
    street.place(BO, seq=16, from_slot=FIRST + 20, buy_limit=2_000)
    assert [terms(street, BO, FIRST + t)[2] for t in (16, 19, 20)] == [1_015, 1_015, 2_000]
