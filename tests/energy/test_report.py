"""`report`, `plots`: what a study tells adds up, by people's definitions, and is written in each form."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from liggare.energy import plots, report
from liggare.energy.agents import Crowd
from liggare.energy.homes import HomeSeries
from liggare.energy.settlement import Tariffs
from liggare.energy.simulate import Neighbourhood, simulate
from liggare.errors import DataError, UsageError

TARIFFS = Tariffs(2_500, 600, 100)
KRONA = 10**6


def a_study(carbon=0.4, slots=2):
    """Anna has 300 Wh of sun to spare in the first slot, Bo needs 200 in each; nothing is fed in but what is left."""
    anna = HomeSeries("Anna", np.full(slots, 100), np.array([400] + [0] * (slots - 1)))
    bo = HomeSeries("Bo", np.full(slots, 200), np.zeros(slots, np.int64))
    begins = datetime.fromisoformat("2026-06-01")
    street = Neighbourhood([anna, bo], begins, None if carbon is None else np.full(slots, carbon))
    crowd = Crowd.of(["fixed"], 2, TARIFFS, 1, buy=2_100, sell=1_000)
    return simulate(street, TARIFFS, crowd, deposit=100 * KRONA, funds=100 * KRONA)


@pytest.fixture
def study():
    return a_study()


def test_each_homes_numbers_are_those_of_the_definitions(study):
    assert study.price.tolist()[0] == 1_000  # 200 bid, 300 offered: the seller's limit
    anna, bo, everybody = (row for _, row in report.by_home(study).iterrows())
    assert (anna.load_wh, anna.sun_wh, anna.imported_wh, anna.exported_wh, anna.sold_wh) == (200, 400, 100, 300, 200)
    assert (anna.cost_alone, anna.cost) == (100 * 2_500 - 300 * 600, 100 * 2_500 - 100 * 600 - 200 * 1_000)
    assert anna.saved == 200 * 400
    assert (anna.self_sufficiency_alone, anna.self_consumption_alone, anna.self_consumption) == (0.5, 0.25, 0.75)
    assert (bo.load_wh, bo.bought_wh, bo.cost) == (400, 200, 200 * (1_000 + 100) + 200 * 2_500)
    assert (bo.self_sufficiency_alone, bo.self_sufficiency) == (0, 0.5)
    assert np.isnan(bo.self_consumption)
    assert (bo.co2_alone_kg, bo.co2_kg) == pytest.approx((0.16, 0.08))
    assert everybody.saved == anna.saved + bo.saved == 200 * (2_500 - 600 - 100)
    assert everybody.home == "all"


def test_the_summary_is_plain_numbers(study):
    found = report.summary(study)
    assert (found["volume_wh"], found["possible_wh"], found["slots_traded"]) == (200, 200, 1)
    assert (found["price_mean"], found["price_least"], found["price_most"]) == (1000.0, 1000, 1000)
    assert (found["homes_better_off"], found["homes_worse_off"]) == (2, 0)
    assert {type(value) for value in found.values()} == {int, float, str}


def test_without_trade_sun_or_carbon_there_are_no_such_numbers():
    dark = HomeSeries("Dark", np.full(3, 100), np.zeros(3, np.int64))
    street = Neighbourhood([dark], datetime.fromisoformat("2026-06-01"))
    study = simulate(street, TARIFFS, Crowd.of(["fixed"], 1, TARIFFS, 1), deposit=KRONA, funds=KRONA)
    found = report.summary(study)
    assert (found["price_mean"], found["self_consumption"], found["volume_wh"]) == (None, None, 0)
    assert "co2_kg" not in found
    assert "carbon_kg_per_kwh" not in report.by_slot(study)
    assert report.words(study)[0].startswith("0.0 kWh changed hands in 0 of 3 slots")


def test_people_read_it(study):
    console = Console(width=80, record=True)
    for table in report.overview(study):
        console.print(table)
    text = console.export_text()
    assert "25 → 75" in text
    assert "0.08" in text  # Anna saved 80,000 units
    assert "…" not in text
    sentences = report.words(study)
    assert sentences[1] == "Prices were 1.000 to 1.000 per kWh, 1.000 on the average of all kWh."
    assert "0 kg of CO2; alone it would be 0." in sentences[3]


def test_the_slots_are_a_row_each(study):
    frame = report.by_slot(study)
    assert frame["time"].dt.minute.tolist() == [0, 15]
    assert frame[["volume_wh", "imported_wh", "exported_wh"]].to_numpy().tolist() == [[200, 200, 300], [0, 300, 0]]


@pytest.mark.parametrize("suffix", report.TABLES)
def test_tables_are_written_and_read_back_whole(study, tmp_path, suffix):
    path = tmp_path / f"slots{suffix}"
    frame = report.by_slot(study)
    report.write_table(frame, path)
    read = pd.read_csv(path, parse_dates=["time"]) if suffix == ".csv" else pd.read_parquet(path)
    assert list(read) == list(frame)
    pd.testing.assert_frame_equal(read, frame, check_dtype=False)


HEADS = {".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!doctype html>"}


@pytest.mark.parametrize("suffix", plots.PLOTS)
@pytest.mark.parametrize("slots", [2, 96 * 15])
def test_plots_are_written(tmp_path, suffix, slots):
    path = tmp_path / f"study{suffix}"
    plots.draw(plots.of_study(a_study(slots=slots)), path, "A street")
    content = path.read_bytes()
    assert content.startswith(HEADS[suffix])
    assert suffix == ".png" or b"Saved against the grid alone" in content
    if suffix == ".html":
        assert b"<script src=" not in content  # it fetches nothing


def test_many_slots_are_drawn_by_day():
    frame = report.by_slot(a_study(slots=96 * 15))
    price, volume = plots.of_prices(frame, TARIFFS)
    assert volume.unit == "kWh per day"
    assert len(price.along) == 15
    assert volume.bars["bought from neighbours"].sum() == 0.2
    assert price.lines["price"].tolist()[0] == 1.0
    assert price.lines["price"].isna().sum() == 14  # days without trade have no price


def test_the_same_picture_comes_out_again(study, tmp_path):
    for name in ("one", "two"):
        plots.draw(plots.of_study(study), tmp_path / f"{name}.svg", "A street")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_an_unknown_form_or_a_place_that_cannot_be_written_is_named(study, tmp_path):
    frame, panels = report.by_slot(study), plots.of_study(study)
    for draw in (lambda path: report.write_table(frame, path), lambda path: plots.draw(panels, path, "")):
        with pytest.raises(UsageError, match="are written as"):
            draw(tmp_path / "study.xls")
    for suffix in report.TABLES:
        with pytest.raises(DataError, match="can't be written"):
            report.write_table(frame, tmp_path / "nowhere" / f"slots{suffix}")
    for suffix in plots.PLOTS:
        with pytest.raises(DataError, match="can't be written"):
            plots.draw(panels, tmp_path / "nowhere" / f"study{suffix}", "")
