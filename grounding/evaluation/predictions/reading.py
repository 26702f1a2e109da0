"""Files of predictions: JSON Lines, and Parquet: docs/reference/predictions.md has the format."""

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from grounding.datasets.flickr30k import EntityImage
from grounding.errors import GroundingError
from grounding.evaluation.predictions.parquet import parquet_rows
from grounding.evaluation.predictions.prediction import Key, Prediction, phrase_key
from grounding.evaluation.predictions.records import KEYS, prediction_from_json, short
from grounding.wording import counted

_NAMED_KEYS: Final = 5
_SLACK: Final = 0.05  # of a side


@dataclass(frozen=True)
class Loaded:
    """Predictions for phrases with a box, and notes for the user about the file they come from."""

    predictions: dict[Key, Prediction]
    notes: tuple[str, ...]


def read_predictions(
    path: Path, images: Sequence[EntityImage], split: str, splits: Mapping[str, Collection[str]], allow_missing: bool
) -> Loaded:
    """Read and check a file of predictions.

    Args:
        path: .jsonl, or .parquet as `write_parquet` makes it.
        images: those to evaluate, of `split` and maybe not all of it.
        splits: the image ids of each split that the annotations have.
        allow_missing: note phrases without a prediction instead of raising.

    Raises:
        GroundingError: anything wrong, named with its line (from 1) or row (from 0).
    """
    predictions, places, ignored = _parse(path)
    check_split(path, "predictions", [(key[0], place) for key, place in places.items()], split, splits)
    boxed = {phrase_key(image, phrase): phrase.chain in image.boxes for image in images for phrase in image.phrases}
    evaluated = {image.id for image in images}
    if unknown := [key for key in predictions if key not in boxed and key[0] in evaluated]:
        raise GroundingError(
            f"{path}: {len(unknown):,} of {len(predictions):,} predictions are for phrases that do not exist "
            f"(first: {_phrase_name(unknown[0])}, {places[unknown[0]]}): "
            "sentences, and all marked phrases of each, count from 0"
        )
    selected = {key: prediction for key, prediction in predictions.items() if boxed.get(key)}
    missing = [key for key, has_box in boxed.items() if has_box and key not in selected]
    without_box = sum(not boxed.get(key, True) for key in predictions)
    elsewhere = sum(key[0] not in evaluated for key in predictions)
    notes = (
        _ignored_note(ignored),
        f"{counted(without_box, 'prediction')} for phrases without a box: ignored" if without_box else "",
        f"{counted(elsewhere, 'prediction')} for images of '{split}' not evaluated: ignored" if elsewhere else "",
        _frame_note(images, selected),
        _missing_note(path, missing, sum(boxed.values()), allow_missing),
    )
    return Loaded(selected, tuple(filter(None, notes)))


def _parse(path: Path) -> tuple[dict[Key, Prediction], dict[Key, str], Counter[str]]:
    """All predictions, where each stands, and how often each key is there that is not of the format."""
    if path.suffix not in (".jsonl", ".parquet"):
        raise GroundingError(f"predictions {path} end in '{path.suffix}': expected .jsonl or .parquet")
    unit, rows = ("row", parquet_rows(path)) if path.suffix == ".parquet" else ("line", json_lines(path))
    predictions: dict[Key, Prediction] = {}
    places: dict[Key, str] = {}
    shapes: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {}
    ignored: Counter[str] = Counter()
    for number, values in rows:
        place = f"{unit} {number}"
        with errors_at(f"{path}, {place}"):
            key, prediction = prediction_from_json(values)
            if key in places:
                raise GroundingError(f"{_phrase_name(key)} stands in {places[key]} already: expected it once")
            _check_shapes(shapes, key[0], prediction, place)
        predictions[key], places[key] = prediction, place
        ignored.update(values.keys() - set(KEYS))
    if not predictions:
        raise GroundingError(f"{path} has no predictions: expected one a phrase")
    return predictions, places, ignored


def _missing_note(path: Path, missing: Sequence[Key], total: int, allowed: bool) -> str:
    lacking = f"{len(missing):,} of {total:,} phrases"
    if missing and not allowed:
        raise GroundingError(
            f"{path}: {lacking} with a box have no prediction (first: {_phrase_name(missing[0])}; phrases count from 0 "
            "among all marked ones of their sentence): "
            "add them, with empty boxes where nothing was found, or pass --allow-missing"
        )
    return f"{lacking} have no prediction: counted as misses" if missing else ""


def _ignored_note(ignored: Counter[str]) -> str:
    """The keys that are not of the format, the most frequent first."""
    ordered = sorted(ignored.items(), key=lambda pair: (-pair[1], pair[0]))
    named = [f"{name} ({counted(count, 'time')})" for name, count in ordered[:_NAMED_KEYS]]
    more = f" and {len(ignored) - len(named):,} more" if len(ignored) > len(named) else ""
    return f"ignored keys: {', '.join(named)}{more}" if named else ""


def _check_shapes(
    shapes: dict[tuple[str, str], tuple[str, tuple[int, ...]]], image: str, prediction: Prediction, place: str
) -> None:
    """See that the maps of an image, and the maps that its points come from, have one shape each: they get averaged."""
    pointing = prediction.map if prediction.point_map is None else prediction.point_map
    for name, map_ in (("map", prediction.map), ("point_map (or the map in its place)", pointing)):
        if map_ is not None:
            first, shape = shapes.setdefault((image, name), (place, map_.shape))
            if shape != map_.shape:
                raise GroundingError(
                    f"its {name} is {map_.shape[0]} x {map_.shape[1]}, in {first} it is {shape[0]} x {shape[1]}: "
                    f"expected one shape for all maps of image {image}"
                )


def _frame_note(images: Sequence[EntityImage], predictions: Mapping[Key, Prediction]) -> str:
    """A doubt that the boxes are in px of the original photograph, or nothing."""
    sides = {image.id: np.array([image.width, image.height] * 2) for image in images}
    placed = [(key[0], prediction.boxes) for key, prediction in predictions.items() if len(prediction.boxes)]
    relative = sum(float(boxes.max()) <= 1 for _, boxes in placed)
    if 2 * relative > len(placed):
        return (
            f"{relative:,} of {len(placed):,} predictions have no box that reaches beyond 1 px: "
            "are they relative? expected px of the original photograph"
        )
    outside = sum(bool(np.abs(boxes / sides[image] - 0.5).max() > 0.5 + _SLACK) for image, boxes in placed)
    note = f"{counted(outside, 'prediction')} with a box that leaves its photograph by over {_SLACK:.0%} of a side"
    return f"{note}: expected px of the original photograph" if outside else ""


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The object of each line that is not blank, with its number from 1.

    Raises:
        GroundingError: an unreadable file, or a line that holds no JSON object.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    values = parse_json(line, f"{path}, line {number}")
                    if not isinstance(values, dict):
                        raise GroundingError(f"{path}, line {number}: {short(values)} is no object: expected {{...}}")
                    yield number, values
    except OSError as error:
        raise GroundingError(f"predictions {path} cannot be read: {error.strerror}") from error


def parse_json(text: bytes, where: str) -> Any:
    """What UTF-8 JSON says; a `GroundingError` with the place where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GroundingError(f"{where} is not JSON: {error}") from error


@contextlib.contextmanager
def errors_at(place: str) -> Iterator[None]:
    """Say where a `GroundingError` was."""
    try:
        yield
    except GroundingError as error:
        raise GroundingError(f"{place}: {error}") from error


def _phrase_name(key: Key) -> str:
    return "image {}, sentence {}, phrase {}".format(*key)


def check_split(
    path: Path, what: str, places: Sequence[tuple[str, str]], split: str, splits: Mapping[str, Collection[str]]
) -> None:
    """Raise a `GroundingError` that says where they are unless every image is in this split.

    Args:
        places: each image id, and where it stands.
    """
    split_of = {image: name for name, ids in splits.items() for image in ids} | dict.fromkeys(splits[split], split)
    strays = [(image, place) for image, place in places if split_of.get(image) != split]
    if not strays:
        return
    homes = Counter(split_of.get(image) for image, _ in strays)
    advice = "; ".join(f"{count:,} are in {name or 'no split'}" for name, count in homes.most_common())
    if homes.keys() == {None}:
        advice = "they are in no split of these annotations: expected ids such as '1000092795'"
    elif len(homes) == 1:
        (home,) = homes
        advice = f"they are in '{home}': " + (
            f"pass --split {home}" if len(strays) == len(places) else "expected the images of one split"
        )
    raise GroundingError(
        f"{path}: {len(strays):,} of {len(places):,} {what} are for images that are not in split '{split}' "
        f"(first: {strays[0][0]}, {strays[0][1]}); {advice}"
    )
