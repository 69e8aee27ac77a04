"""Who states the wishes in a simulation: by one rule a home, or several rules dealt to the homes in turn.

    wishes for a round of slots -> cleared -> learn from it -> wishes for the next round

Between the tariffs is, for a buyer, from the feed-in tariff and the grid fee up to the retail tariff, and for a seller
from the feed-in tariff up to the retail tariff less the fee: so nobody ever does worse than with the grid alone.

- `fixed`: one wish for good. Drawn once: buy anywhere in the upper half between the tariffs, sell in the lower half.
- `zero`: zero intelligence, constrained (Gode & Sunder 1993, "Allocative Efficiency of Markets with Zero-Intelligence
  Traders"): in each slot a limit anywhere between the tariffs, and no other thought.
- `learning`: Roth & Erev's reinforcement as Nicolaisen, Petrov & Tesfatsion (2001) modified it. A home knows 20 limits
  between the tariffs for buying and 20 for selling. Each round it takes one of each, with a probability in proportion
  to its propensity q. Afterwards, where it had something to buy (to sell), its reward r is the part of the most it
  could have gained against the grid that it did gain, 0 to 1; then for the taken limit q := (1 - f) q + r (1 - e),
  for each other one q := (1 - f) q + q e / 19, with forgetting f = 0.1 and experimentation e = 0.2.

What a home draws depends on the seed and its number alone, never on who else is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from liggare.energy.bulk import Wishes
from liggare.energy.matching import Numbers
from liggare.energy.settlement import Tariffs
from liggare.errors import UnknownName

__all__ = ["AGENTS", "Agent", "Crowd", "Fixed", "Learning", "Seen", "ZeroIntelligence"]

UNCAPPED = 2**24 - 1
LEVELS = 20
FORGETTING, EXPERIMENTATION = 0.1, 0.2


@dataclass(frozen=True)
class Seen:
    """What a home sees of a round, a number per slot: its net, what it bought and sold (Wh), the price."""

    net: Numbers
    bought: Numbers
    sold: Numbers
    price: Numbers


class Agent(Protocol):
    """A rule by which one home states its wishes."""

    def wish(self, slots: int, /) -> tuple[Numbers, Numbers]:
        """Return buy and sell limits of the next slots: one number each, or one for all."""

    def learn(self, seen: Seen) -> None:
        """Look at what came of the last wishes."""


class Fixed:
    """One wish for good; limits that are not given are drawn."""

    def __init__(
        self, tariffs: Tariffs, random: np.random.Generator, *, buy: int | None = None, sell: int | None = None
    ) -> None:
        middle = (tariffs.feed_in + tariffs.most) // 2
        drawn = random.integers(middle, tariffs.most + 1), random.integers(tariffs.feed_in, middle + 1)
        self._buy = np.array([drawn[0] + tariffs.grid_fee if buy is None else buy])
        self._sell = np.array([drawn[1] if sell is None else sell])

    def wish(self, _slots: int, /) -> tuple[Numbers, Numbers]:
        """Say the same as always."""
        return self._buy, self._sell

    def learn(self, seen: Seen) -> None:
        """Change nothing."""


class ZeroIntelligence:
    """Any limit that does no worse than the grid."""

    def __init__(self, tariffs: Tariffs, random: np.random.Generator) -> None:
        self._tariffs, self._random = tariffs, random

    def wish(self, slots: int) -> tuple[Numbers, Numbers]:
        """Draw both limits anew for each slot."""
        drawn = self._random.integers(self._tariffs.feed_in, self._tariffs.most + 1, (2, slots))
        return drawn[0] + self._tariffs.grid_fee, drawn[1]

    def learn(self, seen: Seen) -> None:
        """Learn nothing."""


class Learning:
    """Takes more often what paid before."""

    def __init__(self, tariffs: Tariffs, random: np.random.Generator) -> None:
        self._tariffs, self._random = tariffs, random
        self.levels: Numbers = np.linspace(tariffs.feed_in, tariffs.most, LEVELS).astype(np.int64)
        self.propensities: NDArray[np.float64] = np.full((2, LEVELS), 1 / LEVELS)
        self._taken = [0, 0]

    def wish(self, _slots: int, /) -> tuple[Numbers, Numbers]:
        """Take a limit for buying and one for selling, for the whole round."""
        for side in (0, 1):
            reached = self.propensities[side].cumsum()
            self._taken[side] = int(np.searchsorted(reached, self._random.random() * reached[-1], "right"))
        buy, sell = self.levels[self._taken]
        return np.array([buy + self._tariffs.grid_fee]), np.array([sell])

    def learn(self, seen: Seen) -> None:
        """Reward what was taken."""
        low, high = self._tariffs.feed_in, self._tariffs.most
        gained = seen.bought @ (high - seen.price), seen.sold @ (seen.price - low)
        for side, sign in ((0, 1), (1, -1)):
            most = int(np.maximum(sign * seen.net, 0).sum()) * (high - low)
            if most:
                self._reward(side, float(gained[side]) / most)

    def _reward(self, side: int, reward: float) -> None:
        before, taken = self.propensities[side], self._taken[side]
        after = before * (1 - FORGETTING + EXPERIMENTATION / (LEVELS - 1))
        after[taken] = (1 - FORGETTING) * before[taken] + reward * (1 - EXPERIMENTATION)
        # a propensity that has died of disuse could never be taken again, nor all of them
        self.propensities[side] = np.maximum(after, 1e-9)


AGENTS: dict[str, Callable[[Tariffs, np.random.Generator], Agent]] = {
    "fixed": Fixed,
    "zero": ZeroIntelligence,
    "learning": Learning,
}


class Crowd:
    """The agents of all homes."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self.agents = list(agents)

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        homes: int,
        tariffs: Tariffs,
        seed: int,
        *,
        buy: int | None = None,
        sell: int | None = None,
    ) -> Crowd:
        """Deal kinds of agents to homes in turn; `buy` and `sell` are the limits of fixed ones. Raises UnknownName."""
        agents: list[Agent] = []
        for home in range(homes):
            name, random = names[home % len(names)], np.random.default_rng([seed, home])
            if name not in AGENTS:
                raise UnknownName(name, AGENTS)
            is_fixed = name == "fixed"
            agents.append(Fixed(tariffs, random, buy=buy, sell=sell) if is_fixed else AGENTS[name](tariffs, random))
        return cls(agents)

    def wishes(self, slots: int) -> Wishes:
        """Ask all of them for the next slots."""
        buy, sell = np.zeros((2, slots, len(self.agents)), np.int64)
        for home, agent in enumerate(self.agents):
            buy[:, home], sell[:, home] = agent.wish(slots)
        return Wishes(buy, sell, np.full((1, 1), UNCAPPED, np.int64))

    def learn(self, nets: Numbers, bought: Numbers, sold: Numbers, price: Numbers) -> None:
        """Show each its column of a round."""
        for home, agent in enumerate(self.agents):
            agent.learn(Seen(nets[:, home], bought[:, home], sold[:, home], price))
