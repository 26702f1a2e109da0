"""From coarse word maps to a phrase map at image resolution."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from grounding.errors import GroundingError

Point = tuple[float, float]  # (x, y)


def upsample(maps: Tensor, height: int, width: int) -> Tensor:
    """Resize bilinearly, pixel areas aligned: (..., h, w) float32 -> (..., height, width), in the range of maps."""
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    fine = functional.interpolate(flat, (height, width), mode="bilinear", align_corners=False)
    return fine.reshape(*maps.shape[:-2], height, width)


def smooth(maps: Tensor, sigma_px: float) -> Tensor:
    """Blur by a Gaussian, cut off at 4 sigma, with the border values continued outwards: (..., h, w) -> (..., h, w).

    A map is blurred to the same bits alone and among others.

    Raises:
        GroundingError: a negative or infinite sigma_px; 0 changes nothing.
    """
    if not (math.isfinite(sigma_px) and sigma_px >= 0):
        raise GroundingError(f"sigma_px is {sigma_px}: expected a finite number of pixels, at least 0")
    radius = math.ceil(4 * sigma_px)
    if radius == 0 or not maps.numel():
        return maps
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    flat = maps.reshape(1, -1, *maps.shape[-2:])  # maps as channels: a third of the time of maps as pictures
    count = flat.shape[1]
    if count == 1:  # PyTorch has another way for one channel, with other last bits
        flat = flat.expand(1, 2, *flat.shape[2:])
    down, across = (kernel.reshape(shape).expand(flat.shape[1], 1, *shape) for shape in ((-1, 1), (1, -1)))
    flat = functional.conv2d(functional.pad(flat, (0, 0, radius, radius), "replicate"), down, groups=len(down))
    flat = functional.conv2d(functional.pad(flat, (radius, radius, 0, 0), "replicate"), across, groups=len(across))
    return flat[:, :count].reshape(maps.shape)


def normalize(maps: Tensor) -> Tensor:
    """Divide (..., h, w) maps, at least 0, by their sum: each sums to 1, or all zero where it was all zero."""
    total = maps.sum((-2, -1), keepdim=True)
    return torch.where(total > 0, maps / total, 0)


def phrase_map(word_maps: Tensor, weights: Tensor) -> Tensor:
    """Average the word maps of a phrase with weights, each normalised first; maps that are all zero stay out.

    Args:
        word_maps: (W, h, w) float32, at least 0.
        weights: (W,) float32, at least 0.

    Returns:
        (h, w) float32, sums to 1, or all zero where no word map and weight is above 0.

    Raises:
        GroundingError: another number of weights than maps, or a weight below 0.
    """
    if weights.shape != word_maps.shape[:1] or bool((weights < 0).any()):
        raise GroundingError(f"weights are {weights.tolist()}: expected {len(word_maps)} numbers, none below 0")
    mean = (normalize(word_maps) * weights[:, None, None]).sum(0)  # (h, w)
    return normalize(mean)


def centre_prior(side: int, width: float) -> Tensor:
    """Make a (side, side) Gaussian round the centre, 1 at its top, `width` in sides; all ones for a width of 0."""
    if width == 0:
        return torch.ones(side, side, dtype=torch.float32)
    return bell(side, (0.5, 0.5), width, width)


def axis(side: int) -> Tensor:
    """The centres of the cells of a side of the picture, in shares of it: (side,) float32 in (0, 1)."""
    return (torch.arange(side, dtype=torch.float32) + 0.5) / side


def bell(side: int, centre: Point, width: float, height: float) -> Tensor:
    """Make a (side, side) Gaussian, 1 at its top: centre, width and height (standard deviations) in sides."""
    across = torch.exp(-0.5 * ((axis(side) - centre[0]) / width) ** 2)
    down = torch.exp(-0.5 * ((axis(side) - centre[1]) / height) ** 2)
    return down[:, None] * across


def distances(side: int, point: Point) -> Tensor:
    """The distance of the centre of each cell of a (side, side) map from a point, in sides."""
    return torch.hypot(axis(side)[:, None] - point[1], axis(side) - point[0])


def peak(map_: Tensor) -> tuple[float, float]:
    """Find the centre of an (h, w) map's highest pixel: (x, y) in px from the top left; of equals the first by row.

    The centre of the first pixel is (0.5, 0.5).
    """
    row, column = divmod(int(map_.argmax()), map_.shape[1])
    return column + 0.5, row + 0.5
