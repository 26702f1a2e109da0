"""Runs are compared phrase by phrase, on the images that both have, in whatever order they were measured."""

from dataclasses import replace

import numpy as np
import pytest

from grounding.datasets.flickr30k import Flickr30kEntities, boxed_phrases
from grounding.errors import GroundingError
from grounding.evaluation.predictions.prediction import Prediction, phrase_key
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.runs.comparison import compare
from grounding.evaluation.runs.scoring import Run, Selection, score
from helpers.entities import write_entities


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return list(Flickr30kEntities(write_entities(tmp_path_factory.mktemp("data") / "entities")).read("val"))


def run(images, path, right=lambda number: True, context=None):
    """A run whose phrase of this number, counted in these images, is found exactly or not at all."""
    predictions = {
        phrase_key(image, phrase): Prediction(image.boxes[phrase.chain][:1] if right(number) else np.zeros((0, 4)))
        for number, (image, phrase) in enumerate(boxed_phrases(images))
    }
    columns = measure(images, predictions)
    settings = {"config": {"context": context}} if context else {}
    metrics = score(Selection("val", 5, images), path, settings, predictions, columns)
    return Run(metrics, images, predictions, columns, path)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1), slice(1, None, 2), slice(2, 3)])
def test_rows_are_matched_by_phrase(images, order):
    missed = phrase_key(*boxed_phrases(images)[12])
    a, b = run(images, "a", lambda number: number != 12), run(images[order], "b")
    summary, changed = compare(a, b)
    both = [image for image in images if image in images[order]]
    gained = int(missed[0] in [image.id for image in both])
    row = summary["differences"]["recall@1/any-box"]
    assert summary["phrases"] == row["count"] == sum(len(image.boxed_phrases) for image in both)
    assert (row["gained"], row["lost"]) == (gained, 0)
    pointing = [phrase_key(one.image, one.phrase) for one in changed if one.protocol == "pointing/phrase"]
    assert pointing == [missed] * gained


def test_runs_that_cannot_be_compared(images):
    with pytest.raises(GroundingError, match=r"a and b have no image in common"):
        compare(run(images[:2], "a"), run(images[3:], "b"))
    moved = replace(images[0], boxes={chain: boxes + 1 for chain, boxes in images[0].boxes.items()})
    with pytest.raises(GroundingError, match=r"a and b were scored with other annotations of image 1001"):
        compare(run(images, "a"), run([moved, *images[1:]], "b"))


@pytest.mark.parametrize(
    ("contexts", "warnings"),
    [
        (("none", "none"), []),
        (("caption", "caption"), []),
        ((None, "caption"), []),  # predictions from a file say nothing of it
        (("none", "caption"), ["the runs were grounded in other contexts: none and caption"]),
    ],
)
def test_other_contexts_are_a_warning(images, contexts, warnings):
    a, b = (run(images, name, context=context) for name, context in zip("ab", contexts, strict=True))
    assert [line for line in compare(a, b)[0]["warnings"] if "context" in line] == warnings
