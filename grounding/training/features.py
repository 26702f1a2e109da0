"""What the backbone makes of whole pictures and their mirror images, made once: a head alone learns from it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from grounding.datasets.webimages import CaptionedImages
from grounding.folders import writing
from grounding.tagging.classifier import resize_to_square
from grounding.tagging.network import TagNetwork
from grounding.training.batches import Batch, Pictures
from grounding.training.config import TrainConfig

_WHOLE: Final = (0.0, 0.0, 1.0, 1.0)  # crop, in shares of the sides


class Features(Pictures):
    """Pictures as the features of a backbone that does not change: of each as it is, and of its mirror image.

    They are in a file without a name, which goes when the process ends, however it ends; memory holds a picture at a
    time. A picture takes 2 * C * h * w numbers, of 2 bytes with `bf16`, else of 4.

    Args:
        network: of the backbone, in any mode; it is left as it is.
        config: says the size of the pictures, `inference_size_px`, and whether features are computed in bfloat16.
        folder: where the file is.
        progress: called after each picture.

    Raises:
        GroundingError: no picture can be read; or the disk is full.
    """

    def __init__(
        self,
        images: CaptionedImages,
        network: TagNetwork,
        config: TrainConfig,
        device: torch.device,
        folder: Path,
        progress: Callable[[], object],
    ) -> None:
        super().__init__(images, 0, progress)
        self._seen: list[int] = []
        folded = network.folded().to(device)
        what = f"features of {len(self):,} pictures in {folder}"
        with writing(what), tempfile.TemporaryFile(dir=folder) as file:
            for index in range(len(self)):
                seen, picture = self.at(index)
                if seen != index:
                    self.unreadable[index] = "it could not be read"
                self._seen.append(seen)
                pixels = resize_to_square(picture[None], config.inference_size_px).to(device)
                pair = _features(folded, torch.cat([pixels, pixels.flip(3)]), config.bf16)  # (2, h, w, C)
                file.write(pair.view(torch.uint8).numpy().data)
                progress()
            file.flush()
            self._dtype, self._shape = pair.dtype, pair.shape[1:]
            bytes_per_view = pair[0].numel() * pair.element_size()
            self._views = np.memmap(file, np.uint8, "r", shape=(len(self), 2, bytes_per_view))

    def whole(self, index: int) -> Tensor:
        """(C, h, w): the features of the picture at an index, not mirrored."""
        return self._view(index, False).permute(2, 0, 1)

    def _view(self, index: int, flipped: bool) -> Tensor:
        """(h, w, C)."""
        return torch.from_numpy(np.array(self._views[index, int(flipped)])).view(self._dtype).view(self._shape)

    def row(self, index: int, config: TrainConfig, seed: int) -> Batch:
        """A row of a batch: the features of the picture at an index, perhaps of its mirror image."""
        flipped = torch.rand(1, generator=torch.Generator().manual_seed(seed)).item() < config.augmentation.flip
        return Batch(
            self._view(index, flipped), torch.tensor(_WHOLE), *map(torch.tensor, (flipped, index, self._seen[index]))
        )


@torch.no_grad()
def _features(network: TagNetwork, pixels: Tensor, bf16: bool) -> Tensor:
    """(N, 3, S, S) in [0, 1] -> (N, h, w, C) on the CPU, bfloat16 or float32."""
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (network.mean, network.std))
    normalised = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16):
        features: Tensor = network.features(normalised)
    return features.to(torch.bfloat16 if bf16 else torch.float32).permute(0, 2, 3, 1).contiguous().cpu()
