"""Predictions and what was measured of them as a Parquet table: one row a phrase with a box."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from grounding.datasets.flickr30k import EntityImage, EntityPhrase, boxed_phrases
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import MISSING, Key, Prediction, phrase_index, phrase_key
from grounding.evaluation.predictions.records import (
    KEYS,
    REQUIRED,
    box_array,
    prediction_from_json,
    prediction_to_json,
)
from grounding.folders import writing

_ROW_GROUP: Final = 250  # rows that are in memory as Python objects at a time
_MOST_SENTENCES: Final = 10_000  # of a photograph
_FIXED: Final = (
    *("image", "width", "height", "sentence", "caption", "phrase", "text", "start", "end", "chain", "types"),
    *("true_boxes", "status", "boxes", "scores", "point_x", "point_y", "map", "point_map", "proposal_iou", "presence"),
)


def write_parquet(
    path: Path, images: Sequence[EntityImage], predictions: Mapping[Key, Prediction], columns: pd.DataFrame
) -> None:
    """One row a phrase with a box: what was marked, what was predicted, and what was measured.

    Args:
        columns: what was measured, a row a phrase of `phrase_index`; NaN becomes null.

    Raises:
        GroundingError: as `writing`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    text, whole, real = pa.string(), pa.int32(), pa.float64()
    types = dict.fromkeys(_FIXED, text)
    types |= dict.fromkeys(("sentence", "phrase", "start", "end", "width", "height"), whole)
    types |= dict.fromkeys(("true_boxes", "boxes"), pa.list_(pa.list_(real)))
    types |= dict.fromkeys(("scores", "proposal_iou"), pa.list_(real))
    types |= {"types": pa.list_(text), "point_x": real, "point_y": real, "presence": real}
    phrases = boxed_phrases(images)
    schema = pa.schema(types | dict.fromkeys(columns, real))
    with writing(str(path)), parquet.ParquetWriter(path, schema, compression="zstd") as file:
        for first in range(0, len(phrases), _ROW_GROUP):
            group = slice(first, first + _ROW_GROUP)
            rows = [_row(image, phrase, predictions) for image, phrase in phrases[group]]
            arrays = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in types.items()}
            measured = columns.iloc[group].items()
            arrays |= {name: pa.array(values.to_numpy(), real, from_pandas=True) for name, values in measured}
            file.write_table(pa.table(arrays))


def _row(image: EntityImage, phrase: EntityPhrase, predictions: Mapping[Key, Prediction]) -> dict[str, Any]:
    key = phrase_key(image, phrase)
    row: dict[str, Any] = {"status": MISSING.status}
    if (prediction := predictions.get(key)) is not None:
        row = prediction_to_json(key, prediction)
        row["point_x"], row["point_y"] = row.get("point", (None, None))
    row |= {"image": image.id, "width": image.width, "height": image.height}
    row |= {"sentence": phrase.sentence, "caption": image.captions[phrase.sentence]}
    row |= {"phrase": phrase.index, "text": phrase.text, "start": phrase.start, "end": phrase.end}
    return row | {"chain": phrase.chain, "types": phrase.types, "true_boxes": image.boxes[phrase.chain].tolist()}


def read_parquet(path: Path, measured: Sequence[str]) -> tuple[list[EntityImage], dict[Key, Prediction], pd.DataFrame]:
    """What `write_parquet` was given, as far as it is in the file.

    Args:
        measured: the names of the measured columns.

    Returns:
        The images that have a phrase with a box, less the other phrases and captions ("" in their place) and the
        flags of scenes and unrelated captions; the predictions; the measured columns.

    Raises:
        GroundingError: the file cannot be read, or `write_parquet` did not make it.
    """
    rows = _read(path, (*_FIXED, *measured), (*_FIXED, *measured))
    pictures: dict[str, list[dict[str, Any]]] = {}
    try:
        for row in rows:
            pictures.setdefault(row["image"], []).append(row)
        images = [_image(group) for group in pictures.values()]
        predictions = dict(prediction_from_json(values) for _, values in _predicted(rows))
        columns = {name: [row[name] for row in rows] for name in measured}
        return images, predictions, pd.DataFrame(columns, phrase_index(images), dtype=np.float64)
    except (TypeError, ValueError, KeyError) as error:  # also a GroundingError
        reason = " ".join(str(error).split())
        raise GroundingError(f"{path} is not as a run wrote it ({reason}): run the evaluation again") from error


def _image(rows: Sequence[Mapping[str, Any]]) -> EntityImage:
    image, captions = rows[0], {row["sentence"]: row["caption"] for row in rows}
    if not 0 <= max(captions) < _MOST_SENTENCES:
        raise ValueError(f"there is a sentence {max(captions)}")
    texts = tuple(captions.get(sentence, "") for sentence in range(max(captions) + 1))
    boxes = {row["chain"]: box_array(row["true_boxes"]) for row in rows}
    phrases = tuple(map(_phrase, rows))
    return EntityImage(image["image"], image["width"], image["height"], texts, phrases, boxes, frozenset(), frozenset())


def _phrase(row: Mapping[str, Any]) -> EntityPhrase:
    place = row["sentence"], row["phrase"], row["text"], row["start"], row["end"]
    return EntityPhrase(*place, row["chain"], tuple(row["types"]))


def parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The documented JSON object of each row that has a prediction, with the row's number from 0.

    Raises:
        GroundingError: an unreadable file, or a missing column.
    """
    yield from _predicted(_read(path, (*KEYS, "point_x", "point_y"), REQUIRED))


def _predicted(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in enumerate(rows):
        values: dict[str, Any] = {name: row[name] for name in KEYS if name in row}
        point = [row.get("point_x"), row.get("point_y")]
        if point != [None, None]:
            values["point"] = point
        if values.get("status") != MISSING.status:
            yield number, values


def _read(path: Path, names: Sequence[str], required: Sequence[str]) -> list[dict[str, Any]]:
    """The rows, with those of these columns that there are."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            present = file.schema_arrow.names
            if absent := [name for name in required if name not in present]:
                raise GroundingError(f"{path} has no column '{absent[0]}': expected at least {', '.join(required)}")
            rows: list[dict[str, Any]] = file.read([name for name in names if name in present]).to_pylist()
    except GroundingError:
        raise
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:  # ValueError: no UTF-8
        raise GroundingError(f"predictions {path} cannot be read: {' '.join(str(error).split())}") from error
    return rows
