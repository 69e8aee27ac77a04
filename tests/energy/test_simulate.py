"""`simulate`: a market without a chain; the same by seed, and every Wh and every unit is accounted for."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from liggare.energy.agents import Crowd
from liggare.energy.battery import Battery
from liggare.energy.homes import BEGINS, HomeSeries, wheel
from liggare.energy.settlement import Tariffs, Terms, Till
from liggare.energy.simulate import Neighbourhood, simulate
from liggare.errors import DataError, DataMissing, UsageError
from scripts import study as study_script
from tests.support import ROOT

TARIFFS = Tariffs(2_500, 600)
KRONA = 10**6
BATTERY = Battery(6_400, 5_000, 900)


@pytest.fixture(scope="module")
def real() -> Neighbourhood:
    """The 17 measured homes, a year."""
    try:
        return Neighbourhood.citylearn(wheel())
    except DataMissing as reason:
        pytest.skip(str(reason))


def made(slots=300, homes=4, seed=1) -> Neighbourhood:
    """Homes of random load and sun."""
    random = np.random.default_rng(seed)
    series = [HomeSeries(f"Home_{n}", *random.integers(0, 900, (2, slots))) for n in range(homes)]
    return Neighbourhood(series, datetime.fromisoformat("2026-06-01"))


def run(neighbourhood, agents=("fixed", "zero", "learning"), seed=1, deposit=50_000 * KRONA, tariffs=TARIFFS, **words):
    crowd = Crowd.of(agents, len(neighbourhood.homes), tariffs, seed)
    return simulate(neighbourhood, tariffs, crowd, deposit=deposit, funds=10**6 * KRONA, **words)


def check_conserved(study, deposit=50_000 * KRONA, funds=10**6 * KRONA):
    """Energy to the thousandth of a Wh, the market's to the Wh, money to the unit."""
    stored, lost = np.array(study.stored), np.array(study.lost)
    into, out = study.sun + study.imported, study.load + study.exported
    assert (1000 * into.sum(axis=0) == 1000 * out.sum(axis=0) + stored + lost).all()
    assert (study.bought.sum(axis=1) == study.volume).all()
    assert (study.sold.sum(axis=1) == study.volume).all()
    assert (study.bought <= study.imported).all()
    assert (study.sold <= study.exported).all()
    assert (study.imported * study.exported == 0).all()
    tariffs = study.tariffs
    grid = (study.imported - study.bought) * tariffs.retail - (study.exported - study.sold) * tariffs.feed_in
    earned = (study.sold - study.bought) * study.price[:, np.newaxis] - grid - study.bought * tariffs.grid_fee
    assert (earned.sum(axis=1) == study.earned.sum(axis=1) + study.unpaid).all()
    balances = [deposit + each for each in study.earned.sum(axis=0).tolist()]
    assert list(study.till.balances.values()) == balances
    assert study.till.total() == deposit * len(balances) + funds


@pytest.mark.parametrize("agents", [("fixed",), ("zero",), ("learning",), ("fixed", "zero", "learning")])
@pytest.mark.parametrize("battery", [None, BATTERY])
def test_two_weeks_of_seventeen_homes_conserve_energy_and_money(real, agents, battery):
    study = run(real.days(300, 14), agents, batteries=[battery] * 17)
    assert study.load.shape == (14 * 96, 17)
    assert study.volume.sum() > 100_000
    assert study.unpaid.sum() == 0
    check_conserved(study)


@pytest.mark.long
def test_a_year_of_seventeen_homes_conserves_energy_and_money_and_is_that_of_the_docs(real):
    docs = (ROOT / "docs" / "energy-study.md").read_text()
    for agents, battery in study_script.CASES:
        study = study_script.year(agents, battery)
        assert study.load.shape == (35_036, 17)
        check_conserved(study)
    assert "\n".join(study_script.cases()) in docs
    assert "\n".join(study_script.homes(study_script.year("fixed", None))) in docs


@pytest.mark.parametrize("fee", [0, 300, 1_900])
def test_a_grid_fee_goes_to_the_utility_and_nobody_is_worse_off_than_alone(fee):
    tariffs = Tariffs(2_500, 600, fee)
    study = run(made(), tariffs=tariffs)
    check_conserved(study)
    alone = study.imported.sum(axis=0) * tariffs.retail - study.exported.sum(axis=0) * tariffs.feed_in
    saved = alone + study.earned.sum(axis=0)
    assert (saved >= 0).all()
    assert saved.sum() == study.volume.sum() * (1_900 - fee)
    assert study.price.max() <= tariffs.most


def test_where_money_runs_out_all_is_still_conserved(real):
    study = run(real.days(300, 7), deposit=20 * KRONA)
    assert min(study.till.balances.values()) < 0
    check_conserved(study, deposit=20 * KRONA)


def test_a_utility_without_money_leaves_feed_in_unpaid():
    sunny = Neighbourhood([HomeSeries(each.name, each.load // 9, each.sun) for each in made().homes], BEGINS)
    crowd = Crowd.of(["fixed"], 4, TARIFFS, 1)
    study = simulate(sunny, TARIFFS, crowd, deposit=KRONA, funds=0)
    assert study.unpaid.sum() > 0
    check_conserved(study, KRONA, 0)


def test_the_same_seed_makes_the_same_year_and_another_another(real):
    fortnight = real.days(300, 14)
    first, again, other = run(fortnight), run(fortnight), run(fortnight, seed=2)
    assert (first.price == again.price).all()
    assert (first.earned == again.earned).all()
    assert (first.price != other.price).any()


def test_it_settles_as_the_twin_of_the_contract():
    neighbourhood = made(slots=200)
    study = run(neighbourhood, ("fixed",))
    wishes = Crowd.of(["fixed"], 4, TARIFFS, 1).wishes(1)
    till = Till(TARIFFS, dict.fromkeys(range(1, 5), 50_000 * KRONA), utility=10**6 * KRONA)
    orders = {
        home: Terms(int(wishes.buy[0, home - 1]), int(wishes.sell[0, home - 1]), 2**24 - 1) for home in till.balances
    }
    for slot in range(200):
        nets = {n: int(home.load[slot] - home.sun[slot]) for n, home in enumerate(neighbourhood.homes, 1)}
        settled = till.settle_slot(nets, orders)
        assert (settled.clearing.price, settled.clearing.volume) == (study.price[slot], study.volume[slot])
    assert till == study.till


def test_a_round_is_no_discretion_where_nobody_learns():
    neighbourhood = made()
    one, other = (run(neighbourhood, ("fixed",), round_slots=slots) for slots in (96, 7))
    assert (one.earned == other.earned).all()


def test_days_are_cut_out_with_their_time_and_carbon(real):
    day = real.days(10, 1)
    assert (day.begins - BEGINS).days == 10
    assert len(day.carbon) == len(day.homes[0].load) == 96
    assert (day.carbon == real.carbon[960:1056]).all()
    assert len(real.days(364, None).homes[0].load) == 92
    for first, count in ((364, 1), (-1, 1), (0, 366), (0, 0), (400, None)):
        with pytest.raises(UsageError, match="days"):
            real.days(first, count)


def test_tables_of_different_times_are_refused(tmp_path):
    paths = [tmp_path / f"{name}.csv" for name in ("anna", "bo")]
    for path, hour in zip(paths, (0, 1), strict=True):
        path.write_text(f"time,load_wh\n2026-06-01T0{hour}:00,5\n2026-06-01T0{hour}:15,5\n")
    assert [home.name for home in Neighbourhood.tables(paths[:1]).homes] == ["anna"]
    with pytest.raises(DataError, match="all must be alike"):
        Neighbourhood.tables(paths)


def test_more_than_a_reading_can_tell_is_refused():
    huge = HomeSeries("Huge", np.full(4, 2**24), np.zeros(4, np.int64))
    with pytest.raises(UsageError, match="16,777,215 Wh"):
        run(Neighbourhood([huge], datetime.fromisoformat("2026-06-01")))
