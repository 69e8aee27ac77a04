"""`homes`: real load and sun become what meters count, and no watt-hour is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from liggare.energy import homes
from liggare.energy.homes import SLOTS_PER_DAY, HomeSeries, carbon, quarters, read, wheel
from liggare.errors import DataMissing


def test_quarters_keep_the_total_to_the_watt_hour():
    kwh = np.array([0.0011, 0.9999, 2.2758, 0.0, 1.0])
    slots = quarters(kwh)
    assert len(slots) == 20
    assert slots.sum() == 4276  # 4.2768 kWh, rounded down once
    for hour in slots.reshape(-1, 4):
        assert hour.max() - hour.min() <= 1


def test_what_a_home_uses_of_its_own_sun_does_not_pass_the_meter():
    series = HomeSeries("Anna", np.full(SLOTS_PER_DAY, 100), np.arange(SLOTS_PER_DAY) * 2)
    day = series.day(0)
    assert day[0] == (100, 0)
    assert day[50] == (0, 0)
    assert day[95] == (0, 90)


def test_a_file_that_is_not_the_wheel_is_refused(tmp_path):
    path = tmp_path / homes.WHEEL
    path.write_bytes(b"something else")
    with pytest.raises(DataMissing, match="SHA-256"):
        wheel(tmp_path)
    with pytest.raises(DataMissing, match="does not hold the homes"):
        read(path)
    with pytest.raises(DataMissing, match="does not hold the carbon intensity"):
        carbon(path)


def test_a_wheel_that_cannot_be_had_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(homes, "RELEASE", "CityLearn==0.0.0.nowhere")
    with pytest.raises(DataMissing, match=r"pip download CityLearn==0\.0\.0\.nowhere"):
        wheel(tmp_path)


def test_the_seventeen_homes_are_a_year_of_real_load_and_sun():
    try:
        path = wheel()
    except DataMissing as reason:
        pytest.skip(str(reason))
    found = read(path)
    assert [home.name for home in found] == [f"Building_{i}" for i in range(1, 18)]
    assert {len(home.load) for home in found} == {len(home.sun) for home in found} == {8759 * 4}
    assert (found[0].load.sum(), found[0].sun.sum()) == (10_581_077, 7_212_496)
    assert all(len(home.day(363)) == SLOTS_PER_DAY for home in found)
    grid = carbon(path)
    assert len(grid) == 8759 * 4
    assert grid[:5].tolist() == [0.15731905810375976] * 4 + [0.1545025601953125]
    assert 0 < grid.min() < grid.max() < 1
