"""From a picture and a caption to regions, in Python."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from PIL import Image

from grounding.config import TOP_K, LocalizerConfig, RegionConfig
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.regions.power import closeness
from grounding.regions.scoring import best_boxes, box_masses, in_turns, score_boxes
from grounding.text.people import BODY_PARTS


def test_the_library_refuses_what_makes_no_sense(scene):
    for call, message in (
        (lambda: scene.ground("the man", phrases="man"), "expected a list"),
        (lambda: scene.ground(""), "caption is empty"),
        (lambda: scene.ground(), "caption is empty"),
        (lambda: scene.ground("a man", top_k=0), "at least 1"),
        (lambda: scene.tags(0), "at least 1"),
    ):
        with pytest.raises(GroundingError, match=message):
            call()
    result = scene.ground("a man in a red hat")
    assert result == result  # compared by identity: maps are arrays
    assert [grounded.phrase.text for grounded in result[0:1]] == ["a man"]


def test_asking_changes_nothing(scene):
    first = scene.ground("a man in a red hat")
    scene.ground("green grass under a tall building", top_k=1)
    assert scene.ground("a man in a red hat").to_dict() == first.to_dict()


def test_phrases_do_not_change_each_other(scene):
    alone = scene.ground("a man")["a man"]
    among = scene.ground("a man in a red hat with a camera on green grass under a blue sky")["a man"]
    assert alone.status == among.status
    np.testing.assert_allclose(alone.grid_map, among.grid_map, rtol=1e-4, atol=1e-8)
    assert [region.box for region in alone.regions] == [region.box for region in among.regions]


def test_the_tour(localizer, tmp_path):
    import grounding

    path = tmp_path / "photo.png"
    Image.fromarray(sample_scene()).save(path)
    scene = localizer.encode(grounding.read_image(path))
    assert [round(p, 6) for _, p in scene.tags(top=5)] == sorted((round(p, 6) for _, p in scene.tags(5)), reverse=True)
    result = scene.ground("a man in a red hat")
    assert [found.phrase.text for found in result] == ["a man", "a red hat"]
    phrase_map = result["a red hat"].phrase_map
    assert phrase_map.shape == (512, 512)
    assert phrase_map.dtype == np.float32
    assert phrase_map.min() >= 0
    assert phrase_map.sum() == pytest.approx(1, abs=1e-3)
    assert result.overlay().size == (512, 512)
    with pytest.raises(KeyError, match="a red hat"):
        result["a blue hat"]


def test_boxes_follow_the_spread_of_the_map_and_come_in_turns(localizer, scene):
    config, (height, width) = localizer.config.regions, scene.image.shape[:2]
    close = closeness({tag: math.log(p / (1 - p)) for tag, p in scene.tags(len(localizer.classifier.tags))}, BODY_PARTS)
    for found in scene.ground("a man in a red hat on grass", top_k=8):
        cells = found.grid_map[None].astype(np.float64)
        power = config.gamma - config.spread_gamma * np.log(cells.sum() ** 2 / (cells.size * (cells**2).sum()))
        if found.phrase.head == "man":
            power -= config.closeness_gamma * (close - config.usual_closeness)
        rankings = []
        for turn in config.turns:
            scores = score_boxes(found.grid_map[None], scene.proposals, height, width, max(0.0, power + turn))[0]
            rankings.append(best_boxes(scores, scene.proposals, len(scores), config.nms_iou))
        expected = scene.proposals[in_turns(rankings, scene.proposals, 8, config.nms_iou)]
        np.testing.assert_array_equal([region.box for region in found.regions], expected)
        shown = [region.score for region in found.regions]
        assert shown == sorted(shown, reverse=True)
        first = score_boxes(found.grid_map[None], scene.proposals, height, width, max(0.0, power + config.turns[0]))[0]
        assert shown[0] == pytest.approx(first.max(), rel=1e-5)
        fewer = scene.ground(found.phrase.text, [found.phrase.text], top_k=3)[0].regions
        assert [region.box for region in fewer] == [region.box for region in found.regions[:3]]


def test_the_point_is_the_maximum_of_the_point_map(scene):
    height, width = scene.image.shape[:2]
    for found in scene.ground("a man in a red hat"):
        assert found.point_map.sum() == pytest.approx(1, abs=1e-5)
        row, column = divmod(int(found.point_map.argmax()), found.point_map.shape[1])
        side = len(found.point_map)
        assert found.point == pytest.approx(((column + 0.5) * width / side, (row + 0.5) * height / side))


def test_no_box_is_scored_by_a_power_below_0(localizer):
    regions = RegionConfig(spread_gamma=0.0, turns=(-1.0,))
    found = Localizer(localizer.classifier, LocalizerConfig(regions=regions)).encode(sample_scene()).ground("a man")[0]
    boxes = np.array([region.box for region in found.regions], np.float32)
    masses = box_masses(found.grid_map[None], boxes, *found.image_size)[0]
    np.testing.assert_allclose([region.score for region in found.regions], masses, rtol=1e-4)


def test_phrases_need_no_caption(scene):
    alone, written = scene.ground(phrases=["a hat", "a man"]), scene.ground("a hat, a man", ["a hat", "a man"])
    assert alone.to_dict() == written.to_dict()
    assert alone.caption == "a hat, a man"


def test_so_many_regions_unless_told_otherwise(scene):
    assert len(scene.ground("a man")[0].regions) == TOP_K
    assert len(scene.ground("a man", top_k=TOP_K + 3)[0].regions) == TOP_K + 3


def test_the_time_is_the_captions(scene):
    assert 0 < scene.ground("a man in a red hat").time_s < 60


def test_a_scene_cannot_be_written_to(localizer):
    image = sample_scene()
    scene = localizer.encode(image)
    result = scene.ground("a man")
    for array in (scene.image, scene.proposals, result.image, result[0].grid_map, result[0].point_map):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    image[:] = 0  # the caller's own
    assert scene.image.any()
    with pytest.raises(FrozenInstanceError):
        scene.image = image
    assert localizer.encode(scene.image).ground("a man").to_dict() == result.to_dict()


def test_a_network_on_another_device_is_copied(localizer, monkeypatch):
    """The device `meta` stands for an accelerator: nothing can be computed there, but tensors can be moved."""
    classifier = localizer.classifier
    monkeypatch.setattr("grounding.pipeline.usable_device", torch.device)
    moved = Localizer(classifier, device="meta").classifier
    assert {parameter.device.type for parameter in moved.network.parameters()} == {"meta"}
    assert {parameter.device.type for parameter in classifier.network.parameters()} == {"cpu"}
    assert (moved.tags, moved.preprocessing, moved.map_layer) == (
        classifier.tags,
        classifier.preprocessing,
        classifier.map_layer,
    )


def test_a_network_on_the_same_device_is_shared(localizer):
    assert Localizer(localizer.classifier).classifier is localizer.classifier


def test_what_the_caption_negates_is_absent_and_keeps_its_place(scene):
    result = scene.ground("a man without a hat on no grass")
    assert [(found.phrase.text, found.status) for found in result] == [
        ("a man", "localized"),
        ("a hat", "absent"),
        ("no grass", "absent"),
    ]
    hat = result["a hat"]
    assert (hat.point, hat.regions, hat.phrase.negated) == (None, (), True)
    assert [match.tag for match in hat.words] == ["hat"]
    assert not hat.grid_map.any()
    assert not hat.point_map.any()
    assert not hat.phrase_map.any()
    assert [p["negated"] for p in result.to_dict()["phrases"]] == [False, True, True]
    assert result.overlay().size == scene.ground("a man").overlay().size


def test_given_phrases_with_negations(scene):
    result = scene.ground(phrases=["no hat", "a man without a hat", "a man"])
    assert [found.status for found in result] == ["absent", "localized", "localized"]
    np.testing.assert_array_equal(result[1].grid_map, result[2].grid_map)
    assert str(result[1].words[1]) == "hat (negated)"


def test_captions_are_read_before_they_are_grounded(scene):
    plain = scene.ground("a man's hat and a red hat")
    for caption in ("a man&#39;s hat and a red\nhat", "ａ man's h\u200bat and\u00a0a red hat"):
        result = scene.ground(caption)
        assert result.caption == caption
        assert [found.phrase.text for found in result] == ["a man's hat", "a red hat"]
        assert [found.best for found in result] == [found.best for found in plain]
        assert result["a red hat"] is result["a red\nhat"]
        assert result["a man&#39;s hat"] is result["a man's hat"]
    for blank in ("\u200b", "&nbsp;", " \n"):
        with pytest.raises(GroundingError, match="caption is empty"):
            scene.ground(blank)


def test_a_prompt_that_is_a_list(scene):
    assert [found.phrase.text for found in scene.ground("man . hat . remote .")] == ["man", "hat", "remote"]


def test_a_caption_that_is_hardly_english_has_a_note(scene):
    assert scene.ground("a man in a red hat").notes == ()
    result = scene.ground("Ein Mann mit einem roten Hut")
    assert list(result.notes) == result.to_dict()["notes"]
    assert "read as English" in result.notes[0]
    assert len(result) > 0
