"""Galleries show what tells something: no hit of nearly the whole picture by a box that is it as well."""

import numpy as np
import pytest

from grounding.datasets.flickr30k import EntityPhrase, boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.report.examples import highest, trivial_hits, typical, whole_sentences, worst
from grounding.evaluation.report.galleries import Part, SentenceCard, overlap_fact
from grounding.evaluation.report.page import render_comparison, render_report
from grounding.evaluation.report.sections import Measured
from grounding.evaluation.runs.comparison import compare
from helpers.html import Page
from helpers.reports import entity_image, make_run, photograph

WHOLE, SMALL, ELSEWHERE = (0, 0, 200, 100), (10, 10, 40, 40), (150, 60, 190, 90)
AREA_80 = (0, 0, 160, 100)  # of 200 x 100 px


def run_of(answers, status="localized", name="a run"):
    """A run of an image for each list of (type, true box, first box or None)."""
    images = [entity_image(n, [(kind, [true]) for kind, true, _ in phrases]) for n, phrases in enumerate(answers)]
    found = [box for phrases in answers for _, _, box in phrases]
    predictions = {
        (image.id, 0, phrase.index): Prediction(
            np.array([box] if box else np.zeros((0, 4)), np.float64),
            np.array([0.5] if box else []),
            status=status if box else "no-proposals",
        )
        for (image, phrase), box in zip(boxed_phrases(images), found, strict=True)
    }
    return make_run(images, predictions, name)


@pytest.mark.parametrize(
    ("true", "box", "trivial"),
    [
        (WHOLE, WHOLE, True),
        (AREA_80, WHOLE, True),
        (WHOLE, AREA_80, True),
        ((0, 0, 159, 100), WHOLE, False),  # the target is just smaller
        (WHOLE, (0, 0, 159, 100), False),  # or the box
        (SMALL, SMALL, False),
        (SMALL, WHOLE, False),  # a miss
        (WHOLE, (-50, -50, 150, 100), False),  # what is outside does not count
        (WHOLE, None, False),
    ],
)
def test_trivial_hits(true, box, trivial):
    run = run_of([[("scene", true, box)]])
    measured = Measured(run)
    assert measured.trivial.tolist() == [trivial]
    assert "at least 80% of the picture" in trivial_hits(measured)
    page = Page(render_report(run, photograph))
    cards = [attributes for attributes in page.all("svg", "photo") if "aria-label" in attributes]
    assert bool(cards) == (not trivial)
    hits = int(run.metrics["run"]["recall@1/merged-box"]["value"] == 100)
    assert f"{int(trivial)} of {hits} hit{'' if hits == 1 else 's'} are such whole-picture hits" in page.text


def test_trivial_hits_are_left_out_whatever_their_status():
    page = Page(render_report(run_of([[("scene", WHOLE, WHOLE)]], status="out-of-vocabulary"), photograph))
    assert not [attributes for attributes in page.all("svg", "photo") if "aria-label" in attributes]
    assert "1 of 1 hit are such whole-picture hits" in page.text


def test_orders():
    overlap, scores, rows = (
        np.array([0.5, 0.0, 0.0, 0.0, 0.2]),
        np.array([9.0, 1.0, 3.0, np.nan, 5.0]),
        np.ones(5, bool),
    )
    assert worst(overlap, scores, rows) == [2, 1, 3, 4, 0]
    assert highest(overlap, rows) == [0, 4, 1, 2, 3]
    assert typical(overlap, rows) == [1, 2, 3, 4, 0]
    assert worst(overlap, scores, ~rows) == highest(overlap, ~rows) == typical(overlap, ~rows) == []


def test_sentences_whose_phrases_are_all_hit():
    """The most places first; none with a miss, with one place, or with a trivial hit."""
    run = run_of(
        [
            [],
            [("people", SMALL, SMALL), ("scene", ELSEWHERE, SMALL)],  # a miss
            [("people", SMALL, SMALL)],  # one place
            [("people", SMALL, SMALL), ("scene", WHOLE, WHOLE)],  # trivial
            [("people", SMALL, (10, 10, 40, 39)), ("other", ELSEWHERE, ELSEWHERE)],
            [("people", SMALL, SMALL), ("other", ELSEWHERE, ELSEWHERE)],
            [("people", SMALL, SMALL), ("other", ELSEWHERE, ELSEWHERE), ("scene", AREA_80, (0, 0, 150, 100))],
        ]
    )
    measured = Measured(run)
    found = [[measured.phrases[row][0].id for row in rows] for rows in whole_sentences(measured)]
    assert found == [["im6"] * 3, ["im5"] * 2, ["im4"] * 2]
    page = Page(render_report(run, photograph))
    labels = [attributes["aria-label"] for attributes in page.all("svg", "photo") if "aria-label" in attributes]
    wanted = "Photograph im6 with a box for each phrase; “thing0”, IoU 1.00; “thing1”, IoU 1.00; “thing2”, IoU 0.94"
    assert wanted in labels
    assert len(page.all("mark", "part")) == 7
    assert "3 of 3 sentences." in page.text
    styles = [attributes["style"] for attributes in page.all("mark", "part")]
    assert len(set(styles[:3])) == 3  # a colour each


def test_a_phrase_inside_another_is_not_marked_twice():
    image = entity_image(1, [("people", [SMALL]), ("other", [ELSEWHERE])], "thing0 and thing1")
    first, second = image.phrases
    inside = EntityPhrase(0, 2, "ing0", 2, 6, "1", ("people",))
    card = SentenceCard(image, 0, tuple(Part(phrase, SMALL, 1.0) for phrase in (first, inside, second)), None)
    assert card.caption == [("thing0", 0), (" and ", None), ("thing1", 2)]


@pytest.mark.parametrize(
    ("overlap", "fact"),
    [(0.0, "IoU 0.00"), (0.494, "IoU 0.49"), (0.4999, "IoU just under 0.5"), (0.5, "IoU 0.50"), (1.0, "IoU 1.00")],
)
def test_a_miss_is_not_rounded_to_a_hit(overlap, fact):
    assert overlap_fact(overlap) == fact


def test_a_comparison_leaves_trivial_changes_out_and_counts_them():
    a = run_of([[("scene", WHOLE, SMALL)], [("people", SMALL, ELSEWHERE)], [("scene", AREA_80, (170, 0, 199, 9))]])
    b = run_of([[("scene", WHOLE, WHOLE)], [("people", SMALL, SMALL)], [("scene", AREA_80, (0, 0, 100, 100))]])
    page = Page(render_comparison(*compare(a, b), photograph))
    boxes = "Gained: recall@1/merged-box b hits and a misses. 2 of 2 phrases. 1 whole-picture hit left out."
    points = "Gained: pointing/phrase b hits and a misses. 1 of 1 phrase. 1 whole-picture hit left out."
    assert boxes in page.text  # the third is hit by half the picture
    assert points in page.text  # anywhere in the third is right
    assert "left out" not in page.text[page.text.index("Lost: recall@1") : page.text.index("Gained: pointing")]
