"""Random books: the contract and `matching` agree to the unit, and the contract takes one interval of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from brownie import EnergyMarket
from web3.exceptions import ContractLogicError

from liggare.chain.deployments import Deployments
from liggare.energy.client import Energy
from liggare.energy.codec import encode_hints
from tests.energy.street import FIRST, KRONA, Street

FEED_IN, RETAIL = 1, 4
HOMES = 4


@pytest.fixture
def penny_street(empty_street, deployments, w3, operator, anna):
    """Four homes on a market whose tariffs are 1 and 4, so that ties are frequent; slot 10."""
    here = deployments.contracts["EnergyMarket"]
    people = empty_street.money.address, operator.address, operator.address
    market = EnergyMarket.deploy(
        *people, RETAIL, FEED_IN, 0, empty_street.energy.genesis, [0, 0, 900], {"from": operator}
    )
    contracts = {"EnergyMarket": replace(here, address=market.address)}
    energy = Energy(w3, Deployments(deployments.chain_id, deployments.genesis, contracts))
    street = Street(energy, market, empty_street.money, operator)
    for _ in range(HOMES):
        street.pay_in(street.move_in(anna), anna, KRONA)
    street.pay_in(0, anna, KRONA)
    return street


def orders(street, random, seq: int, slot: int) -> None:
    """Give every home an order of random limits from 0 to 5 and a random cap."""
    for home in street.meters:
        buy, sell, cap = (int(random.integers(0, high)) for high in (6, 6, 7))
        street.place(home, seq=seq, from_slot=slot, buy_limit=buy, sell_limit=sell, cap=cap)


def counts(random) -> dict[int, tuple[int, int]]:
    """What four meters count in a slot: up to 5 Wh each way."""
    return {home: (int(random.integers(0, 6)), int(random.integers(0, 6))) for home in range(1, HOMES + 1)}


def test_three_hundred_random_books_settle_as_the_twin_says(penny_street):
    random = np.random.default_rng(2022)
    slots = 50
    first = FIRST
    for round_ in range(6):
        orders(
            penny_street, random, round_ + 1, first + (0 if round_ == 0 else 2)
        )  # the later ones begin inside a batch
        penny_street.end_of(first + slots - 1)
        readings = penny_street.read(first, *(counts(random) for _ in range(slots)))
        proposal = penny_street.energy.propose(readings, slots)
        market = penny_street.market
        receipt = market.clear(first, proposal.hints, proposal.readings, {"from": penny_street.operator})
        for event, slot in zip(receipt.events["SlotCleared"], proposal.slots, strict=True):
            found = slot.clearing
            told = [event[name] for name in ("lo", "hi", "price", "volume")]
            assert told == [found.lo, found.hi, found.price, found.volume]
        assert penny_street.balances() == list(proposal.balances.values())
        assert penny_street.held() == sum(penny_street.balances())
        first += slots
        penny_street.go_to(first + 1)
        penny_street.clear(penny_street.read(first, counts(random)))
        first += 1


def test_of_all_intervals_the_contract_takes_exactly_the_true_one(penny_street):
    random = np.random.default_rng(7)
    clear = penny_street.energy.contract.functions.clear
    tariffs = range(FEED_IN, RETAIL + 1)
    every = [(lo, hi) for lo in tariffs for hi in tariffs]
    traded = 0
    for book in range(8):
        slot = FIRST + 3 * book
        orders(penny_street, random, book + 1, slot)
        penny_street.end_of(slot)
        if book:
            penny_street.clear(penny_street.read(slot - 2, counts(random), counts(random)), count=2)
        proposal = penny_street.energy.propose(penny_street.read(slot, counts(random)))
        found = proposal.slots[0].clearing
        taken = []
        for hint in every:
            try:
                clear(slot, encode_hints([hint]), proposal.readings).call()
            except ContractLogicError:
                continue
            taken.append(hint)
        assert taken == [(found.lo, found.hi)]
        traded += found.volume
        penny_street.market.clear(slot, proposal.hints, proposal.readings, {"from": penny_street.operator})
    assert traded > 0
