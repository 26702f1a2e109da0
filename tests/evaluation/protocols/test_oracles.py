"""Boxes, map mass, distance and the bootstrap against slow definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grounding import boxes as box_tools
from grounding.boxes import disjoint_parts, enclosing, iou
from grounding.datasets.flickr30k import EntityImage, EntityPhrase
from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.protocols import summary
from grounding.evaluation.protocols.measure import distance, map_mass, measure

edges = st.integers(0, 9)
corners = st.tuples(edges, edges, edges, edges).map(
    lambda e: (min(e[0], e[2]), min(e[1], e[3]), max(e[::2]), max(e[1::2]))
)
some_boxes = st.lists(corners, min_size=1, max_size=4)
solid_boxes = st.lists(corners.filter(lambda box: box[0] < box[2] and box[1] < box[3]), min_size=1, max_size=4)


def pixels(box):
    x0, y0, x1, y1 = (int(edge) for edge in box)
    return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}


@given(some_boxes, some_boxes)
def test_iou_counts_pixels(boxes, others):
    expected = [
        [len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) if pixels(a) | pixels(b) else 0.0 for b in others]
        for a in boxes
    ]
    assert iou(np.array(boxes, np.float64), np.array(others, np.float64)).tolist() == expected  # to the last bit
    assert iou(np.zeros((0, 4)), np.array(others, np.float64)).shape == (0, len(others))


@given(some_boxes)
def test_disjoint_parts_cover_the_same_pixels_once(boxes):
    array = np.array(boxes, np.float64)
    parts = disjoint_parts(array)
    assert sorted(pixel for part in parts for pixel in pixels(part)) == sorted(set().union(*map(pixels, boxes)))
    assert pixels(enclosing(array)[0]) >= set().union(*map(pixels, boxes))
    assert box_tools.area(enclosing(array)).item() == (max(b[2] for b in boxes) - min(b[0] for b in boxes)) * (
        max(b[3] for b in boxes) - min(b[1] for b in boxes)
    )


def test_disjoint_parts_of_nothing():
    assert disjoint_parts(np.zeros((0, 4))).shape == (0, 4)


@settings(deadline=None)
@given(solid_boxes, st.data())
def test_map_mass_counts_the_squares_of_a_grid_that_cells_and_pixels_share(boxes, data):
    width, height = max(box[2] for box in boxes) + data.draw(st.integers(0, 2)), 9
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    counts = st.lists(st.integers(0, 5), min_size=rows * columns, max_size=rows * columns)
    cells = np.array(data.draw(counts), np.float32).reshape(rows, columns)
    fine = np.repeat(np.repeat(cells, height, axis=0), width, axis=1)  # (rows * height, columns * width)
    inside = np.zeros(fine.shape, bool)
    for x0, y0, x1, y1 in boxes:
        inside[y0 * rows : y1 * rows, x0 * columns : x1 * columns] = True
    expected = fine[inside].sum() / fine.sum() if cells.any() else 0.0
    parts = disjoint_parts(np.array(boxes, np.float64))
    assert map_mass(cells, parts, width, height) == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(solid_boxes, st.integers(-20, 60), st.integers(-20, 60))
def test_distance_is_the_smallest_to_any_place_of_a_box(boxes, x_quarters, y_quarters):
    x, y = x_quarters / 4, y_quarters / 4
    found = distance((x, y), np.array(boxes, np.float64))
    inside = any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
    assert (found == 0) == inside
    places = [  # quarter px hold the nearest place of a box to a point on quarter px
        np.stack(np.meshgrid(np.arange(4 * x0, 4 * x1 + 1) / 4, np.arange(4 * y0, 4 * y1 + 1) / 4), -1).reshape(-1, 2)
        for x0, y0, x1, y1 in boxes
    ]
    assert found == pytest.approx(np.hypot(*(np.concatenate(places) - (x, y)).T).min(), abs=1e-9)


@pytest.mark.parametrize(
    ("point", "expected"),
    [((20, 30), 0), ((39.99, 59.99), 0), ((5, 40), 15), ((30, 15), 15), ((11, 18), 15), ((49, 72), 15), ((50, 45), 10)],
)
def test_distance_by_hand(point, expected):
    assert distance(point, np.array([[20.0, 30, 40, 60]])) == expected


@pytest.mark.parametrize("point", [(40, 45), (30, 60), (40, 60)])
def test_an_upper_edge_is_outside_but_near(point):
    assert 0 < distance(point, np.array([[20.0, 30, 40, 60]])) < 1e-9


def test_bootstrap_interval_equals_a_loop_that_repeats_images():
    generator = np.random.default_rng(5)
    cluster = np.repeat(np.arange(7), [3, 0, 1, 5, 2, 2, 9])
    values = generator.random(len(cluster))
    weights = summary.resample(7, 3)
    assert weights.shape == (summary.RESAMPLES, 7) == (2000, 7)
    means = []
    for draws in weights:
        sample = [values[cluster == image] for image in range(7) for _ in range(int(draws[image]))]
        if sum(map(len, sample)):
            means.append(100 * np.concatenate(sample).mean())
    expected = np.percentile(means, [2.5, 97.5])
    np.testing.assert_allclose(summary.bootstrap_interval(values, cluster, weights), expected)
    all_together = (100 * values.mean(), *expected)
    assert all_together[1] < all_together[0] < all_together[2]


def test_resampling_draws_as_many_images_with_replacement_and_is_seeded():
    weights = summary.resample(30, 0)
    assert (weights.sum(1) == 30).all()
    assert (weights >= 0).all()
    assert weights.mean(0) == pytest.approx(1, abs=0.1)
    assert weights.var() == pytest.approx(1 - 1 / 30, abs=0.05)  # of binomial draws
    np.testing.assert_array_equal(weights, summary.resample(30, 0))
    assert (weights != summary.resample(30, 1)).any()


def test_equal_values_within_an_image_widen_the_interval():
    """100 images of 25 phrases, half of the images all hits: the interval is that of 100 images, not 2,500 phrases."""
    phrases = tuple(EntityPhrase(0, index, "x", 0, 1, "1", ("other",)) for index in range(25))
    images = [
        EntityImage(str(n), 20, 10, ("x",), phrases, {"1": np.array([[0.0, 0, 10, 10]])}, frozenset(), frozenset())
        for n in range(100)
    ]
    hit = Prediction(boxes=np.array([[0.0, 0, 10, 10]]))
    said = {(image.id, 0, i): hit for image in images if int(image.id) % 2 for i in range(25)}
    entry = summary.summarize(images, measure(images, said))["recall@1/any-box"]
    assert (entry["value"], entry["count"]) == (50.0, 2500)
    over_images, over_phrases = 2 * 1.96 * 50 / 10, 2 * 1.96 * 50 / 50
    assert entry["high"] - entry["low"] == pytest.approx(over_images, rel=0.1)
    assert entry["high"] - entry["low"] > 4 * over_phrases
