"""A neighbourhood's market without a chain: homes, batteries and agents, slot after slot by the contract's rules.

    homes -> batteries -> nets -> round by round: wishes -> clear, settle -> learn -> Study

Nothing is left to chance but by the seed, and all amounts are whole: Wh, and units of 10^-6 of the money. A round is a
day; agents see what came of it and may wish otherwise for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liggare.energy import homes as measured
from liggare.energy import synthetic
from liggare.energy.agents import Crowd
from liggare.energy.battery import Battery, dispatch
from liggare.energy.bulk import settle_block
from liggare.energy.homes import SLOTS_PER_DAY, HomeSeries
from liggare.energy.matching import Numbers
from liggare.energy.messages import SLOT_SECONDS
from liggare.energy.settlement import Tariffs, Till
from liggare.energy.tables import read_table
from liggare.errors import DataError, UsageError

__all__ = ["Neighbourhood", "Study", "simulate"]

SLOT = timedelta(seconds=SLOT_SECONDS)
MOST_WH = 2**24 - 1
"""What a reading can tell of a slot, each way."""


@dataclass(frozen=True)
class Neighbourhood:
    """Homes whose series begin together and are of equal length; the grid's kg of CO2 per kWh by slot, if known."""

    homes: Sequence[HomeSeries]
    begins: datetime
    carbon: NDArray[np.float64] | None = None

    @classmethod
    def citylearn(cls, wheel: Path) -> Neighbourhood:
        """Return the 17 measured homes from CityLearn's wheel. Raises DataMissing."""
        return cls(measured.read(wheel), measured.BEGINS, measured.carbon(wheel))

    @classmethod
    def made(cls, count: int, place: tuple[float, float]) -> Neighbourhood:
        """Return made homes at a latitude and longitude. Raises UsageError where there is no such place."""
        homes = synthetic.make(count, place)
        return cls(homes, datetime(synthetic.YEAR, 8, 1))  # noqa: DTZ001 local time

    @classmethod
    def tables(cls, paths: Sequence[Path]) -> Neighbourhood:
        """Read a file per home. Raises SeriesMalformed, and DataError where the files' times differ."""
        found = [read_table(path) for path in paths]
        first = found[0]
        for path, each in zip(paths, found, strict=True):
            if each.begins != first.begins or len(each.series.load) != len(first.series.load):
                raise DataError(
                    f"{path} has {len(each.series.load)} slots from {each.begins} on,"
                    f" {paths[0]} has {len(first.series.load)} from {first.begins} on: all must be alike"
                )
        carbon = next((each.carbon for each in found if each.carbon is not None), None)
        return cls([each.series for each in found], first.begins, carbon)

    def days(self, first: int, count: int | None) -> Neighbourhood:
        """Return `count` days from day `first` on; None: all that are left. Raises UsageError where there are fewer."""
        slots = len(self.homes[0].load)
        start = first * SLOTS_PER_DAY
        end = slots if count is None else start + count * SLOTS_PER_DAY
        if not 0 <= start < end <= slots:
            raise UsageError(f"days {first} to {first + (count or 1) - 1} are asked for, there are {slots / 96:.1f}")
        cut = slice(start, end)
        homes = [HomeSeries(home.name, home.load[cut], home.sun[cut]) for home in self.homes]
        begins = self.begins + start * SLOT
        return Neighbourhood(homes, begins, None if self.carbon is None else self.carbon[cut])


@dataclass(frozen=True)
class Study:
    """What came out: numbers by slot (rows) and home (columns). Energy is Wh, money units of 10^-6."""

    names: list[str]
    begins: datetime
    tariffs: Tariffs
    load: Numbers
    sun: Numbers
    charged: Numbers
    discharged: Numbers
    imported: Numbers
    exported: Numbers
    bought: Numbers
    sold: Numbers
    earned: Numbers
    """How each home's balance changed."""
    lo: Numbers
    hi: Numbers
    price: Numbers
    volume: Numbers
    unpaid: Numbers
    """Feed-in that the utility could not pay, by slot."""
    stored: list[int]
    lost: list[int]
    """Thousandths of a Wh in each home's battery at the end, and lost on the way."""
    carbon: NDArray[np.float64] | None
    till: Till
    """The money at the end."""


def simulate(
    neighbourhood: Neighbourhood,
    tariffs: Tariffs,
    crowd: Crowd,
    *,
    deposit: int,
    funds: int,
    batteries: Sequence[Battery | None] | None = None,
    round_slots: int = SLOTS_PER_DAY,
) -> Study:
    """Run the market through all slots.

    `deposit` is what each home, `funds` what the utility has in its account at first; where they run out, bids are
    not heard and feed-in is not paid, as on the chain. `batteries` are the homes', by their order. Raises UsageError
    where a home's slot does not fit in a reading.
    """
    homes = neighbourhood.homes
    load, sun = (np.stack([getattr(home, name) for home in homes], axis=1) for name in ("load", "sun"))
    runs = [dispatch(home.load, home.sun, battery) for home, battery in _with(homes, batteries)]
    charged, discharged = (np.stack([getattr(run, name) for run in runs], axis=1) for name in ("charged", "discharged"))
    nets = load - sun + charged - discharged
    if np.abs(nets).max(initial=0) > MOST_WH:
        raise UsageError(f"a slot counts up to {MOST_WH:,} Wh each way, not {np.abs(nets).max():,}")
    till = Till(tariffs, dict.fromkeys(range(1, len(homes) + 1), deposit), utility=funds)
    blocks = []
    for start in range(0, len(nets), round_slots):
        part = nets[start : start + round_slots]
        block = settle_block(till, part, crowd.wishes(len(part)))
        found = block.clearings
        crowd.learn(part, found.bought, found.sold, found.price)
        blocks.append(block)
    clearings = {
        name: np.concatenate([getattr(block.clearings, name) for block in blocks])
        for name in ("bought", "sold", "lo", "hi", "price", "volume")
    }
    return Study(
        names=[home.name for home in homes],
        begins=neighbourhood.begins,
        tariffs=tariffs,
        load=load,
        sun=sun,
        charged=charged,
        discharged=discharged,
        imported=np.maximum(nets, 0),
        exported=np.maximum(-nets, 0),
        earned=np.concatenate([block.earned for block in blocks]),
        unpaid=np.concatenate([block.unpaid for block in blocks]),
        stored=[run.stored for run in runs],
        lost=[run.lost for run in runs],
        carbon=neighbourhood.carbon,
        till=till,
        **clearings,
    )


def _with(
    homes: Sequence[HomeSeries], batteries: Sequence[Battery | None] | None
) -> list[tuple[HomeSeries, Battery | None]]:
    return list(zip(homes, batteries or [None] * len(homes), strict=True))
