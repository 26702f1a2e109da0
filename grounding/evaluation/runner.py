"""A localizer scored on a data set, photograph by photograph, so that an interruption costs one photograph at most."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from grounding.config import method_setting
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, fingerprint
from grounding.errors import GroundingError
from grounding.evaluation.metrics import measure
from grounding.evaluation.prediction import Key, Prediction
from grounding.evaluation.predictor import TOP_K, Job, digest
from grounding.evaluation.processes import from_rank_0, lines_in_order, world
from grounding.evaluation.records import prediction_from_json
from grounding.evaluation.run_folder import finished, write_run
from grounding.evaluation.scoring import Run, Selection, score, versions
from grounding.folders import EVALUATED
from grounding.resumable import resumable_lines
from grounding.tagging.sources import load_classifier


@dataclass(frozen=True, slots=True)
class Order:
    """How a run is to be done.

    Attributes:
        name: what the method is called; by default as its classifier.
        limit: of the selection, for the record.
        strict: refuse unreadable photographs.
        inputs: what the output must not replace.
    """

    output: Path
    name: str | None = None
    limit: int | None = None
    workers: int = 1
    strict: bool = False
    overwrite: bool = False
    inputs: Sequence[Path] = ()


def score_localizer(job: Job, selection: Selection, order: Order, note: Callable[[str], None]) -> dict[str, Any] | None:
    """Predict, measure and write the folder of a run; or read the metrics of the same run, finished earlier.

    Args:
        note: told what a person should know.

    Returns:
        What metrics.json says; None in a rank above 0 of torchrun.

    Raises:
        GroundingError: the output is another run's; a photograph is not the one that an earlier part of this run saw;
            no photograph can be read, or, if strict, one cannot.
    """
    if world()[0] > 0:
        wanted: tuple[str, ...] = from_rank_0(())
        for _ in lines_in_order(job, [image for image in selection.images if image.id in wanted], 1):
            pass
        return None
    photographs, classifier = Photographs(job.photographs), load_classifier(job.classifier)
    settings = {
        "split": selection.split,
        "limit": order.limit,
        "config": dataclasses.asdict(job.config),
        "classifier": {"source": job.classifier, "fingerprint": classifier.fingerprint()},
        "device": job.device,
        **method_setting(job.method),
        "top_k": TOP_K,
        "versions": versions(),
        "annotations": fingerprint(selection.images),
    }
    metrics = finished(order.output, settings, order.overwrite)
    if metrics is not None:
        from_rank_0(())
        _check_finished(metrics, selection, photographs, order)
    else:
        with resumable_lines(order.output, settings, order.overwrite, EVALUATED, order.inputs, keep=False) as file:
            todo = _unfinished(file.done, selection.images, photographs, file.folder)
            from_rank_0(tuple(image.id for image in todo))
            done = len(selection.images) - len(todo)
            lines = lines_in_order(job, todo, order.workers)
            for line in tqdm(lines, total=len(selection.images), initial=done, unit=" photographs"):
                if order.strict and "error" in (record := json.loads(line)):
                    raise GroundingError(record["error"])
                file.write(line)
            selection, predictions, notes = collect(file.read(), selection)
            for text in notes:
                note(text)
            columns = measure(selection.images, predictions)
            name = order.name or classifier.name
            metrics = score(selection, name, settings, predictions, columns, job.photographs)
            write_run(file.folder, Run(metrics, selection.images, predictions, columns), photographs.get)
    for error in metrics["dataset"]["failed"].values():
        note(f"not counted: {error}")
    return metrics


def _check_finished(metrics: dict[str, Any], selection: Selection, photographs: Photographs, order: Order) -> None:
    failed = metrics["dataset"]["failed"]
    if order.strict and failed:
        raise GroundingError(next(iter(failed.values())))
    digests = (digest(photographs.read(image.id)) for image in selection.images if image.id not in failed)
    if combined(digests) != metrics["dataset"]["photographs"]["fingerprint"]:
        raise GroundingError(
            f"{order.output} holds a finished run on other photographs: choose another output or add --overwrite"
        )


def _unfinished(
    lines: Sequence[str], images: Sequence[EntityImage], photographs: Photographs, folder: Path
) -> list[EntityImage]:
    """The images without a line, and those whose photograph could not be read: it may have been mended."""
    seen = {record["image"]: record["sha256"] for record in map(json.loads, lines) if "error" not in record}
    for image, wanted in seen.items():
        if digest(photographs.read(image)) != wanted:
            raise GroundingError(
                f"photograph {image} has changed since the interrupted run in {folder}: remove that or add --overwrite"
            )
    return [image for image in images if image.id not in seen]


def combined(digests: Iterable[str]) -> str:
    """SHA-256 of many."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def collect(lines: Sequence[str], selection: Selection) -> tuple[Selection, dict[Key, Prediction], list[str]]:
    """All predictions of finished lines, the selection without unreadable photographs, and what a person should know.

    Args:
        lines: of `Predictor.line`, in any order; the last one of an image counts.
    """
    predictions: dict[Key, Prediction] = {}
    failed: dict[str, str] = {}
    resized: list[str] = []
    digests: list[str] = []
    images = []
    records = {record["image"]: record for record in map(json.loads, lines)}
    for image in selection.images:
        record = records[image.id]
        if "error" in record:
            failed[image.id] = record["error"]
            continue
        images.append(image)
        digests.append(record["sha256"])
        predictions |= map(prediction_from_json, record["predictions"])
        if (record["width"], record["height"]) != (image.width, image.height):
            sizes = f"{record['width']} x {record['height']} px for {image.width} x {image.height}"
            resized.append(f"{image.id}: {sizes}")
    if not images:
        raise GroundingError(
            f"none of the {len(failed)} photographs can be read, such as: {next(iter(failed.values()))}"
        )
    notes = []
    if resized:
        notes.append(
            f"{len(resized):,} of {len(images):,} photographs are not of the size in their XML file "
            f"(such as {resized[0]}): boxes and points are scaled"
        )
    seen = dataclasses.replace(selection, images=images, failed=failed, photographs=combined(digests))
    return seen, predictions, notes
