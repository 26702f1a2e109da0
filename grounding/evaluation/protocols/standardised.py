"""A part of a split, weighted so that it looks like the whole: every headline number standardised."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from grounding.boxes import Values
from grounding.datasets.flickr30k import EntityImage
from grounding.evaluation.protocols.protocol import HEADLINE, Columns
from grounding.evaluation.protocols.raking import MARGINS, Cell, absent_categories, cells, rake
from grounding.evaluation.protocols.summary import SEED, image_of_phrase, resample

DESCRIPTION: Final = (
    "each phrase is weighted (raking) so that entity type, area of the merged box, number of boxes, and whether the "
    "centre of the picture lies in the merged box, are distributed as among all phrases with a box of the split; a "
    "phrase with two types counts half in each; the weights are fitted again for each resample of images"
)
_AT_ONCE: Final = 200  # resamples: bounds the memory
_WORTH_SAYING: Final = 0.0005  # difference of a share


def standardise(
    images: Sequence[EntityImage], whole: Mapping[Cell, float], answers: Mapping[str, Columns], seed: int = SEED
) -> dict[str, Any]:
    """Each headline number of a part of a split, as it would be if the part had the mixture of phrases of the whole.

    Args:
        images: the part; one phrase has a box at least.
        whole: `raking.cells(...).total()` of all images of the split.
        answers: columns of `measure`, by name.

    Returns:
        {"description", "phrases_in_split", "effective_phrases", "notes", "numbers"}: the effective number is Kish's,
        that of as many phrases of equal weight; notes say which margins are not met; numbers are, for each answer and
        protocol, {"value", "low", "high" (percent), "count"}, or {"count": 0}, as `summary.summarize` has them.
    """
    own, cluster = cells(images), image_of_phrase(images)
    names = list(dict.fromkeys(own.names))
    place = {name: number for number, name in enumerate(names)}
    entry = np.array([place[name] for name in own.names], np.intp)  # (E,)
    held = np.zeros((len(images), len(names)))  # how many phrases of each image are in each cell
    np.add.at(held, (cluster[own.phrases], entry), own.sizes)
    spread = np.zeros((len(names), len(cluster)))  # (C, P) how much of each phrase is in each cell
    np.add.at(spread, (entry, own.phrases), own.sizes)
    times = np.concatenate([np.ones((1, len(images))), resample(len(images), seed)])  # (1 + R, images)
    worth, off = rake(names, times @ held, whole)  # (1 + R, C)
    weights = worth[0] @ spread  # (P,)
    return {
        "description": DESCRIPTION,
        "phrases_in_split": round(sum(whole.values())),
        "effective_phrases": round(float(weights.sum() ** 2 / (weights**2).sum()), 6),
        "notes": list(_notes(names, whole, float(off[0]))),
        "numbers": _numbers(answers, worth, spread, times, cluster),
    }


def _numbers(
    answers: Mapping[str, Columns], worth: Values, spread: Values, times: Values, cluster: Any
) -> dict[str, dict[str, Any]]:
    """The weighted means and their intervals; all answers and protocols at once, some resamples at a time."""
    keys = [(answer, protocol.name) for answer in answers for protocol in HEADLINE]
    values = np.stack([protocol.values(columns) for columns in answers.values() for protocol in HEADLINE], 1)  # (P, M)
    known = ~np.isnan(values)
    values = np.where(known, values, 0.0)
    means = []
    for first in range(0, len(times), _AT_ONCE):
        group = slice(first, first + _AT_ONCE)
        weights = (worth[group] @ spread) * times[group][:, cluster]  # (at most _AT_ONCE, P)
        total = weights @ known.astype(np.float64)
        means.append(np.divide(weights @ values, total, out=np.full_like(total, np.nan), where=total > 0))
    percent = 100 * np.concatenate(means).round(11)  # (1 + R, M); so that the order in which threads sum does not show
    numbers: dict[str, dict[str, Any]] = {answer: {} for answer in answers}
    for column, (answer, name) in enumerate(keys):
        count = int(known[:, column].sum())
        numbers[answer][name] = {"count": 0}
        if count:
            drawn = percent[1:, column]
            low, high = np.percentile(drawn[~np.isnan(drawn)], [2.5, 97.5])
            value = {"value": float(percent[0, column]), "low": float(low), "high": float(high)}
            numbers[answer][name] = {**value, "count": count}
    return numbers


def _notes(names: Sequence[Cell], whole: Mapping[Cell, float], off: float) -> Iterator[str]:
    """Say in which way the weighted phrases still differ from the whole."""
    everything, absent = sum(whole.values()), absent_categories(names, whole)
    for margin in MARGINS:
        missing = {category: size for (where, category), size in absent.items() if where == margin}
        if missing:
            listed = ", ".join(f"{category} ({100 * size / everything:.1f}%)" for category, size in missing.items())
            yield f"{margin}: no phrase here stands for {listed} of the split"
    if off > _WORTH_SAYING:
        yield f"no weights meet all margins: the share of a category differs by up to {100 * off:.1f} points"
