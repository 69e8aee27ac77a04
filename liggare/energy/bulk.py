"""Many slots at once, at NumPy's speed: to the unit what `settlement.Till` does one by one.

Where money is short the order of things matters: a bid is not heard, feed-in is not paid, a home falls into debt. So
a block of slots is settled at once as if it never were, and if it was after all, that block is done again one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liggare.energy.matching import Clearings, Numbers, match_all
from liggare.energy.settlement import Terms, Till

__all__ = ["Block", "Wishes", "settle_block"]

MOST = 2**62
"""Sums of money below it fit in 64 bits, with what a block adds."""


@dataclass(frozen=True)
class Wishes:
    """The homes' orders in a block of slots: a row per slot, a column per home; as in an Order, cap 0 is none."""

    buy: Numbers
    sell: Numbers
    cap: Numbers


@dataclass(frozen=True)
class Block:
    """The outcome, a row per slot: `earned` is how a home's balance changed, `unpaid` the feed-in left unpaid."""

    clearings: Clearings
    earned: Numbers
    unpaid: Numbers


def settle_block(till: Till, nets: Numbers, wishes: Wishes) -> Block:
    """Clear and settle consecutive slots; the till holds the money afterwards.

    `nets` are Wh imported less exported, a row per slot, a column per home in the till's order.
    """
    return _settle_rich(till, nets, wishes) or _settle_poor(till, nets, wishes)


def _settle_rich(till: Till, nets: Numbers, wishes: Wishes) -> Block | None:
    """Settle all slots at once; None, and nothing done, where money was short or there was debt."""
    tariffs = till.tariffs
    start = list(till.balances.values())
    if till.debt or min(start, default=0) < 0 or max(*start, till.utility, 0) > MOST:
        return None
    limits = np.minimum(wishes.buy, tariffs.retail)
    least = tariffs.feed_in + tariffs.grid_fee
    bids = np.where((nets > 0) & (wishes.buy >= least), np.minimum(nets, wishes.cap), 0)
    offers = np.where((nets < 0) & (wishes.sell <= tariffs.retail), np.minimum(-nets, wishes.cap), 0)
    fees = {"feed_in": tariffs.feed_in, "retail": tariffs.retail, "grid_fee": tariffs.grid_fee}
    found = match_all(limits, bids, wishes.sell, offers, **fees)
    rest = nets - found.bought + found.sold
    charge = np.maximum(rest, 0) * tariffs.retail + found.bought * tariffs.grid_fee
    due = np.maximum(-rest, 0) * tariffs.feed_in
    earned = (found.sold - found.bought) * found.price[:, np.newaxis] - charge + due
    after = np.array(start, np.int64) + earned.cumsum(axis=0)
    utility = till.utility + (charge - due).ravel().cumsum()  # home by home, as feed-in is paid
    heard = (after - earned >= limits * bids) | (bids == 0)
    if after.min(initial=0) < 0 or utility.min(initial=0) < 0 or not heard.all():
        return None
    if len(utility):
        till.balances.update(zip(till.balances, after[-1].tolist(), strict=True))
        till.utility = int(utility[-1])
    return Block(found, earned, np.zeros(len(nets), np.int64))


def _settle_poor(till: Till, nets: Numbers, wishes: Wishes) -> Block:
    """Settle slot by slot."""
    homes = list(till.balances)
    bought, sold, earned = np.zeros((3, *nets.shape), np.int64)
    numbers = np.zeros((5, len(nets)), np.int64)
    terms = (np.broadcast_to(each, nets.shape).tolist() for each in (wishes.buy, wishes.sell, wishes.cap))
    for slot, (row, *rows) in enumerate(zip(nets.tolist(), *terms, strict=True)):
        orders = dict(zip(homes, map(Terms, *rows), strict=True))
        before = np.array(list(till.balances.values()))
        settled = till.settle_slot(dict(zip(homes, row, strict=True)), orders)
        found = settled.clearing
        numbers[:, slot] = found.lo, found.hi, found.price, found.volume, settled.unpaid
        traded = np.array([settled.traded.get(home, 0) for home in homes], np.int64)
        bought[slot], sold[slot] = np.maximum(traded, 0), np.maximum(-traded, 0)
        earned[slot] = np.array(list(till.balances.values())) - before
    lo, hi, price, volume, unpaid = numbers
    return Block(Clearings(lo, hi, price, volume, bought, sold), earned, unpaid)
