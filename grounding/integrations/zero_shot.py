"""The call and the return values of Hugging Face's `pipeline("zero-shot-object-detection")`, on a localizer."""

import io
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from grounding.config import METHOD, TOP_K, LocalizerConfig
from grounding.errors import GroundingError, check_at_least_one
from grounding.grounded import Region
from grounding.images import RgbImage, read_image
from grounding.integrations.detector import check_labels, detect
from grounding.integrations.fetching import data_bytes, fetch
from grounding.methods import Method
from grounding.pipeline import Localizer

THRESHOLD: Final = 0.1  # as of transformers
_ONE: Final = (str, Path, Image.Image, np.ndarray)

Found = list[dict[str, Any]]


class ZeroShotObjectDetector:
    """Called as the pipeline of transformers is, and answers as it does.

    Attributes:
        localizer: what finds the labels.
        threshold: where a call gives none.
        top_k: where a call gives none.
    """

    def __init__(self, localizer: Localizer, threshold: float = THRESHOLD, top_k: int | None = None) -> None:
        self.localizer = localizer
        self.threshold = _checked_threshold(threshold)
        self.top_k = _checked_top_k(top_k)

    def __repr__(self) -> str:
        return f"ZeroShotObjectDetector({self.localizer!r}, threshold {self.threshold})"

    def __call__(
        self,
        image: Any,
        candidate_labels: Any = None,
        *,
        threshold: float | None = None,
        top_k: int | None = None,
        timeout: float | None = None,
        text_queries: Any = None,
        num_workers: int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Find labels in one picture or in many.

        Args:
            image: a picture: a path, an `http(s)://` or `data:` address, a Pillow image or an array; or
                `{"image": ..., "candidate_labels": ...}`; or a list or tuple of either, or a generator or data set of
                such dicts.
            candidate_labels: a list of texts, or one text that is divided at its commas, for all pictures; or for a
                list of pictures a list of texts each.
            threshold: only boxes with a higher score.
            top_k: only so many boxes a picture, over all labels; None or 0 for all.
            timeout: seconds to wait for a picture on the web; None waits as long as it takes.
            text_queries: the former name of `candidate_labels`.
            num_workers: taken and not needed.
            batch_size: taken and not needed.

        Returns:
            `[{"score": float, "label": str, "box": {"xmin": int, "ymin": int, "xmax": int, "ymax": int}}, ...]` in px,
            best score first; for a list or tuple a list of those; for a generator or data set an iterator over them,
            which reads as it goes.

        Raises:
            GroundingError: a `ValueError`: no picture or label, or what is none; another number of lists of labels than
                of pictures; a threshold outside [0, 1].
        """
        least = self.threshold if threshold is None else _checked_threshold(threshold)
        most = self.top_k if top_k is None else _checked_top_k(top_k)
        labels = candidate_labels if text_queries is None else text_queries

        def find(one: Any, asked: Any) -> Found:
            return self._find(_picture(one, timeout), asked, least, most)

        if isinstance(image, _ONE):
            return find(image, labels)
        if isinstance(image, Mapping):
            return find(*_parts(image))
        if isinstance(image, list | tuple) and image and isinstance(image[0], _ONE):
            return [find(one, asked) for one, asked in zip(image, _labels_each(labels, len(image)), strict=True)]
        if isinstance(image, list | tuple):
            return [find(*_parts(each)) for each in image]
        if not isinstance(image, Iterable) and not hasattr(image, "__getitem__"):
            raise GroundingError(f"the image is a {type(image).__name__}: expected a picture, a list or a generator")
        return (find(*_parts(each)) for each in _each(image))

    def _find(self, pixels: RgbImage, labels: Any, threshold: float, top_k: int | None) -> Found:
        if labels is None:
            raise GroundingError('no labels were given: expected candidate_labels=["cat", "couch"]')
        texts = check_labels(labels)
        found = detect(self.localizer.encode(pixels), texts, TOP_K, threshold)
        results: Found = [
            {"score": detection.region.score, "label": detection.label, "box": _box(detection.region)}
            for detection in found
            if detection.region.score > threshold
        ]
        return results[: top_k or None]


def zero_shot_object_detector(
    source: str | Path = "embedded",
    config: LocalizerConfig | None = None,
    device: str = "cpu",
    method: str | Method = METHOD,
    offline: bool = False,
    *,
    threshold: float = THRESHOLD,
    top_k: int | None = None,
) -> ZeroShotObjectDetector:
    """Make what stands in for `transformers.pipeline("zero-shot-object-detection", model=...)`.

    Args:
        source: of the classifier, as `Localizer.from_pretrained` takes it.
        config: maps and regions.
        device: `cpu`, `cuda`, `mps` and so on, as PyTorch names them.
        method: what turns signals into word maps, as `Localizer` takes it.
        offline: download nothing.
        threshold: only boxes with a higher score, where a call gives none.
        top_k: only so many boxes a picture, where a call gives none; None or 0 for all.

    Raises:
        GroundingError: as `Localizer.from_pretrained`; a threshold outside [0, 1] or a `top_k` below 0.
    """
    return ZeroShotObjectDetector(Localizer.from_pretrained(source, config, device, method, offline), threshold, top_k)


def _each(images: Any) -> Iterator[Any]:
    """The items of a generator, or of a data set, which may have no end but `len`."""
    if isinstance(images, Iterable):
        yield from images
        return
    for number in range(len(images)):
        yield images[number]


def _picture(image: Any, timeout_s: float | None) -> Any:
    """What `check_image` takes; an address is read."""
    if isinstance(image, str) and image.startswith("data:"):
        return read_image(io.BytesIO(data_bytes(image)), "data:...")
    if isinstance(image, str) and image.lower().startswith(("http://", "https://")):
        return read_image(io.BytesIO(fetch(image, timeout_s=timeout_s, redirects=True)), image)
    return image


def _parts(asked: Any) -> tuple[Any, Any]:
    if not isinstance(asked, Mapping) or not {"image", "candidate_labels"} <= set(asked):
        given = (
            f"has the keys {sorted(map(str, asked))}" if isinstance(asked, Mapping) else f"is a {type(asked).__name__}"
        )
        raise GroundingError(f'what is asked {given}: expected {{"image": ..., "candidate_labels": [...]}}')
    return asked["image"], asked["candidate_labels"]


def _labels_each(labels: Any, count: int) -> list[Any]:
    """The labels of each of several pictures."""
    if isinstance(labels, str):
        return [labels] * count
    if isinstance(labels, list | tuple):
        if all(isinstance(label, str) for label in labels):
            return [labels] * count
        if all(isinstance(label, list | tuple) for label in labels):
            if len(labels) != count:
                raise GroundingError(f"there are {count} images and {len(labels)} lists of labels: expected one each")
            return list(labels)
    raise GroundingError(
        f"candidate_labels is a {type(labels).__name__}: expected a text, a list of texts, or such a list an image"
    )


def _box(region: Region) -> dict[str, int]:
    """Whole pixels, at least one wide and high."""
    x0, y0, x1, y1 = map(round, region.box)
    return {"xmin": x0, "ymin": y0, "xmax": max(x1, x0 + 1), "ymax": max(y1, y0 + 1)}


def _checked_threshold(threshold: Any) -> float:
    if isinstance(threshold, bool) or not (isinstance(threshold, Real) and 0 <= float(threshold) <= 1):
        raise GroundingError(f"threshold is {threshold!r}: expected a score from 0 to 1")
    return float(threshold)


def _checked_top_k(top_k: Any) -> int | None:
    if top_k is not None and top_k != 0:
        check_at_least_one("top_k", top_k)
    return top_k or None
