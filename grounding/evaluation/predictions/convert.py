"""Results of other tools as the documented predictions. docs/reference/predictions.md says which shapes are read."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from grounding.boxes import Values
from grounding.datasets.flickr30k import EntityImage, EntityPhrase, Flickr30kEntities, boxed_phrases
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import Key, Prediction
from grounding.evaluation.predictions.reading import check_split, errors_at, json_lines, parse_json
from grounding.evaluation.predictions.records import (
    box_array,
    image_id,
    number_array,
    number_from_0,
    prediction_from_json,
    short,
    to_line,
)
from grounding.folders import whole_file
from grounding.wording import counted

Style = Literal["mdetr", "huggingface"]


class _Result(NamedTuple):
    """One object of the file: where it stands, its image, its values."""

    place: str
    image: EntityImage
    values: dict[str, Any]


class _Detection(NamedTuple):
    label: str
    score: float
    box: list[float]


def convert_file(
    results: Path, style: Style, entities: Flickr30kEntities, split: str, output: Path, overwrite: bool
) -> tuple[int, list[str]]:
    """Write another tool's results in the documented format.

    Args:
        results: the other tool's file.
        style: whose format it is: `mdetr` or `huggingface`.
        entities: the annotations.
        split: which the results are of.
        output: a .jsonl file to write.
        overwrite: replace it.

    Returns:
        How many predictions there are, and notes for the user about them.

    Raises:
        GroundingError: as `convert`; there is no result; or `output` is no .jsonl, is the results, or is taken.
    """
    if output.suffix != ".jsonl":
        raise GroundingError(f"--output {output} ends in '{output.suffix}': expected .jsonl")
    if output.is_dir() or output.resolve() == results.resolve():
        raise GroundingError(f"{output} is a folder or the results themselves: choose another")
    if output.exists() and not overwrite:
        raise GroundingError(f"{output} exists: choose another or add --overwrite")
    predictions, notes = convert(results, style, list(entities.read(split)), split, entities.ids_of_splits())
    if not predictions:
        raise GroundingError(f"{results} has no results: nothing to convert")
    with whole_file(output) as file:
        file.writelines(to_line(key, prediction) for key, prediction in predictions.items())
    return len(predictions), notes


def convert(
    path: Path, style: Style, images: Sequence[EntityImage], split: str, splits: Mapping[str, Collection[str]]
) -> tuple[dict[Key, Prediction], list[str]]:
    """The predictions in another tool's results, and notes for the user about them.

    Args:
        path: a JSON list of objects, or JSON Lines.
        images: all of `split`.
        splits: the image ids of each split that the annotations have.

    Raises:
        GroundingError: anything wrong, named with its line (from 1), or its item of the list (from 0).
    """
    name = "image_id" if style == "mdetr" else "image"
    objects = []
    for place, values in _objects(path):
        with errors_at(f"{path}, {place}"):
            objects.append((place, image_id(_value(values, name)), values))
    check_split(path, "results", [(image, place) for place, image, _ in objects], split, splits)
    by_id = {image.id: image for image in images}
    results = [_Result(f"{path}, {place}", by_id[image], values) for place, image, values in objects]
    predictions, notes = _from_mdetr(results) if style == "mdetr" else _from_huggingface(results, images)
    total = sum(len(image.boxed_phrases) for image in images)
    if len(predictions) < total:
        notes.append(f"{total - len(predictions):,} of {total:,} phrases with a box are not in {path}")
    return predictions, notes


def _objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object, and where it stands in the file."""
    if path.suffix == ".jsonl":
        yield from ((f"line {number}", values) for number, values in json_lines(path))
        return
    if path.suffix != ".json":
        raise GroundingError(f"results {path} end in '{path.suffix}': expected .json or .jsonl")
    try:
        items = parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise GroundingError(f"results {path} cannot be read: {error.strerror}") from error
    if not isinstance(items, list):
        raise GroundingError(f"{path} holds {short(items)}: expected a list of objects, or .jsonl with one a line")
    for number, values in enumerate(items):
        if not isinstance(values, dict):
            raise GroundingError(f"{path}, item {number}: {short(values)} is no object: expected {{...}}")
        yield f"item {number}", values


def _value(values: Mapping[str, Any], name: str) -> Any:
    if values.get(name) is None:
        raise GroundingError(f"'{name}' is missing; the keys are {', '.join(values) or 'none'}")
    return values[name]


def _sentence(image: EntityImage, value: Any, name: str) -> int:
    sentence = number_from_0(value, name)
    if sentence >= len(image.captions):
        raise GroundingError(f"{name} is {sentence}: image {image.id} has {len(image.captions)}, counted from 0")
    return sentence


def _prediction(image: EntityImage, phrase: EntityPhrase, values: Mapping[str, Any]) -> tuple[Key, Prediction]:
    return prediction_from_json({"image": image.id, "sentence": phrase.sentence, "phrase": phrase.index, **values})


def _from_mdetr(results: Sequence[_Result]) -> tuple[dict[Key, Prediction], list[str]]:
    """From `image_id`, `sentence_id`, and a list of boxes for each phrase of the sentence that has a box.

    As in MDETR's evaluation, of two results for a sentence the first counts.
    """
    done: set[tuple[str, int]] = set()
    predictions: dict[Key, Prediction] = {}
    repeated = unexpected = 0
    for place, image, values in results:
        with errors_at(place):
            sentence = _sentence(image, _value(values, "sentence_id"), "sentence_id")
            phrases = [phrase for phrase in image.boxed_phrases if phrase.sentence == sentence]
            repeated += (image.id, sentence) in done
            unexpected += not phrases and bool(_value(values, "boxes"))
            if phrases and (image.id, sentence) not in done:
                predictions |= _mdetr_sentence(image, phrases, values)
            done.add((image.id, sentence))
    notes = [
        (repeated, f"{repeated:,} results are for a sentence that had one before: ignored"),
        (unexpected, f"{unexpected:,} results are for a sentence without a phrase that has a box: ignored"),
    ]
    return predictions, [note for count, note in notes if count]


def _mdetr_sentence(
    image: EntityImage, phrases: Sequence[EntityPhrase], values: Mapping[str, Any]
) -> Iterator[tuple[Key, Prediction]]:
    columns = {"boxes": _value(values, "boxes")}
    if values.get("scores") is not None:
        columns["scores"] = values["scores"]
    for name, lists in columns.items():
        if not isinstance(lists, list) or len(lists) != len(phrases):
            given = f"{len(lists)} lists" if isinstance(lists, list) else short(lists)
            raise GroundingError(
                f"{name} is {given}, but image {image.id}, sentence {phrases[0].sentence} has {len(phrases)} phrases "
                f"with a box: expected a list for each of {', '.join(repr(phrase.text) for phrase in phrases)}"
            )
    for number, phrase in enumerate(phrases):
        with errors_at(f"item {number} ('{phrase.text}')"):
            yield _prediction(image, phrase, {name: lists[number] for name, lists in columns.items()})


def _from_huggingface(
    results: Sequence[_Result], images: Sequence[EntityImage]
) -> tuple[dict[Key, Prediction], list[str]]:
    """From zero-shot detections, whose labels are the texts of phrases."""
    detections: defaultdict[tuple[str, int], list[_Detection]] = defaultdict(list)
    strangers: Counter[str] = Counter()
    labels = 0
    for place, image, values in results:
        with errors_at(place):
            given = values.get("sentence")
            sentences = range(len(image.captions)) if given is None else [_sentence(image, given, "sentence")]
            listed = _detections(image, values)
        texts = {_plain(phrase.text) for phrase in image.phrases if phrase.sentence in sentences}
        strangers.update(detection.label for detection in listed if _plain(detection.label) not in texts)
        labels += len(listed)
        for sentence in sentences:
            detections[image.id, sentence] += listed
    predictions = dict(
        _prediction(image, phrase, _matching(phrase, detections[image.id, phrase.sentence]))
        for image, phrase in boxed_phrases(images)
        if (image.id, phrase.sentence) in detections
    )
    notes = []
    if strangers:
        examples = ", ".join(f"'{label}' ({counted(count, 'time')})" for label, count in strangers.most_common(3))
        notes.append(f"{strangers.total():,} of {labels:,} labels are no phrase of their image: {examples}")
    if empty := sum(not len(prediction.boxes) for prediction in predictions.values()):
        notes.append(f"{empty:,} of {len(predictions):,} phrases are no label of any box: left without boxes")
    return predictions, notes


def _detections(image: EntityImage, values: Mapping[str, Any]) -> list[_Detection]:
    """The detections of one object, in px of the original photograph, in file order."""
    results = _value(values, "results")
    if isinstance(results, list):
        results = _pipeline_columns(results)
    if not isinstance(results, dict):
        raise GroundingError(f"results is {short(results)}: expected a list of detections, or scores, boxes and labels")
    scores, boxes = _value(results, "scores"), _value(results, "boxes")
    labels = results.get("labels") if results.get("text_labels") is None else results["text_labels"]
    placed = box_array(boxes) * _scale(image, values)
    ranked = number_array(scores, "scores", len(placed), f"{counted(len(placed), 'finite number')}, one a box")
    if not isinstance(labels, list) or len(labels) != len(placed) or not all(isinstance(text, str) for text in labels):
        raise GroundingError(
            f"the labels are {short(labels)}: expected {counted(len(placed), 'text')}, one a box, in text_labels or "
            "labels"
        )
    return [_Detection(*row) for row in zip(labels, ranked.tolist(), placed.tolist(), strict=True)]


def _pipeline_columns(results: Sequence[Any]) -> dict[str, list[Any]]:
    """Labels, scores and boxes of what the pipeline gives."""
    try:
        columns = {f"{name}s": [detection[name] for detection in results] for name in ("label", "score")}
        corners = ("xmin", "ymin", "xmax", "ymax")
        return columns | {"boxes": [[detection["box"][edge] for edge in corners] for detection in results]}
    except (KeyError, TypeError) as error:
        raise GroundingError(
            f"results is {short(results)}: expected each to have score, label and box with xmin, ymin, xmax, ymax"
        ) from error


def _scale(image: EntityImage, values: Mapping[str, Any]) -> Values:
    """(4,) from the picture that the boxes are in to the original photograph."""
    given, expected = [values.get("width"), values.get("height")], "two numbers above 0, or neither"
    if given == [None, None]:
        return np.ones(4)
    size = number_array(given, "width and height", 2, expected)
    if size.min() <= 0:
        raise GroundingError(f"width and height is {short(given)}: expected {expected}")
    return np.tile(np.array([image.width, image.height]) / size, 2)


def _matching(phrase: EntityPhrase, detections: Sequence[_Detection]) -> dict[str, Any]:
    """The detections labelled with the phrase's text; if there are none, those with a text that differs in form."""
    same = [detection for detection in detections if detection.label == phrase.text]
    alike = same or [detection for detection in detections if _plain(detection.label) == _plain(phrase.text)]
    return {"boxes": [each.box for each in alike], "scores": [each.score for each in alike]}


def _plain(text: str) -> str:
    """Without capitals, outer and double spaces, and final punctuation."""
    return " ".join(text.casefold().split()).rstrip(" .,;:!?")
