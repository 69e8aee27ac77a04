"""`liggare energy simulate`: without a chain; files in, report, tables and plots out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from liggare.energy.homes import wheel
from liggare.errors import DataMissing

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def tables(tmp_path):
    """Two days of two homes, by the hour: Anna with sun in the afternoon, Bo without."""
    paths = []
    for name, sun in (("anna", 3), ("bo", 0)):
        path = tmp_path / f"{name}.csv"
        rows = [f"2026-06-0{1 + n // 24}T{n % 24:02}:00,0.5,{sun * (12 <= n % 24 < 18)}" for n in range(48)]
        path.write_text("\n".join(["time,load_kw,generation_kw", *rows]) + "\n")
        paths.append(path)
    return paths


@pytest.fixture
def simulate(liggare):
    """Run the command where no chain is."""
    return lambda *words: liggare("energy", "simulate", *words, rpc=NOWHERE)


def test_a_street_from_tables_trades(simulate, tables):
    code, out, _ = simulate(*tables, "--buy", "2.00", "--sell", "1.00", "--json")
    assert code == 0
    assert (out["homes"], out["slots"], out["begins"]) == (2, 192, "2026-06-01T00:00:00")
    assert (out["load_wh"], out["sun_wh"]) == (48_000, 36_000)
    assert out["volume_wh"] == out["possible_wh"] == 2 * 6 * 500
    assert out["saved"] == 6_000 * (2_500 - 600)
    assert out["price_mean"] == 1_000  # more is offered than wanted


def test_tariffs_and_fee_are_heeded(simulate, tables):
    words = ("--buy", "2.00", "--sell", "0.40", "--retail", "2.10", "--feed-in", "0.50", "--grid-fee", "0.10")
    code, out, _ = simulate(*tables, *words, "--json")
    assert (code, out["price_mean"], out["saved"]) == (0, 500, 6_000 * 1_500)


def test_a_battery_keeps_the_sun_for_the_night(simulate, tables):
    code, out, _ = simulate(*tables, "--battery", "40:5:1", "--json")
    assert (code, out["volume_wh"]) == (0, 0)
    assert out["imported_wh"] == 24_000 + 12 * 500  # Bo's, and Anna's first morning


def test_the_same_seed_tells_the_same(simulate, tables):
    words = (*tables, "--agents", "zero,learning", "--json")
    first, again, other = simulate(*words), simulate(*words), simulate(*words, "--seed", 2)
    assert first == again != other


def test_tables_and_plots_are_written(simulate, tables, tmp_path):
    folder = tmp_path / "study"
    code, out, _ = simulate(*tables, "--out", folder, "--tables", "parquet", "--plots", "svg,html")
    assert code == 0
    assert {path.name for path in folder.iterdir()} == {"homes.parquet", "slots.parquet", "study.svg", "study.html"}
    assert "2 of 2 homes are better off" in out


def test_made_homes_stand_in_where_there_is_no_data(simulate):
    code, out, _ = simulate("--synthetic", 3, "--place", "55.6,13.0", "--first-day", 300, "--days", 2, "--json")
    assert (code, out["homes"], out["slots"], out["begins"]) == (0, 3, 192, "2018-05-28T00:00:00")
    assert out["volume_wh"] > 0


def test_the_measured_homes_are_taken_where_nothing_is_named(simulate):
    try:
        wheel()
    except DataMissing as reason:
        pytest.skip(str(reason))
    code, out, _ = simulate("--first-day", 319, "--days", 1, "--json")
    assert (code, out["homes"], out["slots"]) == (0, 17, 96)
    assert out["co2_kg"] < out["co2_alone_kg"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--agents", "clever"), "UnknownName"),
        (("--battery", "much"), "UsageError"),
        (("--battery", "nan:1"), "UsageError"),
        (("--battery", "1:1:2"), "UsageError"),
        (("--days", 9), "UsageError"),
        (("--plots", "gif"), "UsageError"),
        (("--tables", "xls"), "UsageError"),
        (("--retail", "0.50"), "UsageError"),
        (("--grid-fee", "2.00"), "UsageError"),
        (("--synthetic", 3), "UsageError"),
        (("--deposit", "-1"), "InvalidAmount"),
        (("--buy", "0"), "InvalidAmount"),
    ],
)
def test_what_cannot_be_meant_is_wrong_use(simulate, tables, words, error):
    code, out, _ = simulate(*tables, *words, "--json")
    assert (code, out["error"]) == (2, error)


def test_no_place_is_wrong_use(simulate):
    for place in ("Malmö", "1,2,3", "91,0"):
        code, out, _ = simulate("--synthetic", 1, "--place", place, "--json")
        assert (code, out["error"]) == (2, "UsageError")


def test_a_table_that_is_off_is_one_line(simulate, tables):
    tables[1].write_text("time,load_kw\n2026-06-01,1\n2026-06-02,x\n")
    code, out, err = simulate(*tables, "--json")
    assert (code, out["error"]) == (1, "SeriesMalformed")
    assert "bo.csv, line 3" in err


def test_a_folder_that_cannot_be_made_is_one_line(simulate, tables):
    code, out, _ = simulate(*tables, "--out", tables[0] / "study", "--json")
    assert (code, out["error"]) == (1, "DataError")


def test_other_commands_load_no_plots_and_no_pandas():
    code = "import liggare.cli.main, sys, json; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"pandas", "matplotlib", "plotly", "pyarrow", "pvlib", "demandlib"} & set(modules)
    assert not {"sqlalchemy", "fastapi", "fhir", "siwe", "paho"} & set(modules)  # what only services need
