"""From predictions to one row of measurements a phrase."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from grounding.boxes import Boxes, Values, area, disjoint_parts, enclosing, iou
from grounding.datasets.flickr30k import EntityImage
from grounding.evaluation.predictions.prediction import MISSING, Key, Map, Prediction, phrase_index, phrase_key
from grounding.evaluation.protocols.protocol import TARGETS, TOLERANCE_PX, TOP, Columns, iou_column, mass_column


def measure(images: Sequence[EntityImage], predictions: Mapping[Key, Prediction]) -> Columns:
    """Everything the protocols ask of every phrase with a box, in the order of images and phrases.

    A phrase without a prediction is a miss. What no prediction offers (maps) is NaN for every phrase.

    Args:
        images: with the boxes of their phrases.
        predictions: by image, sentence and phrase: `phrase_key`.

    Returns:
        A row a phrase, float64: the best IoU among the first 1, 5, 10 and all boxes, the map mass inside, the point on
        or near a box; the chain's point stands at the chain's first phrase and is NaN at the others; the share of the
        image that the enclosing and the first box of the chain cover.
    """
    has_maps = any(prediction.map is not None for prediction in predictions.values())
    rows: list[dict[str, float]] = []
    for image in images:
        answers = [(phrase, predictions.get(phrase_key(image, phrase), MISSING)) for phrase in image.boxed_phrases]
        mentions: defaultdict[str, list[Prediction]] = defaultdict(list)
        for phrase, prediction in answers:
            mentions[phrase.chain].append(prediction)
        known: dict[tuple[str, Prediction], dict[str, float]] = {}  # a baseline says the same of every phrase
        for phrase, prediction in answers:
            boxes, key = image.boxes[phrase.chain], (phrase.chain, prediction)
            if key not in known:
                known[key] = _measure_phrase(boxes, prediction, image, has_maps)
            rows.append(dict(known[key]))
            if has_maps and (group := mentions.pop(phrase.chain, None)):  # None from the chain's second phrase on
                point = mean_map_point(group, image.width, image.height)
                hit = point is not None and distance(point, enclosing(boxes)) == 0
                rows[-1]["chain_point_on_merged"] = float(hit)
    return pd.DataFrame(rows, phrase_index(images), dtype=np.float64)


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
    measured["chain_point_on_merged"] = np.nan
    for column, targets in (("merged", merged), ("first", boxes[:1])):
        measured[f"{column}_share"] = float(area(targets)[0]) / (image.width * image.height)
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
