"""What answers without a look at the picture reach under each protocol: the floor that every number stands on."""

import json
from collections.abc import Collection, Sequence
from importlib import resources
from typing import Final

import numpy as np

from grounding.boxes import Values
from grounding.datasets.flickr30k import EntityImage
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import Key, Map, Prediction, phrase_key
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import (
    IOUS,
    MASSES,
    POINTS,
    SHARES,
    TARGETS,
    TOLERANCE_PX,
    TOP,
    Columns,
    iou_column,
)

BLIND_BOXES_FILE: Final = "blind_boxes.json"
_RECALLS: Final = tuple(iou_column(k, target) for target in TARGETS for k in TOP)
_CELLS: Final = 65  # of the Gaussian, each way: odd, so that its highest cell is at the very centre
_WHOLE: Final = np.array([[0.0, 0.0, 1.0, 1.0]])
_UNIFORM: Final = np.ones((1, 1), np.float32)


def baselines(images: Sequence[EntityImage]) -> dict[str, Columns]:
    """The measurements of five trivial answers, each the same for all phrases of a picture.

    - `centre point`: a point, the centre of the picture.
    - `random point`: any pixel of the picture, each as likely: what is expected of it, exactly; as a map it is uniform.
    - `whole image`: one box, the whole picture.
    - `blind boxes`: the boxes of `blind_boxes`, best first; they have no upper bound.
    - `centre Gaussian`: a map of 65 x 65 cells with its maximum at the centre and a standard deviation of a quarter of
      each side.

    Returns:
        For each baseline, in this order, the columns of `measure`; those that it does not answer are NaN throughout.

    Raises:
        GroundingError: there is no phrase with a box.
    """
    if not any(image.boxed_phrases for image in images):
        raise GroundingError("no phrase of these images has a box: expected one at least, choose other images")
    uniform = _same_for_all(images, _WHOLE, _UNIFORM)
    fitted = _same_for_all(images, blind_boxes(), _gaussian())
    return {
        "centre point": _only(POINTS, uniform),
        "random point": _only((*POINTS, *MASSES), uniform.assign(**_random_point(images, uniform))),
        "whole image": _only(IOUS, uniform),
        "blind boxes": _only(_RECALLS, fitted),
        "centre Gaussian": _only((*POINTS, *MASSES), fitted),
    }


def blind_boxes() -> Values:
    """(10, 4) float64 `x0 y0 x1 y1` in shares of the picture's width and height, best first.

    Fitted on the train split of Flickr30k Entities by `tools/fit_blind_boxes.py`.
    """
    content = resources.files("grounding.evaluation.protocols").joinpath(BLIND_BOXES_FILE).read_text(encoding="utf-8")
    return np.array(json.loads(content)["boxes"], np.float64)


def _gaussian() -> Map:
    offsets = (np.arange(_CELLS) + 0.5) / _CELLS - 0.5
    side = np.exp(-0.5 * (offsets / 0.25) ** 2)
    return np.outer(side, side).astype(np.float32)


def _same_for_all(images: Sequence[EntityImage], boxes: Values, map_: Map) -> Columns:
    """Every phrase gets these boxes (relative to the picture), the picture's centre and this map."""
    predictions: dict[Key, Prediction] = {}
    for image in images:
        size = [image.width, image.height]
        prediction = Prediction(boxes * (size * 2), point=(image.width / 2, image.height / 2), map=map_)
        for phrase in image.boxed_phrases:
            predictions[phrase_key(image, phrase)] = prediction
    return measure(images, predictions)


def _only(answered: Collection[str], columns: Columns) -> Columns:
    return columns.assign(**dict.fromkeys(columns.columns.difference([*answered, *SHARES]), np.nan))


def _random_point(images: Sequence[EntityImage], uniform: Columns) -> dict[str, Values]:
    """The pointing columns of a random pixel: box edges are whole px, so a share of pixels inside is one of area."""
    near = []
    for image in images:
        chains = [phrase.chain for phrase in image.boxed_phrases]
        known = {chain: _near_share(image.boxes[chain], image.width, image.height) for chain in set(chains)}
        near += [known[chain] for chain in chains]
    on_any, on_merged = (uniform[name].to_numpy() for name in MASSES)
    on_chain = np.where(np.isnan(uniform["chain_point_on_merged"]), np.nan, on_merged)
    return dict(zip(POINTS, (on_any, on_merged, np.array(near, np.float64), on_chain), strict=True))


def _near_share(boxes: Values, width: int, height: int) -> float:
    """The share of the picture's pixels whose centre is less than TOLERANCE_PX from one of (N, 4) boxes."""
    across, columns = _gaps(boxes[:, ::2], width)  # (N, C), (C,)
    down, rows = _gaps(boxes[:, 1::2], height)  # (N, R), (R,)
    near = (np.hypot(down[:, :, None], across[:, None, :]) < TOLERANCE_PX).any(0)  # (R, C)
    return float(rows @ near @ columns) / (width * height)


def _gaps(edges: Values, size: int) -> tuple[Values, Values]:
    """How far pixel centres are from (N, 2) spans; neighbours alike, all inside or all too far, are counted together.

    Returns:
        (N, G) distances, TOLERANCE_PX where it is that or more, and (G,) for how many pixels each stands.
    """
    centres = np.arange(size) + 0.5
    gaps: Values = np.maximum(edges[:, :1] - centres, centres - edges[:, 1:]).clip(0, TOLERANCE_PX)  # (N, size)
    starts = np.flatnonzero(np.append(True, (gaps[:, 1:] != gaps[:, :-1]).any(0)))
    return gaps[:, starts], np.diff(starts, append=size).astype(np.float64)
