"""A localizer scored on a data set, photograph by photograph, so that an interruption costs one photograph at most."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from grounding.answering import min_presence
from grounding.config import method_setting
from grounding.datasets.files import Photographs
from grounding.datasets.flickr30k import EntityImage, fingerprint
from grounding.distributed import from_rank_0, in_order, world
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import Key, Prediction
from grounding.evaluation.predictions.predictor import TOP_K, Job, Outcome, Predictor, digest
from grounding.evaluation.predictions.records import prediction_from_json, prediction_to_json
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.presence import phrases_of_others
from grounding.evaluation.runs.folder import REPLACEABLE, Output, finished, write_run
from grounding.evaluation.runs.scoring import Run, Selection, score, versions
from grounding.resumable import resumable_lines
from grounding.tagging.clip_classifier import Classifier
from grounding.tagging.sources import load_classifier
from grounding.wording import counted


@dataclass(frozen=True, slots=True)
class LocalizerRun:
    """A localizer, the images it is scored on, and how.

    Attributes:
        note: called with each message for the user.
        name: what the method is called; by default as its classifier.
        workers: processes.
        strict: refuse unreadable photographs.
    """

    job: Job
    selection: Selection
    output: Output
    note: Callable[[str], None]
    name: str | None = None
    workers: int = 1
    strict: bool = False

    def score(self) -> dict[str, Any] | None:
        """Predict, measure and write the folder of the run; or read the metrics of the same run, finished earlier.

        Returns:
            What metrics.json says; None in a rank above 0 of torchrun.

        Raises:
            GroundingError: there is no output folder, or it is another run's; a photograph is not the one that an
                earlier part of this run saw; no photograph can be read, or, if strict, one cannot.
        """
        if self.output.folder is None:
            raise GroundingError("no output was given: expected --output DIR, where the run can go on if interrupted")
        if world()[0] > 0:
            wanted: tuple[str, ...] = from_rank_0(())
            images = [image for image in self.selection.images if image.id in wanted]
            for _ in in_order(partial(Predictor, self._asked()), images):
                pass
            return None
        classifier = load_classifier(self.job.classifier)
        settings = self._settings(classifier)
        metrics = finished(self.output.folder, settings, self.output.overwrite)
        if metrics is None:
            metrics = self._run(self.output.folder, settings, classifier)
        else:
            from_rank_0(())  # tells the other ranks that nothing is left to do
            self._check_finished(metrics)
        for error in metrics["dataset"]["failed"].values():
            self.note(f"not counted: {error}")
        return metrics

    def _settings(self, classifier: Classifier) -> dict[str, Any]:
        """What decides the results: an interrupted run is resumed only if these are equal."""
        return {
            "split": self.selection.split,
            "limit": self.selection.limit,
            "config": dataclasses.asdict(self.job.config),
            "classifier": {"source": self.job.classifier, "fingerprint": classifier.fingerprint()},
            "min_presence": min_presence(self.job.config, classifier),
            "device": self.job.device,
            **method_setting(self.job.method),
            "top_k": TOP_K,
            "versions": versions(),
            "annotations": fingerprint(self.selection.images),
        }

    def _run(self, folder: Path, settings: dict[str, Any], classifier: Classifier) -> dict[str, Any]:
        """Predict what is not predicted yet, and write everything."""
        output, photographs = self.output, self.output.photographs
        with resumable_lines(folder, settings, output.overwrite, REPLACEABLE, output.inputs, keep=False) as file:
            todo = _unfinished(file.done, self.selection.images, photographs, file.folder)
            from_rank_0(tuple(image.id for image in todo))
            total = len(self.selection.images)
            prepare = partial(Predictor, self._asked(), classifier if self.workers == 1 else None)
            outcomes = in_order(prepare, todo, self.workers)
            for outcome in tqdm(outcomes, total=total, initial=total - len(todo), unit=" photographs"):
                if self.strict and outcome.error is not None:
                    raise GroundingError(outcome.error)
                file.write(_to_line(outcome))
            selection, predictions, note = _collect(file.read(), self.selection)
            if note:
                self.note(note)
            columns = measure(selection.images, predictions)
            name = self.name or classifier.name
            metrics = score(selection, name, settings, predictions, columns, photographs.paths)
            write_run(file.folder, Run(metrics, selection.images, predictions, columns), output)
        return metrics

    def _asked(self) -> Job:
        """The job, which also asks each photograph for phrases that it should not show."""
        return dataclasses.replace(self.job, phrases_of_others=phrases_of_others(self.selection.images))

    def _check_finished(self, metrics: dict[str, Any]) -> None:
        failed, photographs = metrics["dataset"]["failed"], self.output.photographs
        if self.strict and failed:
            raise GroundingError(next(iter(failed.values())))
        digests = (digest(photographs.read(image.id)) for image in self.selection.images if image.id not in failed)
        if _combined(digests) != metrics["dataset"]["photographs"]["fingerprint"]:
            raise GroundingError(
                f"{self.output.folder} holds a finished run on other photographs: "
                "choose another output or add --overwrite"
            )


def _to_line(outcome: Outcome) -> str:
    """The JSON object of a photograph in the file of an unfinished run."""
    if outcome.error is not None:
        return json.dumps({"image": outcome.image, "error": outcome.error})
    width, height = outcome.size
    record: dict[str, Any] = {"image": outcome.image, "sha256": outcome.sha256, "width": width, "height": height}
    record |= {"presences_of_others": outcome.presences_of_others}
    return json.dumps(record | {"predictions": [prediction_to_json(*pair) for pair in outcome.predictions.items()]})


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


def _combined(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _collect(lines: Sequence[str], selection: Selection) -> tuple[Selection, dict[Key, Prediction], str]:
    """All predictions, the selection without unreadable photographs, and notes for the user.

    Args:
        lines: of every photograph, in any order; the last one of an image counts.
    """
    records = {record["image"]: record for record in map(json.loads, lines)}
    failed = {i.id: records[i.id]["error"] for i in selection.images if "error" in records[i.id]}
    read = [(image, records[image.id]) for image in selection.images if image.id not in failed]
    if not read:
        raise GroundingError(
            f"none of {counted(len(failed), 'photograph')} can be read, such as: {next(iter(failed.values()))}"
        )
    predictions = dict(prediction_from_json(values) for _, record in read for values in record["predictions"])
    resized = [
        f"{image.id}: {record['width']} x {record['height']} px for {image.width} x {image.height}"
        for image, record in read
        if (record["width"], record["height"]) != (image.width, image.height)
    ]
    share = f"{len(resized):,} of {len(read):,} photographs"
    note = (
        resized and f"{share} are not of the size in their XML file (such as {resized[0]}): boxes and points are scaled"
    )
    photographs = _combined(record["sha256"] for _, record in read)
    others = {image.id: tuple(record["presences_of_others"]) for image, record in read}
    images = [image for image, _ in read]
    seen = dataclasses.replace(
        selection, images=images, failed=failed, photographs=photographs, presences_of_others=others
    )
    return seen, predictions, note or ""
