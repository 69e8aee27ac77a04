"""Load and generation from any CSV file: a row per step of time, the unit in the column's name.

| column | meaning |
|---|---|
| `time` | when the row's step begins: ISO 8601, with an offset from UTC in every row or in none; equal steps |
| `load_wh` or `load_kw` | what the home used: Wh in the step, or kW on the average of it; one of the two |
| `generation_wh` or `generation_kw` | what its roof gave, likewise; neither where it has none |
| `carbon_kg_per_kwh` | the grid's kg of CO2 per kWh, for the report; may be left out |

Other columns are passed over. Numbers are finite and not below zero. A step is 1, 3, 5 or 15 minutes or a multiple of
15 up to a day, and the first one begins with a slot, a quarter of an hour. From each series' running total, rounded
down to Wh at each step's end (and at each slot's, where steps are shorter), come the slots' Wh, so that no Wh of the
total is lost.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liggare.energy.homes import HomeSeries, quarters
from liggare.energy.messages import SLOT_SECONDS
from liggare.errors import DataError, SeriesMalformed

__all__ = ["Table", "read_table"]

SLOT = timedelta(seconds=SLOT_SECONDS)
UNITS = ("wh", "kw")
CARBON = "carbon_kg_per_kwh"


@dataclass(frozen=True)
class Table:
    """A home's series, when it begins, and the grid's kg of CO2 per kWh by slot where the file has it."""

    series: HomeSeries
    begins: datetime
    carbon: NDArray[np.float64] | None


def read_table(path: Path) -> Table:
    """Read a file; the home's name is the file's. Raises SeriesMalformed naming the first line that is off."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            lines = [(rows.line_num, row) for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DataError(f"the table {path} can't be read: {exc}") from None
    places = _places(path, header)
    if len(lines) < 2:
        raise SeriesMalformed(path, 1, "two rows at least are needed, to see how long a step is")
    begins, step = _steps(path, places["time"], lines)
    hours = step / timedelta(hours=1)
    found: dict[str, NDArray[np.float64]] = {
        name: np.array([_number(path, line, name, row, place) for line, row in lines])
        for name, place in places.items()
        if name != "time"
    }
    kwh = {}
    for name in ("load", "generation"):
        if f"{name}_kw" in found:
            kwh[name] = found[f"{name}_kw"] * hours
        else:
            kwh[name] = found.get(f"{name}_wh", np.zeros(len(lines))) / 1000
    if step < SLOT:
        parts, group = 1, SLOT // step
        if len(lines) % group:
            raise SeriesMalformed(path, lines[-1][0], "the last quarter of an hour is not whole")
        kwh = {name: each.reshape(-1, group).sum(axis=1) for name, each in kwh.items()}
        carbon = found[CARBON].reshape(-1, group).mean(axis=1) if CARBON in found else None
    else:
        parts = step // SLOT
        carbon = np.repeat(found[CARBON], parts) if CARBON in found else None
    slots = {name: quarters(each, parts) for name, each in kwh.items()}
    return Table(HomeSeries(path.stem, slots["load"], slots["generation"]), begins, carbon)


def _places(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Return where the columns are that count."""
    names = [name.strip() for name in header]
    known = {"time", CARBON, *(f"{name}_{unit}" for name in ("load", "generation") for unit in UNITS)}
    for name in known:
        if names.count(name) > 1:
            raise SeriesMalformed(path, 1, f"there are {names.count(name)} columns {name}")
    if "time" not in names:
        raise SeriesMalformed(path, 1, "there is no column time")
    for name, least in (("load", 1), ("generation", 0)):
        count = sum(f"{name}_{unit}" in names for unit in UNITS)
        if not least <= count <= 1:
            raise SeriesMalformed(path, 1, f"{name} is in one column, {name}_wh or {name}_kw; there are {count}")
    return {name: names.index(name) for name in sorted(known) if name in names}


def _steps(path: Path, place: int, lines: Sequence[tuple[int, Sequence[str]]]) -> tuple[datetime, timedelta]:
    """Return when the first step begins and how long each is."""
    times = []
    for line, row in lines:
        try:
            times.append(datetime.fromisoformat(row[place].strip()))
        except (ValueError, IndexError):
            raise SeriesMalformed(path, line, "time is no date and time such as 2026-06-01T12:15") from None
        if (times[-1].tzinfo is None) != (times[0].tzinfo is None):
            raise SeriesMalformed(path, line, "times have an offset from UTC in every row or in none")
    begins, step = times[0], times[1] - times[0]
    for (line, _), time, earlier in zip(lines[1:], times[1:], times, strict=False):
        if time - earlier != step:
            raise SeriesMalformed(path, line, f"time is {time - earlier} after the row before, and not {step}")
    shorter = timedelta(0) < step < SLOT and not SLOT % step and not step % timedelta(minutes=1)
    if not shorter and (not timedelta(0) < step <= timedelta(days=1) or step % SLOT):
        reason = f"a step is 1, 3, 5 or 15 minutes or a multiple of 15 up to a day, not {step}"
        raise SeriesMalformed(path, lines[1][0], reason)
    if begins.minute % 15 or begins.second or begins.microsecond:
        raise SeriesMalformed(
            path, lines[0][0], f"the first step begins with a quarter of an hour, not at {begins.time()}"
        )
    return begins, step


def _number(path: Path, line: int, name: str, row: Sequence[str], place: int) -> float:
    try:
        number = float(row[place])
    except (ValueError, IndexError):
        number = math.nan
    if not 0 <= number < math.inf:
        shown = repr(row[place]) if place < len(row) else "missing"
        raise SeriesMalformed(path, line, f"{name} is a number from 0 on, not {shown}")
    return number
