"""How sure a box is, against the definition in loops."""

import math

import numpy as np
import pytest

from grounding.boxes import iou
from grounding.config import RegionConfig
from grounding.regions.confidence import agree, agreement, falling
from grounding.regions.proposals import windows

SHARPNESS = RegionConfig().sharpness


def by_definition(scores, proposals, best, sharpness):
    weights = []
    for score, (x0, y0, x1, y1) in zip(scores.tolist(), proposals.tolist(), strict=True):
        weights.append(score**sharpness / ((x1 - x0) * (y1 - y0)))
    shares = []
    for index in best:
        agree = [
            w for w, box in zip(weights, proposals, strict=True) if iou(proposals[[index]], box[None])[0, 0] >= 0.49999
        ]
        shares.append(math.fsum(agree) / math.fsum(weights))
    return shares


@pytest.mark.parametrize("sharpness", [1.0, SHARPNESS, 30.0])
def test_agreement_is_the_share_of_the_weight_that_agrees(sharpness):
    draw = np.random.default_rng(0)
    proposals = windows(60, 90, 5)
    scores = draw.uniform(0.1, 1.3, len(proposals)).astype(np.float32)
    best = np.array([3, 0, 17, 224])
    expected = by_definition(scores, proposals, best, sharpness)
    np.testing.assert_allclose(agreement(scores, proposals, best, sharpness), expected, rtol=1e-4, atol=1e-7)


def test_agreement_does_not_depend_on_the_size_of_the_picture_or_of_the_scores():
    scores = np.random.default_rng(1).uniform(0.1, 1, 225).astype(np.float32)
    best = np.array([5, 100])
    small, large = windows(10, 10, 5), windows(3000, 2000, 5)
    expected = agreement(scores, small, best, SHARPNESS)
    np.testing.assert_allclose(agreement(scores, large, best, SHARPNESS), expected, rtol=1e-3)
    np.testing.assert_allclose(agreement(scores * 1e-3, small, best, SHARPNESS), expected, rtol=1e-3)


@pytest.mark.parametrize("scores", [np.zeros(3), np.array([0, 0, 1e-38])])
def test_agreement_of_scores_that_are_nothing_is_finite(scores):
    boxes = np.array([[0, 0, 1, 1], [5, 5, 6, 6], [0, 0, 0, 0]], np.float32)
    assert np.isfinite(agreement(scores.astype(np.float32), boxes, np.array([0, 1, 2]), SHARPNESS)).all()


def test_agreement_of_a_box_does_not_depend_on_the_others_asked_for():
    scores = np.random.default_rng(1).uniform(0.1, 1, 225).astype(np.float32)
    boxes, best = windows(60, 90, 5), np.arange(50)
    assert (
        agreement(scores, boxes, best, SHARPNESS)[:1].tolist() == agreement(scores, boxes, best[:1], SHARPNESS).tolist()
    )


def test_boxes_agree_where_their_iou_is_at_least_a_half():
    corners = np.random.default_rng(2).integers(0, 9, (300, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1) + 1], 1).astype(np.float32)
    np.testing.assert_array_equal(agree(boxes, boxes[:200]), iou(boxes, boxes[:200]) >= 0.5)
    assert (iou(boxes, boxes) == 0.5).any()


def test_one_box_agrees_with_itself():
    assert agreement(np.ones(1, np.float32), np.array([[0, 0, 4, 4]], np.float32), np.array([0]), SHARPNESS) == [1.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([0.5], [0.5]),
        ([0.5, 0.3, 0.1], [0.5, 0.3, 0.1]),
        ([0.5, 0.5, 0.5], [0.5, 0.495, 0.49005]),
        ([0.1, 0.9, 0.0999], [0.1, 0.099, 0.09801]),
        ([0.5, 0.0, 0.0], [0.5, 1e-9, 0.99e-9]),
    ],
)
def test_scores_fall(values, expected):
    np.testing.assert_allclose(falling(np.array(values)), expected)
