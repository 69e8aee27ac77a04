"""A copy of the ledger comes back as it was, or is refused by its first bad line."""

from __future__ import annotations

import json

import pytest
from brownie import ZeroFeePayments

from liggare.errors import DataError
from liggare.ledger.reader import Reader
from liggare.ledger.rows import read_copy, write_copy


@pytest.fixture
def copy(w3, deployments, operator, anna, tmp_path):
    """A copy of a ledger with a minting; the rows that it was made of."""
    ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address).mint(anna.address, 2**127, {"from": operator})
    rows = list(Reader(w3, deployments).rows())
    path = tmp_path / "ledger.jsonl"
    assert write_copy(rows, path) == len(rows)
    return path, rows


def test_a_copy_comes_back_as_it_was(copy):
    path, rows = copy
    assert list(read_copy(path)) == rows


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {**row, "event": "Nothing"},
        lambda row: {**row, "contract": "Nobody"},
        lambda row: {**row, "more": 1},
        lambda row: {key: row[key] for key in row if key != "block"},
        lambda row: {**row, "arguments": {}},
    ],
    ids=["event", "contract", "more", "less", "arguments"],
)
def test_a_line_that_is_no_row_is_named(copy, change):
    path, _ = copy
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(change(json.loads(lines[1])))
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="line 2"):
        list(read_copy(path))


def test_a_copy_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="can't be read"):
        list(read_copy(tmp_path / "none"))
