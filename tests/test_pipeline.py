"""From a picture and a caption to regions, in Python."""

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torchvision.ops import box_iou

from grounding.config import TOP_K, LocalizerConfig, RegionConfig, WholeConfig
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.methods import METHODS
from grounding.pipeline import Localizer
from grounding.regions.confidence import agreement, falling
from grounding.regions.power import closeness
from grounding.regions.scoring import best_boxes, box_masses, in_turns, score_boxes
from grounding.text.people import BODY_PARTS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no caption was given: expected a sentence .*, or phrases="),
        ({"caption": None}, "no caption was given"),
        ({"caption": ""}, "the caption is empty"),
        ({"caption": " \n"}, "the caption is empty"),
        ({"caption": ["a man"]}, r"the caption is a list: .* phrases=\[\.\.\.\]"),
        ({"caption": ("a man", "a hat")}, "the caption is a tuple"),
        ({"caption": 5}, "the caption is a int: expected a sentence"),
        ({"caption": b"a man"}, "the caption is a bytes"),
        ({"caption": float("nan"), "phrases": ["a man"]}, "the caption is a float"),
        ({"caption": "the man", "phrases": "man"}, "phrases are the text 'man': expected a list"),
        ({"phrases": []}, "phrases are empty: expected a list of texts"),
        ({"caption": "a man", "phrases": ()}, "phrases are empty"),
        ({"phrases": [3]}, "phrase 1 is a int: expected a list of texts"),
        ({"phrases": ["a man", None]}, "phrase 2 is a NoneType"),
        ({"phrases": ["a man", ["a hat"]]}, "phrase 2 is a list"),
        ({"phrases": 3}, "phrases are a int"),
        ({"phrases": ["a man", " "]}, "phrase ' ' is blank"),
        ({"caption": "a man", "top_k": 0}, "top_k is 0: expected at least 1"),
        ({"caption": "a man", "top_k": 2.0}, "top_k is 2.0: expected a whole number"),
        ({"caption": "a man", "top_k": True}, "top_k is True"),
        ({"caption": "a man", "top_k": "3"}, "top_k is '3'"),
        ({"caption": "a man", "top_k": None}, "top_k is None"),
        ({"caption": "a man", "threshold": "0.5"}, "threshold is '0.5': expected a probability"),
        ({"caption": "a man", "threshold": 1.5}, "threshold is 1.5"),
        ({"caption": "a man", "threshold": True}, "threshold is True"),
    ],
)
def test_what_cannot_be_asked_is_one_line(scene, arguments, message):
    with pytest.raises(GroundingError, match=message) as caught:
        scene.ground(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classifier", ["embedded", None, 5])
def test_what_is_no_classifier(classifier):
    with pytest.raises(GroundingError, match=r"expected a TagClassifier; .*from_pretrained"):
        Localizer(classifier)


@pytest.mark.parametrize("top", [0, 2.5, True, None])
def test_so_many_tags_are_no_number(scene, top):
    with pytest.raises(GroundingError, match=f"top is {top}"):
        scene.tags(top)


def test_phrases_may_be_any_collection_of_texts(scene):
    expected = scene.ground(phrases=["a man"]).to_dict()
    for phrases in (("a man",), np.array(["a man"]), iter(["a man"]), {"a man": 1}):
        assert scene.ground(phrases=phrases).to_dict() == expected
    assert scene.ground("a man", top_k=np.int64(2)).to_dict() == scene.ground("a man", top_k=2).to_dict()


def test_a_phrase_is_in_the_result_where_it_can_be_looked_up(scene):
    result = scene.ground("a man in a red hat")
    for item, expected in {"a man": True, "A man": False, "man": False, "": False, result[1]: True, 0: False}.items():
        assert (item in result) is expected
        if isinstance(item, str) and not expected:
            with pytest.raises(KeyError):
                result[item]
    assert scene.ground("a man")[0] not in result


def test_what_is_printed_of_everything_is_one_line(localizer, scene):
    result = scene.ground("a man in a red hat with a very long caption about a camera, and\nmore than one line of it")
    long = replace(localizer.classifier, name="/home/somebody/" + "deep/" * 50 + "classifier")
    said = {
        localizer: ["embedded", "contrastive_mwp", "cpu"],
        Localizer(localizer.classifier, method=lambda encoding, signals, config: signals): ["<lambda>"],
        scene: ["512 x 512 px", "embedded", "proposals"],
        localizer.classifier: ["embedded", f"{len(localizer.classifier.tags):,} tags", "multi-label"],
        long: ["/home/somebody/"],
        scene.encoding: ["(1, 3, ", "float32"],
        scene.encoding.tape: ["(1, 3, ", "operations"],
        result: ["a man in a red hat", f"{len(result)} phrases"],
        scene.ground("a man"): ["'a man', 1 phrase"],
        scene.ground("running quickly"): ["0 phrases)"],
        result[0]: ["'a man'", result[0].status, f"{result[0].best.score:.2f}"],
        scene.ground(phrases=["a\nman " * 99])[0]: ["'a man a man", "…"],
    }
    for thing, facts in said.items():
        text = repr(thing)
        assert text.startswith(f"{type(thing).__name__}(")
        assert len(text) <= 120, text
        assert "\n" not in text
        assert " at 0x" not in text
        for fact in facts:
            assert fact in text, text


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda scene: pickle.loads(pickle.dumps(scene))])
def test_a_copy_of_a_scene_finds_the_same(scene, copied):
    assert copied(scene).ground("a man in a red hat").to_dict() == scene.ground("a man in a red hat").to_dict()
    result = scene.ground("a man in a red hat")
    assert copied(result).to_dict() == result.to_dict()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast(localizer, scene, dtype):
    expected = scene.ground("a man in a red hat")
    with torch.autocast("cpu", dtype=dtype):
        full = scene.ground("a man in a red hat")
        cast = localizer.encode(sample_scene()).ground("a man in a red hat")
    assert full.to_dict() == expected.to_dict()
    for ours, theirs in zip(cast, expected, strict=True):
        assert ours.grid_map.dtype == np.float32
        np.testing.assert_allclose(ours.grid_map, theirs.grid_map, atol=HALVES[torch.bfloat16] * theirs.grid_map.max())


def test_grad_cam_under_autocast(localizer):
    by_gradient = Localizer(localizer.classifier, method="grad_cam")
    expected = by_gradient.encode(sample_scene()).ground("a man")[0].grid_map
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = by_gradient.encode(sample_scene()).ground("a man")[0].grid_map
    np.testing.assert_allclose(found, expected, atol=0.05 * expected.max())


def test_with_another_default_type(localizer, scene):
    expected = scene.ground("a man in a qwrtz").to_dict()
    torch.set_default_dtype(torch.float64)
    try:
        found = localizer.encode(sample_scene()).ground("a man in a qwrtz")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {found[0].grid_map.dtype, found[1].point_map.dtype} == {np.dtype(np.float32)}
    assert found.to_dict() == expected


def test_a_result_can_be_compared_and_sliced(scene):
    result = scene.ground("a man in a red hat")
    assert result == result  # compared by identity: maps are arrays
    assert [grounded.phrase.text for grounded in result[0:1]] == ["a man"]


def test_asking_changes_nothing(scene):
    first = scene.ground("a man in a red hat")
    scene.ground("green grass under a tall building", top_k=1)
    assert scene.ground("a man in a red hat").to_dict() == first.to_dict()


LONG = "a man in a red hat with a camera on green grass under a blue sky with a woman and the man"


def test_without_context_phrases_do_not_change_each_other(localizer, scene):
    config = LocalizerConfig(context="none")
    apart = Localizer(localizer.classifier, config).encode(scene.image)
    phrases = [found.phrase.text for found in scene.ground(LONG)]
    for among in (apart.ground(LONG), scene.ground(phrases=phrases), apart.ground(LONG, phrases)):
        assert (among.context, among.to_dict()["context"]) == ("none", "none")
        for together, text in zip(among, phrases, strict=True):
            alone = apart.ground(phrases=[text])[0]
            assert alone.status == together.status
            np.testing.assert_allclose(alone.grid_map, together.grid_map, rtol=1e-4, atol=1e-8)
            assert alone.point == together.point
            assert [region.box for region in alone.regions] == [region.box for region in together.regions]


def test_the_context_counts_for_captions_and_is_named(scene):
    for caption, phrases, context in (
        ("a man", None, "caption"),
        ("a man", ["a man"], "caption"),
        (None, ["a man"], "none"),
    ):
        result = scene.ground(caption, phrases)
        assert (result.context, result.to_dict()["context"]) == (context, context)


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
        power += {"man": localizer.config.wholes.gamma, "hat": 0.05}.get(found.phrase.head, 0)  # in the man's frame
        if found.phrase.head == "man":
            power -= config.closeness_gamma * (close - config.usual_closeness)
        rankings = []
        for turn in config.turns:
            scores = score_boxes(found.grid_map[None], scene.proposals, height, width, max(0.0, power + turn))[0]
            rankings.append(best_boxes(scores, scene.proposals, len(scores), config.nms_iou))
        expected = scene.proposals[in_turns(rankings, scene.proposals, 8, config.nms_iou)]
        np.testing.assert_array_equal([region.box for region in found.regions], expected)
        scores = score_boxes(found.grid_map[None], scene.proposals, height, width, max(0.0, power + config.turns[0]))[0]
        places = np.array([np.flatnonzero((scene.proposals == box).all(1))[0] for box in expected])
        right = falling(found.presence * agreement(scores, scene.proposals, places, config.sharpness))
        shown = [region.score for region in found.regions]
        assert shown == pytest.approx(right.tolist(), rel=1e-3)
        assert all(after < before for before, after in pairwise(shown))
        assert found.presence > shown[0]


def test_no_box_is_scored_by_a_power_below_0(localizer):
    regions = RegionConfig(spread_gamma=0.0, turns=(-1.0,))
    found = Localizer(localizer.classifier, LocalizerConfig(regions=regions)).encode(sample_scene()).ground("a man")[0]
    boxes = np.array([region.box for region in found.regions], np.float32)
    masses = box_masses(found.grid_map[None], boxes, *found.image_size)[0]
    assert masses[0] == pytest.approx(1, rel=1e-4)
    assert (np.diff(masses) <= 0).all()


def test_what_is_absent_is_what_has_a_presence_below_the_threshold(localizer, scene):
    texts = ["a man", "a camel", "qwrtz"]
    found = scene.ground(phrases=texts, threshold=0)
    presence = {each.phrase.text: each.presence for each in found}
    assert presence["a camel"] < 0.1 < 0.6 < presence["a man"]
    assert [each.status for each in found] == ["localized", "localized", "out-of-vocabulary"]
    for threshold, statuses in {
        presence["a camel"]: ("localized", "localized"),
        presence["a camel"] + 1e-9: ("localized", "absent"),
        presence["a man"]: ("localized", "absent"),
        1: ("absent", "absent"),
    }.items():
        result = scene.ground(phrases=texts, threshold=threshold)
        assert [each.status for each in result] == [*statuses, "out-of-vocabulary"]
        assert [each.regions for each in result] == [each.regions for each in found]
        assert (result.min_presence, result.to_dict()["presence"]["min_presence"]) == (threshold, round(threshold, 6))


def test_which_threshold_counts(localizer, scene):
    classifier = localizer.classifier
    model = classifier.presence_model
    assert scene.ground("a camel").min_presence == model.threshold > 0
    assert scene.ground("a camel")[0].status == "absent"
    configured = scene.under(Localizer(classifier, LocalizerConfig(min_presence=0.5)))
    assert configured.ground("a camel").min_presence == 0.5
    assert configured.ground("a camel", threshold=0.0)[0].status == "localized"
    plain = Localizer(replace(classifier, presence_model=None)).encode(sample_scene()).ground("a camel")
    assert (plain.min_presence, plain[0].status) == (0, "localized")
    assert plain[0].presence == pytest.approx(dict(scene.tags(1000))["camel"], rel=0.006)  # log-odds have two digits
    assert "not calibrated" in plain.to_dict()["presence"]["computed_from"]


def test_presences_are_those_of_ground(scene):
    texts = ["a man", "a red hat", "qwrtz", "grass"]
    assert scene.presences(texts) == [each.presence for each in scene.ground(phrases=texts)]


def test_a_localizer_can_be_called(localizer, scene):
    options = {"phrases": ["a man"], "top_k": 2, "threshold": 0.3}
    assert localizer(sample_scene(), **options).to_dict() == scene.ground(**options).to_dict()
    assert localizer(sample_scene(), "a man").to_dict() == scene.ground("a man").to_dict()


HALVES = {torch.float16: 0.01, torch.bfloat16: 0.08, torch.float64: 1e-4}  # of the top of a map of up to 25 tags


@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        *(("contrastive_mwp", dtype) for dtype in HALVES),
        pytest.param("gradient", torch.float64, marks=pytest.mark.slow),
    ],
)
def test_a_network_of_another_precision_gets_its_pictures_in_that(method, dtype):
    localizer = Localizer.from_pretrained(method=method)
    expected_scene = localizer.encode(sample_scene())
    expected = expected_scene.ground("a man in a red hat")
    name = localizer.classifier.fingerprint()
    localizer.classifier.network.to(dtype)
    scene = localizer.encode(sample_scene())
    assert scene.encoding.images.dtype == dtype
    assert scene.encoding.probabilities.dtype == torch.float32
    np.testing.assert_allclose(scene.encoding.probabilities, expected_scene.encoding.probabilities, atol=HALVES[dtype])
    for ours, theirs in zip(scene.ground("a man in a red hat"), expected, strict=True):
        assert ours.grid_map.dtype == ours.point_map.dtype == np.float32
        np.testing.assert_allclose(ours.grid_map, theirs.grid_map, atol=HALVES[dtype] * theirs.grid_map.max())
    assert localizer.classifier.fingerprint() != name


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (40, 2000)])
def test_pictures_of_extreme_shapes(localizer, shape):
    height, width = shape
    for found in localizer.encode(np.full(shape, 120, np.uint8)).ground("a man in a red hat", top_k=3):
        assert found.phrase_map.shape == shape
        for region in found.regions:
            assert 0 <= region.x0 < region.x1 <= width
            assert 0 <= region.y0 < region.y1 <= height


def test_a_path_is_read(localizer, scene, tmp_path):
    Image.fromarray(sample_scene()).save(tmp_path / "p.png")
    for given in (tmp_path / "p.png", str(tmp_path / "p.png")):
        np.testing.assert_array_equal(localizer.encode(given).image, scene.image)


def test_phrases_need_no_caption(scene):
    alone, written = scene.ground(phrases=["a camel", "a man"]), scene.ground("a camel, a man", ["a camel", "a man"])
    assert alone.to_dict() | {"context": "caption"} == written.to_dict()
    assert alone.caption == "a camel, a man"


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


def test_word_maps_are_kept_and_nobody_changes_them(localizer):
    walks = []

    def counted(encoding, signals, maps):
        walks.append(len(signals))
        return METHODS["contrastive_mwp"](encoding, signals, maps)

    image = sample_scene()
    scene = Localizer(localizer.classifier, method=counted).encode(image)
    scene.prepare(["a man", "a red hat", "of the"])
    for given in scene.word_maps(["man", "hat"]).values():
        given.zero_()
    result = scene.ground("a man in a red hat")
    tags = {word.tag for found in result for word in found.words}
    assert walks == [len(tags) + 24 - len(tags & {"hat"})]  # with clothes and parts of bodies, once a picture
    for found, alone in zip(result, localizer.encode(image).ground("a man in a red hat"), strict=True):
        np.testing.assert_allclose(found.grid_map, alone.grid_map, rtol=1e-4, atol=1e-8)
    scene.ground("a man near the grass")
    assert walks[1:] == [1]
    assert scene.under(localizer).word_maps(["man"])["man"].any()
    assert len(walks) == 2


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


@pytest.fixture(scope="module")
def photographs():
    """The man with the camera, with a hat and without one."""
    return sample_scene(), np.stack([data.camera()] * 3, axis=-1)


@pytest.fixture(scope="module")
def same_twice(localizer, photographs):
    return localizer.encode(np.concatenate([photographs[0]] * 2, axis=1))


def sides(result):
    width = result.image.shape[1]
    return ["-" if found.point is None else "l" if found.point[0] < width / 2 else "r" for found in result]


@pytest.mark.parametrize(
    ("caption", "phrases", "expected"),
    [
        ("the man on the left", ["the man"], "l"),
        ("the man on the right", ["the man"], "r"),
        ("THE MAN ON THE LEFT", ["THE MAN"], "l"),
        ("a man on the right and a man on the left", ["a man", "a man on the left"], "rl"),
        ("the left man and the right man", None, "lr"),
        ("a man and another man", None, "rl"),
        ("a man and a woman", None, "rl"),
        ("a man stands while the man smiles", None, "rr"),
        ("no woman and a man", None, "-r"),
    ],
)
def test_which_of_two(same_twice, caption, phrases, expected):
    result = same_twice.ground(caption, phrases)
    assert "".join(sides(result)) == expected
    if "lr" in expected or "rl" in expected:
        boxes = torch.tensor([found.best.box for found in result])
        assert float(box_iou(boxes, boxes)[0, 1]) < 0.1


def test_a_hat_says_which_man(localizer, photographs):
    for side, order in {"l": photographs, "r": photographs[::-1]}.items():
        scene = localizer.encode(np.concatenate(order, axis=1))
        result = scene.ground("a man in a red hat")
        assert sides(result) == [side, side]
        half = 512 * (side == "r")
        hat = result["a red hat"].best
        assert half + 80 < hat.x0 < hat.x1 < half + 340  # painted from 116 to 310, and above 172
        assert hat.y1 < 200
        assert sides(scene.ground(phrases=["a man"])) == ["r"]


def test_the_map_of_a_man_is_whole(localizer, scene):
    own = scene.under(Localizer(localizer.classifier, LocalizerConfig(wholes=WholeConfig(amount=0))))
    (whole,), (part,) = scene.ground("a man"), own.ground("a man")
    assert part.point == whole.point
    below = [found.phrase_map[300:].sum() for found in (whole, part)]  # his legs
    assert below[0] > 1.1 * below[1]


@pytest.mark.parametrize("options", [{"multi_label": False}, {"tags": "none of them names a part"}])
def test_classifiers_without_parts_see_no_wholes(localizer, options):
    classifier = localizer.classifier
    if "tags" in options:
        parts = set(Localizer(classifier).part_tags)
        options = {"tags": tuple(f"qwrtz{n}" if tag in parts else tag for n, tag in enumerate(classifier.tags))}
    plain = replace(classifier, presence_model=None, **options)
    texts = ["a man", "a camera", "grass"]
    with_wholes, without = (
        Localizer(plain, LocalizerConfig(wholes=WholeConfig(amount=amount)))
        .encode(sample_scene())
        .ground(phrases=texts)
        for amount in (2.0, 0.0)
    )
    assert with_wholes.to_dict() == without.to_dict()


@pytest.mark.parametrize(
    "caption",
    [
        "the man on the left and the man on the right in the middle on the left",
        "the man of the man of the man",
        "a hat of a hat",
        "the owner of the dog of the owner of the dog",
        "his hat and her hat with its hat",
        "in a hat in a hat in a hat",
        "a man in a hat in a man",
        "a man wearing a man",
        "a man , a man , a man in a hat , a hat",
        "no man without no hat",
        "a qwrtz in a blorf with a fnord",
        "A MAN In A RED HAT",
        "another one of them with theirs",
        "the left on the left of the left",
    ],
)
def test_captions_that_make_no_sense_are_answered(localizer, scene, caption):
    texts = [found.phrase.text for found in scene.ground(caption)]
    for result in (scene.ground(caption), scene.ground(caption, [*texts, *texts, "nothing of it"])):
        assert {found.status for found in result} <= {"localized", "absent", "out-of-vocabulary"}
        for found in result:
            assert np.isfinite(found.grid_map).all()
            assert found.grid_map.sum() == pytest.approx(0 if found.phrase.negated else 1, abs=1e-4)


@pytest.mark.parametrize("proposals", ["windows", "selective-search", "edge-boxes"])
@pytest.mark.parametrize("image", [np.zeros((1, 1), np.uint8), np.full((64, 48), 128, np.uint8)])
def test_pictures_without_anything_in_them(localizer, proposals, image):
    config = LocalizerConfig(regions=RegionConfig(proposals=proposals))
    result = (
        Localizer(localizer.classifier, config).encode(image).ground("a man in a red hat with a woman", threshold=0)
    )
    assert len(result) == 3
    assert {found.status for found in result} <= {"localized", "no-proposals", "empty-map"}


def test_sixty_phrases(scene):
    caption = "a man in a hat and a woman in a shirt with a dog while " * 12
    result = scene.ground(caption)
    assert len(result) == 60
    assert result.context == "caption"
    assert {found.status for found in result} <= {"localized", "absent"}
