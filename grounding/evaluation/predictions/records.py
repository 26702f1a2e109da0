"""A prediction as a JSON object and back. docs/reference/predictions.md has the format."""

import base64
import io
import json
import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from PIL import Image

from grounding.boxes import Values
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import MISSING, Key, Map, Prediction

REQUIRED: Final = ("image", "sentence", "phrase", "boxes")
_FARTHEST_PX: Final = 1e6
_MOST_CELLS: Final = 1 << 22  # of a map
KEYS: Final = (*REQUIRED, "scores", "point", "map", "point_map", "status", "proposal_iou", "presence")


def as_stored(prediction: Prediction) -> Prediction:
    """What a file keeps of a prediction: edges and points with 2 decimals, scores with 6, maps of 8 bits."""
    return Prediction(
        boxes=_rounded(prediction.boxes, 2),
        scores=None if prediction.scores is None else _rounded(prediction.scores, 6),
        point=_rounded_pair(prediction.point, 2),
        map=_levels(prediction.map),
        point_map=_levels(prediction.point_map),
        status=prediction.status,
        proposal_iou=_rounded_pair(prediction.proposal_iou, 6),
        presence=None if prediction.presence is None else round(float(prediction.presence), 6),
    )


def _rounded(values: Values, decimals: int) -> Values:
    """Rounded as text is, which `np.round` does not always do."""
    return np.array([round(value, decimals) for value in values.ravel().tolist()]).reshape(values.shape)


def _rounded_pair(pair: tuple[float, float] | None, decimals: int) -> tuple[float, float] | None:
    return None if pair is None else (round(float(pair[0]), decimals), round(float(pair[1]), decimals))


def _levels(map_: Map | None) -> Map | None:
    """The map as uint8 whose maximum is 255, or all zero."""
    if map_ is None:
        return None
    highest = float(map_.max(initial=0))
    return np.rint(map_.astype(np.float64) * (255 / highest if highest > 0 else 0)).astype(np.uint8)


def prediction_to_json(key: Key, prediction: Prediction) -> dict[str, Any]:
    """The documented JSON object of what a file keeps of a prediction; no null."""
    kept = as_stored(prediction)
    values: dict[str, Any] = dict(zip(("image", "sentence", "phrase"), key, strict=True))
    values |= {"boxes": kept.boxes.tolist(), "scores": None if kept.scores is None else kept.scores.tolist()}
    values |= {"point": kept.point and list(kept.point), "map": _png(kept.map), "point_map": _png(kept.point_map)}
    values |= {"status": kept.status, "proposal_iou": kept.proposal_iou and list(kept.proposal_iou)}
    values["presence"] = kept.presence
    return {name: value for name, value in values.items() if value is not None}


def to_line(key: Key, prediction: Prediction) -> str:
    """The documented JSON object as a line of a file."""
    return json.dumps(prediction_to_json(key, prediction)) + "\n"


def prediction_from_json(values: Mapping[str, Any]) -> tuple[Key, Prediction]:
    """The prediction of one object of the documented JSON, its boxes sorted by score where there are scores.

    Raises:
        GroundingError: a missing key or a wrong value; the message does not say where the object stands.
    """
    for name in REQUIRED:
        if values.get(name) is None:
            raise GroundingError(f"'{name}' is missing: expected at least {', '.join(REQUIRED)}")
    sentence, phrase = (number_from_0(values[name], name) for name in ("sentence", "phrase"))
    boxes, scores = box_array(values["boxes"]), None
    if values.get("scores") is not None:
        scores = number_array(values["scores"], "scores", len(boxes), f"{len(boxes)} finite numbers, one a box")
        order = np.argsort(-scores, kind="stable")
        boxes, scores = boxes[order], scores[order]
    point = _pair(values, "point", "two finite numbers, x and y")
    reached = _pair(values, "proposal_iou", "two numbers from 0 to 1")
    if reached is not None and not 0 <= min(reached) <= max(reached) <= 1:
        raise GroundingError(f"proposal_iou is {values['proposal_iou']}: expected two numbers from 0 to 1")
    presence = values.get("presence")
    if presence is not None and not (type(presence) in (int, float) and 0 <= presence <= 1):
        raise GroundingError(f"presence is {short(presence)}: expected a probability from 0 to 1")
    status = values.get("status")
    if status is None:
        status = "localized" if len(boxes) or point is not None else "no-proposals"
    if not isinstance(status, str) or status in ("", MISSING.status):
        raise GroundingError(f"status is {short(status)}: expected a word such as localized or no-proposals")
    maps = _map(values, "map"), _map(values, "point_map")
    key = image_id(values["image"]), sentence, phrase
    return key, Prediction(boxes, scores, point, *maps, status, reached, presence)


def image_id(value: Any) -> str:
    """An image id, given as text or as a whole number; a `GroundingError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise GroundingError(f"the image is {short(value)}: expected its id, such as '1000092795'")
    return str(value)


def number_from_0(value: Any, name: str) -> int:
    """A whole number of at least 0; a `GroundingError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise GroundingError(f"{name} is {short(value)}: expected a whole number from 0")
    return value


def _array(value: Any) -> Values | None:
    """A list of numbers, or of lists of numbers of one length, or None where it is neither."""
    try:
        array = np.array(value) if isinstance(value, list) else None
    except ValueError:  # ragged
        return None
    return None if array is None or array.dtype.kind not in "iuf" else array.astype(np.float64)


def number_array(value: Any, name: str, count: int, expected: str) -> Values:
    """(count,) of a list of finite numbers; for anything else a `GroundingError` that says what was `expected`."""
    array = _array(value)
    if array is None or array.shape != (count,) or not np.isfinite(array).all():
        given = f"{len(value)} numbers" if array is not None and array.shape not in ((count,), ()) else short(value)
        raise GroundingError(f"{name} is {given}: expected {expected}")
    return array


def _pair(values: Mapping[str, Any], name: str, expected: str) -> tuple[float, float] | None:
    if values.get(name) is None:
        return None
    first, second = number_array(values[name], name, 2, expected).tolist()
    return first, second


def box_array(value: Any) -> Values:
    """(N, 4) of a list of boxes, which may be empty; a `GroundingError` for anything else or a box upside down."""
    if not isinstance(value, list):
        raise GroundingError(f"boxes is {short(value)}: expected a list of [x0, y0, x1, y1], which may be empty")
    if not value:
        return np.zeros((0, 4))
    array = _array(value)
    if array is None or array.shape != (len(value), 4):
        rows = [_array(box) for box in value]
        bad = next((place for place, row in enumerate(rows) if row is None or row.shape != (4,)), 0)
        raise GroundingError(f"boxes[{bad}] is {short(value[bad])}: expected four numbers, x0 y0 x1 y1")
    wrong = ~(np.abs(array) <= _FARTHEST_PX).all(1) | (array[:, 2:] < array[:, :2]).any(1)
    if wrong.any():
        bad = int(wrong.argmax())
        raise GroundingError(
            f"boxes[{bad}] is {value[bad]}: expected finite px, x0 y0 x1 y1 with x0 <= x1 and y0 <= y1"
        )
    return array


def _map(values: Mapping[str, Any], name: str) -> Map | None:
    value = values.get(name)
    if value is None:
        return None
    array = _map_from_png(value, name) if isinstance(value, str) else _array(value)
    if array is None or array.ndim != 2 or not array.size:
        raise GroundingError(f"{name} is {short(value)}: expected rows of numbers of one length, or a PNG in base64")
    if not (array.min() >= 0 and array.max() <= np.finfo(np.float32).max):
        raise GroundingError(f"{name} has a value below 0, or one that is not finite: expected numbers from 0")
    return array.astype(np.uint8 if isinstance(value, str) else np.float32)


def _map_from_png(text: str, name: str) -> Map:
    expected = "expected a greyscale 8-bit PNG in base64"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"])
            if picture.width * picture.height > _MOST_CELLS:
                raise Image.DecompressionBombError
            mode, array = picture.mode, np.array(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise GroundingError(f"{name} is far too large: {expected}, 32 x 32 will do") from error
    except Exception as error:  # over damaged files Pillow raises nearly anything
        raise GroundingError(f"{name} is {short(text)}, which cannot be read: {expected}") from error
    if mode != "L":
        raise GroundingError(f"{name} is a PNG of another kind (Pillow calls it {mode}): {expected}")
    return array


def _png(levels: Map | None) -> str | None:
    """Base64 of a greyscale 8-bit PNG."""
    if levels is None:
        return None
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def short(value: Any) -> str:
    """The value for an error message, cut to a few words."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
