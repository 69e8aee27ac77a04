"""Clearings by linear programming: what is best, said by a solver that knows nothing of prices."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import block_diag

from liggare.energy.matching import Numbers

Book = tuple[Numbers, Numbers, Numbers, Numbers]
"""Limits and Wh of the bids, limits and Wh of the offers."""


def best(books: list[tuple[Book, dict[str, int]]]) -> list[tuple[int, int]]:
    """Return the highest welfare of all trades in each book, and the highest volume with it: exact whole numbers.

    Limits are whole numbers, so half a unit more for each bid makes that volume the best and changes no welfare. The
    constraint (as much bought as sold) is totally unimodular, so a best point has whole Wh. All books are solved as one
    program, in which they have nothing to do with each other.
    """
    values, worths, most, balances = [], [], [], []
    for (bid_limits, bids, offer_limits, offers), tariffs in books:
        feed_in, retail, fee = (tariffs.get(name, 0) for name in ("feed_in", "retail", "grid_fee"))
        heard, given = bid_limits >= feed_in + fee, offer_limits <= retail - fee
        value = np.concatenate((np.minimum(bid_limits[heard], retail) - fee, -np.maximum(offer_limits[given], feed_in)))
        buys = np.repeat([True, False], [heard.sum(), given.sum()])
        values.append(value)
        worths.append((2 * value + buys) / 2 / retail)
        most.append(np.concatenate((bids[heard], offers[given])))
        balances.append(np.where(buys, 1.0, -1.0)[None, :] if value.size else np.zeros((1, 0)))
    bounds = np.stack((np.zeros(sum(map(len, most))), np.concatenate(most)), axis=1)
    found = linprog(
        -np.concatenate(worths),
        A_eq=block_diag(balances, "csr"),
        b_eq=np.zeros(len(books)),
        bounds=bounds,
        method="highs",
    )
    assert found.status == 0, found.message
    fills = np.round(found.x)
    assert np.abs(found.x - fills).max() < 1e-3
    answers, start = [], 0
    for value, balance in zip(values, balances, strict=True):
        mine = [int(fill) for fill in fills[start : start + value.size]]
        start += value.size
        welfare = sum(int(each) * fill for each, fill in zip(value, mine, strict=True))
        answers.append((welfare, sum(fill for fill, sign in zip(mine, balance[0], strict=True) if sign > 0)))
    return answers
