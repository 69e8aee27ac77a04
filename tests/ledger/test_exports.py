"""The ledger for other programs: every value comes out as it went in."""

from __future__ import annotations

import csv
import json
import subprocess

import pyarrow.parquet as pq
import pytest

from liggare.errors import DataError, UnknownName
from liggare.ledger.exports import COLUMNS, GROUP, write
from liggare.ledger.rows import read_copy
from tests.ledger.test_index import rows_of


@pytest.fixture(scope="module")
def rows():
    """Rows of every event that there is, more than one group of them."""
    return [row for number in range(2, 2 + GROUP // 40) for row in rows_of(number)]


def as_told(row):
    """Return a row's values as CSV has them, arguments read."""
    arguments = {
        name: "0x" + value.hex() if isinstance(value, bytes) else value if isinstance(value, bool) else str(value)
        for name, value in row.arguments.items()
    }
    place = (row.block, row.block_hash, row.timestamp, row.transaction, row.log_index)
    return [*map(str, place), row.contract, row.event, arguments]


def test_csv_has_every_value(rows, tmp_path):
    assert write(rows, tmp_path / "ledger.csv", "csv") == len(rows) > GROUP
    with (tmp_path / "ledger.csv").open(newline="") as file:
        head, *lines = csv.reader(file)
    assert tuple(head) == COLUMNS
    assert [[*line[:-1], json.loads(line[-1])] for line in lines] == [as_told(row) for row in rows]


def test_parquet_has_every_value_and_types(rows, tmp_path):
    assert write(iter(rows), tmp_path / "ledger.parquet", "parquet") == len(rows)
    table = pq.read_table(tmp_path / "ledger.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert str(table.schema.field("timestamp").type) == "timestamp[ms, tz=UTC]"  # seconds as Parquet has them
    found = [
        [
            *(str(int(each[name].timestamp())) if name == "timestamp" else str(each[name]) for name in COLUMNS[:-1]),
            json.loads(each["arguments"]),
        ]
        for each in table.to_pylist()
    ]
    assert found == [as_told(row) for row in rows]


def test_json_is_the_copy_that_verify_reads(rows, tmp_path):
    assert write(rows, tmp_path / "ledger.json", "json") == len(rows)
    assert list(read_copy(tmp_path / "ledger.json")) == rows


def test_an_empty_ledger_is_a_file_without_rows(tmp_path):
    for form in ("csv", "parquet", "json"):
        assert write([], tmp_path / form, form) == 0
    assert pq.read_table(tmp_path / "parquet").num_rows == 0


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_what_breaks_off_leaves_no_file(rows, tmp_path, form):
    def broken():
        yield rows[0]
        raise DataError("the node went away")

    with pytest.raises(DataError, match="went away"):
        write(broken(), tmp_path / "ledger", form)
    assert not (tmp_path / "ledger").exists()
    with pytest.raises(DataError, match="can't be written"):
        write(rows[:1], tmp_path / "none" / "ledger", form)


def test_another_form_is_refused_with_the_near_one(tmp_path):
    with pytest.raises(UnknownName, match="is 'parquet' meant"):
        write([], tmp_path / "ledger", "parket")


def test_another_program_reads_the_csv(rows, tmp_path):
    """SQLite's own importer, where it is."""
    write(rows, tmp_path / "ledger.csv", "csv")
    try:
        asked = ["sqlite3", ":memory:", ".mode csv", f".import {tmp_path}/ledger.csv l", "SELECT count(*) FROM l"]
        ran = subprocess.run(asked, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no sqlite3 program here")
    assert int(ran.stdout) == len(rows)
