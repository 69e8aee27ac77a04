"""The price that bids and offers imply, and who gets how much: the contract's rules, in NumPy.

    bids, offers -> demand and supply by price -> [lo, hi] -> price, volume -> fills

A price p clears if demand above p <= supply up to p, and supply below p <= demand from p on. Those p in
[feedIn, retail - gridFee] are an interval, never empty; the price is its middle, rounded down. Limits better than the
price are served in full; those equal to it share what is left by floors of running sums, in the order given. The seller
gets the price, the buyer pays the price and the grid fee, within its limit. All rules: interfaces/IEnergyMarket.sol.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Clearing", "Numbers", "match"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Clearing:
    """The interval of clearing prices, its middle, the Wh that changed hands, and everybody's part of them."""

    lo: int
    hi: int
    price: int
    volume: int
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
    highest = retail - grid_fee
    bids = np.where(bid_limits < feed_in + grid_fee, 0, bids)
    offers = np.where(offer_limits > highest, 0, offers)
    high = np.clip(bid_limits - grid_fee, feed_in, highest) - feed_in
    low = np.clip(offer_limits, feed_in, highest) - feed_in
    prices = highest - feed_in + 1
    # sums of Wh stay far below 2^53, so the floats that bincount adds are exact
    demand = np.bincount(high, bids, prices + 1)[::-1].cumsum()[::-1].astype(np.int64)  # from each price on
    supply = np.bincount(low, offers, prices).cumsum().astype(np.int64)  # up to each price
    below = np.concatenate(([0], supply[:-1]))
    lo = int(np.argmax(supply >= demand[1:]))
    hi = prices - 1 - int(np.argmax((demand[:-1] >= below)[::-1]))
    price = (lo + hi) // 2
    volume = int(min(demand[price], supply[price]))
    return Clearing(
        lo + feed_in,
        hi + feed_in,
        price + feed_in,
        volume,
        _fills(bids, high > price, high == price, volume - int(demand[price + 1])),
        _fills(offers, low < price, low == price, volume - int(below[price])),
    )


def _fills(quantities: Numbers, inside: NDArray[np.bool_], margin: NDArray[np.bool_], left: int) -> Numbers:
    """Serve what is inside in full, and share `left` among what is at the margin."""
    fills: Numbers = np.where(inside, quantities, 0).astype(np.int64)
    wanted = quantities[margin]
    total = int(wanted.sum())
    if total:
        running = wanted.cumsum()
        if left * total < 2**63:
            reached = left * running // total
        else:
            reached = np.array([left * int(upto) // total for upto in running], dtype=np.int64)
        fills[margin] = np.diff(reached, prepend=0)
    return fills
