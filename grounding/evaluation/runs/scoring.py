"""From a selection of images and their predictions to everything that metrics.json says."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import grounding
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import TYPES, EntityImage, Flickr30kEntities, boxed_phrases, fingerprint
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import MISSING, Key, Prediction, phrase_key
from grounding.evaluation.protocols.baselines import baselines
from grounding.evaluation.protocols.extent import summarize_extent
from grounding.evaluation.protocols.presence import summarize_presence
from grounding.evaluation.protocols.protocol import CURVE, HEADLINE, Columns
from grounding.evaluation.protocols.raking import Cell, cells
from grounding.evaluation.protocols.scores import summarize_scores
from grounding.evaluation.protocols.standardised import standardise
from grounding.evaluation.protocols.summary import RESAMPLES, SEED, summarize
from grounding.evaluation.protocols.which_of_two import summarize_which_of_two
from grounding.wording import counted

METRICS_VERSION: Final = 1
_RUN: Final = "run"
_PACKAGES: Final = ("numpy", "pillow", "torch", "torchvision")


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The images of a split that a run is about.

    Attributes:
        in_split: how many images the split has.
        limit: only so many of them were asked for, or None.
        missing: ids without a photograph at hand.
        failed: ids whose photograph cannot be read, and why.
        photographs: SHA-256 of all photographs that were looked at, or None.
        presences_of_others: image id -> the presence of each of `presence.phrases_of_others`.
        whole: how many phrases of all images of the split are in each cell of `raking`; nothing where it is not known.
    """

    split: str
    in_split: int
    images: Sequence[EntityImage]
    limit: int | None = None
    missing: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    photographs: str | None = None
    presences_of_others: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    whole: Mapping[Cell, float] = field(default_factory=dict)

    @property
    def coverage(self) -> str:
        """What every number is marked with, such as `247 of 1,000 images present`."""
        if len(self.images) == self.in_split:
            return f"all {counted(self.in_split, 'image')}"
        present = self.in_split - len(self.missing)
        if len(self.images) + len(self.failed) == present:
            text = f"{present:,} of {counted(self.in_split, 'image')} present"
        else:
            text = f"the first {len(self.images) + len(self.failed):,} of "
            text += f"the {present:,} images present, of {self.in_split:,}" if self.missing else f"{present:,} images"
        return text + (f", {len(self.failed)} of them unreadable" if self.failed else "")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A scored run.

    Attributes:
        metrics: what metrics.json says; its `run` is None where only the baselines were measured.
        columns: of `measure`; empty for baselines only.
        path: its folder, once it has one.
    """

    metrics: Mapping[str, Any]
    images: Sequence[EntityImage]
    predictions: Mapping[Key, Prediction]
    columns: Columns
    path: str = ""


def select(
    entities: Flickr30kEntities,
    split: str,
    photographs: Photographs | None,
    limit: int | None = None,
    strict: bool = False,
) -> Selection:
    """The first `limit` images of a split, of those with a photograph where photographs are given.

    Raises:
        GroundingError: no photograph is of this split, or, if strict, one is missing; no image has a phrase with a
            box; or what `Flickr30kEntities.read` refuses.
    """
    images = list(entities.read(split))
    if not images:
        raise GroundingError(f"split '{split}' has no images: is its list whole?")
    present = [image for image in images if photographs is None or image.id in photographs]
    if not present:
        raise GroundingError(f"none of the photographs belongs to {counted(len(images), 'image')} of split '{split}'")
    if not any(image.boxed_phrases for image in present[:limit]):
        raise GroundingError(
            f"none of {counted(len(present[:limit]), 'image')} has a phrase with a box: nothing to score"
        )
    missing = tuple(image.id for image in images if photographs is not None and image.id not in photographs)
    if strict and missing:
        raise GroundingError(
            f"{len(missing):,} of {len(images):,} photographs are missing, such as {missing[0]}.jpg: "
            "--strict needs them all"
        )
    return Selection(split, len(images), present[:limit], limit, missing, whole=cells(images).total())


def present(annotations: Path, split: str, places: Sequence[Path]) -> tuple[Sequence[EntityImage], Photographs]:
    """The images of a split that have a photograph in these folders, zips or tars, and the photographs."""
    photographs = Photographs(places)
    return select(Flickr30kEntities(annotations), split, photographs).images, photographs


def score(
    selection: Selection,
    name: str,
    settings: Mapping[str, Any],
    predictions: Mapping[Key, Prediction],
    columns: Columns,
    photographs: Sequence[Path] = (),
) -> dict[str, Any]:
    """Everything that metrics.json says: plain values, the same for the same input.

    Args:
        columns: of `measure`; empty where only the baselines are asked for.
        photographs: where they were read.
    """
    images, others = selection.images, selection.presences_of_others
    floors = baselines(images)
    statuses = Counter(predictions.get(phrase_key(*pair), MISSING).status for pair in boxed_phrases(images))
    return {
        "schema_version": METRICS_VERSION,
        "name": name,
        "context": settings.get("config", {}).get("context"),
        "dataset": _dataset(selection, photographs),
        "statuses": {} if columns.empty else dict(statuses.most_common()),
        "protocols": {protocol.name: protocol.description for protocol in (*HEADLINE, *CURVE)},
        "run": None if columns.empty else summarize(images, columns, SEED),
        "baselines": {title: summarize(images, rows, SEED) for title, rows in floors.items()},
        "standardised": _standardised(selection, None if columns.empty else columns, floors),
        "extent": None if columns.empty else summarize_extent(images, predictions),
        "which_of_two": None if columns.empty else summarize_which_of_two(images, predictions),
        "scores": summarize_scores(images, predictions, columns),
        "presence": summarize_presence(images, predictions, others, settings.get("min_presence", 0.0)),
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "cluster": "image"},
        "settings": dict(settings),
        "versions": versions(),
    }


def _standardised(selection: Selection, run: Columns | None, floors: Mapping[str, Columns]) -> dict[str, Any] | None:
    """The headline numbers as of the whole split; None where all of it is there, or where it is not known."""
    if len(selection.images) == selection.in_split or not selection.whole:
        return None
    answers = floors if run is None else {_RUN: run, **floors}
    standard = standardise(selection.images, selection.whole, answers, SEED)
    numbers = standard.pop("numbers")
    return {**standard, "run": numbers.pop(_RUN, None), "baselines": numbers}


def _dataset(selection: Selection, photographs: Sequence[Path]) -> dict[str, Any]:
    images, phrases = selection.images, [phrase for _, phrase in boxed_phrases(selection.images)]
    return {
        "name": "Flickr30k Entities",
        "split": selection.split,
        "images_in_split": selection.in_split,
        "images_evaluated": len(images),
        "coverage": selection.coverage,
        "missing": list(selection.missing),
        "failed": dict(selection.failed),
        "phrases": len(phrases),
        "chains": sum(len({phrase.chain for phrase in image.boxed_phrases}) for image in images),
        "types": {kind: sum(kind in phrase.types for phrase in phrases) for kind in TYPES},
        "photographs": {"paths": [str(path) for path in photographs], "fingerprint": selection.photographs},
        "unrelated_captions": sum(len(image.unrelated) for image in images),
        "fingerprint": fingerprint(images),
    }


def versions() -> dict[str, str]:
    """What a number may depend on."""
    ours = {"grounding": grounding.__version__, "python": platform.python_version()}
    return ours | {package: version(package) for package in _PACKAGES}
