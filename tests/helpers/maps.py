"""Small maps by the definitions of what is done to them, cell by cell in float64, and maps with given peaks."""

import math

import numpy as np
import torch


def normalized(map_):
    """A map over its sum; all zero where it is."""
    total = map_.sum()
    return map_ / total if total > 0 else map_ * 0


def by_cells(side, value):
    """The (side, side) array of `value(x, y)`, at the centre of each cell in shares of the sides."""
    centres = [(cell + 0.5) / side for cell in range(side)]
    return np.array([[value(x, y) for x in centres] for y in centres])


def bell_by_cells(side, point, width, height):
    """A Gaussian with 1 at its top."""

    def value(x, y):
        return math.exp(-(((x - point[0]) / width) ** 2 + ((y - point[1]) / height) ** 2) / 2)

    return by_cells(side, value)


def gaussian_by_loops(image, sigma_px):
    """An image blurred by a Gaussian, cut off at 4 sigma, with the border values continued outwards."""
    radius = math.ceil(4 * sigma_px)
    height, width = image.shape
    weight = [math.exp(-0.5 * (offset / sigma_px) ** 2) for offset in range(-radius, radius + 1)]
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            for i, down in enumerate(weight):
                for j, across in enumerate(weight):
                    y = min(max(row + i - radius, 0), height - 1)
                    x = min(max(column + j - radius, 0), width - 1)
                    result[row, column] += down * across * float(image[y, x])
    return result / sum(weight) ** 2


def read_between(image, x, y, outside=0.0):
    """An image at a place in cells, between the centres of the four cells around it; None outside: the nearest cell."""
    height, width = image.shape
    total, left, top = 0.0, math.floor(x - 0.5), math.floor(y - 0.5)
    for row in (top, top + 1):
        for column in (left, left + 1):
            weight = (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row))
            if outside is None:
                value = image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            else:
                inside = 0 <= row < height and 0 <= column < width
                value = image[row, column] if inside else outside
            total += weight * float(value)
    return total


def doubles(maps):
    """A float32 tensor as a float64 array."""
    return maps.double().numpy()


def same_maps(found, expected, rtol=1e-5, atol=1e-7):
    """Check float32 maps, of some twenty operations each, against those in float64."""
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=rtol, atol=atol)


def peaks(side, *places, width=0.06):
    """A map with a round top at each of `(x, y, height)`, in shares of the sides."""
    return torch.from_numpy(
        sum((h * bell_by_cells(side, (x, y), width, width) for x, y, h in places), np.zeros((side, side)))
    ).float()
