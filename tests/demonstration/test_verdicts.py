"""Numbers in words."""

import typing

import numpy as np
import pytest

from grounding.demonstration.verdicts import REASONS, presence_words, verdict, word_reasons
from grounding.grounded import GroundedPhrase, Region
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match, Reason


def grounded(status="localized", presence=0.8, score=0.4, negated=False, boxes=1):
    regions = tuple(Region(0, 0, 4, 4, score) for _ in range(boxes))
    phrase = Phrase("a dog", 0, 5, "dog", negated)
    return GroundedPhrase(phrase, status, presence, (), None, regions, *[np.zeros((2, 2), np.float32)] * 2, (8, 8))


@pytest.mark.parametrize(
    ("presence", "words"),
    [
        (0.0, "doubtful whether it is there"),
        (0.399, "doubtful whether it is there"),
        (0.4, "perhaps there"),
        (0.7, "probably there"),
        (0.899, "probably there"),
        (0.9, "surely there"),
        (1.0, "surely there"),
    ],
)
def test_presence_in_words(presence, words):
    assert presence_words(presence) == words


@pytest.mark.parametrize(
    ("case", "headline"),
    [
        ({"presence": 0.95, "score": 0.0}, "surely there, box is a guess"),
        ({"presence": 0.95, "score": 0.249}, "surely there, box is a guess"),
        ({"presence": 0.95, "score": 0.25}, "surely there, box uncertain"),
        ({"presence": 0.5, "score": 0.599}, "perhaps there, box uncertain"),
        ({"presence": 0.5, "score": 0.6}, "perhaps there, box probably right"),
        ({"status": "absent", "presence": 0.1}, "called absent"),
        ({"status": "absent", "presence": 0.1, "negated": True, "boxes": 0}, "said not to be there"),
        ({"status": "out-of-vocabulary", "presence": 0.46}, "unknown word, box is a guess"),
        ({"status": "empty-map", "boxes": 0}, "no evidence"),
        ({"status": "no-proposals", "boxes": 0}, "no box"),
    ],
)
def test_headline(case, headline):
    assert verdict(grounded(**case), 0.15, calibrated=True).headline == headline


def test_no_word_is_made_of_numbers_that_are_not_calibrated():
    assert (
        verdict(grounded(presence=0.99, score=0.9), 0.0, calibrated=False).headline == "found, how surely is not known"
    )
    assert "0.99" in verdict(grounded(presence=0.99), 0.0, calibrated=False).explanation
    assert verdict(grounded(presence=None), 0.0, calibrated=False).explanation.endswith("not calibrated.")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"presence": 0.812, "score": 0.4}, "Presence 0.81, score 0.40: about 6 of 10 such boxes were right."),
        (
            {"status": "absent", "presence": 0.1},
            "0.10 is below the minimum of 0.15. The dashed box is where it would be.",
        ),
        ({"status": "absent", "presence": 0.1, "boxes": 0}, "Its presence 0.10 is below the minimum of 0.15."),
        ({"negated": True, "presence": 0.2}, "so no box is drawn."),
        ({"negated": True, "presence": 0.8}, "The classifier thinks otherwise: probably there."),
    ],
)
def test_explanation(case, said):
    assert verdict(grounded(**case), 0.15, calibrated=True).explanation.endswith(said)


def test_every_reason_has_words():
    assert {*REASONS, "exact"} == set(typing.get_args(Reason))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], []),
        ([Match("dog", ("dog",), "exact", 1.0)], ["“dog”: the classifier knows this word."]),
        (
            [
                Match("pup", ("dog",), "kind", 1.0),
                *(Match(word, (word,), "exact", 1.0) for word in ("red", "hot", "hat")),
            ],
            [
                "“red”, “hot” and “hat”: the classifier knows these words.",
                "“pup” is looked for as “dog”: it is a kind of what the tag names.",
            ],
        ),
        ([Match("qwrtz", (), "out-of-vocabulary", 0.0)], ["“qwrtz”: no tag of the classifier comes near it."]),
        ([Match("a red hat", ("a red hat",), "text", 1.0)], ["“a red hat”: the classifier reads the text itself."]),
    ],
)
def test_reasons(words, said):
    assert word_reasons(words) == said
