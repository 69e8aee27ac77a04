"""Pictures as points in a box, for the templates to draw as SVG: a slot's merit-order curves, prices and volumes.

Colours and widths are the stylesheet's, so that pictures follow the reader's colour scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liggare.ledger.rows import Row
from liggare.web.explorer.market import Cleared, Wish

__all__ = ["Curves", "Prices", "curves", "prices"]

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 14, 40


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and the number there."""

    at: float
    value: int


@dataclass(frozen=True)
class Curves:
    """Demand and supply by price, the price and the volume, as points of a polyline each."""

    demand: str
    supply: str
    price: float
    volume: float
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


@dataclass(frozen=True)
class Bar:
    """A slot's volume."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Prices:
    """Prices of slots in a row as a polyline, their volumes as bars below it."""

    line: str
    bars: tuple[Bar, ...]
    up: tuple[Tick, ...]
    first: int
    last: int


def curves(cleared: Cleared, grid_fee: int, most: int) -> Curves:
    """Return a slot's curves; `most` is the highest price there may be. A bid's limit is less the grid fee here."""
    reach = max(sum(wish.quantity for wish in side) for side in (cleared.bids, cleared.offers)) or 1
    top = max([most, *(wish.limit for wish in cleared.offers)])

    def x(wh: float) -> float:
        return round(LEFT + wh / reach * (WIDTH - LEFT - RIGHT), 1)

    def y(limit: float) -> float:
        return round(HEIGHT - BOTTOM - limit / top * (HEIGHT - TOP - BOTTOM), 1)

    def steps(side: Sequence[Wish], fee: int, end: int) -> str:
        points, so_far = [], 0
        for wish in side:
            level = y(wish.limit - fee)
            points += [(x(so_far), level), (x(so_far + wish.quantity), level)]
            so_far += wish.quantity
        if points:
            points.append((x(so_far), y(end)))
        return " ".join(f"{across},{up}" for across, up in points)

    return Curves(
        steps(cleared.bids, grid_fee, 0),
        steps(cleared.offers, 0, top),
        y(cleared.price),
        x(cleared.volume),
        tuple(Tick(x(reach * part / 4), reach * part // 4) for part in range(5)),
        tuple(Tick(y(top * part / 4), top * part // 4) for part in range(5)),
    )


def prices(rows: Sequence[Row]) -> Prices:
    """Return the prices and volumes of `SlotCleared`, at least one, by rising slot."""
    told = [row.arguments for row in rows]
    first: int = told[0]["slot"]
    last: int = told[-1]["slot"]
    top: int = max(each["price"] for each in told) or 1
    most: int = max(each["volume"] for each in told) or 1
    width = (WIDTH - LEFT - RIGHT) / (last - first + 1)
    floor, ceiling, bars = HEIGHT - BOTTOM, TOP, 80

    def x(slot: int) -> float:
        return round(LEFT + (slot - first) * width, 1)

    def y(price: float) -> float:
        high: float = price / top * (floor - bars - ceiling)
        return round(floor - bars - high, 1)

    line = " ".join(f"{x(each['slot'])},{y(each['price'])} {x(each['slot'] + 1)},{y(each['price'])}" for each in told)
    made = []
    for each in told:
        high = round(each["volume"] / most * (bars - 10), 1)
        made.append(Bar(x(each["slot"]), floor - high, max(round(width * 0.8, 1), 0.5), high))
    return Prices(line, tuple(made), tuple(Tick(y(top * part / 2), top * part // 2) for part in range(3)), first, last)
