"""From coarse maps to a phrase map: tables worked by hand, and brute force."""

import math

import numpy as np
import pytest
import torch

from grounding.errors import GroundingError
from grounding.regions.maps import (
    axis,
    bell,
    centre_prior,
    distances,
    normalize,
    peak,
    phrase_map,
    smooth,
    upsample,
)
from helpers.maps import bell_by_cells, by_cells, gaussian_by_loops, same_maps


def test_upsample_interpolates_between_the_centres_of_pixels():
    fine = upsample(torch.tensor([[[0.0, 4.0]]]), 2, 4)
    assert fine.dtype == torch.float32
    assert fine.tolist() == [[[0, 1, 3, 4]] * 2]


@pytest.mark.parametrize(("shape", "expected"), [((2, 3), (5, 7)), ((4, 2, 3), (4, 5, 7)), ((0, 2, 3), (0, 5, 7))])
def test_upsample_takes_height_before_width(shape, expected):
    assert upsample(torch.rand(shape), 5, 7).shape == expected


@pytest.mark.parametrize(("height", "width", "sigma_px"), [(5, 8, 0.7), (7, 3, 1.5), (1, 1, 2.0), (6, 4, 0.1)])
def test_smooth_is_a_gaussian_with_the_border_continued(height, width, sigma_px):
    maps = torch.rand(2, height, width)
    expected = np.stack([gaussian_by_loops(image, sigma_px) for image in maps])
    same_maps(smooth(maps, sigma_px), expected)
    same_maps(smooth(maps[0], sigma_px), expected[0])


@pytest.mark.parametrize("leading", [(), (1,), (0,), (4,), (2, 3), (2, 0)])
def test_smooth_keeps_the_shape_and_each_map_to_itself(leading):
    maps = torch.rand(*leading, 6, 5)
    fine = smooth(maps, 0.8)
    assert fine.shape == maps.shape
    for place in np.ndindex(leading):
        same_maps(fine[place], gaussian_by_loops(maps[place], 0.8))


@pytest.mark.parametrize(("height", "width"), [(6, 5), (28, 28), (24, 24)])
def test_smooth_gives_a_map_the_same_bits_alone_and_among_others(height, width):
    maps = torch.rand(17, height, width)
    assert torch.equal(smooth(maps[3], 2.0), smooth(maps, 2.0)[3])
    assert torch.equal(smooth(maps[:2], 2.0), smooth(maps, 2.0)[:2])


def test_smooth_by_nothing_changes_nothing():
    maps = torch.rand(3, 4)
    assert torch.equal(smooth(maps, 0), maps)


@pytest.mark.parametrize("sigma_px", [-1.0, math.nan, math.inf])
def test_smooth_refuses(sigma_px):
    with pytest.raises(GroundingError, match="sigma_px"):
        smooth(torch.rand(3, 4), sigma_px)


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ([[0.0, 0.0]], [[0.0, 0.0]]),
        ([[1.0, 3.0]], [[0.25, 0.75]]),
        ([[1e-30, 1e-30]], [[0.5, 0.5]]),
        ([[[2.0, 2.0]], [[0.0, 0.0]]], [[[0.5, 0.5]], [[0.0, 0.0]]]),
    ],
)
def test_normalize(maps, expected):
    assert normalize(torch.tensor(maps)).tolist() == expected


@pytest.mark.parametrize(
    ("word_maps", "weights", "expected"),
    [
        ([[[1.0, 3.0]]], [2.0], [[0.25, 0.75]]),
        ([[[1.0, 3.0]], [[0.0, 8.0]]], [1.0, 1.0], [[0.125, 0.875]]),
        ([[[1.0, 3.0]], [[0.0, 8.0]]], [3.0, 1.0], [[0.1875, 0.8125]]),
        ([[[1.0, 3.0]], [[0.0, 0.0]]], [1.0, 9.0], [[0.25, 0.75]]),
        ([[[1.0, 3.0]], [[0.0, 8.0]]], [1.0, 0.0], [[0.25, 0.75]]),
        ([[[0.0, 0.0]]], [1.0], [[0.0, 0.0]]),
        ([[[1.0, 3.0]]], [0.0], [[0.0, 0.0]]),
    ],
)
def test_phrase_map_is_the_weighted_mean_of_normalised_maps(word_maps, weights, expected):
    assert phrase_map(torch.tensor(word_maps), torch.tensor(weights)).tolist() == expected


def test_phrase_map_of_no_words_is_all_zero():
    assert phrase_map(torch.zeros(0, 2, 3), torch.zeros(0)).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, 1.0, 1.0]])
def test_phrase_map_refuses_weights(weights):
    with pytest.raises(GroundingError, match="weights are"):
        phrase_map(torch.ones(2, 3, 3), torch.tensor(weights))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ([[5.0]], (0.5, 0.5)),
        ([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], (2.5, 0.5)),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], (0.5, 1.5)),
        ([[0.0, 2.0, 0.0], [2.0, 2.0, 0.0]], (1.5, 0.5)),
    ],
)
def test_peak_is_the_centre_of_the_first_highest_pixel(image, expected):
    assert peak(torch.tensor(image)) == expected


@pytest.mark.parametrize(
    ("side", "expected"), [(0, []), (1, [0.5]), (2, [0.25, 0.75]), (4, [1 / 8, 3 / 8, 5 / 8, 7 / 8])]
)
def test_axis_is_the_centres_of_the_cells(side, expected):
    assert axis(side).tolist() == expected
    assert axis(side).dtype == torch.float32


POINTS = [(0.5, 0.5), (0.1, 0.9), (0.0, 0.3), (-0.2, 1.4)]


@pytest.mark.parametrize("point", POINTS)
def test_a_bell_is_wide_across_and_high_down(point):
    same_maps(bell(9, point, 0.2, 0.6), bell_by_cells(9, point, 0.2, 0.6))


@pytest.mark.parametrize("point", POINTS)
def test_distances_are_from_the_centres_of_cells(point):
    same_maps(distances(7, point), by_cells(7, lambda x, y: math.dist((x, y), point)))


def test_the_centre_prior_is_a_bell_in_the_middle():
    same_maps(centre_prior(6, 0.4), bell_by_cells(6, (0.5, 0.5), 0.4, 0.4))
    assert centre_prior(3, 0).tolist() == [[1.0] * 3] * 3
