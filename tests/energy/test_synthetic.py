"""The homes that stand in where the measured ones can't be had: a plausible year, the same each time."""

from __future__ import annotations

import pytest

from liggare.energy.homes import SLOTS_PER_DAY
from liggare.energy.synthetic import make
from liggare.errors import UsageError


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


@pytest.mark.parametrize(("place", "bright", "dark"), [((55.6, 13.0), 319, 136), ((-33.9, 18.4), 136, 319)])
def test_another_place_has_its_own_summer_and_noon(place, bright, dark):
    """Malmö, and Cape Town where June is winter: days 319 and 136 are in June and December."""
    sun = make(1, place)[0].sun
    days = [sun[day * SLOTS_PER_DAY : (day + 1) * SLOTS_PER_DAY] for day in (bright, dark)]
    assert days[0].sum() > days[1].sum()
    assert 36 < days[0].argmax() < 60


def test_no_place_is_refused():
    with pytest.raises(UsageError, match="no place at 91"):
        make(1, (91, 0))
