"""`battery`: stores what is left over, gives what is needed, and no watt-hour is lost but by its efficiency."""

from __future__ import annotations

import numpy as np
import pytest

from liggare.energy.battery import Battery, dispatch
from liggare.errors import UsageError


def wh(*values):
    return np.array(values, dtype=np.int64)


def test_a_surplus_is_stored_and_a_need_is_served_from_it():
    run = dispatch(wh(0, 50, 0, 100), wh(100, 0, 0, 0), Battery(1_000, 4_000, 900))
    assert run.charged.tolist() == [100, 0, 0, 0]
    assert run.discharged.tolist() == [0, 50, 0, 40]  # 90 of the 100 come out
    assert (run.stored, run.lost) == (0, 10_000)


def test_power_bounds_what_passes_in_a_slot():
    run = dispatch(wh(0, 900, 900), wh(900, 0, 0), Battery(10_000, 800, 1000))
    assert (run.charged.tolist(), run.discharged.tolist()) == ([200, 0, 0], [0, 200, 0])


def test_capacity_bounds_what_is_stored():
    run = dispatch(wh(0, 0, 500), wh(500, 500, 0), Battery(600, 100_000, 800))
    assert run.charged.tolist() == [500, 250, 0]
    assert run.discharged.tolist() == [0, 0, 500]
    assert run.stored == 100_000


def test_no_battery_does_nothing():
    run = dispatch(wh(5, 0), wh(0, 5), None)
    assert (run.charged.sum(), run.discharged.sum(), run.stored, run.lost) == (0, 0, 0, 0)


@pytest.mark.parametrize("efficiency", [1, 333, 900, 999, 1000])
def test_energy_is_conserved_to_the_thousandth_of_a_watt_hour(efficiency):
    random = np.random.default_rng(efficiency)
    battery = Battery(3_000, 2_000, efficiency)
    load, sun = random.integers(0, 900, (2, 3_000))
    run = dispatch(load, sun, battery)
    net = load - sun + run.charged - run.discharged
    imported, exported = np.maximum(net, 0).sum(), np.maximum(-net, 0).sum()
    assert 1000 * (sun.sum() + imported) == 1000 * (load.sum() + exported) + run.stored + run.lost
    stored = np.cumsum(run.charged * efficiency - run.discharged * 1000)
    assert stored.min() >= 0
    assert stored.max() <= battery.capacity * 1000
    assert max(run.charged.max(), run.discharged.max()) <= battery.step
    # it never stores what was bought, nor sells what was stored
    assert (run.charged <= np.maximum(sun - load, 0)).all()
    assert (run.discharged <= np.maximum(load - sun, 0)).all()


@pytest.mark.parametrize("terms", [(-1, 1, 900), (1, -1, 900), (1, 1, 0), (1, 1, 1001)])
def test_a_battery_that_cannot_be_is_refused(terms):
    with pytest.raises(UsageError, match="no battery"):
        Battery(*terms)
