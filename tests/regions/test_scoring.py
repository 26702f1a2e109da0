"""Proposals and scoring against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grounding.config import RegionConfig
from grounding.images import sample_scene
from grounding.regions.proposals import propose, windows
from grounding.regions.scoring import best_boxes, box_masses, in_turns, score_boxes, spread


def mass_by_cells(cell_map, box, height, width):
    """Slow definition: each cell's value times the share of the cell that lies in the box."""
    rows, columns = cell_map.shape
    total = 0.0
    for row in range(rows):
        for column in range(columns):
            x0, x1 = column * width / columns, (column + 1) * width / columns
            y0, y1 = row * height / rows, (row + 1) * height / rows
            across = max(0.0, min(x1, box[2]) - max(x0, box[0])) / (x1 - x0)
            down = max(0.0, min(y1, box[3]) - max(y0, box[1])) / (y1 - y0)
            total += cell_map[row, column] * across * down
    return total


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 9), st.integers(1, 50), st.integers(1, 50))
def test_box_masses_equal_the_sum_over_cells(seed, rows, columns, height, width):
    generator = np.random.default_rng(seed)
    maps = generator.random((2, rows, columns), dtype=np.float32)
    corners = np.sort(generator.random((6, 2, 2)), axis=1).reshape(6, 4) * [width, height, width, height]
    corners[:3, 0] = 0  # fewer distinct edges across than down
    boxes = np.concatenate([corners, [[0, 0, width, height], [0, 0, 0, 0]]]).astype(np.float32)
    expected = [[mass_by_cells(m.astype(np.float64), b, height, width) for b in boxes] for m in maps]
    np.testing.assert_allclose(box_masses(maps, boxes, height, width), expected, rtol=1e-4, atol=1e-5)


def test_no_mass_is_below_0():
    maps = np.random.default_rng(0).random((20, 9, 7), dtype=np.float32)
    maps[:, 3:] = 0
    boxes = windows(90, 70, 11)
    empty = boxes[:, 1] >= 30
    masses = box_masses(maps, boxes, 90, 70)
    assert (masses >= 0).all()
    np.testing.assert_allclose(masses[:, empty], 0, atol=1e-6)


def test_score_is_mass_share_over_area_share_to_gamma():
    maps = np.array([[[4.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]], np.float32)
    boxes = np.array([[0, 0, 10, 5], [0, 0, 20, 10], [10, 0, 20, 5]], np.float32)
    scores = score_boxes(maps, boxes, height=10, width=20, gamma=0.5)
    np.testing.assert_allclose(scores, [[1 / 0.25**0.5, 1.0, 0.0], [0, 0, 0]])  # a quarter, all, an empty quarter


@pytest.mark.parametrize(("gamma", "best"), [(0.0, 1), (1.0, 0)])
def test_gamma_moves_from_the_largest_box_to_the_densest(gamma, best):
    maps = np.array([[[3.0, 1.0], [1.0, 1.0]]], np.float32)
    boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 2]], np.float32)
    assert score_boxes(maps, boxes, 2, 2, gamma)[0].argmax() == best


def test_every_map_has_its_own_gamma():
    maps = np.array([[[4.0, 0.0], [0.0, 0.0]]] * 2, np.float32)
    boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 2]], np.float32)
    scores = score_boxes(maps, boxes, 2, 2, np.array([0.5, 1.0]))
    np.testing.assert_allclose(scores, [[2, 1], [4, 1]])


@pytest.mark.parametrize("gamma", [0.3, (0.1, 0.7), ((0.1, 0.7), (0.0, 0.2), (1.0, 0.4))], ids=["one", "K", "G x K"])
def test_scores_are_those_of_each_map_and_power_by_itself(gamma):
    generator = np.random.default_rng(0)
    maps, boxes = generator.random((2, 5, 4), dtype=np.float32), windows(50, 80, 4)
    powers = np.broadcast_to(np.array(gamma), (*np.shape(gamma)[:-1], 2))
    shares = [box_masses(one[None] / one.sum(), boxes, 50, 80)[0].astype(np.float64) for one in maps]
    covered = np.prod((boxes[:, 2:] - boxes[:, :2]) / np.array([80, 50]), axis=1)  # of the picture
    scores = score_boxes(maps, boxes, 50, 80, np.array(gamma))
    assert scores.shape == (*powers.shape, len(boxes))
    for place in np.ndindex(powers.shape):
        np.testing.assert_allclose(scores[place], shares[place[-1]] / covered ** powers[place], rtol=1e-5)


@pytest.mark.parametrize(
    ("cells", "share"),
    [
        ([[0, 0], [0, 0]], 1),
        ([[2, 2], [2, 2]], 1),
        ([[0, 7], [0, 0]], 1 / 4),
        ([[1, 1], [0, 0]], 1 / 2),
        ([[3, 1, 0, 0]], 16 / 10 / 4),
    ],
)
def test_spread_is_the_participation_ratio(cells, share):
    maps = np.array([cells, np.array(cells) * 1e-6], np.float32)  # the scale of a map changes nothing
    np.testing.assert_allclose(spread(maps), [share, share], rtol=1e-6)


def in_turns_by_hand(rankings, boxes, top_k, nms_iou):
    """Slow definition: go through the ranks, through the rankings at each, and keep what overlaps nothing kept."""
    kept = []
    for rank in range(max(map(len, rankings))):
        for ranking in rankings:
            if rank < len(ranking):
                box = boxes[ranking[rank]]
                if all(overlap(box, boxes[other]) <= nms_iou for other in kept):
                    kept.append(int(ranking[rank]))
    return kept[:top_k]


def overlap(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = np.prod(np.maximum(sides, 0))
    return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6))
def test_rankings_are_taken_in_turns(seed, count, top_k):
    generator = np.random.default_rng(seed)
    boxes = windows(4, 4, 4)
    rankings = [generator.permutation(len(boxes))[: generator.integers(1, 9)] for _ in range(count)]
    expected = in_turns_by_hand(rankings, boxes, top_k, 0.45)
    assert in_turns(rankings, boxes, top_k, 0.45).tolist() == expected


def test_no_ranking_has_no_turn():
    none = np.zeros(0, np.intp)
    assert in_turns([none, none], np.zeros((0, 4), np.float32), 5, 0.5).tolist() == []


def test_windows_are_every_box_on_the_grid():
    boxes = windows(height=6, width=12, count=3)
    expected = {(x0 * 4, y0 * 2, x1 * 4, y1 * 2) for x0 in range(3) for x1 in range(x0 + 1, 4) for y0 in range(3)
                for y1 in range(y0 + 1, 4)}  # fmt: skip
    assert len(boxes) == 36
    assert {tuple(box) for box in boxes.tolist()} == expected
    assert len(windows(100, 100, 16)) == 18_496


def test_best_boxes_against_greedy_suppression():
    generator = np.random.default_rng(0)
    corners = np.sort(generator.random((60, 2, 2)), axis=1).reshape(60, 4).astype(np.float32)
    scores = generator.random(60).astype(np.float32)

    def iou(a, b):
        both = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    kept: list[int] = []
    for index in np.argsort(-scores):
        if all(iou(corners[index], corners[other]) <= 0.3 for other in kept):
            kept.append(int(index))
    assert best_boxes(scores, corners, 7, 0.3).tolist() == kept[:7]


def test_best_boxes_of_none_and_of_equals():
    assert best_boxes(np.zeros(0, np.float32), np.zeros((0, 4), np.float32), 5, 0.5).shape == (0,)
    boxes = np.array([[0, 0, 1, 1], [2, 2, 3, 3], [0, 0, 1, 1]], np.float32)
    assert best_boxes(np.ones(3, np.float32), boxes, 5, 0.5).tolist() == [0, 1]


def test_the_best_of_very_many_boxes_are_among_those_that_are_compared():
    left = np.arange(3000, dtype=np.float32) * 2
    boxes = np.stack([left, left * 0, left + 1, left * 0 + 1], axis=1)
    assert best_boxes(left, boxes, 3, 0.5).tolist() == [2999, 2998, 2997]


@pytest.mark.parametrize("levels", [2, 5, 100])
def test_equals_at_the_edge_of_those_that_are_compared_keep_their_order(levels):
    generator = np.random.default_rng(levels)
    left = np.arange(4000, dtype=np.float32) * 2  # no two overlap, so all that are compared are kept
    boxes = np.stack([left, left * 0, left + 1, left * 0 + 1], axis=1)
    scores = generator.integers(0, levels, 4000).astype(np.float32)
    expected = sorted(range(4000), key=lambda index: (-scores[index], index))[:1000]
    assert best_boxes(scores, boxes, 4000, 0.5).tolist() == expected


@pytest.mark.parametrize("high", ["each eighth", "each second", "all but each eighth", "the first", "the last"])
def test_the_best_are_found_wherever_they_are(high):
    generator = np.random.default_rng(0)
    place, scores = np.arange(4000), generator.random(4000, dtype=np.float32)
    where = {
        "each eighth": place % 8 == 0,
        "each second": place % 2 == 0,
        "all but each eighth": place % 8 != 0,
        "the first": place < 1000,
        "the last": place >= 3000,
    }
    scores[where[high]] += 1
    left = place.astype(np.float32) * 2  # no two overlap, so all that are compared are kept
    boxes = np.stack([left, left * 0, left + 1, left * 0 + 1], axis=1)
    expected = np.argsort(-scores, kind="stable")[:1000].tolist()
    assert best_boxes(scores, boxes, 4000, 0.5).tolist() == expected


@pytest.mark.parametrize("kind", ["windows", "selective-search", "edge-boxes"])
def test_proposals_lie_in_the_picture_and_are_the_same_every_time(kind):
    image = sample_scene()[:, :400]
    boxes = propose(image, RegionConfig(proposals=kind))
    assert len(boxes) > 100
    assert boxes.dtype == np.float32
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 400).all()
    assert (boxes[:, 3] <= 512).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes[:, 2].max() > 350  # in pixels of the picture, not of the shrunken one that was searched
    np.testing.assert_array_equal(boxes, propose(image, RegionConfig(proposals=kind)))


@pytest.mark.parametrize("kind", ["selective-search", "edge-boxes"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (30, 8, 3), (64, 64, 3)])
def test_flat_pictures_give_few_or_no_proposals_and_no_error(kind, shape):
    boxes = propose(np.full(shape, 128, np.uint8), RegionConfig(proposals=kind))
    assert boxes.ndim == 2
    assert boxes.shape[1] == 4
