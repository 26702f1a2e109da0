"""Two columns of a CSV, Parquet or JSON Lines table, row by row; damaged rows are counted and left out."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from grounding.errors import GroundingError, did_you_mean

Row = tuple[object, object]  # what the two columns hold; None where a row has nothing


def _check_columns(table: Path, wanted: Iterable[str], present: Iterable[str]) -> None:
    columns = list(present)
    for name in wanted:
        if name not in columns:
            advice = f"{did_you_mean(name, columns, '')} it has {', '.join(columns) or 'none'}"
            raise GroundingError(f"{table} has no column '{name}': {advice.lstrip()}")


def _csv_rows(table: Path, columns: tuple[str, str], skipped: Counter[str]) -> Iterator[Row]:
    # One value that is no UTF-8 must not end the table: its surrogates give it away later.
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            _check_columns(table, columns, rows.fieldnames or [])
        except csv.Error as error:
            raise GroundingError(f"{table} cannot be read ({error}): expected a CSV with a line of names") from error
        while True:
            try:
                row: dict[str | None, Any] = next(rows)
            except StopIteration:
                return
            except csv.Error:
                skipped["damaged row"] += 1
                continue
            if None in row:  # more values than columns, such as a caption whose commas are not quoted
                skipped["damaged row"] += 1
            else:
                yield row[columns[0]], row[columns[1]]


def _jsonl_rows(table: Path, columns: tuple[str, str], skipped: Counter[str]) -> Iterator[Row]:
    present: dict[str, None] = {}
    with table.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                skipped["damaged row"] += 1
            elif row:
                present |= dict.fromkeys(row)
                yield row.get(columns[0]), row.get(columns[1])
    if present:
        _check_columns(table, columns, present)


def _parquet_rows(table: Path, columns: tuple[str, str], skipped: Counter[str]) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table) as file:
            _check_columns(table, columns, file.schema_arrow.names)
            for batch in file.iter_batches(columns=list(columns)):
                yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    except GroundingError:
        raise
    except (ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise GroundingError(f"{table} cannot be read ({reason}): expected a Parquet file") from error


TABLES: Final = {".csv": _csv_rows, ".parquet": _parquet_rows, ".jsonl": _jsonl_rows}
