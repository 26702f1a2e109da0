"""A manifest as partitions: runs of rows that any worker can read by themselves."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from grounding.addresses import UnreachableError, filesystem, is_address, reaching
from grounding.datasets.columns import Record, TableOptions, find_columns
from grounding.errors import GroundingError
from grounding.scale.lines import LINES, read_line

MOST_ROWS: Final = 1000  # in a partition
_LEAST_ROWS, _PARTITIONS = 10, 100  # a small manifest is divided too, so that several workers have something to do
_BATCH: Final = 256  # rows in memory at once: they may hold pictures
_FOOTERS_AT_ONCE: Final = 16
_TAIL: Final = 8  # bytes at the end of a Parquet file: the length of its footer, and a mark


class Partition(NamedTuple):
    """A run of rows of one file of a manifest.

    Attributes:
        number: its place among all partitions, from 0.
        file: which file of the manifest.
        first: its first row in that file, from 0.
        rows: how many it has.
        start: how many rows the files before this one have.
    """

    number: int
    file: int
    first: int
    rows: int
    start: int


@dataclass(frozen=True, slots=True)
class ManifestFiles:
    """The Parquet files of a manifest, of which a worker reads the rows that it needs.

    Attributes:
        names: paths or addresses, sorted.
        rows: of each file.
        fingerprint: of their sizes and footers, which hold the sizes and the extremes of all columns.
        table: what people know it by.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    fingerprint: str
    table: str

    def partitions(self) -> list[Partition]:
        """All partitions: they depend on the numbers of rows alone, never on who does them.

        A partition has a hundredth of all rows, but at least 10 and at most 1,000; the last of a file has fewer.
        """
        size = min(MOST_ROWS, max(_LEAST_ROWS, -(-sum(self.rows) // _PARTITIONS)))
        found: list[Partition] = []
        start = 0
        for file, rows in enumerate(self.rows):
            for first in range(0, rows, size):
                found.append(Partition(len(found), file, first, min(size, rows - first), start))
            start += rows
        return found

    def records(self, partition: Partition, options: TableOptions) -> Iterator[Record]:
        """Read the rows of a partition; their numbers go on over all files, from 1.

        Only the row groups that the partition has a part in are read, and of a group only what lies before its end.

        Raises:
            GroundingError: the file is not there any more, or damaged.
            UnreachableError: the storage does not answer.
        """
        name = self.names[partition.file]
        with _parquet(name) as file:
            lines = tuple(file.schema_arrow.names) == LINES
            columns = {each: each for each in LINES} if lines else _columns(name, file, options)
            values = _cells(file, list(columns.values()), partition.first, partition.rows)
            for number, cells in enumerate(values, start=partition.start + partition.first + 1):
                row = dict(zip(columns, cells, strict=True))
                yield read_line(row) if lines else Record(number, row)


def open_manifest(name: str, options: TableOptions) -> ManifestFiles:
    """Find the Parquet files of a manifest and read their footers.

    Args:
        name: a path or an address of a file, of a folder with `*.parquet` files, or with `*` for several.

    Raises:
        GroundingError: no such files, no way to them, none of Parquet, columns that are missing, or no rows.
    """
    try:
        names = _listed(name)
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as threads:
            facts = list(threads.map(lambda each: _facts(each, options), names))
    except UnreachableError as error:
        raise GroundingError(f"manifest {error}") from error
    rows = tuple(count for count, _ in facts)
    if not sum(rows):
        raise GroundingError(f"manifest {name} has no rows: expected a picture and a caption or phrases in each")
    fingerprint = hashlib.sha256(repr(facts).encode()).hexdigest()
    return ManifestFiles(tuple(names), rows, fingerprint, name)


def _listed(name: str) -> list[str]:
    files, path = filesystem(name)
    protocol = f"{name.partition('://')[0]}://" if is_address(name) else ""
    with reaching(name):
        if files.exists(path) and not files.isdir(path):
            return [name]
        pattern = path if "*" in path else f"{path.rstrip('/')}/*.parquet"
        found = sorted(str(each) for each in files.glob(pattern))
    if not found:
        raise GroundingError(f"manifest {name} does not exist: expected a Parquet file, or a folder of *.parquet files")
    return [each if "://" in each else protocol + each for each in found]


def _facts(name: str, options: TableOptions) -> tuple[int, str]:
    """The number of rows of a file, and the digest of its size and footer."""
    with _parquet(name) as file:
        if tuple(file.schema_arrow.names) != LINES:
            _columns(name, file, options)
        return int(file.metadata.num_rows), _footer_digest(name)


def _footer_digest(name: str) -> str:
    files, path = filesystem(name)
    with reaching(name), files.open(path, "rb", cache_type="none") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - _TAIL)
        length = int.from_bytes(file.read(4), "little")
        file.seek(size - _TAIL - length)
        return hashlib.sha256(str(size).encode() + file.read(length)).hexdigest()


@contextlib.contextmanager
def _parquet(name: str) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    files, path = filesystem(name)
    try:
        with reaching(name), files.open(path, "rb") as file, parquet.ParquetFile(file) as table:
            yield table
    except GroundingError:
        raise
    except (ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise GroundingError(f"manifest {name} cannot be read ({reason}): expected a Parquet file") from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise GroundingError(f"manifest {name} cannot be read: {reason}") from error


def _columns(name: str, file: Any, options: TableOptions) -> dict[str, str]:
    names: Sequence[str] = file.schema_arrow.names
    return {role: names[place] for role, place in find_columns(f"manifest {name}", names, options).items()}


def _cells(file: Any, columns: Sequence[str], first: int, count: int) -> Iterator[tuple[Any, ...]]:
    """The cells of rows [first, first + count), row by row."""
    groups, at, before = [], 0, None
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if at < first + count and at + rows > first:
            before = at if before is None else before
            groups.append(group)
        at += rows
    skip = first - (before or 0)
    for batch in file.iter_batches(min(_BATCH, count), row_groups=groups, columns=list(columns)):
        if skip >= len(batch):
            skip -= len(batch)
            continue
        batch = batch.slice(skip, count)
        skip, count = 0, count - len(batch)
        cells = [batch.column(name).to_pylist() for name in columns]
        yield from zip(*cells, strict=True)
        if not count:
            return
