"""Two people of one caption: which pairs count, and which boxes are the same, by hand."""

import itertools

import numpy as np
import pytest

from grounding.evaluation.predictions.prediction import Prediction, phrase_key
from grounding.evaluation.protocols.summary import resample
from grounding.evaluation.protocols.which_of_two import pairs_of_people, summarize_which_of_two
from helpers.entities import image_with

A, B, C = (0, 0, 40, 100), (50, 0, 90, 100), (52, 0, 90, 100)  # the IoU of B and C is 38 / 40
BOX = {"A": A, "B": B, "C": C, "7": (0, 0, 7, 10), "10": (0, 0, 10, 10), "71": (0, 0, 71, 10), "100": (0, 0, 100, 10)}

CAPTIONS = image_with(
    "1",
    [
        (0, "1", "people", [A]),
        (0, "2", "people", [B]),
        (0, "9", "animals", [C]),  # no person
        (0, "1", "people", [A]),  # the first again, as "he": not two people, but another pair with the second
        (1, "3", "bodyparts people", [C]),
        (1, "4", "people", [A, B]),  # a group
        (1, "2", "people", [B]),
        (1, "5", "people", []),  # no box
        (2, "6", "people", [A]),  # alone in its caption
    ],
)


def says(*names):
    return Prediction(np.array([BOX[name] for name in names], np.float64).reshape(-1, 4))


def test_which_pairs_count():
    pairs = [(first.sentence, first.index, second.index) for first, second in pairs_of_people(CAPTIONS)]
    assert pairs == [(0, 0, 1), (0, 1, 3), (1, 0, 2)]


def test_by_hand():
    said = {
        ("1", 0, 0): says("A", "B"),
        ("1", 0, 1): says("A", "C"),  # the best box of the first person: only it counts
        ("1", 0, 3): says("C"),
        ("1", 1, 0): says("B"),  # ("1", 1, 2) has no prediction
    }
    found = summarize_which_of_two([CAPTIONS], said)
    assert found["best_boxes"]["value"] == pytest.approx(100 / 3)
    assert found["true_boxes"]["value"] == pytest.approx(100 / 3)  # chains 2 and 3
    assert found["best_boxes"]["count"] == found["true_boxes"]["count"] == 3


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [("7", "10", 0), ("71", "100", 100), ("A", "A", 100), ("A", "B", 0), ("B", "C", 100)],
)
def test_the_same_is_an_iou_above_7_tenths(first, second, same):
    image = image_with("1", [(0, "1", "people", [BOX[first]]), (0, "2", "people", [BOX[second]])])
    found = summarize_which_of_two([image], {("1", 0, 0): says(second), ("1", 0, 1): says(first)})
    assert found["true_boxes"]["value"] == found["best_boxes"]["value"] == same


def test_no_boxes_are_not_the_same():
    image = image_with("1", [(0, "1", "people", [A]), (0, "2", "people", [A])])
    found = summarize_which_of_two([image], {("1", 0, 0): says(), ("1", 0, 1): says()})
    assert (found["best_boxes"]["value"], found["true_boxes"]["value"]) == (0, 100)


def test_without_a_pair_nothing_is_measured():
    alone = image_with("1", [(0, "1", "people", [A])])
    for image in (alone, image_with("2", [])):
        found = summarize_which_of_two([image], {})
        assert found["best_boxes"] == found["true_boxes"] == {"count": 0}


def test_the_interval_is_over_images():
    generator = np.random.default_rng(8)
    images = [
        image_with(str(number), [(0, str(chain), "people", [A]) for chain in range(2 + number % 3)])
        for number in range(6)
    ]
    said = {
        phrase_key(image, phrase): says(generator.choice(["A", "B"])) for image in images for phrase in image.phrases
    }
    same = [
        [
            said[phrase_key(image, a)].boxes.tolist() == said[phrase_key(image, b)].boxes.tolist()
            for a, b in itertools.combinations(image.phrases, 2)
        ]
        for image in images
    ]
    means = [
        100 * np.mean([hit for image, times in zip(same, draws, strict=True) for hit in image * int(times)])
        for draws in resample(6, 0)
    ]
    found = summarize_which_of_two(images, said)["best_boxes"]
    assert found["value"] == pytest.approx(100 * np.mean(list(itertools.chain(*same))))
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
