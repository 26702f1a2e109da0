"""From predictions to one row of measurements a phrase, and from rows to numbers with intervals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Boxes, Values, area, disjoint_parts, enclosing, iou
from grounding.datasets.flickr30k import TYPES, EntityImage, EntityPhrase
from grounding.evaluation.predictions.prediction import MISSING, Key, Map, Prediction, phrase_key
from grounding.evaluation.protocols.protocol import (
    CURVE,
    HEADLINE,
    TARGETS,
    TOLERANCE_PX,
    TOP,
    Columns,
    iou_column,
    mass_column,
)

RESAMPLES: Final = 2000
SEED: Final = 0


def measure(images: Sequence[EntityImage], predictions: Mapping[Key, Prediction]) -> dict[str, Values]:
    """Everything the protocols ask of every phrase with a box, in the order of images and phrases.

    A phrase without a prediction is a miss. What no prediction offers (maps) is NaN for every phrase.

    Returns:
        Columns of (P,) float64: the best IoU among the first 1, 5, 10 and all boxes, the point on or near a box, the
        map mass inside; the chain's point stands at the chain's first phrase and is NaN at the others.
    """
    has_maps = any(prediction.map is not None for prediction in predictions.values())
    rows: defaultdict[str, list[float]] = defaultdict(list)
    for image in images:
        phrases = image.boxed_phrases
        found = [predictions.get(phrase_key(image, phrase), MISSING) for phrase in phrases]
        known: dict[tuple[str, Prediction], dict[str, float]] = {}  # a baseline says the same of every phrase
        mentions: defaultdict[str, list[Prediction]] = defaultdict(list)
        for phrase, prediction in zip(phrases, found, strict=True):
            mentions[phrase.chain].append(prediction)
            if (phrase.chain, prediction) not in known:
                measured = _measure_phrase(image.boxes[phrase.chain], prediction, image, has_maps)
                known[phrase.chain, prediction] = measured
            for name, value in known[phrase.chain, prediction].items():
                rows[name].append(value)
        for phrase in phrases:
            group = mentions.pop(phrase.chain, None)  # None from the second phrase of a chain on
            point = None if group is None else mean_map_point(group, image.width, image.height)
            on_merged = point is not None and distance(point, enclosing(image.boxes[phrase.chain])) == 0
            rows["chain_point_on_merged"].append(float(on_merged) if has_maps and group is not None else np.nan)
    columns = {name: np.array(values, np.float64) for name, values in rows.items()}
    return columns | shares(images)


def _measure_phrase(boxes: Values, prediction: Prediction, image: EntityImage, has_maps: bool) -> dict[str, float]:
    merged = enclosing(boxes)
    overlaps = iou(prediction.boxes, np.concatenate([boxes, merged]))  # (N, M + 1)
    measured: dict[str, float] = {}
    for place, (target, wanted, best) in enumerate(
        zip(TARGETS, (boxes, merged), (overlaps[:, :-1].max(1), overlaps[:, -1]), strict=True)
    ):
        for k in TOP:
            measured[iou_column(k, target)] = float(best[:k].max(initial=0))
        stated = prediction.proposal_iou
        measured[iou_column(None, target)] = float(best.max(initial=0)) if stated is None else stated[place]
        measured[mass_column(target)] = 0.0 if has_maps else np.nan
        if prediction.map is not None:
            parts = disjoint_parts(wanted)
            measured[mass_column(target)] = map_mass(prediction.map, parts, image.width, image.height)
    point = point_of(prediction)
    for column, targets in (("any", boxes), ("merged", merged)):
        measured[f"point_on_{column}"] = float(point is not None and distance(point, targets) == 0)
    measured["point_near_any"] = float(point is not None and distance(point, boxes) < TOLERANCE_PX)
    return measured


def point_of(prediction: Prediction) -> tuple[float, float] | None:
    """The point given, else the centre of the best box, else None."""
    if prediction.point is not None or not len(prediction.boxes):
        return prediction.point
    x0, y0, x1, y1 = prediction.boxes[0].tolist()
    return (x0 + x1) / 2, (y0 + y1) / 2


def distance(point: tuple[float, float], boxes: Boxes) -> float:
    """Px from a point to the nearest of (N, 4) boxes; 0 exactly for x0 <= x < x1 and y0 <= y < y1.

    A point on an upper edge is outside, at the smallest distance there is.
    """
    place = np.array(point)
    inside = ((boxes[:, :2] <= place) & (place < boxes[:, 2:])).all(1)
    gaps = np.maximum(np.maximum(boxes[:, :2] - place, place - boxes[:, 2:]), 0)  # (N, 2)
    away = np.maximum(np.hypot(gaps[:, 0], gaps[:, 1]), np.finfo(np.float64).tiny)
    return float(np.where(inside, 0.0, away).min())


def map_mass(map_: Map, parts: Boxes, width: int, height: int) -> float:
    """The share of a map's mass inside (M, 4) boxes that do not overlap; a cell cut by a box counts in part.

    Args:
        map_: (h, w), spread over a picture of `width` x `height` px.
    """
    total = float(map_.sum(dtype=np.float64))
    if total <= 0:
        return 0.0
    down = _cell_shares(parts[:, 1::2] / height * map_.shape[0], map_.shape[0])  # (M, h)
    across = _cell_shares(parts[:, ::2] / width * map_.shape[1], map_.shape[1])  # (M, w)
    return float(np.einsum("mh,hw,mw->", down, map_.astype(np.float64), across)) / total


def _cell_shares(ends: Values, cells: int) -> Values:
    """(M, 2) first and last edge in cells -> (M, cells), the share of each cell in between."""
    left = np.arange(cells)
    shares: Values = np.minimum(ends[:, 1:], left + 1) - np.maximum(ends[:, :1], left)
    return shares.clip(0, 1)


def mean_map_point(mentions: Iterable[Prediction], width: int, height: int) -> tuple[float, float] | None:
    """The centre of the highest cell of the mean of the mentions' maps, each summing to 1; the first by row of equals.

    None where every map is missing or empty.
    """
    total: Values | None = None
    for mention in mentions:
        map_ = mention.map if mention.point_map is None else mention.point_map
        if map_ is not None and (mass := map_.sum(dtype=np.float64)) > 0:
            share = map_.astype(np.float64) / mass
            total = share if total is None else total + share
    if total is None:
        return None
    row, column = divmod(int(total.argmax()), total.shape[1])
    return (column + 0.5) * width / total.shape[1], (row + 0.5) * height / total.shape[0]


def shares(images: Sequence[EntityImage]) -> dict[str, Values]:
    """The share of the image that the enclosing and the first box of each phrase's chain cover: two (P,) columns."""
    boxes = [(image.boxes[phrase.chain], image.width * image.height) for image, phrase in counted(images)]
    return {
        "merged_share": np.array([float(area(enclosing(group))[0]) / size for group, size in boxes]),
        "first_share": np.array([float(area(group[:1])[0]) / size for group, size in boxes]),
    }


def counted(images: Sequence[EntityImage]) -> list[tuple[EntityImage, EntityPhrase]]:
    """Every phrase with a box, in the order of all rows."""
    return [(image, phrase) for image in images for phrase in image.boxed_phrases]


def summarize(images: Sequence[EntityImage], columns: Columns, seed: int = SEED) -> dict[str, dict[str, Any]]:
    """Each protocol's number, of all phrases and of each entity type, with a 95% bootstrap interval over images.

    A phrase with two types counts in each. The curve's protocols are given for all phrases only.

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


def type_members(images: Sequence[EntityImage]) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
    """For each entity type which phrases have it: (P,) bool."""
    kinds = [phrase.types for _, phrase in counted(images)]
    return {kind: np.array([kind in types for types in kinds], bool) for kind in TYPES}


def resample(clusters: int, seed: int) -> Values:
    """(RESAMPLES, clusters): how often each cluster is drawn in each bootstrap sample."""
    return np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), RESAMPLES).astype(float)


def interval(values: Values, cluster: Any, weights: Values) -> dict[str, Any]:
    """{"value", "low", "high" (percent), "count"} of the (P,) values that are not NaN; {"count": 0} of none."""
    known = ~np.isnan(values)
    count = int(known.sum())
    if not count:
        return {"count": 0}
    low, high = bootstrap_interval(values[known], cluster[known], weights)
    return {"value": 100 * float(values[known].mean()), "low": low, "high": high, "count": count}


def bootstrap_interval(values: Values, cluster: Any, weights: Values) -> tuple[float, float]:
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
