"""The price that bids and offers imply, and who gets how much: the contract's rules, in NumPy.

    bids, offers -> demand and supply by price -> [lo, hi] -> price, volume -> fills

A price p clears if demand above p <= supply up to p, and supply below p <= demand from p on. Those p in
[feedIn, retail - gridFee] are an interval, never empty; the price is its middle, rounded down. Limits better than the
price are served in full; those equal to it share what is left by floors of running sums, in the order given. The seller
gets the price, the buyer pays the price and the grid fee, within its limit. All rules: interfaces/IEnergyMarket.sol.

Many books are cleared at once, one a row, by the same lines as a single one. Sums of Wh stay below 2^48, as they do in
the contract (2^24 homes of 2^24 Wh): all floats here are exact, or are mended by an exact remainder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Clearing", "Clearings", "Numbers", "match", "match_all"]

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

DENSE = 2**16
"""Up to so many prices each has a place in the tables of demand and supply. Beyond, only those that somebody names,
unless there are so many orders that sorting them would take longer."""
CELLS = 2**20
"""How large these tables may be at a time; more books are cleared in turn."""


@dataclass(frozen=True)
class Clearing:
    """The interval of clearing prices, its middle, the Wh that changed hands, and everybody's part of them."""

    lo: int
    hi: int
    price: int
    volume: int
    bought: Numbers
    sold: Numbers


@dataclass(frozen=True)
class Clearings:
    """The same of many books: one number a book, and one row of fills."""

    lo: Numbers
    hi: Numbers
    price: Numbers
    volume: Numbers
    bought: Numbers
    sold: Numbers


def match(
    bid_limits: Numbers,
    bids: Numbers,
    offer_limits: Numbers,
    offers: Numbers,
    *,
    feed_in: int,
    retail: int,
    grid_fee: int = 0,
) -> Clearing:
    """Clear bids of `bids` Wh at up to `bid_limits` against offers of `offers` Wh from `offer_limits` on.

    A bid's limit is what the buyer pays at most, `grid_fee` included. Limits beyond a tariff count as that tariff; bids
    below `feed_in` and the fee, and offers above `retail` less the fee, are not heard.
    """
    tables = [np.atleast_2d(each) for each in (bid_limits - grid_fee, bids, offer_limits, offers)]
    found = _clear(tables, feed_in, retail - grid_fee)
    lo, hi, price, volume = (int(each[0]) for each in (found.lo, found.hi, found.price, found.volume))
    return Clearing(lo, hi, price, volume, found.bought[0], found.sold[0])


def match_all(
    bid_limits: Numbers,
    bids: Numbers,
    offer_limits: Numbers,
    offers: Numbers,
    *,
    feed_in: int,
    retail: int,
    grid_fee: int = 0,
) -> Clearings:
    """Clear many books, each a row: as `match` does row by row."""
    highest = retail - grid_fee
    step = max(CELLS // (highest - feed_in + 2), 1)
    tables = (bid_limits - grid_fee, bids, offer_limits, offers)
    found = [
        _clear([each[start : start + step] for each in tables], feed_in, highest)
        for start in range(0, max(len(bids), 1), step)
    ]
    return Clearings(*(np.concatenate([vars(each)[name] for each in found]) for name in vars(found[0])))


def _clear(tables: Sequence[Numbers], lowest: int, highest: int) -> Clearings:
    """Clear books by the prices that sellers get."""
    bid_limits, bids, offer_limits, offers = tables
    bids = np.where(bid_limits < lowest, 0, bids)
    offers = np.where(offer_limits > highest, 0, offers)
    high, low = np.clip(bid_limits, lowest, highest), np.clip(offer_limits, lowest, highest)
    if highest - lowest < max(DENSE, 32 * (bids.size + offers.size)):
        ladder = np.arange(lowest, highest + 1)
        bid_steps, offer_steps = high - lowest, low - lowest
    else:
        # lo and hi are a tariff or somebody's limit, so no other price needs a place
        ladder = np.unique(np.concatenate((np.array([lowest, highest]), high.ravel(), low.ravel())))
        bid_steps, offer_steps = np.searchsorted(ladder, high), np.searchsorted(ladder, low)
    steps, rows = len(ladder), np.arange(len(bids))
    # from each price on, and up to each price; one column more stands for what is beyond all prices
    demand = _sums(bid_steps, bids, steps + 1)[:, ::-1].cumsum(axis=1)[:, ::-1].astype(np.int64)
    supply = _sums(offer_steps + 1, offers, steps + 1).cumsum(axis=1).astype(np.int64)
    below, upto = supply[:, :-1], supply[:, 1:]
    lo = ladder[(upto >= demand[:, 1:]).argmax(axis=1)]
    hi = ladder[steps - 1 - (demand[:, :-1] >= below)[:, ::-1].argmax(axis=1)]
    price = (lo + hi) // 2
    at = np.searchsorted(ladder, price, "right") - 1
    # strictly between two places nobody's limit lies: nothing is at the margin there
    named = ladder[at] == price
    above, under = demand[rows, at + 1], np.where(named, below[rows, at], upto[rows, at])
    volume = np.minimum(np.where(named, demand[rows, at], above), upto[rows, at])
    column = price[:, np.newaxis]
    bought = _fills(bids, high > column, high == column, volume - above)
    sold = _fills(offers, low < column, low == column, volume - under)
    return Clearings(lo, hi, price, volume, bought, sold)


def _sums(steps: Numbers, quantities: Numbers, width: int) -> NDArray[np.float64]:
    """Add up each row's quantities by their place."""
    rows = len(quantities)
    places = steps if rows == 1 else steps + np.arange(rows)[:, np.newaxis] * width
    return np.asarray(np.bincount(places.ravel(), quantities.ravel(), rows * width), np.float64).reshape(rows, width)


def _fills(quantities: Numbers, inside: Flags, margin: Flags, left: Numbers) -> Numbers:
    """Serve what is inside in full, and share each row's `left` among what is at the margin."""
    fills: Numbers = np.where(inside, quantities, 0).astype(np.int64)
    if margin.any():
        wanted = np.where(margin, quantities, 0)
        running = wanted.cumsum(axis=1)
        fills += np.diff(_shares(left[:, np.newaxis], running, wanted.sum(axis=1, keepdims=True)), axis=1, prepend=0)
    return fills


def _shares(left: Numbers, running: Numbers, total: Numbers) -> Numbers:
    """Return floor(left * running / total), exactly; 0 where the total is."""
    total = np.maximum(total, 1)
    if int(left.max(initial=0)) * int(total.max(initial=0)) < 2**63:
        return left * running // total
    # The product does not fit in 64 bits. The quotient by floats is off by 1 at most, and what is then left of the
    # product lies between -total and 2 total, so that arithmetic modulo 2^64 has it exactly.
    guess: Numbers = (left.astype(np.float64) * running / total).astype(np.int64)
    rest = left * running - guess * total
    return guess + (rest >= total) - (rest < 0)
