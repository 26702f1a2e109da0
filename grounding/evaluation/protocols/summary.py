"""From measured rows to each protocol's number, with bootstrap intervals over images."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values
from grounding.datasets.flickr30k import TYPES, EntityImage, boxed_phrases
from grounding.evaluation.protocols.protocol import CURVE, HEADLINE, Columns

RESAMPLES: Final = 2000
SEED: Final = 0
_AT_ONCE: Final = 200  # resamples: bounds the memory
Rows = npt.NDArray[Any]  # (P,) bool, or indices of rows


def summarize(images: Sequence[EntityImage], columns: Columns, seed: int = SEED) -> dict[str, dict[str, Any]]:
    """Each protocol's number, of all phrases and of each entity type, with a 95% bootstrap interval over images.

    A phrase with two types counts in each. The curve's protocols are given for all phrases only.

    Args:
        images: with the boxes of their phrases.
        columns: what `measure` gave for these images.
        seed: of the bootstrap.

    Returns:
        Protocol name -> {"value", "low", "high" (percent), "count", "types": {type: the same four}}; {"count": 0} where
        nothing was measured.
    """
    groups = type_members(images)
    cluster = image_of_phrase(images)
    weights = resample(len(images), seed)
    summary = {}
    for protocol in (*HEADLINE, *CURVE):
        values = protocol.values(columns)
        summary[protocol.name] = interval(values, cluster, weights)
        if protocol in HEADLINE:
            summary[protocol.name]["types"] = {
                kind: interval(values[member], cluster[member], weights) for kind, member in groups.items()
            }
    return summary


def image_of_phrase(images: Sequence[EntityImage]) -> npt.NDArray[np.intp]:
    """(P,) the position of each phrase's image, in the order of all rows: what a bootstrap resamples."""
    return np.repeat(np.arange(len(images)), [len(image.boxed_phrases) for image in images])


def type_members(images: Sequence[EntityImage]) -> dict[str, npt.NDArray[np.bool_]]:
    """For each entity type which phrases have it: (P,) bool."""
    kinds = [phrase.types for _, phrase in boxed_phrases(images)]
    return {kind: np.array([kind in types for types in kinds], bool) for kind in TYPES}


def resample(clusters: int, seed: int) -> Values:
    """(RESAMPLES, clusters): how often each cluster is drawn in each bootstrap sample."""
    return np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), RESAMPLES).astype(float)


def interval(values: Values, cluster: Rows, weights: Values) -> dict[str, Any]:
    """{"value", "low", "high" (percent), "count"} of the (P,) values that are not NaN; {"count": 0} of none."""
    known = ~np.isnan(values)
    count = int(known.sum())
    if not count:
        return {"count": 0}
    low, high = bootstrap_interval(values[known], cluster[known], weights)
    return {"value": 100 * float(values[known].mean()), "low": low, "high": high, "count": count}


def bootstrap_interval(values: Values, cluster: Rows, weights: Values) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile, in percent, of the mean over resampled clusters.

    Args:
        values: (P,), none NaN.
        cluster: (P,) the cluster of each.
        weights: from `resample`.
    """
    sums = np.bincount(cluster, values, weights.shape[1])
    counts = np.bincount(cluster, minlength=weights.shape[1])
    drawn = weights @ counts
    means = (weights @ sums)[drawn > 0] / drawn[drawn > 0]
    low, high = np.percentile(100 * means, [2.5, 97.5])
    return float(low), float(high)


def median_interval(values: Values, cluster: Rows, weights: Values) -> dict[str, Any]:
    """What `interval` gives, of the median of (P,) values instead: the middle two of an even number count half each."""
    known = ~np.isnan(values)
    values, cluster = values[known], cluster[known]
    if not len(values):
        return {"count": 0}
    order = np.argsort(values, kind="stable")
    ranked, place = values[order], cluster[order]
    medians = []
    for first in range(0, len(weights), _AT_ONCE):
        upto = weights[first : first + _AT_ONCE, place].cumsum(1)  # (at most _AT_ONCE, P)
        upto = upto[upto[:, -1] > 0]
        half = upto[:, -1:] / 2
        medians.append((ranked[(upto >= half).argmax(1)] + ranked[(upto > half).argmax(1)]) / 2)
    low, high = np.percentile(100 * np.concatenate(medians), [2.5, 97.5])
    return {"value": 100 * float(np.median(values)), "low": float(low), "high": float(high), "count": len(values)}
