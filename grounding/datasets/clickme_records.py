"""A picture of ClickMe with its map and class, from a record of any release that holds pictures.

| release | `image` | `heatmap` |
|---|---|---|
| ClickMe 1.0, and as GALA was trained with | raw float32, 256 x 256 x 3 | raw float32, 256 x 256 x 1, or empty |
| Harmonization | a JPEG file | a JPEG file |
| Pseudo-ClickMe (`.pth`) | uint8 tensor (3, h, w) | uint8 tensor (1, h, w) |

All have a `label`, the number of the class; those of ClickMe 1.0 have a `click_count`, which may be 0. Boxes, which
GALA's may have, are not read.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from grounding.datasets.tfrecords import Features, Record, read_example
from grounding.errors import GroundingError
from grounding.images import check_image, open_picture, read_image

_SIDE: Final = 256  # px
_MOST_PX: Final = 50_000_000
_FLOATS: Final = np.dtype("<f4")
_FILES: Final = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}  # by their first bytes


@dataclass(frozen=True, slots=True, eq=False)
class ClickMeRecord:
    """One picture.

    Attributes:
        picture: a JPEG or PNG file: the bytes that were given, or the raw values as 8 bits in a PNG.
        ending: `.jpg` or `.png`.
        label: the number of the class, as the record has it.
        map: (h, w) uint8 or float32, of the picture's size; None where nobody clicked.
    """

    picture: bytes
    ending: str
    label: int
    map: npt.NDArray[Any] | None


def from_example(record: Record) -> ClickMeRecord:
    """What a record of a TFRecord file holds.

    Raises:
        GroundingError: it is no Example, lacks a feature, or holds a picture or a map that cannot be read.
    """
    features = read_example(record)
    image, label = _one(record, features, "image"), _one(record, features, "label")
    if not isinstance(image, bytes) or not isinstance(label, int):
        raise GroundingError(f"{record.where}: image and label are of other types: expected bytes and a whole number")
    given = features.get("heatmap", [])
    content = given[0] if given and isinstance(given[0], bytes) else b""
    if features.get("click_count", [1]) == [0]:
        content = b""
    ending = next((ending for start, ending in _FILES.items() if image.startswith(start)), "")
    if ending:
        sides = read_image(io.BytesIO(image), f"of {record.where}").shape[:2]
        map_: npt.NDArray[Any] | None = _grey(record.where, content) if content else None
    else:
        sides = (_SIDE, _SIDE)
        image, ending = _png(record.where, _raw(record.where, "image", image, 3)), ".png"
        map_ = _raw(record.where, "heatmap", content, 1)[:, :, 0] if content else None
    return _checked(record.where, ClickMeRecord(image, ending, label, map_), sides)


def from_pth(path: Path) -> ClickMeRecord:
    """What a `.pth` file holds; it is loaded as weights only, which runs nobody's code.

    Raises:
        GroundingError: it cannot be read, or holds something else.
    """
    import torch

    expected = "expected a dict of the tensors image (3, h, w) and heatmap (1, h, w), uint8, and label"
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # over damaged files torch raises nearly anything
        reason = " ".join(str(error).split())[:80]
        raise GroundingError(f"{path} cannot be read ({reason}): {expected}") from error
    try:
        image, map_, label = found["image"], found["heatmap"], int(found["label"])
        fits = image.dtype == map_.dtype == torch.uint8 and image.ndim == map_.ndim == 3
        fits = fits and (len(image), len(map_)) == (3, 1)
        for each in (image, map_) if fits else ():  # a tensor may say that it is larger than its file, or elsewhere
            fits = fits and each.layout == torch.strided and each.device.type == "cpu"
            fits = fits and 0 < each.numel() <= 3 * _MOST_PX
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError):
        fits = False
    if not fits:
        raise GroundingError(f"{path} holds something else: {expected}")
    record = ClickMeRecord(_png(str(path), image.permute(1, 2, 0).numpy()), ".png", label, map_[0].numpy())
    return _checked(str(path), record, tuple(image.shape[1:]))


def _checked(where: str, record: ClickMeRecord, sides: tuple[int, ...]) -> ClickMeRecord:
    if record.map is not None and record.map.shape != sides:
        raise GroundingError(
            f"{where}: the map is {record.map.shape[1]} x {record.map.shape[0]} px and the picture {sides[1]} x "
            f"{sides[0]}: expected the same size"
        )
    return record


def _one(record: Record, features: Features, name: str) -> bytes | int:
    values = features.get(name, [])
    if len(values) != 1:
        has = ", ".join(sorted(features)) or "nothing"
        raise GroundingError(f"{record.where} has {len(values)} values of {name}: expected one; it has {has}")
    return values[0]


def _raw(where: str, name: str, content: bytes, channels: int) -> npt.NDArray[np.float32]:
    """(256, 256, channels)."""
    expected = _SIDE * _SIDE * channels * _FLOATS.itemsize
    if len(content) != expected:
        raise GroundingError(
            f"{where}: {name} has {len(content):,} bytes: expected a JPEG or PNG file, or {expected:,} bytes of "
            f"{_SIDE} x {_SIDE} x {channels} float32"
        )
    return np.frombuffer(content, _FLOATS).reshape(_SIDE, _SIDE, channels).astype(np.float32)


def _png(where: str, values: npt.NDArray[Any]) -> bytes:
    try:
        pixels = check_image(values)
    except GroundingError as error:
        raise GroundingError(f"{where}: {error}") from error
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _grey(where: str, content: bytes) -> npt.NDArray[np.uint8]:
    try:
        with open_picture(io.BytesIO(content)) as image:
            return np.asarray(image.convert("L"))
    except Exception as error:  # over damaged files Pillow raises nearly anything
        raise GroundingError(
            f"{where}: heatmap cannot be read ({' '.join(str(error).split())}): expected a JPEG or PNG file"
        ) from error
