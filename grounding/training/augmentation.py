"""Data augmentation: random views of a picture, and the score map of a whole picture cropped in the same way."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torch.overrides import TorchFunctionMode
from torchvision.transforms import v2

from grounding.training.config import AugmentationConfig


@dataclass(frozen=True, slots=True)
class View:
    """An augmented picture.

    Attributes:
        pixels: (3, S, S) float32 RGB in [0, 1].
        crop: (4,) float32 `x0 y0 x1 y1`, shares of the picture's sides, before the flip.
        flipped: whether left and right are swapped.
    """

    pixels: Tensor
    crop: Tensor
    flipped: bool


class _OwnGenerator(TorchFunctionMode):
    """Let torchvision draw from a generator of its own: other threads use the global one."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        drawing = {"generator": self._generator} if func in (torch.Tensor.uniform_, torch.randint, torch.rand) else {}
        return func(*args, **(kwargs or {}), **drawing)


def augment(image: Tensor, size_px: int, config: AugmentationConfig, seed: int) -> View:
    """Crop a picture at random, resize the crop to a square, perhaps flip it, and change its colours.

    Every option draws its random numbers whether it is on or not, so that switching one changes no other.

    Args:
        image: (3, H, W) uint8 RGB.
        size_px: S.
        seed: of all random numbers; torch's global random state is neither used nor changed.
    """
    with _OwnGenerator(seed):
        flip, grey, *strengths = torch.rand(5).tolist()
        crop = v2.RandomResizedCrop(size_px, (config.min_crop_scale, 1.0), (3 / 4, 4 / 3)).make_params([image])
    top, left, height, width = (crop[name] for name in ("top", "left", "height", "width"))
    size = [size_px, size_px]
    square = v2.functional.resized_crop(image, top, left, height, width, size, antialias=True)
    flipped = flip < config.flip
    if flipped:
        square = v2.functional.horizontal_flip(square)
    pixels = v2.functional.to_dtype(square, torch.float32, scale=True)
    if config.color_jitter > 0:
        factors = [1 + config.color_jitter * (2 * strength - 1) for strength in strengths]
        pixels = v2.functional.adjust_brightness(pixels, factors[0])
        pixels = v2.functional.adjust_contrast(pixels, factors[1])
        pixels = v2.functional.adjust_saturation(pixels, factors[2])
    if grey < config.grayscale:
        pixels = v2.functional.rgb_to_grayscale(pixels, num_output_channels=3)
    sides = torch.tensor([image.shape[2], image.shape[1]] * 2)
    return View(pixels, torch.tensor([left, top, left + width, top + height]) / sides, flipped)


def crop_scores(scores: Tensor, crops: Tensor, flipped: Tensor, cells: int) -> Tensor:
    """Crop and flip score maps of whole pictures as their views were, by bilinear interpolation.

    Outside the centres of the outermost cells, the border is repeated.

    Args:
        scores: (B, T, h, w) logits; cell (0, 0) covers the shares 0 to 1 / h and 0 to 1 / w of the picture's sides.
        crops: (B, 4) `x0 y0 x1 y1`, shares of the picture's sides.
        flipped: (B,) bool.
        cells: the number of rows and of columns of the result.

    Returns:
        (B, T, cells, cells).
    """
    x0, y0, x1, y1 = crops.to(scores).unbind(1)
    zero = torch.zeros_like(x0)
    # (B, 3) each: the rows of the affine map from a place in the view to one in the picture, both in [-1, 1].
    across = torch.stack([torch.where(flipped, x0 - x1, x1 - x0), zero, x0 + x1 - 1], 1)
    down = torch.stack([zero, y1 - y0, y0 + y1 - 1], 1)
    grid = affine_grid(
        torch.stack([across, down], 1), [len(scores), 1, cells, cells], align_corners=False
    )  # (B, h, w, 2)
    return grid_sample(scores, grid, padding_mode="border", align_corners=False)
