"""Rows of pictures with captions in, plain results out: a row that fails says why, and costs no other.

`ground_rows` is what a worker calls, in this process or another one: it needs nothing but a localizer and rows, both
of which can be pickled. What it returns for a row depends on that row alone: not on its neighbours, nor on how many
workers there are, nor, on a CPU, on how many threads PyTorch would use.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import torch

from grounding.config import TOP_K
from grounding.datasets.places import Place
from grounding.errors import GroundingError
from grounding.images import RgbImage, read_image
from grounding.pipeline import Localizer, Scene
from grounding.results import SCHEMA_VERSION, Grounding
from grounding.workers import one_thread


@dataclass(frozen=True, slots=True)
class Row:
    """A picture and a caption, or why they cannot be used.

    Attributes:
        image: the picture as the manifest has it.
        picture: where it is, or the bytes of its file; equal for all rows of a picture, however they write its path.
        phrases: grounded exactly as given; None leaves them to the chunker.
        error: empty for a row that can be used.
    """

    image: str
    picture: Place | bytes | None
    caption: str
    phrases: tuple[str, ...] | None = None
    error: str = ""


_TOO_LARGE = "image {} does not fit the memory: make it smaller first"
Answer = tuple[dict[str, Any], Grounding | None]


def ground_rows(localizer: Localizer, rows: Sequence[Row], top_k: int = TOP_K) -> list[dict[str, Any]]:
    """Ground every row, on one thread of this process; rows of a picture that follow each other encode it once.

    Returns:
        For each row, in their order, what `Grounding.to_dict` gives, or the same keys with an `error` and no phrases:
        a picture or caption that is bad input, or one that does not fit the memory.
    """
    with one_thread():
        return [result for result, _ in answers(localizer, rows, top_k)]


def answers(localizer: Localizer, rows: Iterable[Row], top_k: int = TOP_K, at_once: int = 1) -> Iterator[Answer]:
    """The result of each row as soon as it is there, as `ground_rows` gives it, and what was found.

    Args:
        at_once: pictures in one forward pass and one walk.
    """
    pictures = (list(group) for _, group in groupby(rows, lambda row: row.picture))
    while together := list(islice(pictures, at_once)):
        scenes = _encoded(localizer, [rows[0] for rows in together])
        found = [(scene, rows) for scene, rows in zip(scenes, together, strict=True) if not isinstance(scene, str)]
        if at_once > 1 or any(len(rows) > 1 for _, rows in found):
            asked = [[(row.caption, row.phrases) for row in rows if not row.error] for _, rows in found]
            localizer.prepare_together([scene for scene, _ in found], asked)
        for scene, rows_of_one in zip(scenes, together, strict=True):
            for row in rows_of_one:
                yield _answer(localizer, row, scene, top_k)


def _answer(localizer: Localizer, row: Row, scene: Scene | str, top_k: int) -> Answer:
    """Ground one row in its scene, or say what is wrong with either."""
    try:
        if row.error or isinstance(scene, str):
            raise GroundingError(row.error or str(scene))
        found = scene.ground(row.caption, row.phrases, top_k)
        return found.to_dict(row.image), found
    except GroundingError as error:
        return failed(row, localizer, str(error)), None


def _encoded(localizer: Localizer, rows: Sequence[Row]) -> list[Scene | str]:
    """The scene of the picture of each row, or what is wrong with it."""
    scenes: list[Scene | str] = []
    pictures: dict[int, RgbImage] = {}
    for at, row in enumerate(rows):
        scenes.append(row.error)
        try:
            if row.picture is not None:
                pictures[at] = picture_of(row)
        except GroundingError as error:
            scenes[at] = str(error)
        except MemoryError:
            scenes[at] = _TOO_LARGE.format(row.image)
    try:
        for at, scene in zip(pictures, localizer.encode_batch(pictures.values(), len(rows)), strict=True):
            scenes[at] = scene
    except (GroundingError, MemoryError, torch.OutOfMemoryError) as error:
        if len(rows) == 1:
            return [str(error) if isinstance(error, GroundingError) else _TOO_LARGE.format(rows[0].image)]
        return [scene for row in rows for scene in _encoded(localizer, [row])]
    return scenes


def picture_of(row: Row) -> RgbImage:
    """Read the picture of a row.

    Raises:
        GroundingError: as `read_image`.
    """
    picture = row.picture
    if isinstance(picture, Place) and not picture.name:
        return read_image(picture.path)
    name = picture.name if isinstance(picture, Place) else row.image
    try:
        content = picture.read() if isinstance(picture, Place) else (picture or b"")
    except OSError as error:  # what held it is gone
        raise GroundingError(f"image {name} cannot be read: {error.strerror or error}") from error
    return read_image(io.BytesIO(content), name)


def failed(row: Row, localizer: Localizer, error: str) -> dict[str, Any]:
    """The result of a row that failed."""
    return {
        "schema_version": SCHEMA_VERSION,
        "image": {"path": row.image, "width": None, "height": None},
        "caption": row.caption,
        "classifier": localizer.classifier.name,
        "error": error,
        "phrases": [],
    }
