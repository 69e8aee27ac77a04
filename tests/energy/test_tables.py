"""`tables`: any file with time, load and generation, in Wh or kW; what can't be meant is named with its line."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from liggare.energy.tables import read_table
from liggare.errors import DataError, SeriesMalformed


@pytest.fixture
def write(tmp_path):
    """Write a table and return its path."""

    def write(*lines, name="anna.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def times(count, minutes, begin="2026-06-01T00:00"):
    return [(datetime.fromisoformat(begin) + timedelta(minutes=minutes * n)).isoformat() for n in range(count)]


def test_hours_in_kilowatts_become_quarters_in_watt_hours(write):
    path = write("time,load_kw,generation_kw", *(f"{t},{kw},0.5" for t, kw in zip(times(2, 60), (0.4, 1), strict=True)))
    table = read_table(path)
    assert table.series.name == "anna"
    assert table.begins == datetime.fromisoformat("2026-06-01")
    assert table.series.load.tolist() == [100] * 4 + [250] * 4
    assert table.series.sun.tolist() == [125] * 8
    assert table.carbon is None


def test_five_minutes_in_watt_hours_become_quarters(write):
    path = write("load_wh,time,note", *(f"{0.5 + n},{t},x" for n, t in enumerate(times(6, 5))))
    table = read_table(path)
    assert table.series.load.tolist() == [4, 14]  # 4.5 and 13.5: the running total, 18, is rounded down at 4.5 alone
    assert table.series.sun.tolist() == [0, 0]


def test_the_total_is_kept_to_the_watt_hour_in_every_step(write):
    random = np.random.default_rng(1)
    for minutes in (1, 3, 5, 15, 30, 60, 1440):
        values = random.uniform(0, 900, 30)
        path = write("time,load_wh", *(f"{t},{v!r}" for t, v in zip(times(30, minutes), values.tolist(), strict=True)))
        assert read_table(path).series.load.sum() == int(values.sum()), minutes


def test_carbon_is_given_to_every_slot(write):
    path = write("time,load_wh,carbon_kg_per_kwh", *(f"{t},8,{0.1 * n}" for n, t in enumerate(times(2, 30))))
    assert read_table(path).carbon.tolist() == [0, 0, 0.1, 0.1]


def test_offsets_from_utc_are_heeded(write):
    lines = ["2026-10-25T02:45+02:00,1", "2026-10-25T02:00+01:00,2"]
    assert read_table(write("time,load_wh", *lines)).series.load.tolist() == [1, 2]


HOUR = times(3, 60)


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (["load_kw", "1", "2"], 1, "no column time"),
        (["time", *HOUR], 1, "load is in one column"),
        (["time,load_kw,load_wh", *(f"{t},1,1" for t in HOUR)], 1, "load is in one column"),
        (["time,load_kw,generation_wh,generation_kw", *HOUR], 1, "generation is in one column"),
        (["time,load_kw,load_kw", *(f"{t},1,1" for t in HOUR)], 1, "2 columns load_kw"),
        (["time,load_kw", f"{HOUR[0]},1"], 1, "two rows at least"),
        ([], 1, "no column time"),
        (["time,load_kw", f"{HOUR[0]},1", "noon,1"], 3, "no date and time"),
        (["time,load_kw", f"{HOUR[0]},1", f"{HOUR[1]}+01:00,1"], 3, "in every row or in none"),
        (["time,load_kw", *(f"{t},1" for t in (*HOUR[:2], "2026-06-01T03:00"))], 4, "after the row before"),
        (["time,load_kw", *(f"{t},1" for t in HOUR[::-1])], 3, "a step is"),
        (["time,load_kw", *(f"{t},1" for t in times(4, 20))], 3, "a step is"),
        (["time,load_kw", *(f"{t},1" for t in times(2, 2880))], 3, "a step is"),
        (["time,load_kw", *(f"{t},1" for t in times(3, 60, "2026-06-01T00:10"))], 2, "begins with a quarter"),
        (["time,load_kw", *(f"{t},1" for t in times(4, 5))], 5, "not whole"),
        (["time,load_kw", *(f"{t},{v}" for t, v in zip(HOUR, (1, -1, 1), strict=True))], 3, "not '-1'"),
        (["time,load_kw", *(f"{t},{v}" for t, v in zip(HOUR, (1, 1, "nan"), strict=True))], 4, "not 'nan'"),
        (["time,load_kw", f"{HOUR[0]},1", HOUR[1]], 3, "not missing"),
        (["time,load_kw,generation_kw", f"{HOUR[0]},1,inf", f"{HOUR[1]},1,1"], 2, "generation_kw"),
    ],
)
def test_what_cannot_be_meant_is_named_with_its_line(write, lines, line, words):
    with pytest.raises(SeriesMalformed, match=rf"anna\.csv, line {line}: .*{words}") as caught:
        read_table(write(*lines))
    assert caught.value.line == line


def test_a_file_that_is_not_there_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="can't be read"):
        read_table(tmp_path / "nothing.csv")
