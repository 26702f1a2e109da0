"""Word maps of one picture, by a method that invents them."""

import math

import numpy as np
import pytest
import torch

from grounding.config import MapConfig
from grounding.methods import encode
from grounding.regions.maps import phrase_map, upsample
from grounding.regions.wholes import part_map
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match
from grounding.word_maps import WordMaps, tags_of

SIDE = 12
CONFIG = MapConfig(resolution=SIDE)


class Invented:
    """A method whose map of a tag depends on the tag alone; notes how many were asked for at once."""

    def __init__(self):
        self.asked = []

    def __call__(self, encoding, signals, config):
        assert config == CONFIG
        self.asked.append(len(signals))
        return torch.stack([self.of(int(signal.argmax())) for signal in signals])

    def of(self, index):
        return torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(index))


@pytest.fixture(scope="module")
def encoding(localizer):
    image = np.full((40, 50, 3), 128, np.uint8)
    return encode(localizer.classifier, localizer.classifier.preprocessing(image))


@pytest.fixture
def invented():
    return Invented()


@pytest.fixture
def maps(encoding, invented):
    return WordMaps(encoding, invented, CONFIG)


def phrase(text="a hat", negated=False):
    return Phrase(text, 0, len(text), text.split()[-1], negated)


def test_nothing_is_asked_for(maps, invented):
    assert maps.of([]) == {}
    assert maps.phrase_maps([], []).shape == (0, SIDE, SIDE)
    assert maps.part_map([]) is None
    assert invented.asked == []


def test_maps_are_made_once_and_some_at_a_time(maps, invented, encoding):
    tags = [(tag,) for tag in encoding.classifier.tags[:40]]
    found = maps.of([*tags[:3], tags[1]])
    assert (list(found), invented.asked) == (tags[:3], [3])
    maps.of(tags[2:0:-1])
    assert invented.asked == [3]
    found = maps.of(tags)
    assert (list(found), invented.asked) == (tags, [3, 37])
    for (tag,), map_ in found.items():
        assert map_.dtype == torch.float32
        assert torch.equal(map_, invented.of(encoding.classifier.indices[tag]).float())


def test_phrase_maps_are_of_their_words(maps, invented, encoding):
    man, hat = (invented.of(encoding.classifier.indices[tag]).float() for tag in ("man", "hat"))
    words = {"man": Match("man", ("man",), "exact", 1.0), "hat": Match("hat", ("hat",), "exact", 0.5)}
    unknown, negated = Match("qwrtz", (), "unknown", 0.0), Match("hat", ("hat",), "negated", 0.0)
    table = [
        (phrase("a man"), (words["man"],), phrase_map(man[None], torch.ones(1))),
        (
            phrase("a hat man"),
            (words["hat"], words["man"]),
            phrase_map(torch.stack([hat, man]), torch.tensor([0.5, 1])),
        ),
        (phrase("qwrtz man"), (unknown, words["man"]), phrase_map(man[None], torch.ones(1))),
        (phrase("qwrtz"), (unknown,), torch.ones(3, 3)),
        (phrase("of the"), (), torch.ones(3, 3)),
        (phrase("no hat", negated=True), (words["hat"],), torch.zeros(3, 3)),
        (phrase("no qwrtz", negated=True), (unknown,), torch.zeros(3, 3)),
        (phrase("hat"), (negated,), torch.zeros(3, 3)),
    ]
    found = maps.phrase_maps([asked for asked, _, _ in table], [matches for _, matches, _ in table])
    torch.testing.assert_close(found, upsample(torch.stack([expected for *_, expected in table]), SIDE, SIDE))


def test_the_part_map_is_of_the_most_probable_parts(maps, invented, encoding):
    parts = encoding.classifier.tags[100:140]
    exact = {tag: float(encoding.probabilities[encoding.classifier.indices[tag]]) for tag in parts}
    odds = {tag: 1 / (1 + math.exp(-round(math.log(p / (1 - p)), 1))) for tag, p in exact.items()}
    best = sorted(parts, key=lambda tag: -odds[tag])[:24]
    stack = torch.stack([invented.of(encoding.classifier.indices[tag]).float() for tag in best])
    expected = part_map(stack, torch.tensor([odds[tag] for tag in best]), SIDE)
    assert maps.most_probable(parts) == best
    torch.testing.assert_close(maps.part_map(best), expected)
    assert torch.equal(maps.part_map(best), maps.part_map(tuple(best)))
    assert invented.asked == [24]
    few = parts[:2]
    one_by_one = torch.stack([invented.of(encoding.classifier.indices[tag]).float() for tag in few])
    torch.testing.assert_close(maps.part_map(few), part_map(one_by_one, torch.tensor([odds[tag] for tag in few]), SIDE))


def test_tags_are_named_once_in_order():
    hat, man = Match("hats", ("hat",), "stem", 1.0), Match("man", ("man",), "exact", 1.0)
    assert tags_of([]) == tags_of([(), (Match("qwrtz", (), "unknown", 0.0),)]) == []
    assert tags_of([(man, hat), (hat,)]) == [("hat",), ("man",)]
    cat = Match("cat", ("tabby", "lynx"), "kinds", 1.0)
    assert tags_of([(man, cat), (hat, cat)]) == [("hat",), ("man",), ("tabby", "lynx")]


def test_a_word_with_several_tags_has_one_map(encoding):
    """Of the mean of their signals; other words with one of these tags have theirs."""
    asked = []

    def linear(encoding, signals, config):
        asked.extend(signals)
        return signals[:, :9].unflatten(1, (3, 3))

    first, second, third = encoding.classifier.tags[:3]
    maps = WordMaps(encoding, linear, CONFIG)
    both, one = Match("them", (first, third), "kinds", 1.0), Match("it", (third,), "exact", 1.0)
    found = maps.phrase_maps([phrase("them"), phrase("it")], [(both,), (one,)])
    expected = torch.zeros(2, len(encoding.classifier.tags))
    expected[0, 0] = expected[0, 2] = 0.5
    expected[1, 2] = 1
    assert torch.equal(torch.stack(asked), expected)
    words = [expected[:1, :9].unflatten(1, (3, 3)), expected[1:, :9].unflatten(1, (3, 3))]
    means = torch.stack([phrase_map(word, torch.ones(1)) for word in words])
    torch.testing.assert_close(found, upsample(means, SIDE, SIDE))
    assert list(maps.of([(second,), (first, third)])) == [(second,), (first, third)]
    assert len(asked) == 3
