"""Distillation: the scores of teachers for every tag at every place of every picture, in a file of bytes."""

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from grounding.errors import GroundingError
from grounding.folders import writing
from grounding.tagging.classifier import TagClassifier, resize_to_square
from grounding.tagging.network import TagNetwork
from grounding.training.batches import Pictures
from grounding.training.networks import check_tags

LOGIT_LOW, LOGIT_HIGH = -12.0, 6.0  # what the bytes 0 and 255 stand for
_AT_ONCE = 32


@torch.no_grad()
def write_teacher_scores(
    teachers: Sequence[TagClassifier],
    tags: Sequence[str],
    pictures: Pictures,
    sizes_px: Sequence[int],
    path: Path,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """Write the mean of the teachers' tag probabilities at every place, as an (N, T, h, w) uint8 `.npy` file of logits.

    Every teacher sees the whole picture, resized to a square of each size, in bfloat16 and on its own device. The maps
    are resized bilinearly to the largest map at the first size. Memory holds 32 pictures at a time. The file appears
    when it is complete. The same call after an interruption continues from the unfinished file beside it.

    Args:
        teachers: at least one, each with a `TagNetwork`.
        tags: those of the student.
        pictures: N of them, of any sizes.
        sizes_px: the sides of the squares, at least one.
        path: the file; an earlier one is replaced.
        progress: called with the number of pictures that are done, and N.

    Raises:
        GroundingError: a teacher has other tags or no score maps; or the disk is full, and nothing is left behind.
    """
    for teacher in teachers:
        check_tags(teacher, tags, "teacher")
    shape = (len(pictures), len(tags), *_largest_map(teachers, sizes_px[0]))  # (N, T, h, w)
    run = " ".join([*(teacher.fingerprint() for teacher in teachers), str(list(sizes_px))])
    partial = path.with_name(f"{path.name}.{hashlib.sha256(run.encode()).hexdigest()[:12]}.partial")
    with _writing(partial, path):
        done = _begin(partial, shape)
    for first in range(done, len(pictures), _AT_ONCE):
        last = min(first + _AT_ONCE, len(pictures))
        group = _mean_scores(teachers, [pictures[index][None] for index in range(first, last)], sizes_px, shape[1:])
        with _writing(partial, path), partial.open("ab") as file:
            file.write(group.numpy().tobytes())
        progress(last, len(pictures))
    with _writing(partial, path):
        partial.replace(path)


def _largest_map(teachers: Sequence[TagClassifier], size_px: int) -> tuple[int, ...]:
    """(h, w) of the largest map that a teacher gives for a square of this side."""
    blank = torch.zeros(1, 3, size_px, size_px)
    maps = [_probabilities(teacher, blank).shape[2:] for teacher in teachers]
    return tuple(max(sides) for sides in zip(*maps, strict=True))


def _mean_scores(
    teachers: Sequence[TagClassifier], pictures: Sequence[Tensor], sizes_px: Sequence[int], shape: tuple[int, ...]
) -> Tensor:
    """(1, 3, H, W) uint8 each -> (B, T, h, w) uint8: the logits of the mean probability over teachers and sizes."""
    total = torch.zeros(len(pictures), *shape)  # (B, T, h, w)
    for size_px in sizes_px:
        images = torch.cat([resize_to_square(picture, size_px) for picture in pictures])  # (B, 3, S, S)
        for teacher in teachers:
            total += interpolate(_probabilities(teacher, images), shape[1:], mode="bilinear").cpu()
    unit = ((total / len(teachers) / len(sizes_px)).logit(1e-7) - LOGIT_LOW) / (LOGIT_HIGH - LOGIT_LOW)
    return unit.clamp(0, 1).mul(255).round().byte()


def logits_of_bytes(scores: Tensor) -> Tensor:
    """uint8 scores, as `write_teacher_scores` writes them -> float32 logits of the same shape."""
    return scores.float().mul((LOGIT_HIGH - LOGIT_LOW) / 255).add(LOGIT_LOW)


def _probabilities(teacher: TagClassifier, images: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1] -> (B, T, h, w) float32 tag probabilities, on the teacher's device."""
    network = teacher.network
    if not isinstance(network, TagNetwork):
        raise GroundingError(f"teacher {teacher.name} scores no places: expected one that grounding.train has trained")
    device = network.head.weight.device
    pixels = teacher.preprocessing.normalise(images.to(device)).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16):
        local = network.local_scores(network.features(pixels))
    return local.float().sigmoid()


def _begin(partial: Path, shape: tuple[int, ...]) -> int:
    """Prepare the unfinished file for appending; returns how many pictures are in it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    header = buffer.getvalue()
    with partial.open("ab+") as file:
        size = file.tell()
        file.seek(0)
        if file.read(len(header)) != header:
            file.truncate(0)
            file.write(header)
            return 0
        batch = _AT_ONCE * int(np.prod(shape[1:]))
        batches = (size - len(header)) // batch
        file.truncate(len(header) + batches * batch)  # what follows was cut short
        return batches * _AT_ONCE


@contextlib.contextmanager
def _writing(partial: Path, path: Path) -> Iterator[None]:
    try:
        with writing(f"teacher scores {path}"):
            yield
    except GroundingError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
