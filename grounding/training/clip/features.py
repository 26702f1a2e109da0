"""What the layers of a CLIP that stay as they are make of every picture, in a file: computed once, used often."""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from grounding.folders import writing
from grounding.tagging.classifier import resize_to_square
from grounding.training.batches import Pictures
from grounding.training.clip.model import Clip

_AT_ONCE = 16


@torch.no_grad()
def write_features(clip: Clip, pictures: Pictures, path: Path) -> None:
    """Write `Clip.features` of all N pictures as an (N, C, h, w) float16 `.npy`, which appears when it is complete.

    Raises:
        GroundingError: the disk is full or the folder cannot be written.
    """
    size, partial = clip.config.vision.image_size_px, path.with_name(f"{path.name}.partial")
    shape = clip.features(torch.zeros(1, 3, size, size)).shape[1:]
    with writing(f"features {path}"), tqdm(total=len(pictures), desc="features", unit=" pictures") as bar:
        file = np.lib.format.open_memmap(partial, "w+", np.float16, (len(pictures), *shape))
        for first in range(0, len(pictures), _AT_ONCE):
            group = range(first, min(first + _AT_ONCE, len(pictures)))
            pixels = torch.cat([resize_to_square(pictures[index][None], size) for index in group])
            with torch.autocast("cpu", torch.bfloat16):
                found = clip.features(pixels.contiguous(memory_format=torch.channels_last))
            file[group.start : group.stop] = found.half().numpy()
            bar.update(len(group))
        file.flush()
        partial.replace(path)
