"""Random views of a picture, and the scores of a whole picture as seen through them."""

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
    """What is seen of a picture.

    Attributes:
        pixels: (3, S, S) float32 RGB in [0, 1].
        crop: (4,) float32 `x0 y0 x1 y1`, shares of the picture's sides, before mirroring.
        flipped: whether left and right are exchanged.
    """

    pixels: Tensor
    crop: Tensor
    flipped: bool


class _OwnGenerator(TorchFunctionMode):
    """Within it torchvision draws from a generator of its own: the global one belongs to the other threads too."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        drawing = {"generator": self._generator} if func in (torch.Tensor.uniform_, torch.randint, torch.rand) else {}
        return func(*args, **(kwargs or {}), **drawing)


def augment(image: Tensor, size_px: int, config: AugmentationConfig, seed: int) -> View:
    """A random crop of a picture, made square, perhaps mirrored, with other colours.

    Every option draws its numbers whether it is on or not, so that switching one changes no other.

    Args:
        image: (3, H, W) uint8 RGB.
        size_px: S.
        seed: decides everything; torch's global random state is neither used nor changed.
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
    """The scores of whole pictures at the places of their views, bilinear, continued beyond the outermost cells.

    Args:
        scores: (B, T, h, w) logits; cell (0, 0) covers the shares 0 to 1 / h and 0 to 1 / w of the picture's sides.
        crops: (B, 4) `x0 y0 x1 y1`, shares of the picture's sides.
        flipped: (B,) bool, which views are mirrored.
        cells: the number of rows, and of columns, of a view.

    Returns:
        (B, T, cells, cells), the scores at the centres of the view's cells.
    """
    x0, y0, x1, y1 = crops.to(scores).unbind(1)
    zero = torch.zeros_like(x0)
    across = torch.stack([torch.where(flipped, x0 - x1, x1 - x0), zero, x0 + x1 - 1], 1)
    down = torch.stack([zero, y1 - y0, y0 + y1 - 1], 1)
    grid = affine_grid(torch.stack([across, down], 1), [len(scores), 1, cells, cells], align_corners=False)
    return grid_sample(scores, grid, padding_mode="border", align_corners=False)
