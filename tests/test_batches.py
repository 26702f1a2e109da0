"""Several pictures in one forward pass and one walk, beside one at a time."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from grounding.batches import encode_pictures, pictures_at_once
from grounding.config import LocalizerConfig, MapConfig, RegionConfig
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.methods import METHODS, contrastive_mwp, mwp
from grounding.pipeline import Localizer
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network
from helpers.rounding import assert_rounded, tolerance

TAGS = ["man", "woman", "hat", "dog", "grass", "head", "camera", "tree"]
CONFIG = LocalizerConfig(MapConfig(resolution=24, stride=4), RegionConfig(windows=6), min_presence=0.0)
CAPTIONS = (
    ["a man in a hat", "a dog"],
    [],
    ["grass"],
    ["a woman with a camera near trees"],
    ["a dog", "a dog", "qwrtz"],
)
DEPTH = 4


def small(method=contrastive_mwp):
    """A localizer of two convolutions with random weights, that notes how many pictures it sees at once."""
    torch.manual_seed(0)
    network = plain_network([(16, 2), (32, 2)], len(TAGS), normalised=False).eval()
    return Localizer(TagClassifier(network, TAGS, Preprocessing(32), "small"), CONFIG, method=method)


@pytest.fixture(scope="module")
def pictures():
    """Large, of one pixel, grey, a Pillow image, and the first one again."""
    scene = sample_scene()
    grey = scene[100:300, 100:400].mean(2).astype(np.uint8)
    return [scene, scene[:1, :1], grey, Image.fromarray(scene[200:, :50]), scene]


@pytest.fixture
def seen(monkeypatch):
    """The number of pictures of each forward pass, and of signals and pictures of each walk."""
    passes, walks = [], []
    evidence, readings = TagClassifier.evidence, __import__("grounding").attention.readings

    def walked(tape, signals, *rest, **options):
        walks.append(tuple(signals.shape[:-1]))
        return readings(tape, signals, *rest, **options)

    monkeypatch.setattr(
        TagClassifier, "evidence", lambda self, images: passes.append(len(images)) or evidence(self, images)
    )
    monkeypatch.setattr("grounding.attention.readings", walked)
    return passes, walks


def test_no_pictures():
    localizer = small()
    assert localizer.encode_batch([]) == []
    assert localizer.ground_batch([]) == []
    localizer.prepare_together([], [])


@pytest.mark.parametrize(("at_once", "passes"), [(None, [1] * 5), (1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (64, [5])])
def test_scenes_are_those_of_one_at_a_time(pictures, seen, at_once, passes):
    localizer = small()
    scenes = localizer.encode_batch(pictures, at_once)
    assert seen[0] == passes
    for scene, picture in zip(scenes, pictures, strict=True):
        alone = localizer.encode(picture)
        for found, expected in ((scene.image, alone.image), (scene.proposals, alone.proposals)):
            np.testing.assert_array_equal(found, expected)
            assert not found.flags.writeable
        assert scene.encoding.images.shape == (1, 3, 32, 32)
        assert_rounded(scene.encoding.probabilities, alone.encoding.probabilities, DEPTH)
        if passes[0] == 1:
            assert torch.equal(scene.encoding.probabilities, alone.encoding.probabilities)


@pytest.mark.parametrize("method", [contrastive_mwp, mwp])
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_what_is_found_is_that_of_one_at_a_time(pictures, method, at_once):
    localizer = small(method)
    found = localizer.ground_batch(zip(pictures, CAPTIONS, strict=True), 3, 0.1, at_once)
    assert [[result.caption for result in results] for results in found] == [list(each) for each in CAPTIONS]
    for picture, captions, results in zip(pictures, CAPTIONS, found, strict=True):
        scene = localizer.encode(picture)
        for caption, result in zip(captions, results, strict=True):
            alone = scene.ground(caption, None, 3, 0.1)
            assert [each.phrase for each in result] == [each.phrase for each in alone]
            for one, other in zip(result, alone, strict=True):
                assert (one.status, len(one.regions), one.words) == (other.status, len(other.regions), other.words)
                assert_rounded(one.grid_map.copy(), other.grid_map.copy(), DEPTH)
                assert_rounded(one.point_map.copy(), other.point_map.copy(), DEPTH)
                assert (one.presence or 0) == pytest.approx(other.presence or 0, abs=tolerance(torch.float32, DEPTH))
    assert localizer.ground_batch([(pictures[0], [])], at_once=at_once) == [[]]


@pytest.mark.parametrize("at_once", [1, 3, 5])
def test_all_captions_of_pictures_that_are_encoded_together_are_one_walk(pictures, seen, at_once):
    """Of as many signals as the picture with the most words has: three, and what says where people end."""
    captions = (["man, dog", "a hat"], ["grass"], ["a tree", "a tree"], ["dog"], ["dog"])
    small().ground_batch(zip(pictures, captions, strict=True), at_once=at_once)
    assert seen[1] == {1: [(4, 1), *[(1, 1)] * 4], 3: [(4, 3), (1, 2)], 5: [(4, 5)]}[at_once]


def test_a_scene_of_a_batch_is_asked_alone_and_kept_alone(pictures):
    localizer = small()
    scenes = localizer.encode_batch(pictures, 5)
    last = pickle.loads(pickle.dumps(scenes[3]))
    expected = localizer.encode(pictures[3]).word_maps(TAGS)
    for scene in (scenes[3], last):
        for tag, map_ in scene.word_maps(TAGS).items():
            assert_rounded(map_, expected[tag], DEPTH)


@pytest.mark.parametrize("shown", [[3], [1, 0], [0, 1, 2, 3, 4, 0], [4, 2]])
def test_some_scenes_of_a_batch_are_prepared(pictures, shown):
    """Not all of them, not in their order, some twice: then each by itself."""
    localizer = small()
    scenes = localizer.encode_batch(pictures, 5)
    localizer.prepare_together([scenes[at] for at in shown], [[("a dog", None), (" ", None)]] * len(shown))
    for at in shown:
        assert_rounded(
            scenes[at].word_maps(["dog"])["dog"], localizer.encode(pictures[at]).word_maps(["dog"])["dog"], DEPTH
        )


@pytest.mark.parametrize("method", ["cam", "grad_cam", "gradient"])
def test_other_methods_work_on_scenes_of_a_batch(pictures, method):
    localizer = small(METHODS[method])
    (_, found), (alone,) = localizer.encode_batch([pictures[1], pictures[0]], 2), localizer.encode_batch(pictures[:1])
    for tag, map_ in found.word_maps(["dog", "hat"]).items():
        assert_rounded(map_, alone.word_maps(["dog", "hat"])[tag], DEPTH)


def test_neighbours_change_no_bit_where_each_has_a_forward_pass_of_its_own(pictures):
    localizer = small()
    alone = localizer.ground_batch([(pictures[0], ["a man in a hat", "a dog"])])[0]
    among = localizer.ground_batch([(pictures[2], ["grass"]), (pictures[0], ["a man in a hat", "a dog"])])[1]
    assert [result.to_dict() for result in alone] == [result.to_dict() for result in among]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda it, image: it.encode_batch([image, "gone.jpg"]),
            "picture 2 of the batch: image gone.jpg cannot be read",
        ),
        (lambda it, image: it.encode_batch([image, image, None]), "picture 3 of the batch: the image is a NoneType"),
        (lambda it, image: it.encode_batch([image], 0), "at_once is 0: expected at least 1"),
        (lambda it, image: it.encode_batch([image], 1.5), "at_once is 1.5: expected a whole number"),
        (lambda it, image: it.ground_batch([(image, "a man")]), "captions are the text 'a man': expected a list"),
        (lambda it, image: it.ground_batch([(image, ["a man", ""])]), "the caption is empty"),
        (lambda it, image: it.ground_batch([(image, [5])]), "the caption is a int"),
    ],
)
def test_what_cannot_be_asked(pictures, call, message):
    with pytest.raises(GroundingError, match=message):
        call(small(), pictures[1])


@pytest.mark.parametrize(("free", "count"), [(0, 1), (600 << 20, 1), (5 << 30, 10), (139 << 30, 32)])
def test_as_many_pictures_as_the_memory_holds(monkeypatch, free, count):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1 << 40))
    assert pictures_at_once(torch.device("cuda")) == count
    assert pictures_at_once(torch.device("cpu")) == 1
    assert pictures_at_once(torch.device("mps")) == 16


def test_pictures_are_read_one_after_the_other():
    pairs = encode_pictures(small().classifier, iter([np.zeros((3, 2, 3), np.uint8)] * 2), torch.device("cpu"), 2)
    assert [(pixels.shape, encoding.row) for pixels, encoding in pairs] == [((3, 2, 3), 0), ((3, 2, 3), 1)]
