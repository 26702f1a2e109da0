"""Batches of augmented pictures: the same for the same seed, epoch and picture."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from grounding.datasets.webimages import CaptionedImages
from grounding.distributed import leave_signals_to_parent
from grounding.errors import GroundingError
from grounding.training.augmentation import augment
from grounding.training.config import TrainConfig
from grounding.wording import counted

_USES = ("order", "view", "network")


class Batch(NamedTuple):
    """B augmented pictures.

    Attributes:
        pixels: (B, 3, S, S) float32 in [0, 1]; or of a head alone the features, (B, h, w, C).
        crops: (B, 4) float32 `x0 y0 x1 y1` in shares of the picture's sides.
        flipped: (B,) bool.
        planned: (B,) int64, the indices of the pictures that the plan asks for.
        seen: (B,) int64, of those in `pixels`: others where a picture cannot be read.
    """

    pixels: Tensor
    crops: Tensor
    flipped: Tensor
    planned: Tensor
    seen: Tensor


class Pictures:
    """Every picture as (3, H, W) uint8 RGB; the next one that can be read stands in for one that cannot.

    Args:
        cache_size_px: keep all pictures in memory, resized to squares of this side; 0 reads each when it is asked for.
        progress: called after each picture that is read into memory.

    Attributes:
        unreadable: index -> reason, of the pictures that could not be read into memory.

    Raises:
        GroundingError: no picture can be read; `at` raises it.
    """

    def __init__(self, images: CaptionedImages, cache_size_px: int, progress: Callable[[], object]) -> None:
        self.images = images
        self.unreadable: dict[int, str] = {}
        self._cache: Tensor | None = None
        if not cache_size_px:
            return
        self._cache = torch.empty(len(images), 3, cache_size_px, cache_size_px, dtype=torch.uint8)
        for index in range(len(images)):
            try:
                self._cache[index] = _read(images, index, cache_size_px)
            except GroundingError as error:
                self.unreadable[index] = str(error)
            progress()

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        """(3, H, W) uint8."""
        return self.at(index)[1]

    def at(self, index: int) -> tuple[int, Tensor]:
        """The picture at an index or, where that cannot be read, the next one: its own index and (3, H, W) uint8."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        reasons = []
        for candidate in (*range(index, len(self)), *range(index)):
            try:
                if candidate in self.unreadable:
                    raise GroundingError(self.unreadable[candidate])
                return candidate, _read(self.images, candidate) if self._cache is None else self._cache[candidate]
            except GroundingError as error:
                reasons.append(str(error))
        raise GroundingError(f"none of the {counted(len(self), 'picture')} can be read, such as: {reasons[0]}")

    def row(self, index: int, config: TrainConfig, seed: int) -> Batch:
        """A row of a batch: the picture at an index, augmented."""
        seen, picture = self.at(index)
        view = augment(picture, config.image_size_px, config.augmentation, seed)
        return Batch(view.pixels, view.crop, *map(torch.tensor, (view.flipped, index, seen)))


def _read(images: CaptionedImages, index: int, size_px: int = 0) -> Tensor:
    """(3, H, W) uint8 RGB, or (3, size_px, size_px) where a size is given."""
    image = images.read(index)
    if size_px:
        image = image.resize((size_px, size_px))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)


def seed_for(use: Literal["order", "view", "network"], seed: int, epoch: int, index: int = 0) -> int:
    """A seed for one kind of random numbers, which depends on these arguments alone."""
    return int(np.random.SeedSequence((_USES.index(use), seed, epoch, index)).generate_state(1, np.uint64)[0])


def plan(count: int, config: TrainConfig, epoch: int, rank: int = 0, processes: int = 1) -> list[list[int]]:
    """The batches of an epoch for one of several processes, each a list of indices of pictures.

    All processes share one random order. A step takes `batch_size * gradient_accumulation_steps * processes` pictures
    of it; a remainder at the end is dropped. Fewer pictures than one step needs are repeated to fill it.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed_for("order", config.seed, epoch)))
    step = config.batch_size * config.gradient_accumulation_steps * processes
    order = order.repeat(-(-step // count))[:step] if count < step else order[: count - count % step]
    batches_of_rank: list[list[int]] = order.view(-1, processes, config.batch_size)[:, rank].tolist()
    return batches_of_rank


class _Rows(Dataset[Batch]):
    """The rows of batches, by (epoch, index): the augmentation depends on both."""

    def __init__(self, pictures: Pictures, config: TrainConfig) -> None:
        self.pictures, self.config = pictures, config

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        return self.pictures.row(index, self.config, seed_for("view", self.config.seed, epoch, index))


def batches(
    pictures: Pictures, config: TrainConfig, epoch: int, rank: int = 0, processes: int = 1, pin: bool = False
) -> Iterator[Batch]:
    """The batches from an epoch on, as `plan` has them, one epoch after the other.

    Pictures are read and augmented by `data.workers` processes, which live as long as the iterator.

    Args:
        pin: use page-locked memory, from which a GPU copies faster.
    """
    plans = ((each, plan(len(pictures), config, each, rank, processes)) for each in range(epoch, config.epochs))
    loader = DataLoader(
        _Rows(pictures, config),
        batch_sampler=([(each, index) for index in batch] for each, planned in plans for batch in planned),
        num_workers=config.data.workers,
        worker_init_fn=_leave_signals_to_parent,
        pin_memory=pin,
        generator=torch.Generator(),  # which the loader draws from instead of torch's own
    )
    return iter(loader)


def _leave_signals_to_parent(_: int) -> None:
    leave_signals_to_parent()
