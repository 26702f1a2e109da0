"""How well numbers in [0, 1] tell what is so from what is not, and whether they are probabilities."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values

GROUPS: Final = 10


def auc(values: Values, labels: npt.NDArray[np.bool_], weights: Values | None = None) -> float:
    """The probability that a value of what is so is above one of what is not; equal values count half.

    Args:
        values: (N,) float.
        labels: (N,) whether it is so.
        weights: (N,) at least 0; by default 1 for each.

    Returns:
        From 0 to 1; NaN where either label has no weight.
    """
    _, place = np.unique(values, return_inverse=True)
    return _ranked_auc(place, labels, np.ones(len(values)) if weights is None else weights)


def _ranked_auc(place: npt.NDArray[np.intp], labels: npt.NDArray[np.bool_], weights: Values) -> float:
    """The same for the rank of each value among the distinct ones."""
    so, not_so = np.bincount(place, weights * labels), np.bincount(place, weights * ~labels)
    pairs = so.sum() * not_so.sum()
    return float((so * (not_so.cumsum() - not_so / 2)).sum() / pairs) if pairs else float("nan")


def calibration(
    values: Values,
    labels: npt.NDArray[np.bool_],
    cluster: npt.NDArray[np.intp],
    resampled: Values,
    balanced: bool = False,
) -> dict[str, Any]:
    """AUC, expected calibration error and the groups of a reliability plot, with 95% bootstrap intervals.

    Args:
        values: (N,) in [0, 1], none NaN.
        labels: (N,) what is so.
        cluster: (N,) the image of each.
        resampled: (R, images) of `summary.resample`.
        balanced: weigh either label as half of all.

    Returns:
        {"count", "auc", "ece", "groups"}: AUC and ECE as {"value", "low", "high"}, not in percent; groups of equal
        weight, lowest first, as {"mean" (of the values), "value", "low", "high" (percent that is so), "count"};
        {"count": 0} unless both labels occur.
    """
    if labels.all() or not labels.any():
        return {"count": 0}
    weights = np.where(labels, 0.5 / labels.mean(), 0.5 / (~labels).mean()) if balanced else np.ones(len(values))
    _, place = np.unique(values, return_inverse=True)
    group = _groups(place, weights)
    draws = [np.ones(len(values)), *(times[cluster] for times in resampled)]
    aucs, errors, shares = [], [], []
    for times in draws:
        drawn = weights * times
        total = np.bincount(group, drawn, GROUPS)
        mean, share = (
            np.divide(np.bincount(group, drawn * of, GROUPS), total, out=np.full(GROUPS, np.nan), where=total > 0)
            for of in (values, labels)
        )
        aucs.append(_ranked_auc(place, labels, drawn))
        errors.append(np.nansum(np.abs(mean - share) * total) / total.sum() if total.any() else np.nan)
        shares.append(100 * share)
    means = np.bincount(group, weights * values, GROUPS) / np.bincount(group, weights, GROUPS).clip(1e-12)
    counts = np.bincount(group, minlength=GROUPS)
    return {
        "count": len(values),
        "auc": _interval(aucs),
        "ece": _interval(errors),
        "groups": [
            {"mean": float(means[number]), **_interval(np.array(shares)[:, number]), "count": int(counts[number])}
            for number in np.flatnonzero(counts)
        ],
    }


def _groups(place: npt.NDArray[np.intp], weights: Values) -> npt.NDArray[np.intp]:
    """(N,) ranks among distinct values -> (N,) which of `GROUPS` groups of equal weight each is in, lowest first."""
    weight = np.bincount(place, weights)
    middle = (weight.cumsum() - weight / 2) / weight.sum()
    groups: npt.NDArray[np.intp] = (middle * GROUPS).astype(np.intp).clip(0, GROUPS - 1)[place]
    return groups


def _interval(draws: Sequence[float] | Values) -> dict[str, float]:
    """The first of 1 + R draws, and the 2.5th and 97.5th percentile of the others, without those that are unknown."""
    others = np.array(draws[1:])
    known = others[np.isfinite(others)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return {"value": float(draws[0]), "low": float(low), "high": float(high)}
