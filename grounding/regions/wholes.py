"""People as wholes: their map stops at the chest or the face, and their clothes and body parts say where they end."""

from collections.abc import Sequence

import torch
from torch import Tensor

from grounding.config import WholeConfig
from grounding.regions.maps import Point, bell, distances, normalize, upsample

_RIVALRY = 0.1  # of a side: how much nearer a part must be to one of two people to be that one's
_HEIGHT = 1.8  # people are reached further up and down than to the sides, so many times


def part_map(word_maps: Tensor, probabilities: Tensor, side: int) -> Tensor:
    """Add up where parts of people are: the word maps of their tags, each normalised, by the root of the probability.

    Args:
        word_maps: (K, h, w) float32, at least 0.
        probabilities: (K,) of the tags in the picture, in [0, 1].
        side: in cells, of the result.

    Returns:
        (side, side) float32, at least 0.
    """
    mean = (normalize(word_maps) * probabilities.sqrt()[:, None, None]).sum(0)
    return upsample(mean, side, side)


def whole_map(own: Tensor, parts: Tensor, point: Point, rivals: Sequence[Point], config: WholeConfig) -> Tensor:
    """Add to the map of a person the parts that are near its point, and nearer to it than to those of other people.

    With G a Gaussian at the point and d the distance from a point, the map is `normalize(own) + amount *
    normalize(parts * G * prod_r sigmoid((d_r - d) / 0.1))`, with r all rivals.

    Args:
        own: (side, side), at least 0.
        parts: (side, side), at least 0: a `part_map`.
        point: (x, y) of the person, in shares of the sides of the picture.
        rivals: the points of other people whom the caption names.

    Returns:
        (side, side) float32, at least 0.
    """
    side = len(parts)
    own_distance = distances(side, point)
    near = parts * bell(side, point, config.reach, config.reach * _HEIGHT)
    for rival in rivals:
        near = near * torch.sigmoid((distances(side, rival) - own_distance) / _RIVALRY)
    return normalize(own) + config.amount * normalize(near)
