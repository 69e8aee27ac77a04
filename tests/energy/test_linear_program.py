"""Random books against a linear program (SciPy's HiGHS): no fills have a higher welfare, nor then a higher volume."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from liggare.energy.matching import match

FEED_IN, RETAIL = 600, 2_500
BOOKS = 500


def book(kind: str, random):
    """Bids and offers as limits and Wh."""
    buyers, sellers = (int(count) for count in random.integers(1, 9, 2))
    if kind == "one-sided":
        buyers, sellers = (0, sellers) if random.integers(2) else (buyers, 0)
    limits = {
        "anywhere": lambda count: random.integers(400, 2_700, count),
        "ties": lambda count: random.choice([600, 1_000, 1_500, 2_500], count),
        "one price": lambda count: np.full(count, 1_500),
        "one-sided": lambda count: random.integers(400, 2_700, count),
        "largest": lambda count: random.choice([600, 2_499, 2_500, 2**24 - 1], count),
    }[kind]
    most = 2**24 if kind == "largest" else random.choice([2, 10, 5_000])
    bids, offers = (random.integers(0, most, count) for count in (buyers, sellers))
    return limits(buyers), bids, limits(sellers), offers


def best(bid_limits, bids, offer_limits, offers):
    """The highest welfare, and the highest volume that has it."""
    bids, offers = np.where(bid_limits < FEED_IN, 0, bids), np.where(offer_limits > RETAIL, 0, offers)
    worth = np.concatenate([-np.clip(bid_limits, FEED_IN, RETAIL), np.clip(offer_limits, FEED_IN, RETAIL)])
    balance = np.concatenate([np.ones(len(bids)), -np.ones(len(offers))])[np.newaxis]
    bounds = [(0, wh) for wh in (*bids, *offers)]
    first = linprog(worth, A_eq=balance, b_eq=[0], bounds=bounds, method="highs")
    welfare = -round(first.fun)
    # limits are whole, so half a unit more for each Wh makes no trade worth its while but those at no gain
    pull = worth * 1.0 - np.where(balance[0] > 0, 0.5, 0)
    volume = linprog(pull, A_eq=balance, b_eq=[0], bounds=bounds, method="highs").x[: len(bids)].sum()
    return welfare, round(volume)


@pytest.mark.parametrize("kind", ["anywhere", "ties", "one price", "one-sided", "largest"])
def test_welfare_and_volume_are_those_of_a_linear_program(kind):
    random = np.random.default_rng(sum(kind.encode()))
    traded = 0
    for number in range(BOOKS):
        case = book(kind, random)
        found = match(*case, feed_in=FEED_IN, retail=RETAIL)
        assert found.bought.sum() == found.sold.sum() == found.volume
        welfare = np.clip(case[0], FEED_IN, RETAIL) @ found.bought
        welfare -= np.clip(case[2], FEED_IN, RETAIL) @ found.sold
        assert (welfare, found.volume) == best(*case), number
        traded += found.volume
    assert (traded > 0) == (kind != "one-sided")
