"""Grounding by a CLIP: what its maps are, where they are read, and what is said of phrases."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from grounding.attention import mwp, record, text_signal
from grounding.attention.layers import layers, layers_of_stride, mixed
from grounding.config import LocalizerConfig, MapConfig, RegionConfig
from grounding.errors import GroundingError
from grounding.pipeline import Localizer
from grounding.tagging.clip import load_clip
from helpers.clip import as_transformers, open_clip_model, processor, save_clip, save_open_clip
from helpers.errors import facts
from helpers.rounding import assert_rounded

CAPTION = "a man in a red hat with a camera and no dog"
BLOCKS = 3


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return load_clip(str(save_clip(tmp_path_factory.mktemp("clip"), layers=BLOCKS, seed=1)))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    folder = save_clip(tmp_path_factory.mktemp("siglip"), cls="SiglipModel", layers=BLOCKS, seed=1)
    return load_clip(str(folder))


def picture():
    """Random patches: (40, 48, 3) uint8."""
    patches = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    return patches.repeat(8, 0).repeat(8, 1)


def small(context="caption", **maps):
    maps = MapConfig(**{"resolution": 32, **maps})
    return LocalizerConfig(maps, RegionConfig(windows=2), context=context)


def localizer(classifier, method="contrastive_mwp", **options):
    return Localizer(classifier, small(**options), method=method)


def scene(classifier, method="contrastive_mwp", **options):
    return localizer(classifier, method, **options).encode(picture())


def plain(found, texts, place):
    """MWP of texts, in the way of the paper: a head on the features, whose weights give the products with the texts."""
    classifier, images = found.localizer.classifier, found.encoding.images
    rows = heads(classifier, texts)
    tape = record(lambda pixels: classifier.network(pixels) @ rows.T, images)
    return tape, place(tape)


def heads(clip, texts):
    """(K, C): what the linear map of the projection makes of texts, by its columns."""
    projected = clip.network.project(torch.eye(clip.network(torch.zeros(1, 3, 32, 32)).shape[1]))  # (C, D)
    return torch.stack([projected @ text for text in clip.embed(texts)]).detach()


def against(clip, place):
    """MWP of the dual units: of a head with negated weights."""
    rows = heads(clip, ["a photo of a man.", "a photo of a red hat."])
    tape = record(lambda pixels: clip.network(pixels) @ -rows.T, scene(clip).encoding.images)
    return mwp(tape, [0, 1], layer=place(tape))[0]


def shares(own, other):
    """The definition: what is above 0 of the difference of what gets to each place, each summing to 1."""
    return (own / own.sum((-2, -1), keepdim=True) - other / other.sum((-2, -1), keepdim=True)).clamp(min=0)


def block(number):
    """The layer behind so many blocks."""
    return lambda tape: mixed(tape, layers_of_stride(tape, 8))[2 * number]


# --- maps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_the_map_of_a_phrase_is_that_of_a_head_with_its_embedding(kind, after, classifier, siglip):
    clip = classifier if kind == "clip" else siglip
    found = scene(clip, depth=after / BLOCKS).word_maps(["a man", "a red hat"])
    tape, layer = plain(scene(clip), ["a photo of a man.", "a photo of a red hat."], block(after))
    own = mwp(tape, [0, 1], layer=layer)[0]
    expected = shares(own, against(clip, block(after)))
    assert expected.amax((1, 2)).min() > 0
    for map_, wanted in zip(found.values(), expected, strict=True):
        assert_rounded(map_, wanted)


def test_the_default_is_halfway_up(classifier):
    found = scene(classifier).word_maps(["a man"])["a man"]
    assert torch.equal(found, scene(classifier, depth=0.5).word_maps(["a man"])["a man"])
    others = [scene(classifier, depth=depth).word_maps(["a man"])["a man"] for depth in (0.0, 0.34)]
    assert all((found - other).abs().max() > 1e-5 for other in others)


def test_at_the_top_all_signal_is_on_the_class_token(classifier, siglip):
    assert scene(classifier, depth=1.0).word_maps(["a man"])["a man"].abs().max() == 0
    assert scene(siglip, depth=1.0).word_maps(["a man"])["a man"].abs().max() > 0
    (grounded,) = scene(classifier, depth=1.0).ground(phrases=["a man"])
    assert grounded.status == "empty-map"


def test_layers_at_which_a_map_changes(classifier):
    tape = scene(classifier).encoding.tape
    found = layers_of_stride(tape, 8)
    steps = mixed(tape, found)
    assert len(steps) == 1 + 2 * BLOCKS < len(found)
    assert [step in layers(tape) for step in steps] == [True] * len(steps)
    assert steps[0].shape == (1, 32, 4, 4)
    assert {step.shape for step in steps[1:]} == {(1, 17, 32)}


def test_the_closest_stride(classifier):
    tape = scene(classifier).encoding.tape
    assert layers_of_stride(tape, 16, closest=True) == layers_of_stride(tape, 8)
    with pytest.raises(GroundingError, match=facts("no layer", "stride 16", "8, 1")):
        layers_of_stride(tape, 16)
    with pytest.raises(GroundingError, match="no layer of the network has stride 16"):
        scene(classifier, stride=16).word_maps(["a man"])
    assert scene(classifier, stride=8).word_maps(["a man"])["a man"].shape == (4, 4)


@pytest.mark.parametrize("text", ["a man", "a red hat"])
def test_the_contrast_with_the_background(classifier, text):
    prompts = ["a photo.", "a photo of something.", "a photo of a place.", "a photo of the background."]
    tape, layer = plain(scene(classifier), [f"a photo of {text}.", *prompts], block(1))
    own, *others = mwp(tape, torch.eye(5), layer=layer)[0]
    expected = shares(own, torch.stack([other / other.sum() for other in others]).mean(0))
    assert expected.max() > 1e-4
    found = scene(classifier, contrast="background", depth=1 / BLOCKS).word_maps([text])[text]
    assert_rounded(found, expected, depth=100)


def grids(found, caption=CAPTION, **options):
    return {grounded.phrase.text: grounded.grid_map for grounded in found.ground(caption, **options)}


def test_the_contrast_with_the_other_phrases(classifier):
    words = ["a man", "a red hat", "a camera"]  # and no dog, which is not there
    found = scene(classifier, contrast="phrases", depth=1 / BLOCKS)
    tape, layer = plain(found, [f"a photo of {word}." for word in words], block(1))
    own = mwp(tape, torch.eye(3), layer=layer)[0]
    own = own / own.sum((1, 2), keepdim=True)
    parts = found.localizer.chunker.phrases(CAPTION)
    matches = [found.localizer.vocabulary.match(part) for part in parts]
    maps = found._word_maps.phrase_maps(parts, matches, together=True)
    assert [part.text for part in parts] == [*words, "no dog"]
    assert maps[3].max() == 0
    for k in range(3):
        others = torch.stack([own[other] for other in range(3) if other != k]).mean(0)
        wanted = (own[k] - others).clamp(min=0)
        assert wanted.max() > 1e-5
        fine = torch.nn.functional.interpolate((wanted / wanted.sum())[None, None], maps.shape[1:], mode="bilinear")
        torch.testing.assert_close(maps[k], fine[0, 0], rtol=0, atol=1e-4 * float(fine.max()))


def test_phrases_that_have_no_others(classifier):
    """One alone, the same one twice, and phrases that are each found by themselves, stand against the background."""
    apart = localizer(classifier, contrast="phrases")
    background = grids(scene(classifier, contrast="background"), "a man")["a man"]
    alone = grids(apart.encode(picture()), "a man")["a man"]
    np.testing.assert_allclose(alone, background, rtol=0, atol=1e-7)
    np.testing.assert_allclose(
        grids(apart.encode(picture()), "a man and a man")["a man"], background, rtol=0, atol=1e-7
    )
    by_themselves = grids(apart.encode(picture()), None, phrases=["a man", "a red hat"])["a man"]
    np.testing.assert_allclose(by_themselves, background, rtol=0, atol=1e-7)
    never = scene(classifier, contrast="phrases", context="none")
    np.testing.assert_allclose(grids(never)["a man"], background, rtol=0, atol=1e-7)


def test_phrases_are_independent(classifier):
    """But where the others are taken away."""
    for contrast, equal in (("dual", True), ("background", True), ("phrases", False)):
        some = grids(scene(classifier, contrast=contrast), "a man with a camera")["a man"]
        more = grids(scene(classifier, contrast=contrast), "a man with a camera and a red hat")["a man"]
        assert np.allclose(some, more, rtol=0, atol=1e-6) == equal, contrast


def test_maps_of_the_same_weights_in_both_libraries(tmp_path):
    model = open_clip_model(seed=3)
    theirs, own_tokenizer = as_transformers(model)
    for part in (theirs, own_tokenizer, processor(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4])):
        part.save_pretrained(tmp_path / "transformers")
    a = load_clip(str(save_open_clip(tmp_path / "open_clip", model)))
    b = load_clip(str(tmp_path / "transformers"))
    for method, depth in (("mwp", 0.0), ("mwp", 0.5), ("contrastive_mwp", 0.5)):
        pair = [scene(clip, method, depth=depth).word_maps(["a man", "a red hat"]) for clip in (a, b)]
        for text in pair[0]:
            largest = pair[0][text].max()
            assert largest > 0
            torch.testing.assert_close(pair[0][text] / largest, pair[1][text] / largest, rtol=0, atol=1e-4)


def test_all_that_arrives_at_the_places_of_siglip(siglip):
    """No class token, and no unit without evidence on the way: nothing is lost."""
    tape = scene(siglip).encoding.tape
    signal = text_signal(tape, siglip.signals([("a man",), ("a red hat",)]))
    for after in range(BLOCKS + 1):
        assert mwp(tape, signal, layer=block(after)(tape)).sum((2, 3)) == pytest.approx(1, abs=0.05)


# --- what is said of phrases ------------------------------------------------------------------------------------------


def test_every_phrase_has_a_map(classifier):
    found = scene(classifier).ground("qwrtz glimmers beside a man", ["qwrtz", "a man", "Männer mit Hüten"])
    assert {grounded.status for grounded in found} <= {"localized", "empty-map"}
    for grounded in found:
        (match,) = grounded.words
        assert (match.word, match.tags, match.reason) == (grounded.phrase.text, (grounded.phrase.text,), "text")
        assert str(match) == f"{grounded.phrase.text} (text)"
        assert 0 < grounded.presence < 1
    told = json.loads(json.dumps(found.to_dict()))
    assert told["phrases"][0]["words"] == [{"word": "qwrtz", "tag": "qwrtz", "reason": "text", "weight": 1.0}]
    assert "background prompts" in told["presence"]["computed_from"]


def test_a_negated_phrase_is_absent(classifier):
    found = scene(classifier).ground(CAPTION)
    assert [grounded.status for grounded in found][-1] == "absent"
    assert found[-1].regions == ()


def test_a_threshold(classifier):
    found = scene(classifier)
    presence = {grounded.phrase.text: grounded.presence for grounded in found.ground(CAPTION)}
    low, high = sorted(presence[text] for text in ("a man", "a red hat"))
    answers = found.ground(CAPTION, threshold=(low + high) / 2)
    statuses = {grounded.phrase.text: grounded.status for grounded in answers}
    assert sorted(statuses[text] for text in ("a man", "a red hat")) == ["absent", "localized"]
    assert found.presences(["a man", "a red hat"]) == pytest.approx([presence["a man"], presence["a red hat"]])


def test_there_are_no_tags(classifier):
    found = scene(classifier)
    assert found.tags() == []
    assert found.closeness() is None
    assert "any words" in repr(found.localizer.classifier)


GERMAN = "Ein Mann mit einem roten Hut steht auf einer Wiese"


def test_notes_claim_no_unknown_words(classifier):
    found = scene(classifier)
    (note,) = found.ground(GERMAN).notes
    assert "divided into phrases as English" in note
    assert found.ground(GERMAN, ["Ein Mann", "einem roten Hut"]).notes == ()
    assert found.ground(phrases=["Ein Mann mit einem roten Hut"]).notes == ()
    assert found.ground(CAPTION).notes == ()


def test_prompts(classifier):
    usual, other = scene(classifier), scene(classifier, prompt="{} it is")
    assert other.localizer.classifier.prompt == "{} it is"
    assert_rounded(other.localizer.classifier.signals([("a man",)])[0], heads(classifier, ["a man it is"])[0])
    maps = [each.word_maps(["a man"])["a man"] for each in (usual, other)]
    assert (maps[0] - maps[1]).abs().max() > 1e-6
    assert usual.under(other.localizer).localizer is other.localizer
    again = usual.under(other.localizer).word_maps(["a man"])["a man"]
    assert torch.equal(again, maps[1])
    braces = "{a} man}"
    assert classifier.signals([(braces,)]).shape == (1, 32)


@pytest.mark.parametrize("prompt", ["a photo", "{} and {}", "{0}"])
def test_prompts_that_are_none(classifier, prompt):
    with pytest.raises(GroundingError, match=facts("the prompt is", r"one \{\}")):
        localizer(classifier, prompt=prompt)


def test_what_tags_have_not(localizer):
    for key, value in (("contrast", "phrases"), ("contrast", "background"), ("prompt", "a {}")):
        config = LocalizerConfig(maps=replace(MapConfig(), **{key: value}))
        with pytest.raises(GroundingError, match=facts(f"maps.{key}", value, "has tags", "clip:NAME")):
            Localizer(localizer.classifier, config)


def test_other_methods(classifier):
    config = LocalizerConfig(maps=MapConfig(contrast="phrases"))
    with pytest.raises(GroundingError, match=facts("maps.contrast", "mwp", "expected dual")):
        Localizer(classifier, config, method="mwp")
    found = scene(classifier, "mwp").word_maps(["a man"])["a man"]
    tape, layer = plain(
        scene(classifier), ["a photo of a man."], lambda tape: mixed(tape, layers_of_stride(tape, 8))[3]
    )
    assert_rounded(found, mwp(tape, [0], layer=layer)[0, 0])


def test_the_gradient_of_the_cosine(classifier):
    map_ = scene(classifier, "gradient").word_maps(["a man"])["a man"]
    images = scene(classifier).encoding.images.clone().requires_grad_()
    text = classifier.embed(["a photo of a man."])[0]
    embedding = classifier.network.project(classifier.network(images))
    torch.nn.functional.cosine_similarity(embedding, text[None]).sum().backward()
    assert_rounded(map_, images.grad[0].abs().amax(0), depth=100)


@pytest.mark.parametrize(
    ("method", "expected"), [("cam", "not one linear layer"), ("grad_cam", r"expected a map"), ("deconvnet", "no ReLU")]
)
def test_methods_that_cannot(classifier, method, expected):
    with pytest.raises(GroundingError, match=expected):
        scene(classifier, method, depth=1 / BLOCKS).word_maps(["a man"])


def test_pictures_that_are_encoded_together(classifier):
    """Each has its own presence and maps."""
    pictures, ours = [picture(), picture()[::-1, ::-1].copy(), 255 - picture()], localizer(classifier)
    for found, alone in zip(ours.encode_batch(pictures, at_once=3), map(ours.encode, pictures), strict=True):
        assert found.presences(["a man"]) == pytest.approx(alone.presences(["a man"]), abs=1e-5)
        assert_rounded(found.word_maps(["a man"])["a man"], alone.word_maps(["a man"])["a man"], depth=100)
    first, second, _ = (ours.encode(each).presences(["a man"])[0] for each in pictures)
    assert abs(first - second) > 1e-4
