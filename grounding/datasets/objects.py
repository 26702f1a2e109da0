"""Rows that are objects: JSON Lines, lists of JSON, the captions of COCO, and Parquet."""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from grounding.datasets.columns import Record, TableOptions, columns_present, find_columns
from grounding.errors import GroundingError

_BATCH: Final = 256  # rows of Parquet in memory at once: they may hold pictures
_EXPECTED: Final = "expected COCO captions, or a list of objects"


def jsonl_records(path: Path, file: Iterable[str], options: TableOptions) -> Iterator[Record]:
    """An object a line.

    Raises:
        GroundingError: no line has the wanted keys, as `find_columns`.
    """
    return _object_records(path, _parsed(file), options)


def _parsed(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """Numbers and values of the lines that are not blank; an exception stands for one that is not JSON."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                yield number, error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is there twice")
    return values


def _object_records(path: Path, numbered: Iterable[tuple[int, Any]], options: TableOptions) -> Iterator[Record]:
    keys: dict[str, None] = {}
    for number, value in numbered:
        if isinstance(value, Exception):
            yield Record(number, damage=f"not JSON ({value})")
        elif not isinstance(value, dict):
            yield Record(number, damage="no object: expected image, caption and maybe phrases")
        else:
            keys |= dict.fromkeys(value)
            names = list(value)
            try:
                columns = columns_present(f"line {number}", names, options)
            except GroundingError as error:
                yield Record(number, damage=str(error))
            else:
                yield Record(number, {role: value[names[place]] for role, place in columns.items()})
    if keys:
        find_columns(path, list(keys), options)


def json_records(path: Path, file: TextIO, options: TableOptions) -> Iterator[Record]:
    """The annotations of a COCO captions file, or a list of objects; JSON Lines are read too.

    Raises:
        GroundingError: something else, or as `jsonl_records`.
    """
    text = file.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = text.splitlines() if text.count("\n") else []
        if not lines or not lines[0].rstrip().endswith("}"):
            raise GroundingError(f"{path} is no JSON ({error}): {_EXPECTED}") from error
        return jsonl_records(path, lines, options)
    if isinstance(content, list):
        return _object_records(path, enumerate(content, start=1), options)
    return _coco_records(path, content)


def _coco_records(path: Path, content: Any) -> Iterator[Record]:
    """An annotation with the file name of its image, in the order of the file."""
    try:
        names: dict[object, object] = {image["id"]: image.get("file_name") for image in content["images"]}
        annotations = list(content["annotations"])
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise GroundingError(f"{path} is no COCO captions file ({reason}): {_EXPECTED}") from error
    if annotations and not any(isinstance(each, Mapping) and "caption" in each for each in annotations):
        raise GroundingError(f"{path} holds annotations without a caption: expected captions_*.json of COCO")
    for number, each in enumerate(annotations, start=1):
        id_ = each.get("image_id") if isinstance(each, Mapping) else None
        if not isinstance(id_, Hashable) or id_ not in names:
            yield Record(number, damage="an annotation of no image")
        else:
            yield Record(number, {"image": names[id_], "caption": each.get("caption")})


def parquet_records(path: Path, options: TableOptions) -> Iterator[Record]:
    """The rows of a Parquet table.

    Raises:
        GroundingError: another file, or as `find_columns`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = {role: names[place] for role, place in find_columns(path, names, options).items()}
            for batch in file.iter_batches(_BATCH, columns=list(columns.values())):
                cells = [batch.column(name).to_pylist() for name in columns.values()]
                for row in zip(*cells, strict=True):
                    number += 1
                    yield Record(number, dict(zip(columns, row, strict=True)))
    except GroundingError:
        raise
    except (ValueError, OverflowError, pa.ArrowException) as error:  # OverflowError: a date of no calendar
        reason = " ".join(str(error).split())
        raise GroundingError(f"{path} cannot be read ({reason}): expected a Parquet file") from error
