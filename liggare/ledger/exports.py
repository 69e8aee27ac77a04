"""The ledger as a file for other programs: JSON lines, CSV or Parquet, one row each, written as the rows come.

    rows -> a thousand at a time -> a file beside it -> the file, whole or not at all

CSV and Parquet have the columns of `COLUMNS`; `arguments` is a JSON object by Solidity names, bytes as 0x text, all
numbers as decimal text, since they may exceed 64 bits.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from liggare.errors import DataError, UnknownName
from liggare.ledger.rows import Row, write_copy

__all__ = ["COLUMNS", "FORMATS", "write"]

COLUMNS = ("block", "block_hash", "timestamp", "transaction", "log_index", "contract", "event", "arguments")
"""`timestamp` is in unix seconds, UTC; `log_index` counts within the block."""
GROUP = 10_000
"""Rows of one group of a Parquet file."""


def write(rows: Iterable[Row], path: Path, form: str) -> int:
    """Write rows to a file, of `form` json, csv or parquet, and return how many.

    A copy in JSON is what `liggare verify --copy` reads. Raises UnknownName, DataError where the file can't be written.
    """
    if form not in FORMATS:
        raise UnknownName(form, FORMATS)
    try:
        return FORMATS[form](rows, path)
    except OSError as exc:
        raise DataError(f"{path} can't be written: {exc.strerror}") from None


def _csv(rows: Iterable[Row], path: Path) -> int:
    count, partial = 0, _beside(path)
    with partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for count, row in enumerate(rows, 1):  # noqa: B007  the last one is wanted
            writer.writerow(_values(row))
    partial.replace(path)
    return count


def _parquet(rows: Iterable[Row], path: Path) -> int:
    import pyarrow as pa  # here: nobody else waits for it
    import pyarrow.parquet as pq

    kinds = {"block": pa.int64(), "timestamp": pa.timestamp("s", tz="UTC"), "log_index": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    count, partial = 0, _beside(path)
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for part in _parts(rows):
            columns = list(zip(*map(_values, part), strict=True))
            arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(part)
    partial.replace(path)
    return count


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while part := list(islice(left, GROUP)):
        yield part


def _values(row: Row) -> tuple[Any, ...]:
    arguments = {name: _text(value) for name, value in row.arguments.items()}
    place = (row.block, row.block_hash, row.timestamp, row.transaction, row.log_index)
    return (*place, row.contract, row.event, json.dumps(arguments))


def _text(value: Any) -> str | bool:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value if isinstance(value, bool) else str(value)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


FORMATS: dict[str, Callable[[Iterable[Row], Path], int]] = {"json": write_copy, "csv": _csv, "parquet": _parquet}
"""How to write each form."""
