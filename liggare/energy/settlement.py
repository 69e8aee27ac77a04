"""Who pays whom after a slot: the contract's arithmetic, to the unit, for whoever clears and whoever checks.

nets + orders + balances -> bids that are covered -> match -> market, grid, balances
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from liggare.energy.matching import Clearing, Numbers, match
from liggare.energy.messages import Order

__all__ = ["Settled", "Tariffs", "Terms", "Till", "in_force"]


@dataclass(frozen=True)
class Tariffs:
    """What the grid sells at, takes at, and asks for carrying what neighbours trade: thousandths per kWh.

    The fee is part of what a buyer pays: of its limit what is left after the fee is for the seller, and prices lie
    between `feed_in` and `most`.
    """

    retail: int
    feed_in: int
    grid_fee: int = 0

    @property
    def most(self) -> int:
        """The highest price on the market."""
        return self.retail - self.grid_fee


class Terms(NamedTuple):
    """What settling reads of an order, for where nobody signed one: as its fields of the same names."""

    buy_limit: int
    sell_limit: int
    cap: int


@dataclass(frozen=True)
class Settled:
    """A slot's outcome: Wh bought (above zero) or sold (below) on the market by home, and feed-in left unpaid.

    `bids` and `offers` are what was matched: limit and Wh, a row for each home that takes or gives; 0 Wh without one.
    """

    clearing: Clearing
    traded: dict[int, int]
    unpaid: int
    bids: Numbers
    offers: Numbers


@dataclass
class Till:
    """The money of all homes and of the utility, in units of 10^-6."""

    tariffs: Tariffs
    balances: dict[int, int] = field(default_factory=dict)
    utility: int = 0
    debt: int = 0

    def total(self) -> int:
        """Return all money in it: what the contract must hold."""
        return self.utility + sum(self.balances.values())

    def settle(self, home: int, market: int, charge: int, due: int) -> int:
        """Move a home's money; return what of `due`, the feed-in, the utility's free money does not cover."""
        before = self.balances[home]
        balance = before + market - charge
        utility = self.utility + charge
        unpaid = due
        if utility - self.debt + _owed(before) - due >= _owed(balance + due):
            balance, utility, unpaid = balance + due, utility - due, 0
        self.balances[home], self.utility = balance, utility
        self.debt += _owed(balance) - _owed(before)
        return unpaid

    def settle_gap(self, home: int, imported: int, exported: int) -> int:
        """Settle with the grid what a meter counted in slots without a reading; return the feed-in left unpaid."""
        return self.settle(home, 0, imported * self.tariffs.retail, exported * self.tariffs.feed_in)

    def change_meter(self, home: int, counters: tuple[int, int], last: tuple[int, int]) -> int:
        """Settle what a replaced meter counted from `counters` to its `last`; return the feed-in left unpaid.

        A last counter that readings have passed tells nothing.
        """
        imported, exported = (max(end - start, 0) for start, end in zip(counters, last, strict=True))
        return self.settle_gap(home, imported, exported)

    def settle_slot(self, nets: Mapping[int, int], orders: Mapping[int, Order | Terms | None]) -> Settled:
        """Clear and settle a slot.

        `nets` are Wh imported less exported, in home order; homes without a reading are absent.
        `orders` are those in force; one that has ended counts as none.
        """
        tariffs = self.tariffs
        buyers = [home for home, net in nets.items() if net > 0]
        sellers = [home for home, net in nets.items() if net < 0]
        bids, offers = np.zeros((len(buyers), 2), np.int64), np.zeros((len(sellers), 2), np.int64)
        for i, home in enumerate(buyers):
            if (order := orders.get(home)) and order.buy_limit >= tariffs.feed_in + tariffs.grid_fee:
                limit, quantity = min(order.buy_limit, tariffs.retail), min(order.cap, nets[home])
                if self.balances[home] >= limit * quantity:
                    bids[i] = limit, quantity
        for i, home in enumerate(sellers):
            if (order := orders.get(home)) and order.sell_limit <= tariffs.retail:
                offers[i] = order.sell_limit, min(order.cap, -nets[home])
        found = match(
            bids[:, 0],
            bids[:, 1],
            offers[:, 0],
            offers[:, 1],
            feed_in=tariffs.feed_in,
            retail=tariffs.retail,
            grid_fee=tariffs.grid_fee,
        )
        traded = dict(zip(buyers, map(int, found.bought), strict=True))
        traded |= dict(zip(sellers, map(int, -found.sold), strict=True))
        unpaid = 0
        for home, net in nets.items():
            if net:
                rest = net - traded[home]
                charge = max(rest, 0) * tariffs.retail + max(traded[home], 0) * tariffs.grid_fee
                due = max(-rest, 0) * tariffs.feed_in
                unpaid += self.settle(home, -traded[home] * found.price, charge, due)
        return Settled(found, traded, unpaid, bids, offers)


def in_force(orders: Sequence[Order], slot: int) -> Order | None:
    """Return which of a home's orders, by rising first slot, is in force in a slot; None without one."""
    begun = [order for order in orders if order.from_slot <= slot]
    return begun[-1] if begun and slot < begun[-1].until_slot and begun[-1].cap else None


def _owed(balance: int) -> int:
    return max(-balance, 0)
