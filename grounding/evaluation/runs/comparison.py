"""Two runs side by side: paired differences, the phrases that changed sides, and a run against its own control."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from grounding.datasets.flickr30k import EntityImage, EntityPhrase, boxed_phrases
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import MISSING, Prediction, phrase_index, phrase_key
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE, POINTING, recall
from grounding.evaluation.protocols.summary import SEED, bootstrap_interval, image_of_phrase, resample
from grounding.evaluation.runs.naming import Side, columns, whole_names
from grounding.evaluation.runs.scoring import Run
from grounding.wording import counted

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
    sides = [Side(run.metrics["name"], run.metrics["settings"], run.path) for run in (a, b)]
    summary = {
        **{
            side: {"name": name, "column": column, "path": run.path, "metrics": run.metrics}
            for side, name, column, run in zip("ab", whole_names(*sides), columns(*sides), (a, b), strict=True)
        },
        "phrases": len(rows),
        "differences": differences,
        "warnings": list(_warnings(a, b, len(images))),
    }
    return summary, list(_changed(images, a, b))


def comparison_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Headers and rows of comparison.csv: every protocol under the names of the columns."""
    keys = ["difference", "low", "high", "gained", "lost", "count"]
    rows = [[name, *(row[key] for key in ["a", "b", *keys])] for name, row in summary["differences"].items()]
    return ["protocol", *(f"{side}: {summary[side]['column']}" for side in "ab"), *keys], rows


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
