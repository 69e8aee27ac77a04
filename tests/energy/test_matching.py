"""`matching`: against every possible set of fills of small books, and the limits of what may be asked."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest

from liggare.energy.matching import match, match_all
from tests.energy import lp

FEED_IN, RETAIL = 1, 5


def book(seed: int):
    """A book of four homes at most: limits 0 to 6, up to 3 Wh each, so ties and empty sides are frequent."""
    random = np.random.default_rng(seed)
    buyers = int(random.integers(0, 5))
    sellers = int(random.integers(0, 5 - buyers))
    return [random.integers(0, high, size) for size in (buyers, sellers) for high in (7, 4)]


def best(bid_limits, bids, offer_limits, offers):
    """The highest welfare of all sets of fills, and the highest volume with it, by trying all of them."""
    heard = [(int(limit), int(wh)) for limit, wh in zip(bid_limits, bids, strict=True) if limit >= FEED_IN]
    given = [(int(limit), int(wh)) for limit, wh in zip(offer_limits, offers, strict=True) if limit <= RETAIL]
    found = (0, 0)
    for fills in product(*(range(wh + 1) for _, wh in heard + given)):
        bought, sold = fills[: len(heard)], fills[len(heard) :]
        if sum(bought) == sum(sold):
            welfare = sum(min(limit, RETAIL) * wh for (limit, _), wh in zip(heard, bought, strict=True))
            welfare -= sum(max(limit, FEED_IN) * wh for (limit, _), wh in zip(given, sold, strict=True))
            found = max(found, (welfare, sum(bought)))
    return found


def clears(price, bid_limits, bids, offer_limits, offers):
    """Whether a price clears, by the words of the interface."""
    b = [(min(limit, RETAIL), wh) for limit, wh in zip(bid_limits, bids, strict=True) if limit >= FEED_IN]
    o = [(max(limit, FEED_IN), wh) for limit, wh in zip(offer_limits, offers, strict=True) if limit <= RETAIL]
    above, start = sum(wh for limit, wh in b if limit > price), sum(wh for limit, wh in b if limit >= price)
    below, upto = sum(wh for limit, wh in o if limit < price), sum(wh for limit, wh in o if limit <= price)
    return above <= upto and below <= start


def test_welfare_and_volume_are_the_highest_possible_in_two_thousand_small_books():
    for seed in range(2000):
        bid_limits, bids, offer_limits, offers = case = book(seed)
        found = match(*case, feed_in=FEED_IN, retail=RETAIL)
        assert found.bought.sum() == found.sold.sum() == found.volume
        assert (found.bought <= bids).all()
        assert (found.sold <= offers).all()
        welfare = np.clip(bid_limits, FEED_IN, RETAIL) @ found.bought
        welfare -= np.clip(offer_limits, FEED_IN, RETAIL) @ found.sold
        assert (welfare, found.volume) == best(*case), seed


def test_the_interval_is_all_prices_that_clear_and_the_price_its_middle():
    for seed in range(2000):
        case = book(seed)
        found = match(*case, feed_in=FEED_IN, retail=RETAIL)
        assert [p for p in range(FEED_IN, RETAIL + 1) if clears(p, *case)] == list(range(found.lo, found.hi + 1)), seed
        assert found.price == (found.lo + found.hi) // 2


def test_nobody_pays_more_or_gets_less_than_the_limit_said():
    for seed in range(500):
        bid_limits, _, offer_limits, _ = case = book(seed)
        found = match(*case, feed_in=FEED_IN, retail=RETAIL)
        assert (bid_limits[found.bought > 0] >= found.price).all()
        assert (offer_limits[found.sold > 0] <= found.price).all()


def any_book(seed: int):
    """A book of up to 24 homes and its tariffs, of a kind that the seed tells."""
    random = np.random.default_rng(seed)
    kind = ("ties", "one side", "empty", "one price", "single Wh", "wide")[seed % 6]
    if seed % 200 == 5:
        kind = "maximal"  # ten of them: a price list of 2^24 places takes half a second
    feed_in, retail = (
        (1, 2**24 - 2) if kind == "maximal" else (int(random.integers(1, 50)), int(random.integers(60, 2500)))
    )
    buyers, sellers = (int(random.integers(1, 13)) for _ in range(2))
    if kind == "one side":
        buyers, sellers = (buyers, 0) if random.integers(2) else (0, sellers)
    elif kind == "empty":
        buyers = sellers = 0
    elif kind == "maximal":
        buyers, sellers = min(buyers, 4), min(sellers, 4)
    low, high = {"ties": (feed_in, feed_in + 3), "one price": (55, 56)}.get(kind, (0, min(retail + 40, 2**24)))
    most = 2 if kind == "single Wh" else 2**24 if kind == "maximal" else 6_000
    least = 2**24 - 3 if kind == "maximal" else 0
    found = []
    for size in (buyers, sellers):
        found += [random.integers(low, high, size), random.integers(least, most, size)]
    fee = int(random.integers(0, retail - feed_in + 1)) if seed % 3 == 0 else 0
    return found, {"feed_in": feed_in, "retail": retail, "grid_fee": fee}


def test_welfare_and_volume_equal_a_linear_programs_in_two_thousand_books_of_every_kind():
    books = [any_book(seed) for seed in range(2000)]
    told = [answer for start in range(0, len(books), 250) for answer in lp.best(books[start : start + 250])]
    traded = 0
    for (case, tariffs), answer in zip(books, told, strict=True):
        bid_limits, bids, offer_limits, offers = case
        found = match(*case, **tariffs)
        fee, highest = tariffs["grid_fee"], tariffs["retail"] - tariffs["grid_fee"]
        worth = (np.minimum(bid_limits, tariffs["retail"]) - fee).tolist()
        cost = np.maximum(offer_limits, tariffs["feed_in"]).tolist()
        welfare = sum(value * int(wh) for value, wh in zip(worth, found.bought, strict=True))
        welfare -= sum(value * int(wh) for value, wh in zip(cost, found.sold, strict=True))
        assert (welfare, found.volume) == answer, (case, tariffs)
        assert found.bought.sum() == found.sold.sum() == found.volume
        assert tariffs["feed_in"] <= found.lo <= found.price <= found.hi <= highest
        assert (bid_limits[found.bought > 0] >= found.price + fee).all()  # the fee is within the limit
        assert (bids >= found.bought).all()
        assert (offers >= found.sold).all()
        traded += found.volume > 0
    assert traded > 500


def test_without_a_fee_the_fee_changes_nothing_and_the_highest_fee_leaves_one_price():
    for seed in range(6, 200):
        case, tariffs = any_book(seed)
        feed_in, retail = tariffs["feed_in"], tariffs["retail"]
        plain, free = (
            match(*case, feed_in=feed_in, retail=retail),
            match(*case, feed_in=feed_in, retail=retail, grid_fee=0),
        )
        assert (plain.lo, plain.hi, plain.bought.tolist()) == (free.lo, free.hi, free.bought.tolist())
        dear = match(*case, feed_in=feed_in, retail=retail, grid_fee=retail - feed_in)
        assert dear.lo == dear.price == dear.hi == feed_in


def test_the_lowest_and_the_highest_price_are_ordinary():
    retail = 2**24 - 2
    for limits, price in (((1, 1), 1), ((retail, retail), retail), ((2**24 - 1, retail), retail), ((1, 0), 1)):
        bid, offer = (numbers(limit) for limit in limits)
        found = match(bid, numbers(2**24 - 1), offer, numbers(2**24 - 1), feed_in=1, retail=retail)
        assert (found.lo, found.hi, found.price, found.volume) == (price, price, price, 2**24 - 1)


def numbers(*values):
    return np.array(values, dtype=np.int64)


def test_the_margin_is_shared_by_floors_of_running_sums():
    limits = numbers(9, 9, 9)
    found = match(limits, numbers(5, 5, 5), numbers(2), numbers(7), feed_in=1, retail=9)
    assert found.bought.tolist() == [2, 2, 3]


def test_an_empty_book_has_a_price():
    empty = numbers()
    found = match(empty, empty, empty, empty, feed_in=600, retail=2500)
    assert (found.lo, found.hi, found.price, found.volume) == (600, 2500, 1550, 0)


def test_a_single_tariff_leaves_a_single_price():
    found = match(numbers(7), numbers(3), numbers(7), numbers(2), feed_in=7, retail=7)
    assert (found.lo, found.hi, found.volume, found.bought.tolist()) == (7, 7, 2, [2])


def test_sums_beyond_64_bits_are_shared_exactly():
    many = np.full(300, 2**40, dtype=np.int64)
    found = match(np.full(300, 5), many, numbers(3), numbers(2**47 + 1), feed_in=1, retail=9)
    assert found.bought.sum() == 2**47 + 1
    assert max(found.bought) - min(found.bought) <= 1


def test_shares_are_the_floors_of_whole_numbers_whatever_their_size():
    random = np.random.default_rng(3)
    for size in (2**8, 2**24, 2**36, 2**40):
        wanted = random.integers(1, size, 200)
        left = int(random.integers(1, wanted.sum()))
        found = match(np.full(200, 5), wanted, numbers(3), numbers(left), feed_in=1, retail=9)
        total, reached = int(wanted.sum()), [0]
        for upto in np.cumsum(wanted).tolist():
            reached.append(left * upto // total)
        assert found.bought.tolist() == np.diff(reached).tolist(), size


def test_prices_far_apart_clear_as_those_close_together():
    """The tables hold every price where there are few, and only those named where there are many."""
    stretch = 1_000_000
    for seed in range(500):
        bid_limits, bids, offer_limits, offers = book(seed)
        near = match(bid_limits, bids, offer_limits, offers, feed_in=FEED_IN, retail=RETAIL)
        far = match(
            bid_limits * stretch,
            bids,
            offer_limits * stretch,
            offers,
            feed_in=FEED_IN * stretch,
            retail=RETAIL * stretch,
        )
        assert (far.lo, far.hi) == (near.lo * stretch, near.hi * stretch)
        assert far.price == (far.lo + far.hi) // 2
        assert far.volume == near.volume
        if far.price == near.price * stretch:
            assert (far.bought.tolist(), far.sold.tolist()) == (near.bought.tolist(), near.sold.tolist())
        assert far.bought.sum() == far.sold.sum() == far.volume


@pytest.mark.parametrize("retail", [RETAIL, 3_000_000])
def test_many_books_at_once_clear_as_one_by_one(retail):
    random = np.random.default_rng(4)
    sides = [random.integers(0, high, (700, 6)) for high in (7, 4, 7, 4)]
    found = match_all(*sides, feed_in=FEED_IN, retail=retail)
    for row in range(700):
        alone = match(*(side[row] for side in sides), feed_in=FEED_IN, retail=retail)
        for name in ("lo", "hi", "price", "volume"):
            assert getattr(found, name)[row] == getattr(alone, name)
        assert found.bought[row].tolist() == alone.bought.tolist()
        assert found.sold[row].tolist() == alone.sold.tolist()


def test_no_book_at_all_is_none():
    none = np.zeros((0, 3), np.int64)
    assert match_all(none, none, none, none, feed_in=1, retail=5).price.tolist() == []


@pytest.mark.parametrize(
    ("limits", "wh", "retail"),
    [(2_501, 5_000, 2_500), (601, 2**24, 2_500), (2_501, 5_000, 2**24 - 2)],
    ids=["anywhere", "all at one price and large", "prices up to 2^24"],
)
def test_a_million_orders_clear_in_half_a_second_of_one_core(limits, wh, retail):
    random = np.random.default_rng(1)
    orders = 1_000_000
    limits, wh = random.integers(600, limits, orders), random.integers(1, wh, orders)
    half, taken = orders // 2, []
    for _ in range(5):
        begin = time.process_time()
        found = match(limits[:half], wh[:half], limits[half:], wh[half:], feed_in=600, retail=retail)
        taken.append(time.process_time() - begin)
    assert found.bought.sum() == found.sold.sum() == found.volume > 0
    assert min(taken) < 0.5


def test_a_grid_fee_is_what_lies_between_buyer_and_seller():
    """As if every bid were lower by it, and the highest price too."""
    for seed in range(300):
        bid_limits, bids, offer_limits, offers = book(seed)
        found = match(bid_limits, bids, offer_limits, offers, feed_in=FEED_IN, retail=RETAIL, grid_fee=2)
        plain = match(bid_limits - 2, bids, offer_limits, offers, feed_in=FEED_IN, retail=RETAIL - 2)
        assert found.price == plain.price <= RETAIL - 2
        assert (found.bought.tolist(), found.sold.tolist()) == (plain.bought.tolist(), plain.sold.tolist())
        assert (bid_limits[found.bought > 0] >= found.price + 2).all()
