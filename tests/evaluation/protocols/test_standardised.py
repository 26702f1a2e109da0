"""Standardised numbers: by hand, and their intervals by resamples that are taken literally."""

import numpy as np
import pytest

from grounding.datasets.flickr30k import Flickr30kEntities, boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction, phrase_key
from grounding.evaluation.protocols import standardised
from grounding.evaluation.protocols.baselines import baselines
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE, POINTING, recall
from grounding.evaluation.protocols.raking import cells
from grounding.evaluation.protocols.standardised import standardise
from grounding.evaluation.protocols.summary import resample, summarize
from helpers.entities import image_with, write_entities
from helpers.raking import slow_weights

SMALL, LARGE = (0, 0, 20, 20), (0, 0, 100, 100)
FIRST = recall(1, "merged-box").name


def answers(images, hit):
    """Columns in which the phrases of this (image, chain) are found exactly, and the others not at all."""
    predictions = {
        phrase_key(image, phrase): Prediction(image.boxes[phrase.chain][: hit(image.id, phrase.chain)])
        for image, phrase in boxed_phrases(images)
    }
    return measure(images, predictions)


def person(sentence, chain):
    return sentence, chain, "people", [SMALL]


def dog(sentence, chain):
    return sentence, chain, "animals", [SMALL]


IMAGES = [
    image_with("1", [person(0, "1"), person(0, "2"), dog(0, "3")]),
    image_with("2", [person(0, "4")]),
    image_with("3", [dog(0, str(chain)) for chain in range(5, 9)]),
]
PART = IMAGES[:2]  # three people, of whom all are found; one dog of five, which is not


def test_by_hand():
    """All of the whole: 3 people and 5 dogs. The people of the part are 3 of 4: 75% found, as of the whole 3/8."""
    columns = answers(PART, lambda _, chain: chain in "124")
    found = standardise(PART, cells(IMAGES).total(), {"ours": columns})
    assert found["phrases_in_split"] == 8
    assert found["numbers"]["ours"][FIRST]["value"] == pytest.approx(100 * 3 / 8, abs=1e-3)
    assert summarize(PART, columns)[FIRST]["value"] == 75
    assert found["numbers"]["ours"][FIRST]["count"] == 4
    assert found["numbers"]["ours"]["attention-correctness/any-box"] == {"count": 0}  # there are no maps
    # Weights 1/2, 1/2, 1/2 and 5/2: 4 squared over 3/4 + 25/4.
    assert found["effective_phrases"] == pytest.approx(16 / 7, abs=1e-4)
    assert found["notes"] == []


def test_a_phrase_of_two_types_counts_half_in_each():
    """Whole: a person, a dog, and one that is both. Part: the person and both, half of whom stands for 3/2 animals."""
    images = [
        image_with("1", [person(0, "1"), (0, "2", "people animals", [SMALL])]),
        image_with("2", [dog(0, "3")]),
    ]
    columns = answers(images[:1], lambda _, chain: chain == "2")
    found = standardise(images[:1], cells(images).total(), {"ours": columns})
    # People 3/2 of 2 phrases weigh 1/2 of the whole and animals 1/2 the other: entries 2/3, 1/3 and 1.
    assert found["numbers"]["ours"][FIRST]["value"] == pytest.approx(100 * (1 / 3 + 1) / 2, abs=1e-3)


def test_a_filter_leaves_the_weights_as_they_are():
    """Small things are 4% of the picture: under the 5% filter only the large ones count, weighted."""
    large = [image_with("4", [(0, "1", "people", [LARGE]), (0, "2", "animals", [LARGE]), person(0, "3")])]
    whole = [*large, image_with("5", [(0, "1", "animals", [LARGE])] * 2)]
    columns = answers(large, lambda _, chain: chain == "1")
    found = standardise(large, cells(whole).total(), {"ours": columns})["numbers"]["ours"]["pointing/phrase-5%"]
    weights = slow_weights(list(cells(large).names), cells(whole).total(), 200)
    assert found["count"] == 2
    assert found["value"] == pytest.approx(100 * weights[0] / (weights[0] + weights[1]), abs=1e-2)


def test_intervals_are_of_resamples_that_are_fitted_again(tmp_path, monkeypatch):
    whole = list(Flickr30kEntities(write_entities(tmp_path / "entities")).read("val"))
    part = [whole[0], whole[1], whole[3]]
    columns = answers(part, lambda image, chain: (int(image) + int(chain)) % 3 > 0)
    few = resample(len(part), 0)[:9]
    monkeypatch.setattr(standardised, "resample", lambda *_: few)
    monkeypatch.setattr(standardised, "_AT_ONCE", 4)
    target = cells(whole).total()
    found = standardise(part, target, {"ours": columns})["numbers"]["ours"]
    for protocol in (POINTING[0], POINTING[2], recall(1, "any-box")):
        values, means = protocol.values(columns), []
        for draws in few.astype(int):
            names, sizes, hits = [], [], []
            for number, times in enumerate(draws):
                rows = [row for row, key in enumerate(columns.index) if key[0] == part[number].id]
                own = cells([part[number]])
                for _ in range(times):
                    names += own.names
                    sizes += own.sizes.tolist()
                    hits += [values[rows[phrase]] for phrase in own.phrases]
            weights = np.array(slow_weights(names, target, 200, sizes)) * sizes
            kept = ~np.isnan(hits)
            if kept.any():
                means.append(100 * (weights * hits)[kept].sum() / weights[kept].sum())
        low, high = np.percentile(means, [2.5, 97.5])
        assert (found[protocol.name]["low"], found[protocol.name]["high"]) == pytest.approx((low, high), abs=2e-3)


def test_the_whole_is_its_own_standard(tmp_path):
    whole = list(Flickr30kEntities(write_entities(tmp_path / "entities")).read("val"))
    columns = answers(whole, lambda image, chain: (int(image) + int(chain)) % 2)
    floors = baselines(whole)
    found = standardise(whole, cells(whole).total(), {"ours": columns, **floors})
    raw = {name: summarize(whole, rows) for name, rows in {"ours": columns, **floors}.items()}
    for name, numbers in found["numbers"].items():
        for protocol in HEADLINE:
            number, expected = numbers[protocol.name], raw[name][protocol.name]
            assert number["count"] == expected["count"]
            assert number.get("value") == pytest.approx(expected.get("value"))
    assert found["effective_phrases"] == pytest.approx(20)
    assert found["notes"] == []


def test_a_type_that_no_photograph_shows_is_said():
    part = [IMAGES[1]]
    columns = answers(part, lambda *_: True)
    found = standardise(part, cells(IMAGES).total(), {"ours": columns})
    assert found["notes"] == ["entity type: no phrase here stands for animals (62.5%) of the split"]
    assert found["numbers"]["ours"][FIRST] == {"value": 100, "low": 100, "high": 100, "count": 1}


def test_all_that_is_missing_of_a_margin_is_one_note():
    part = [image_with("1", [person(0, "1")])]
    whole = [*part, image_with("2", [dog(0, "1"), (0, "2", "scene", [LARGE]), (0, "3", "scene", [SMALL, SMALL])])]
    found = standardise(part, cells(whole).total(), {"ours": answers(part, lambda *_: True)})
    assert found["notes"] == [
        "entity type: no phrase here stands for animals (25.0%), scene (50.0%) of the split",
        "area of the merged box: no phrase here stands for 80 to 100% (25.0%) of the split",
        "number of boxes: no phrase here stands for 2 (25.0%) of the split",
        "centre of the picture in the merged box: no phrase here stands for yes (25.0%) of the split",
    ]


def test_margins_that_cannot_be_met_are_said():
    part = [image_with("1", [person(0, "1"), (0, "2", "animals", [LARGE])])]
    whole = [*part, image_with("2", [(0, str(chain), "people", [LARGE]) for chain in range(1, 7)])]
    found = standardise(part, cells(whole).total(), {"ours": answers(part, lambda *_: True)})
    (note,) = found["notes"]
    assert note.startswith("no weights meet all margins: the share of a category differs by up to 75.0 points")


def test_the_number_itself_is_no_resample(monkeypatch):
    """The only resample has the first image twice: one of its two people is found, and people are 3/8 of the whole."""
    monkeypatch.setattr(standardised, "resample", lambda *_: np.array([[2.0, 0]]))
    found = standardise(PART, cells(IMAGES).total(), {"ours": answers(PART, lambda _, chain: chain == "1")})
    number = found["numbers"]["ours"][FIRST]
    assert number == pytest.approx({"value": 100 / 8, "low": 300 / 16, "high": 300 / 16, "count": 4}, abs=1e-3)
