"""Questions, answers and the scenes that are kept, without any page."""

import numpy as np
import pytest
from PIL import Image

from grounding.demonstration.fragment import answer_html
from grounding.demonstration.questions import COMPARED, LONGEST, Demonstration, Question
from grounding.demonstration.scenes import Scenes
from grounding.errors import GroundingError
from grounding.images import sample_scene
from helpers.clip import save_clip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Five small pictures."""
    folder, found = tmp_path_factory.mktemp("pictures"), []
    for number in range(5):
        path = folder / f"{number}.png"
        Image.fromarray(np.roll(sample_scene()[::4, ::4], 9 * number, axis=1)).save(path)
        found.append(path)
    return found


@pytest.mark.parametrize(
    ("question", "line"),
    [
        (Question(""), "there is no sentence yet"),
        (Question(" \n"), "there is no sentence yet"),
        (Question("a" * (LONGEST + 1)), "has 501 characters: expected at most 500"),
        (Question("a dog", top_k=0), "boxes a phrase are 0: expected 1 to 5"),
        (Question("a dog", top_k=6), "expected 1 to 5"),
        (Question("a dog", depth=0), "the depth is 0: expected 1 to 7"),
        (Question("a dog", depth=8), "expected 1 to 7"),
        (Question("a dog", least=1.5), "threshold is 1.5"),
    ],
)
def test_what_cannot_be_asked(demonstration, pictures, question, line):
    with pytest.raises(GroundingError, match=line):
        demonstration.ask(pictures[0], question)


def test_no_picture_and_no_such_picture(demonstration, tmp_path):
    with pytest.raises(GroundingError, match="there is no picture yet"):
        demonstration.ask(None, Question("a dog"))
    with pytest.raises(GroundingError, match="no longer here"):
        demonstration.ask(tmp_path / "gone.png", Question("a dog"))
    with pytest.raises(GroundingError, match="no longer here"):
        demonstration.ask_again("0" * 64, Question("a dog"))


def test_an_answer_is_what_the_localizer_says(demonstration, pictures, localizer):
    answer = demonstration.ask(pictures[0], Question("a man in a red hat", top_k=3, least=0.2))
    expected = localizer.encode(pictures[0]).ground("a man in a red hat", top_k=3, threshold=0.2)
    assert answer.grounding.to_dict() == expected.to_dict()
    assert answer.tags == tuple(localizer.encode(pictures[0]).tags(8))
    assert answer.compared == {}
    assert answer.calibrated
    assert demonstration.ask_again(answer.digest, answer.question).grounding.to_dict() == expected.to_dict()


def test_settings_and_sentences_cost_no_forward_pass(demonstration, pictures):
    answer = demonstration.ask(pictures[1], Question("a hat"))
    before, scene = demonstration.scenes.encoded, demonstration.scenes.known(answer.digest)
    for question in (
        Question("a man"),
        Question("a hat", top_k=2),
        Question("a hat", depth=2),
        Question("a hat", least=1.0),
        Question("a hat", compare=True),
    ):
        assert demonstration.ask(pictures[1], question).digest == answer.digest
    assert demonstration.scenes.encoded == before
    assert demonstration.scenes.known(answer.digest) is scene
    assert scene._word_maps._maps == {}  # what is asked leaves nothing behind


def test_settings_change_what_is_found(demonstration, pictures):
    def found(**settings):
        return demonstration.ask(pictures[0], Question("a hat", **settings)).grounding[0]

    assert [len(found(top_k=k).regions) for k in (1, 4)] == [1, 4]
    assert [found(least=least).status for least in (0.0, 1.0)] == ["localized", "absent"]
    assert not np.allclose(found(depth=1).grid_map, found().grid_map, rtol=0.05, atol=0)


def test_methods_side_by_side(demonstration, pictures):
    answer = demonstration.ask(pictures[0], Question("a hat", compare=True))
    maps = [answer.compared[name][0].grid_map for name in COMPARED]
    assert np.array_equal(maps[0], answer.grounding[0].grid_map)
    assert not np.allclose(maps[0], maps[1], rtol=0.05, atol=0)
    assert not np.allclose(maps[1], maps[2], rtol=0.05, atol=0)


def test_the_latest_scenes_are_kept(localizer, pictures):
    scenes = Scenes(localizer, most=2)
    digests = [scenes.of_file(path)[0] for path in pictures[:2]]
    scenes.of_file(pictures[0])  # asked about again: the other one is the oldest
    third, _ = scenes.of_file(pictures[2])
    assert (len(scenes), scenes.encoded) == (2, 3)
    assert scenes.known(digests[0]).image.shape == (128, 128, 3)
    assert scenes.known(third)
    with pytest.raises(GroundingError, match="no longer here"):
        scenes.known(digests[1])


def test_large_pictures_are_kept_one_at_a_time(localizer, pictures):
    scenes = Scenes(localizer, most_bytes=128 * 128 * 3 + 1)
    kept = []
    for path in pictures[:3]:
        scenes.of_file(path)
        kept.append(len(scenes))
    assert kept == [1, 1, 1]


@pytest.mark.slow
def test_a_network_without_tags_answers_too_and_says_which_method_it_has_not(pictures, tmp_path):
    from grounding import Localizer

    demonstration = Demonstration(Localizer.from_pretrained(f"clip:{save_clip(tmp_path)}"))
    answer = demonstration.ask(pictures[0], Question("a man in a red hat", compare=True))
    assert (answer.calibrated, answer.tags, len(answer.grounding)) == (False, (), 2)
    assert [isinstance(answer.compared[name], str) for name in COMPARED] == [False, False, True]
    assert 1 < len(demonstration.depths.maps) <= 6
    assert "found, how surely is not known" in answer_html(answer)
