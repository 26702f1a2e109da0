"""Several pictures in one forward pass."""

from collections.abc import Iterable
from typing import Any

import torch

from grounding.errors import GroundingError, check_at_least_one
from grounding.images import RgbImage, check_image
from grounding.methods import Encoding, encode_together
from grounding.tagging.clip_classifier import Classifier

_A_PICTURE = 512 << 20  # bytes; a forward pass and a walk of ResNet-50 take about 350 MiB
_USUAL = 8 << 30  # bytes, where nobody says how many are free


def pictures_at_once(device: torch.device) -> int:
    """How many pictures to encode in one forward pass there.

    One on a processor: a batch gains less than a tenth there, and the last digits of a picture would depend on the
    others. Elsewhere as many as have 512 MiB each of the memory that is free, 32 at most.
    """
    if device.type == "cpu":
        return 1
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _USUAL
    return max(1, min(32, free // _A_PICTURE))


def encode_pictures(
    classifier: Classifier, images: Iterable[Any], device: torch.device, at_once: int | None
) -> list[tuple[RgbImage, Encoding]]:
    """Encode pictures of any sizes, `at_once` in a forward pass, by default as `pictures_at_once` says.

    Raises:
        GroundingError: something that is no picture, and which of them it is; `at_once` below 1.
    """
    at_once = pictures_at_once(device) if at_once is None else at_once
    check_at_least_one("at_once", at_once)
    pictures, encodings = list[RgbImage](), list[Encoding]()
    for number, image in enumerate(images, start=1):
        try:
            pictures.append(check_image(image))
        except GroundingError as error:
            raise GroundingError(f"picture {number} of the batch: {error}") from error
    for first in range(0, len(pictures), at_once):
        inputs = [classifier.preprocessing(picture) for picture in pictures[first : first + at_once]]
        encodings += encode_together(classifier, torch.cat(inputs).to(device))
    return list(zip(pictures, encodings, strict=True))
