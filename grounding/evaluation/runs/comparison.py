"""Two runs side by side: paired differences, the phrases that changed sides, and a run against its own control."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from grounding.datasets.flickr30k import EntityImage, EntityPhrase, boxed_phrases
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import MISSING, Prediction, phrase_index, phrase_key
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE, POINTING, recall
from grounding.evaluation.protocols.summary import SEED, bootstrap_interval, image_of_phrase, resample
from grounding.evaluation.runs.scoring import Run
from grounding.wording import counted, shortened

_TOLD: Final = 2  # settings that a name tells
_SIDES: Final = (recall(1, "merged-box"), POINTING[0])


@dataclass(frozen=True, slots=True, eq=False)
class Changed:
    """A phrase that one run hits under a protocol and the other misses: `gained` where it is b that hits."""

    protocol: str
    gained: bool
    image: EntityImage
    phrase: EntityPhrase
    a: Prediction
    b: Prediction


def compare(a: Run, b: Run) -> tuple[dict[str, Any], list[Changed]]:
    """b minus a on the images that both evaluated, with a 95% bootstrap interval over images for each protocol.

    Returns:
        Plain values for comparison.json, and the phrases that changed sides under R@1 merged-box or pointing.

    Raises:
        GroundingError: no image in common, or the runs saw other annotations of one.
    """
    images = _common(a, b)
    rows = phrase_index(images)
    columns_a, columns_b = (run.columns.loc[rows] for run in (a, b))
    cluster, weights = image_of_phrase(images), resample(len(images), SEED)
    differences = {}
    for protocol in HEADLINE:
        before, after = protocol.values(columns_a), protocol.values(columns_b)
        both = ~np.isnan(before) & ~np.isnan(after)
        if both.any():
            change = (after - before)[both]
            low, high = bootstrap_interval(change, cluster[both], weights)
            differences[protocol.name] = {
                "a": 100 * float(before[both].mean()),
                "b": 100 * float(after[both].mean()),
                "difference": 100 * float(change.mean()),
                "low": low,
                "high": high,
                "count": int(both.sum()),
                "gained": int((change > 0).sum()),
                "lost": int((change < 0).sum()),
            }
    names = _names(a, b)
    summary = {
        "a": {"name": names[0], "path": a.path, "metrics": a.metrics},
        "b": {"name": names[1], "path": b.path, "metrics": b.metrics},
        "phrases": len(rows),
        "differences": differences,
        "warnings": list(_warnings(a, b, len(images))),
    }
    return summary, list(_changed(images, a, b))


def _names(a: Run, b: Run) -> tuple[str, str]:
    """What the runs are called; of the same name, also the settings in which they differ, or else their folders."""
    names = a.metrics["name"], b.metrics["name"]
    if names[0] != names[1]:
        return names
    settings = [_leaves(run.metrics["settings"]) for run in (a, b)]
    differing = [key for key in settings[0] | settings[1] if settings[0].get(key) != settings[1].get(key)]
    told = [key for key in differing if key.startswith("config.")] or differing
    sides = [
        ", ".join(f"{key.removeprefix('config.')}={shortened(str(values.get(key)), 24)}" for key in told[:_TOLD])
        or Path(run.path).name
        for values, run in zip(settings, (a, b), strict=True)
    ]
    return f"{names[0]} ({sides[0]})", f"{names[1]} ({sides[1]})"


def _leaves(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Every single setting under its dotted name."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= _leaves(value, f"{where}{key}.") if isinstance(value, Mapping) else {f"{where}{key}": value}
    return leaves


def _common(a: Run, b: Run) -> list[EntityImage]:
    """The images of both, in a's order."""
    others = {image.id: image for image in b.images}
    images = [image for image in a.images if image.id in others]
    if not images:
        raise GroundingError(f"{a.path} and {b.path} have no image in common: were they run on different splits?")
    for image in images:
        other = others[image.id]
        mine, its = ({chain: boxes.tolist() for chain, boxes in side.boxes.items()} for side in (image, other))
        if (image.phrases, mine) != (other.phrases, its):
            raise GroundingError(f"{a.path} and {b.path} were scored with other annotations of image {image.id}")
    return images


def _warnings(a: Run, b: Run, common: int) -> Iterator[str]:
    for run in (a, b):
        if len(run.images) != common:
            yield f"{run.path} has {counted(len(run.images), 'image')}: compared on the {common:,} that both have"
        if absent := [protocol.name for protocol in HEADLINE if not run.metrics["run"][protocol.name]["count"]]:
            yield f"{run.path} was not measured under {', '.join(absent)}: not compared"
    contexts = [run.metrics.get("context") for run in (a, b)]
    if None not in contexts and contexts[0] != contexts[1]:
        yield f"the runs were grounded in other contexts: {contexts[0]} and {contexts[1]}"
    versions = [run.metrics["versions"]["grounding"] for run in (a, b)]
    if versions[0] != versions[1]:
        yield f"the runs were scored by grounding {versions[0]} and {versions[1]}"


def _changed(images: Sequence[EntityImage], a: Run, b: Run) -> Iterator[Changed]:
    rows = phrase_index(images)
    for protocol in _SIDES:
        change = protocol.values(b.columns.loc[rows]) - protocol.values(a.columns.loc[rows])
        for (image, phrase), key, value in zip(boxed_phrases(images), rows, change, strict=True):
            if value in (1, -1):
                answers = a.predictions.get(key, MISSING), b.predictions.get(key, MISSING)
                yield Changed(protocol.name, bool(value > 0), image, phrase, *answers)


def control(run: Run, seed: int) -> dict[str, Any]:
    """Do the maps know the phrase? What `compare` says of the run (b) and of it with its phrases exchanged (a)."""
    return compare(exchanged(run, seed), run)[0]


def exchanged(run: Run, seed: int) -> Run:
    """The run with every phrase's prediction that of another phrase of the same photograph.

    The other phrase is one of another chain or, where there is none, with another text, drawn with the seed.
    """
    draw, predictions = random.Random(seed), {}
    for image in run.images:
        phrases = image.boxed_phrases
        for phrase in phrases:
            others = [other for other in phrases if other.chain != phrase.chain] or [
                other for other in phrases if other.text != phrase.text
            ]
            other = draw.choice(others) if others else phrase
            predictions[phrase_key(image, phrase)] = run.predictions.get(phrase_key(image, other), MISSING)
    metrics = {**run.metrics, "name": "another phrase's result"}
    return Run(metrics, run.images, predictions, measure(run.images, predictions), "exchanged")
