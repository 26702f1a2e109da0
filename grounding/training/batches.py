"""Which pictures a step sees, under which random views: the same for the same seed, epoch and picture."""

import signal
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.training.augmentation import augment
from grounding.training.config import TrainConfig

_USES = ("order", "view", "network")
_Sample = tuple[Tensor, Tensor, bool, int, int]  # the fields of a Batch


class Batch(NamedTuple):
    """B pictures under a random view each.

    Attributes:
        pixels: (B, 3, S, S) float32 in [0, 1].
        crops: (B, 4) float32 `x0 y0 x1 y1` in shares of the picture's sides.
        flipped: (B,) bool.
        planned, seen: (B,) int64: the pictures meant, and those seen: others where one could not be read.
    """

    pixels: Tensor
    crops: Tensor
    flipped: Tensor
    planned: Tensor
    seen: Tensor


class Pictures:
    """Every picture as (3, H, W) uint8; one that cannot be read is replaced by the next that can.

    Args:
        cache_size_px: the side of the squares that are kept in memory, or 0 to read a picture whenever it is asked for.
        progress: told after each picture that is read into memory.

    Attributes:
        unreadable: the pictures that are known to be, which is those met while reading into memory.

    Raises:
        GroundingError: (also by `at`) no picture can be read.
    """

    def __init__(self, images: CaptionedImages, cache_size_px: int, progress: Callable[[], object]) -> None:
        self.images = images
        self.unreadable: dict[int, str] = {}
        self._kept: Tensor | None = None
        if not cache_size_px:
            return
        self._kept = torch.empty(len(images), 3, cache_size_px, cache_size_px, dtype=torch.uint8)
        for index in range(len(images)):
            try:
                self._kept[index] = _read(images, index, cache_size_px)
            except GroundingError as error:
                self.unreadable[index] = str(error)
            progress()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        """(3, H, W) uint8."""
        return self.at(index)[1]

    def at(self, index: int) -> tuple[int, Tensor]:
        """The picture at an index or, where that cannot be read, the next one: its own index and (3, H, W) uint8."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        reason = ""
        for candidate in (*range(index, len(self)), *range(index)):
            if self._kept is not None and candidate not in self.unreadable:
                return candidate, self._kept[candidate]
            try:
                if self._kept is None:
                    return candidate, _read(self.images, candidate)
            except GroundingError as error:
                reason = reason or str(error)
        reason = reason or self.unreadable[index]
        raise GroundingError(f"none of the {len(self):,} pictures can be read, such as: {reason}")


def _read(images: CaptionedImages, index: int, size_px: int = 0) -> Tensor:
    image = images.read(index)
    if size_px:
        image = image.resize((size_px, size_px))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def seed_for(use: Literal["order", "view", "network"], seed: int, epoch: int, index: int = 0) -> int:
    """A seed that depends on these alone."""
    return int(np.random.SeedSequence((_USES.index(use), seed, epoch, index)).generate_state(1, np.uint64)[0])


def plan(count: int, config: TrainConfig, epoch: int, rank: int = 0, processes: int = 1) -> list[list[int]]:
    """The parts of every step of an epoch for one of several processes, each a list of pictures.

    A step sees `batch_size * accumulate * processes` pictures of a random order that all processes share; what is left
    at the end waits for the next epoch. Fewer pictures than that are repeated to fill one step.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed_for("order", config.seed, epoch)))
    whole = config.batch_size * config.gradient_accumulation_steps * processes
    order = order.repeat(-(-whole // count))[:whole] if count < whole else order[: count - count % whole]
    parts: list[list[int]] = order.view(-1, processes, config.batch_size)[:, rank].tolist()
    return parts


class _Views(Dataset[_Sample]):
    def __init__(self, pictures: Pictures, config: TrainConfig) -> None:
        self.pictures, self.config = pictures, config

    def __getitem__(self, key: tuple[int, int]) -> _Sample:
        epoch, index = key
        seen, picture = self.pictures.at(index)
        seed = seed_for("view", self.config.seed, epoch, index)
        view = augment(picture, self.config.image_size_px, self.config.augmentation, seed)
        return view.pixels, view.crop, view.flipped, index, seen


def batches(
    pictures: Pictures, config: TrainConfig, epoch: int, rank: int = 0, processes: int = 1, pin: bool = False
) -> Iterator[Batch]:
    """The parts of all steps from an epoch on, as `plan` has them, one epoch after the other.

    Pictures are read and turned into views by `data.workers` processes, which live as long as the iterator.

    Args:
        pin: whether to use page-locked memory, from which a GPU copies faster.
    """
    plans = ((each, plan(len(pictures), config, each, rank, processes)) for each in range(epoch, config.epochs))
    loader = DataLoader(
        _Views(pictures, config),
        batch_sampler=([(each, index) for index in part] for each, parts in plans for part in parts),
        num_workers=config.data.workers,
        collate_fn=_collate,
        worker_init_fn=_ignore_interrupts,
        pin_memory=pin,
        generator=torch.Generator(),  # which the loader draws from instead of torch's own
    )
    return iter(loader)


def _collate(samples: list[_Sample]) -> Batch:
    pixels, crops, flipped, planned, seen = zip(*samples, strict=True)
    return Batch(
        torch.stack(pixels), torch.stack(crops), torch.tensor(flipped), torch.tensor(planned), torch.tensor(seen)
    )


def _ignore_interrupts(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training process, which ends its workers
