"""Numbers of a benchmark as functions of how often each picture counts, so that one definition serves the value, its
bootstrap interval and paired differences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values

RESAMPLES: Final = 2000
SEED: Final = 0
_AT_ONCE: Final = 200  # resamples: bounds the memory
Statistic = Callable[[Values], Values]  # (R, n) how often each of n pictures counts -> (R,) values; NaN where undefined
Places = npt.NDArray[Any]  # (P,) the picture, or the class, of each row


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One number of one method.

    Attributes:
        count: of how many rows.
        percent: whether it is a share, given in percent.
    """

    statistic: Statistic
    count: int
    percent: bool = True


def mean(values: Values, image: Places, images: int) -> Statistic:
    """The mean of (P,) values."""
    sums, counts = (np.bincount(image, weights, images) for weights in (values, None))
    return lambda weights: _ratio(weights @ sums, weights @ counts)


def ratio(above: Values, below: Values, image: Places, images: int) -> Statistic:
    """The mean of (P,) values divided by that of (P,) others; NaN where the latter is not above 0."""
    sums, others = (np.bincount(image, weights, images) for weights in (above, below))
    return lambda weights: _ratio(weights @ sums, weights @ others)


def class_mean(values: Values, image: Places, class_: Places, images: int, classes: int) -> Statistic:
    """The mean over classes of the mean of (P,) values; a class without a row stays out."""
    sums, counts = np.zeros((images, classes)), np.zeros((images, classes))
    np.add.at(sums, (image, class_), values)
    np.add.at(counts, (image, class_), 1)

    def statistic(weights: Values) -> Values:
        drawn = weights @ counts  # (R, C)
        means = _ratio(weights @ sums, drawn)
        return _ratio(np.nansum(means, 1), (drawn > 0).sum(1).astype(np.float64))

    return statistic


def best_threshold(hits: Sequence[npt.NDArray[np.bool_]], image: Places, images: int) -> Statistic:
    """The mean over several (P, T) tables of the highest share of hits at any of T thresholds."""
    counts = np.bincount(image, minlength=images)
    tables = []
    for table in hits:
        sums = np.zeros((images, table.shape[1]))
        np.add.at(sums, image, table)
        tables.append(sums)

    def statistic(weights: Values) -> Values:
        drawn = (weights @ counts)[:, None]
        highest: Values = np.mean([_ratio(weights @ sums, drawn).max(1) for sums in tables], axis=0)
        return highest

    return statistic


def pixel_precision(counts: npt.NDArray[np.int64], image: Places, images: int) -> Statistic:
    """PxAP of (P, 2, T) pixels that reach each threshold, inside and outside the masks: `localization.px_ap`."""
    sums = np.zeros((images, *counts.shape[1:]))
    np.add.at(sums, image, counts)

    def statistic(weights: Values) -> Values:
        inside, outside = (weights @ sums[:, side, ::-1] for side in (0, 1))  # (R, T), highest threshold first
        precision = np.nan_to_num(_ratio(inside, inside + outside))
        recall = _ratio(inside, inside[:, -1:])
        area: Values = (precision * np.diff(recall, axis=1, prepend=0)).sum(1)
        return area

    return statistic


def intervals(scores: Mapping[str, Mapping[str, Score]], images: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every number of every method with its 95% bootstrap interval over pictures, and the first method less the others.

    Args:
        scores: method -> name -> score.

    Returns:
        method -> name -> {"value", "low", "high", "count"}, and the same of the paired differences to the first method,
        in percent (points) or as they are. {"count": 0} where nothing was measured.
    """
    values = {method: {name: value_of(score, images) for name, score in own.items()} for method, own in scores.items()}
    drawn: dict[str, dict[str, list[Values]]] = {method: {name: [] for name in own} for method, own in scores.items()}
    for weights in _resamples(images):
        for method, own in scores.items():
            for name, score in own.items():
                drawn[method][name].append(_scaled(score, score.statistic(weights)))
    samples = {m: {name: np.concatenate(parts) for name, parts in own.items()} for m, own in drawn.items()}
    numbers = {
        method: {
            name: _summary(values[method][name], samples[method][name], score.count) for name, score in own.items()
        }
        for method, own in scores.items()
    }
    first, *others = scores
    differences = {
        method: {
            name: _summary(
                values[first][name] - values[method][name],
                samples[first][name] - samples[method][name],
                min(scores[first][name].count, scores[method][name].count),
            )
            for name in scores[method]
            if name in scores[first]
        }
        for method in others
    }
    return numbers, differences


def _resamples(images: int) -> Iterator[Values]:
    draw = np.random.default_rng(SEED)
    for _ in range(0, RESAMPLES, _AT_ONCE):
        yield draw.multinomial(images, np.full(images, 1 / images), _AT_ONCE).astype(np.float64)


def value_of(score: Score, images: int) -> float:
    """The number itself, each picture counting once: in percent where it is a share; NaN where nothing is known."""
    return float(_scaled(score, score.statistic(np.ones((1, images))))[0]) if score.count else float("nan")


def _scaled(score: Score, values: Values) -> Values:
    return 100 * values if score.percent else values


def _summary(value: float, samples: Values, count: int) -> dict[str, Any]:
    known = samples[~np.isnan(samples)]
    if not count or np.isnan(value) or not len(known):
        return {"count": 0}
    low, high = np.percentile(known, [2.5, 97.5])
    return {"value": round(value, 6), "low": round(float(low), 6), "high": round(float(high), 6), "count": count}


def _ratio(above: Values, below: Values) -> Values:
    shape = np.broadcast_shapes(above.shape, below.shape)
    ratio: Values = np.divide(above, below, out=np.full(shape, np.nan), where=np.broadcast_to(below > 0, shape))
    return ratio
