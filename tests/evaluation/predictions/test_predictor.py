"""The package's own predictions: records as a file would keep them, or why a photograph could not be read."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from grounding.config import LocalizerConfig, MapConfig, load
from grounding.datasets.flickr30k import EntityImage, EntityPhrase, Flickr30kEntities
from grounding.errors import GroundingError
from grounding.evaluation.predictions.predictor import Job, Predictor, ground_phrases, predict
from grounding.evaluation.predictions.records import prediction_from_json, prediction_to_json
from grounding.images import read_image
from grounding.methods import METHODS
from grounding.pipeline import Localizer, Scene
from grounding.word_maps import WordMaps
from helpers.entities import write_entities
from helpers.predictions import parts


@pytest.fixture(scope="module")
def entities(tmp_path_factory):
    return write_entities(tmp_path_factory.mktemp("data") / "entities", photographs=True)


def test_a_prediction_is_what_a_file_gives_back(localizer, entities):
    image = next(Flickr30kEntities(entities).read("val"))
    predictions = predict(localizer.encode(read_image(entities / "photographs" / "1001.jpg")), image)
    assert list(predictions) == [("1001", 0, 0), ("1001", 0, 1), ("1001", 1, 0), ("1001", 1, 2)]
    for key, prediction in predictions.items():
        assert parts(prediction) == parts(prediction_from_json(prediction_to_json(key, prediction))[1])
        assert prediction.map.dtype == prediction.point_map.dtype == "uint8"
        assert prediction.map.shape == (32, 32)


def test_an_outcome_is_predictions_or_an_error(localizer, entities):
    job = Job((entities / "photographs",), "embedded", LocalizerConfig(), "cpu")
    image, broken, *_ = Flickr30kEntities(entities).read("val")
    look = Predictor(job, localizer.classifier)
    outcome = look(image)
    content = (entities / "photographs" / "1001.jpg").read_bytes()
    assert (outcome.image, outcome.error, outcome.size) == ("1001", None, (200, 100))
    assert outcome.sha256 == hashlib.sha256(content).hexdigest()
    assert len(outcome.predictions) == 4
    (entities / "photographs" / "1002.jpg").write_bytes(b"no picture")
    outcome = look(broken)
    assert (outcome.image, outcome.predictions) == ("1002", {})
    assert outcome.error.startswith("image 1002.jpg is no picture")


def test_a_job_names_its_method():
    job = Job((), "embedded", LocalizerConfig(), "cpu")
    assert Predictor(job).localizer.method is METHODS["contrastive_mwp"]
    assert Predictor(Job((), "embedded", LocalizerConfig(), "cpu", "mwp")).localizer.method is METHODS["mwp"]


TWICE = EntityImage(
    *("1", 640, 400),
    ("A man waves , and a dog of another man runs .", "Nothing .", "some of the people near some of them in a hat ."),
    (
        EntityPhrase(0, 0, "A man", 0, 5, "1", ("people",)),
        EntityPhrase(0, 1, "a dog", 18, 23, "2", ("animals",)),
        EntityPhrase(0, 2, "man", 35, 38, "3", ("people",)),
        EntityPhrase(2, 0, "some", 0, 4, "0", ("notvisual",)),  # without a box, of the same words as the next
        EntityPhrase(2, 1, "some", 24, 28, "3", ("people",)),
        EntityPhrase(2, 2, "a hat", 40, 45, "1", ("clothing",)),
    ),
    {"1": np.array([[0.0, 0, 9, 9]]), "2": np.array([[0.0, 0, 9, 9]]), "3": np.array([[0.0, 0, 9, 9]])},
    *(frozenset(), frozenset()),
)


def with_context(localizer, context):
    return Localizer(localizer.classifier, LocalizerConfig(context=context))


@pytest.fixture
def asked(monkeypatch):
    """Everything that scenes are asked for, as (caption, phrases, top_k)."""
    calls, ground = [], Scene.ground

    def noted(self, caption=None, phrases=None, top_k=5, threshold=None):
        calls.append((caption, phrases, top_k))
        return ground(self, caption, phrases, top_k, threshold)

    monkeypatch.setattr(Scene, "ground", noted)
    return calls


def test_without_context_each_text_is_asked_for_once(localizer, scene, asked):
    found = ground_phrases(scene.under(with_context(localizer, "none")), TWICE, 7)
    texts = ["A man", "a dog", "man", "some", "a hat"]
    assert asked == [(", ".join(texts), texts, 7)]
    assert [answer.phrase.text for answer in found.values()] == texts


def test_with_context_each_caption_is_asked_for_with_its_phrases_in_order(localizer, scene, asked):
    found = ground_phrases(scene.under(with_context(localizer, "caption")), TWICE, 7)
    assert asked == [
        (TWICE.captions[0], ["A man", "a dog", "man"], 7),
        (TWICE.captions[2], ["some", "some", "a hat"], 7),
    ]
    assert list(found) == [("1", 0, 0), ("1", 0, 1), ("1", 0, 2), ("1", 2, 1), ("1", 2, 2)]
    spans = [(answer.phrase.start, answer.phrase.end) for answer in found.values()]
    assert spans == [(phrase.start, phrase.end) for phrase in TWICE.boxed_phrases]


@pytest.mark.parametrize("context", ["none", "caption"])
def test_nothing_is_asked_of_an_image_without_a_phrase(localizer, scene, asked, context):
    nothing = replace(TWICE, boxes={})
    assert predict(scene.under(with_context(localizer, context)), nothing) == {}
    assert asked == []


def test_each_phrase_has_the_prediction_of_its_own_caption(localizer, scene, monkeypatch):
    """Said of a phrase is how long its caption is: every prediction is the one of its own sentence."""
    ground = Scene.ground

    def told(self, caption=None, phrases=None, top_k=5, threshold=None):
        result = ground(self, caption, phrases, top_k, threshold)
        return [replace(found, point=(float(len(caption)), 1.0)) for found in result]

    monkeypatch.setattr(Scene, "ground", told)
    scene = scene.under(with_context(localizer, "caption"))
    width = scene.image.shape[1]
    for (_, sentence, _), prediction in predict(scene, TWICE).items():
        expected = len(TWICE.captions[sentence]) * TWICE.width / width
        assert prediction.point[0] == pytest.approx(expected, abs=0.01)


def test_word_maps_are_made_once_a_photograph(localizer, scene):
    signals = []

    def method(encoding, wanted, maps):
        signals.append(len(wanted))
        return METHODS["contrastive_mwp"](encoding, wanted, maps)

    seen = Localizer(localizer.classifier, LocalizerConfig(context="caption"), method=method)
    predict(scene.under(seen), TWICE)
    assert len(signals) == 1  # all words of all captions together, with the parts that people are made whole of
    part_tags = WordMaps(scene.encoding, method, MapConfig()).most_probable(localizer.part_tags)
    assert len(part_tags) == 24
    words = {match.tag for found in ground_phrases(scene, TWICE, 1).values() for match in found.words if match.tag}
    assert signals == [len(words | set(part_tags))]


def test_a_context_is_none_or_the_caption():
    assert load(LocalizerConfig, None, ["context=caption"]).context == "caption"
    with pytest.raises(GroundingError, match=r"context.*caption, none"):
        load(LocalizerConfig, None, ["context=captions"])
