"""`agents`: who wishes what; each draws by the seed and its number alone."""

from __future__ import annotations

import numpy as np
import pytest

from liggare.energy.agents import LEVELS, Crowd, Learning, Seen, ZeroIntelligence
from liggare.energy.settlement import Tariffs
from liggare.errors import UnknownName

TARIFFS = Tariffs(2_500, 600)
WITH_FEE = Tariffs(2_500, 600, 300)


def limits(crowd, slots=96):
    wishes = crowd.wishes(slots)
    return wishes.buy, wishes.sell


@pytest.mark.parametrize("name", ["fixed", "zero", "learning"])
def test_a_limit_lies_between_the_tariffs_and_comes_out_again(name):
    buy, sell = limits(Crowd.of([name], 17, TARIFFS, 7))
    again = limits(Crowd.of([name], 17, TARIFFS, 7))
    other = limits(Crowd.of([name], 17, TARIFFS, 8))
    for first, second, third in zip((buy, sell), again, other, strict=True):
        assert (first >= TARIFFS.feed_in).all()
        assert (first <= TARIFFS.retail).all()
        assert (first == second).all()
        assert (first != third).any()


@pytest.mark.parametrize("name", ["fixed", "zero", "learning"])
def test_a_grid_fee_raises_what_buyers_say_and_lowers_what_sellers_ask(name):
    """So that no trade leaves anybody worse off than the grid does."""
    buy, sell = limits(Crowd.of([name], 17, WITH_FEE, 7))
    assert (buy.min() >= 900, buy.max() <= 2_500, sell.min() >= 600, sell.max() <= 2_200) == (True,) * 4


def test_a_homes_draws_do_not_depend_on_its_neighbours():
    alone, together = Crowd.of(["zero"], 3, TARIFFS, 7), Crowd.of(["zero", "fixed", "learning"], 17, TARIFFS, 7)
    assert (limits(alone)[0][:, 0] == limits(together)[0][:, 0]).all()


def test_a_fixed_wish_is_what_was_said():
    buy, sell = limits(Crowd.of(["fixed"], 2, TARIFFS, 1, buy=1_900, sell=800))
    assert (set(buy.ravel().tolist()), set(sell.ravel().tolist())) == ({1_900}, {800})


def test_zero_intelligence_draws_anew_for_each_slot():
    agent = ZeroIntelligence(TARIFFS, np.random.default_rng(1))
    buy, _ = agent.wish(10_000)
    assert len(set(buy.tolist())) > 1_800
    assert buy.mean() == pytest.approx(1_550, rel=0.02)


def test_a_kind_that_is_not_known_is_named():
    with pytest.raises(UnknownName, match="is 'learning' meant"):
        Crowd.of(["learnin"], 2, TARIFFS, 1)


def row(*values):
    return np.array(values, dtype=np.int64)


def test_a_reward_is_the_part_of_what_could_be_gained():
    """One buy of 10 Wh at 650 of at most 600: 1850 of 1900, by the published rule."""
    agent = Learning(TARIFFS, np.random.default_rng(1))
    agent.wish(96)
    taken = agent._taken[0]
    agent.learn(Seen(row(10), row(10), row(0), row(650)))
    q = 1 / LEVELS
    assert agent.propensities[0][taken] == pytest.approx(0.9 * q + 1850 / 1900 * 0.8)
    others = np.delete(agent.propensities[0], taken)
    assert others == pytest.approx(np.full(LEVELS - 1, q * (0.9 + 0.2 / 19)))
    assert agent.propensities[1] == pytest.approx(np.full(LEVELS, q))  # nothing to sell, nothing learned


def test_learning_finds_the_limits_that_pay():
    """A seller who is only ever served up to 1,000 soon asks no more than that."""
    agent = Learning(TARIFFS, np.random.default_rng(3))
    asked = []
    for _ in range(400):
        sell = int(agent.wish(96)[1][0])
        asked.append(sell)
        sold = 10 if sell <= 1_000 else 0
        agent.learn(Seen(row(-10), row(0), row(sold), row(1_000)))
    assert np.mean(agent.levels <= 1_000) < 0.3  # so often at first
    assert np.mean(np.array(asked[-100:]) <= 1_000) > 0.9
