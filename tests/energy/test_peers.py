"""Other people's auctions on 100 small books, as `scripts/bench_matching.py --write` measured them.

What docs/energy-study.md says of the differences is counted here.
gsy-framework's pay-as-clear and lemlab's two-sided auction are under the GPL and no dependency of ours: books and
results are data here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from liggare.energy.matching import match

DATA = json.loads(Path(__file__).with_name("peers.json").read_text())


def ours(bids, offers):
    """What our rules make of a book."""
    bids, offers = (np.array(side, np.int64).T for side in (bids, offers))
    return match(*bids, *offers, feed_in=600, retail=2_500)


def cases(peer):
    """Each book with our result and the peer's, where the peer traded."""
    pairs = zip(DATA["books"], DATA[peer], strict=True)
    return [(*book, ours(*book), answer) for book, answer in pairs if answer["price"] is not None]


@pytest.mark.parametrize("peer", ["gsy", "lemlab"])
def test_they_trade_where_we_do_and_nobody_is_given_more_than_asked(peer):
    for (bids, offers), answer in zip(DATA["books"], DATA[peer], strict=True):
        assert (answer["price"] is not None) == (ours(bids, offers).volume > 0)
        for side, fills in ((bids, answer["bought"]), (offers, answer["sold"])):
            assert all(given <= wh for (_, wh), given in zip(side, fills, strict=True))


def test_lemlab_trades_the_same_volume_at_a_price_that_need_not_clear():
    found = cases("lemlab")
    assert all(sum(theirs["bought"]) == mine.volume for _, _, mine, theirs in found)
    inside = sum(mine.lo <= theirs["price"] <= mine.hi for _, _, mine, theirs in found)
    same = sum(theirs["bought"] == mine.bought.tolist() for _, _, mine, theirs in found)
    assert (len(found), inside, same) == (95, 29, 87)


def test_gsy_pays_the_buyers_limit_and_leaves_trades_out():
    found = cases("gsy")
    limits = [{limit for limit, _ in bids} for bids, *_ in found]
    assert all(theirs["price"] in named for named, (*_, theirs) in zip(limits, found, strict=True))
    less = sum(sum(theirs["bought"]) < mine.volume for *_, mine, theirs in found)
    assert all(sum(theirs["bought"]) <= mine.volume for *_, mine, theirs in found)
    inside = sum(mine.lo <= theirs["price"] <= mine.hi for *_, mine, theirs in found)
    assert (len(found), inside, less) == (95, 39, 19)


def welfare(bids, offers, bought, sold):
    """What buyers would have paid at most less what sellers would have taken at least."""
    return sum(limit * wh for (limit, _), wh in zip(bids, bought, strict=True)) - sum(
        limit * wh for (limit, _), wh in zip(offers, sold, strict=True)
    )


@pytest.mark.parametrize(("peer", "part"), [("gsy", 0.975), ("lemlab", 1)])
def test_no_peer_reaches_a_higher_welfare(peer, part):
    best, reached = [], []
    for bids, offers, mine, theirs in cases(peer):
        best.append(welfare(bids, offers, mine.bought.tolist(), mine.sold.tolist()))
        reached.append(welfare(bids, offers, theirs["bought"], theirs["sold"]))
        assert reached[-1] <= best[-1]
    assert sum(reached) / sum(best) == pytest.approx(part, abs=0.0005)


TOLD = [
    ([[1_789, 3]], [[1_563, 5]], 1_563, [3]),
    ([[1_942, 7]], [[730, 1]], 1_942, [1]),
    ([[1_500, 7], [2_000, 1]], [[1_500, 3], [1_500, 2]], 1_500, [4, 1]),
    ([[2_000, 5], [2_000, 5]], [[1_000, 7]], 2_000, [3, 4]),
]


@pytest.mark.parametrize(("bids", "offers", "price", "bought"), TOLD)
def test_the_docs_four_books_are_cleared_as_told(bids, offers, price, bought):
    found = ours(bids, offers)
    assert (found.price, found.bought.tolist()) == (price, bought)
