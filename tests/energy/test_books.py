"""Random books: contract, twin and a linear program agree to the unit, and the contract takes one clearing of all."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from brownie import EnergyMarket
from web3.exceptions import ContractLogicError, Web3RPCError

from liggare.chain.deployments import Deployments
from liggare.energy.client import Energy
from liggare.energy.codec import encode_hints
from liggare.energy.messages import NEVER, NEVER_SELL
from tests.energy import lp
from tests.energy.street import FIRST, KRONA, Street

FEED_IN, RETAIL = 1, 4
HIGHEST = 2**24 - 2
"""The highest tariff that there can be."""
HOMES = 4


@pytest.fixture
def street_with(empty_street, deployments, w3, operator, anna):
    """A function that makes four homes on a market of its own tariffs, with plenty of money; slot 10."""
    here = deployments.contracts["EnergyMarket"]

    def make(retail=RETAIL, feed_in=FEED_IN, grid_fee=0, money=KRONA):
        people = empty_street.money.address, operator.address, operator.address
        terms = retail, feed_in, grid_fee, empty_street.energy.genesis, [0, 0, 900]
        market = EnergyMarket.deploy(*people, *terms, {"from": operator})
        contracts = {"EnergyMarket": replace(here, address=market.address)}
        energy = Energy(w3, Deployments(deployments.chain_id, deployments.genesis, contracts))
        street = Street(energy, market, empty_street.money, operator)
        for _ in range(HOMES):
            street.pay_in(street.move_in(anna), anna, money)
        street.pay_in(0, anna, money)
        return street

    return make


def orders(street, random, seq: int, slot: int) -> dict[int, tuple[int, int, int]]:
    """Give every home an order of random limits from 0 to 5 and a random cap; return them."""
    placed = {}
    for home in street.meters:
        buy, sell, cap = placed[home] = tuple(int(random.integers(0, high)) for high in (6, 6, 7))
        street.place(home, seq=seq, from_slot=slot, buy_limit=buy, sell_limit=sell, cap=cap)
    return placed


def counts(random) -> dict[int, tuple[int, int]]:
    """What four meters count in a slot: up to 5 Wh each way."""
    return {home: (int(random.integers(0, 6)), int(random.integers(0, 6))) for home in range(1, HOMES + 1)}


def book(placed, counted):
    """The book that orders and counters make, as `lp` and `match` take it."""
    nets = {home: pair[0] - pair[1] for home, pair in counted.items()}
    bids = [(placed[home][0], min(net, placed[home][2])) for home, net in nets.items() if net > 0]
    offers = [(placed[home][1], min(-net, placed[home][2])) for home, net in nets.items() if net < 0]
    sides = [np.array(side, dtype=np.int64).reshape(-1, 2) for side in (bids, offers)]
    return sides[0][:, 0], sides[0][:, 1], sides[1][:, 0], sides[1][:, 1]


def welfare(placed, traded, *, feed_in, retail, grid_fee) -> int:
    """What the trades are worth to the neighbours: each bid's limit less the fee, less each offer's."""
    bought = sum((min(placed[home][0], retail) - grid_fee) * wh for home, wh in traded.items() if wh > 0)
    return bought + sum(max(placed[home][1], feed_in) * wh for home, wh in traded.items() if wh < 0)


@pytest.mark.parametrize(("grid_fee", "rounds"), [(0, 12), (1, 6), (3, 2)])
@pytest.mark.timeout(600)
def test_two_thousand_random_books_settle_as_twin_and_linear_program_say(street_with, grid_fee, rounds):
    street = street_with(grid_fee=grid_fee)
    tariffs = {"feed_in": FEED_IN, "retail": RETAIL, "grid_fee": grid_fee}
    random = np.random.default_rng(2022 + grid_fee)
    slots, first, checked = 100, FIRST, 0
    before = {}
    for round_ in range(rounds):
        start = first + (0 if round_ == 0 else 2)  # the later ones begin inside a batch
        placed = orders(street, random, round_ + 1, start)
        street.end_of(first + slots - 1)
        counted = [counts(random) for _ in range(slots)]
        proposal = street.energy.propose(street.read(first, *counted), slots)
        receipt = street.market.clear(first, proposal.hints, proposal.readings, {"from": street.operator})
        events = receipt.events["SlotCleared"]
        books = [book(placed if first + t >= start else before, each) for t, each in enumerate(counted)]
        told = lp.best([(each, tariffs) for each in books])
        for t, (event, slot) in enumerate(zip(events, proposal.slots, strict=True)):
            found = slot.clearing
            assert [event[name] for name in ("lo", "hi", "price", "volume")] == [
                found.lo,
                found.hi,
                found.price,
                found.volume,
            ]
            worth = welfare(placed if first + t >= start else before, slot.traded, **tariffs)
            assert (worth, event["volume"]) == told[t]
            checked += 1
        assert street.balances() == list(proposal.balances.values())
        assert street.held() == sum(street.balances())
        first, before = first + slots, placed
        street.go_to(first + 1)
        street.clear(street.read(first, counts(random)))
        first += 1
    assert checked == rounds * slots


def fills(nets, placed, price, grid_fee):
    """Return every possible set of fills of a slot, and those that the interface's rules allow at a price."""
    caps = {home: min(abs(net), placed[home][2]) for home, net in nets.items()}
    every = [dict(zip(nets, each, strict=True)) for each in product(*(range(caps[home] + 1) for home in nets))]
    limit = {
        home: min(placed[home][0], RETAIL) - grid_fee if net > 0 else max(placed[home][1], FEED_IN)
        for home, net in nets.items()
    }
    heard = {
        home: caps[home]
        for home, net in nets.items()
        if (net > 0 and placed[home][0] >= FEED_IN + grid_fee) or (net < 0 and placed[home][1] <= RETAIL - grid_fee)
    }
    buyers, sellers = ([home for home in heard if (nets[home] > 0) == buys] for buys in (True, False))
    demand = sum(heard[home] for home in buyers if limit[home] >= price)
    supply = sum(heard[home] for home in sellers if limit[home] <= price)
    volume = min(demand, supply)

    def allowed(each):
        for side, sign in ((buyers, 1), (sellers, -1)):
            better = [home for home in side if sign * limit[home] > sign * price]
            margin = [home for home in side if limit[home] == price]
            left, wanted = volume - sum(heard[home] for home in better), sum(heard[home] for home in margin)
            if any(each[home] != heard[home] for home in better):
                return False
            reached = 0
            for i, home in enumerate(margin, 1):
                reached += each[home]
                if wanted and reached != left * sum(heard[other] for other in margin[:i]) // wanted:
                    return False
            if any(each[home] for home in side if sign * limit[home] < sign * price):
                return False
        return not any(each[home] for home in nets if home not in heard)

    return every, [each for each in every if allowed(each)]


@pytest.mark.parametrize("grid_fee", [0, 1])
@pytest.mark.timeout(600)
def test_of_all_intervals_and_fills_the_contract_takes_exactly_the_true_ones(street_with, grid_fee, record_property):
    """Each book: every pair of hints from below the tariffs to above them, and every set of fills."""
    street = street_with(grid_fee=grid_fee)
    random = np.random.default_rng(7)
    clear = street.energy.contract.functions.clear
    prices = range(FEED_IN - 1, RETAIL + 2)
    every = [(lo, hi) for lo in prices for hi in prices]
    volume = tried = filled = 0
    for number in range(16):
        slot = FIRST + 3 * number
        placed = orders(street, random, number + 1, slot)
        street.end_of(slot)
        if number:
            street.clear(street.read(slot - 2, counts(random), counts(random)), count=2)
        counted = counts(random)
        proposal = street.energy.propose(street.read(slot, counted))
        found = proposal.slots[0].clearing
        taken = []
        for hint in every:
            tried += 1
            try:
                clear(slot, encode_hints([hint]), proposal.readings).call()
            except (ContractLogicError, Web3RPCError):
                continue
            taken.append(hint)
        assert taken == [(found.lo, found.hi)]
        before = street.balances()
        street.market.clear(slot, proposal.hints, proposal.readings, {"from": street.operator})
        nets = {home: pair[0] - pair[1] for home, pair in counted.items() if pair[0] != pair[1]}
        possible, right = fills(nets, placed, found.price, grid_fee)
        assert len(right) == 1
        for home, net in nets.items():
            fill, change = right[0][home], street.balances()[home] - before[home]
            if net > 0:
                assert change == -fill * (found.price + grid_fee) - (net - fill) * RETAIL
            else:
                assert change == fill * found.price + (-net - fill) * FEED_IN
        filled += len(possible)
        volume += found.volume
    assert volume > 0
    record_property("hints tried", tried)
    record_property("sets of fills", filled)
    print(f"grid fee {grid_fee}: {tried} hints of 16 books, 16 taken; {filled} sets of fills, 16 right")


@pytest.mark.parametrize(
    ("grid_fee", "sell", "price"), [(0, HIGHEST, HIGHEST), (7, HIGHEST - 7, HIGHEST - 7), (0, 0, 1)]
)
def test_maximal_limits_and_quantities_are_cleared_like_any_other(street_with, grid_fee, sell, price):
    """2^24 - 1 Wh at the highest price that there is, at the highest with a fee on it, and at the lowest."""
    most = 2**24 - 1
    street = street_with(HIGHEST, 1, grid_fee, money=2**50)
    buy = NEVER if sell else 1
    street.place(1, sell_limit=sell, cap=most)
    street.place(2, buy_limit=buy, cap=most)
    street.place(3, sell_limit=NEVER_SELL, buy_limit=0, cap=most)
    street.end_of(FIRST)
    readings = street.read(FIRST, {1: (0, most), 2: (most, 0), 3: (0, most), 4: (0, 0)})
    event = street.clear(readings).events["SlotCleared"]
    assert (event["lo"], event["hi"], event["price"], event["volume"]) == (price, price, price, most)
    paid = most * (price + grid_fee)
    assert street.balances() == [
        2**50 + most * grid_fee - most, 2**50 + most * price, 2**50 - paid, 2**50 + most, 2**50
    ]  # fmt: skip
