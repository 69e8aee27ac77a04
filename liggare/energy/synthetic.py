"""Homes that nobody measured, for where the measured ones can't be had: a year by pvlib and demandlib.

Load is the German standard profile of households, made dynamic (BDEW H0, by demandlib), scaled to 2,500 to 6,100 kWh a
year; sun is pvlib's clear sky (simplified Solis) over Park Slope, Brooklyn, or any other place, on roofs of 2 to 6 kW
that face south-east to south-west (north-east to north-west south of the equator): brighter than life, since no cloud
passes. The profile's winter is Germany's wherever the place is. The same homes come out each time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liggare.energy.homes import SLOTS_PER_DAY, HomeSeries
from liggare.energy.matching import Numbers
from liggare.errors import UsageError

__all__ = ["make"]

PARK_SLOPE = (40.672, -73.977)
YEAR = 2017
AUGUST = 212
"""Days of the year before 1 August, on which the homes' year begins."""
PERFORMANCE = 0.85
"""What inverter, wiring and dust leave of the power on the roof (PVWatts' default losses, about)."""


def make(count: int = 17, place: tuple[float, float] = PARK_SLOPE) -> list[HomeSeries]:
    """Return `count` homes at a latitude and longitude, a year each from 1 August, in slots of 15 minutes.

    Hours are those of the longitude's own time, whole hours from Greenwich. Raises UsageError where there is no such
    place.
    """
    latitude, longitude = place
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise UsageError(f"there is no place at {latitude}, {longitude}: latitude is -90 to 90, longitude -180 to 180")
    # here, since they take seconds to load and the measured homes don't need them
    import pandas as pd
    import pvlib
    from demandlib import bdew

    profile = bdew.ElecSlp(YEAR).get_scaled_power_profiles({"h0_dyn": 1000.0})["h0_dyn"].to_numpy()
    hours = round(longitude / 15)
    where = pvlib.location.Location(latitude, longitude, tz=f"Etc/GMT{-hours:+d}")  # its signs are the other way round
    times = pd.date_range(f"{YEAR}-01-01 00:07:30", periods=len(profile), freq="15min", tz=where.tz)
    path = where.get_solarposition(times)
    sky = where.get_clearsky(times, model="simplified_solis", solar_position=path)
    equator = 180 if latitude >= 0 else 0
    light = (sky["dni"], sky["ghi"], sky["dhi"])
    homes = []
    for number in range(count):
        share = number / max(count - 1, 1)
        roof = pvlib.irradiance.get_total_irradiance(
            20 + 20 * share, (equator - 45 + 90 * share) % 360, path["apparent_zenith"], path["azimuth"], *light
        )["poa_global"].fillna(0)
        power = 2 + number * 7 % 17 / 4
        load = profile / 4 * (2.5 + number * 5 % 17 * 0.225)
        sun = roof.to_numpy() / 1000 * power * PERFORMANCE / 4
        homes.append(HomeSeries(f"Synthetic_{number + 1}", _wh(load), _wh(sun)))
    return homes


def _wh(kwh: NDArray[np.float64]) -> Numbers:
    """Return kWh per slot as whole Wh, from 1 August on; the running total is rounded down, so none is lost."""
    rolled = np.roll(kwh, -AUGUST * SLOTS_PER_DAY)
    running = np.floor(np.cumsum(rolled) * 1000 + 1e-6).astype(np.int64)
    slots: Numbers = np.diff(running, prepend=0)
    return slots
