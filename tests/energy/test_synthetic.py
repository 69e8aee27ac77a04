"""The homes that stand in where the measured ones can't be had: a plausible year, the same each time."""

from __future__ import annotations

import pytest

from liggare.energy.homes import SLOTS_PER_DAY
from liggare.energy.synthetic import make


@pytest.fixture(scope="module")
def homes():
    """Seventeen homes."""
    return make()


def test_seventeen_homes_have_a_year_each(homes):
    assert len(homes) == 17
    assert {len(home.load) for home in homes} == {len(home.sun) for home in homes} == {365 * SLOTS_PER_DAY}


def test_loads_are_those_of_households(homes):
    totals = [int(home.load.sum()) / 1000 for home in homes]
    assert min(totals) == pytest.approx(2500, rel=0.03)
    assert max(totals) == pytest.approx(6100, rel=0.03)


def test_the_sun_shines_by_day_and_more_in_june(homes):
    for home in homes:
        june, december = home.sun[319 * 96 : 320 * 96], home.sun[136 * 96 : 137 * 96]
        assert june[:12].sum() == 0
        assert june[48] > 0
        assert june.sum() > december.sum()


def test_neighbours_differ(homes):
    assert len({(int(home.load.sum()), int(home.sun.sum())) for home in homes}) == 17


def test_the_same_homes_come_out_each_time(homes):
    again = make(17)[3]
    assert (again.load == homes[3].load).all()
    assert (again.sun == homes[3].sun).all()
