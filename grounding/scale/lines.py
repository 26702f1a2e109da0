"""Any table of pictures as a Parquet file, so that workers find the rows of a text table without reading all of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from grounding.datasets.columns import Record, TableOptions
from grounding.folders import writing

LINES: Final = ("number", "values", "damage")  # its columns, by which it is known
_GROUP: Final = 10_000  # rows in memory


def write_lines(path: Path, options: TableOptions, target: Path) -> None:
    """Write the records of a table, unchanged: their values as JSON. The same table gives the same bytes.

    Raises:
        GroundingError: as `tables.read_table`, or there is no room.
    """
    import pyarrow as pa
    from pyarrow import parquet

    from grounding.datasets.tables import read_records

    schema = pa.schema(list(zip(LINES, (pa.int64(), pa.string(), pa.string()), strict=True)))
    rows: list[dict[str, Any]] = []
    with writing(str(target)), parquet.ParquetWriter(target, schema, compression="zstd") as file:
        for record in read_records(path, options):
            damage = record.damage.encode("utf-8", "backslashreplace").decode()
            rows.append(dict(zip(LINES, (record.number, json.dumps(record.values), damage), strict=True)))
            if len(rows) == _GROUP:
                file.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()
        file.write_table(pa.Table.from_pylist(rows, schema))


def read_line(row: Mapping[str, Any]) -> Record:
    """The record of a row that `write_lines` wrote."""
    return Record(row["number"], json.loads(row["values"]), row["damage"])
