"""A home's battery: stores what the home has left over, and gives it when the home needs it.

Greedy for the home's own use, slot by slot and without any look ahead: a surplus fills the battery before any of it
passes the meter, a need empties it before anything is taken. It never sells and never buys to store, so the market
does not change what it does. Whole Wh pass in and out; what is stored is counted in thousandths of a Wh, after the
loss, so nothing is rounded:

    1000 x (sun + imported) = 1000 x (load + exported) + what is stored more than before + what was lost
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liggare.energy.matching import Numbers
from liggare.energy.messages import SLOT_SECONDS
from liggare.errors import UsageError

__all__ = ["Battery", "Dispatch", "dispatch"]


@dataclass(frozen=True)
class Battery:
    """What a battery can do.

    `capacity` is the Wh that can be taken out of a full one, `power` the most W in or out, `efficiency` the thousandths
    that come out of what went in: the whole loss is taken when it goes in.
    """

    capacity: int
    power: int
    efficiency: int = 900

    def __post_init__(self) -> None:
        if self.capacity < 0 or self.power < 0 or not 0 < self.efficiency <= 1000:
            raise UsageError(f"no battery has {self}: Wh and W from 0, efficiency 1 to 1000 thousandths")

    @property
    def step(self) -> int:
        """The most Wh in or out in a slot."""
        return self.power * SLOT_SECONDS // 3600


@dataclass(frozen=True)
class Dispatch:
    """What a battery did: Wh in and out per slot; at the end, thousandths of a Wh stored and lost on the way."""

    charged: Numbers
    discharged: Numbers
    stored: int
    lost: int


def dispatch(load: Numbers, sun: Numbers, battery: Battery | None) -> Dispatch:
    """Run a battery that begins empty through a home's slots; none does nothing."""
    charged, discharged = np.zeros(len(load), np.int64), np.zeros(len(load), np.int64)
    if battery is None:
        return Dispatch(charged, discharged, 0, 0)
    stored, efficiency, most, full = 0, battery.efficiency, battery.step, battery.capacity * 1000
    for slot, surplus in enumerate((sun - load).tolist()):
        if surplus > 0:
            taken = min(surplus, most, (full - stored) // efficiency)
            charged[slot] = taken
            stored += taken * efficiency
        elif surplus < 0:
            given = min(-surplus, most, stored // 1000)
            discharged[slot] = given
            stored -= given * 1000
    return Dispatch(charged, discharged, stored, int(charged.sum()) * (1000 - efficiency))
