"""People as wholes: by the definition, cell by cell, and what the parts do to the box."""

import math

import numpy as np
import pytest
import torch

from grounding.config import WholeConfig
from grounding.regions.wholes import part_map, whole_map
from helpers.maps import bell_by_cells, by_cells, doubles, normalized, peaks, read_between, same_maps

SIDE = 8


def part_map_by_cells(word_maps, probabilities, side):
    total = np.zeros(word_maps.shape[1:])
    for map_, probability in zip(word_maps, probabilities, strict=True):
        total += normalized(doubles(map_)) * math.sqrt(probability)
    height, width = total.shape
    return by_cells(side, lambda x, y: read_between(total, x * width, y * height, outside=None))


def whole_map_by_cells(own, parts, point, rivals, config):
    near = doubles(parts) * bell_by_cells(len(parts), point, config.reach, config.reach * 1.8)
    for rival in rivals:
        near = near * by_cells(
            len(parts),
            lambda x, y, rival=rival: 1 / (1 + math.exp((math.dist((x, y), point) - math.dist((x, y), rival)) / 0.1)),
        )
    return normalized(doubles(own)) + config.amount * normalized(near)


@pytest.mark.parametrize("probabilities", [[], [0.3], [0.9, 0.0, 0.25], [0.0, 0.0], [1.0, 1.0]])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (1, 1)])
def test_parts_count_with_the_root_of_their_probability(probabilities, shape):
    word_maps = (
        torch.rand(len(probabilities), *shape) * torch.tensor([3.0, 1e-3, 50.0])[: len(probabilities), None, None]
    )
    found = part_map(word_maps, torch.tensor(probabilities), SIDE)
    same_maps(found, part_map_by_cells(word_maps, probabilities, SIDE))
    assert found.shape == (SIDE, SIDE)
    assert bool(found.any()) == any(probabilities)


def test_a_part_without_a_map_adds_nothing():
    map_ = torch.rand(1, 3, 3)
    with_empty = torch.cat([map_, torch.zeros(1, 3, 3)])
    assert torch.equal(part_map(with_empty, torch.tensor([0.5, 0.9]), 4), part_map(map_, torch.tensor([0.5]), 4))


@pytest.mark.parametrize("rivals", [[], [(0.9, 0.2)], [(0.9, 0.2), (0.1, 0.95)], [(0.4, 0.3)]])
@pytest.mark.parametrize("config", [WholeConfig(), WholeConfig(amount=0.5, reach=0.1), WholeConfig(amount=0.0)])
def test_the_whole_is_the_own_map_and_the_near_parts(rivals, config):
    own, parts, point = torch.rand(SIDE, SIDE) * 40, torch.rand(SIDE, SIDE), (0.4, 0.3)
    expected = whole_map_by_cells(own, parts, point, rivals, config)
    same_maps(whole_map(own, parts, point, rivals, config), expected)
    assert expected.sum() == pytest.approx(1 + config.amount)


@pytest.mark.parametrize(
    ("own", "parts", "mass"),
    [
        (torch.zeros, torch.zeros, 0),
        (torch.ones, torch.zeros, 1),
        (torch.zeros, torch.ones, 2),
        (torch.ones, torch.ones, 3),
    ],
)
def test_what_is_empty_adds_nothing(own, parts, mass):
    found = whole_map(own(4, 4), parts(4, 4), (0.5, 0.5), [(0.1, 0.1)], WholeConfig())
    assert float(found.sum()) == pytest.approx(mass)


def test_a_part_is_that_of_the_nearer_person():
    left, right = (0.25, 0.5), (0.75, 0.5)
    own, parts = peaks(32, (*left, 1)), peaks(32, (0.3, 0.7, 1), (0.7, 0.7, 1))
    alone = whole_map(own, parts, left, [], WholeConfig(reach=1.0))
    among = whole_map(own, parts, left, [right], WholeConfig(reach=1.0))
    assert float(alone[:, 16:].sum()) > 0.8
    assert float(among[:, 16:].sum()) < 0.15
    assert float(among.sum()) == pytest.approx(3)
