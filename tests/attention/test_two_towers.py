"""Texts asked after the recording: the same maps as those of a network that ends in their product with the image."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from grounding.attention import contrastive_mwp, mwp, record, text_signal
from grounding.attention.two_towers import similarities
from grounding.errors import GroundingError
from helpers.errors import facts
from helpers.oracles import excite, normal
from helpers.rounding import assert_rounded

D = 16
IMAGES = torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def tower(last=nn.Identity, seed=0):
    torch.manual_seed(seed)
    body = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 10, 3, 2, 1), nn.ReLU()
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, D), last()).double().eval()
    nn.init.uniform_(model[6].bias, -0.1, 0.4)  # so that something speaks for every text
    return model


class Unit(nn.Module):
    """Embeddings made 1 long, as CLIP's."""

    def forward(self, x):
        return functional.normalize(x, dim=-1)


@pytest.mark.parametrize("last", [nn.Identity, nn.ReLU, Unit])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layer", [0, "1", "3", "5"])
def test_the_map_of_a_text_is_that_of_a_classifier_with_its_weights(last, seed, layer):
    model, text = tower(last, seed), normal(4, D, seed=seed)
    tape = record(model, IMAGES)
    whole = record(lambda images: functional.linear(model(images), text), IMAGES)
    options = {"layer": layer, "channels": layer == "5"}
    for scale in (1.0, 30.0):
        found = mwp(tape, text_signal(tape, scale * text, contrast=True), **options)
        assert found.abs().max() > 1e-4
        assert_rounded(found, contrastive_mwp(whole, range(4), **options))
        assert_rounded(mwp(tape, text_signal(tape, text), **options), mwp(whole, range(4), **options))


def test_the_signal_is_the_rule_of_a_linear_layer():
    tape, text = record(tower(), IMAGES), normal(4, D, seed=1)
    plain, contrast = text_signal(tape, text), text_signal(tape, text, contrast=True)
    assert plain.shape == contrast.shape == (4, 2, D)
    assert plain.dtype == torch.float64
    for n, embedding in enumerate(tape.scores):
        for k, row in enumerate(text):
            expected = excite(row[None], embedding, torch.ones(1, dtype=torch.float64))
            assert_rounded(plain[k, n], expected)
            assert_rounded(contrast[k, n], expected - excite(-row[None], embedding, torch.ones(1).double()))
    assert_rounded(plain.sum(2), torch.ones(4, 2).double())
    assert contrast.sum(2).abs().max() < 1e-12


def test_a_text_that_nothing_speaks_for():
    tape = record(tower(nn.ReLU), IMAGES)
    text = torch.stack([-torch.ones(D), torch.ones(D), torch.zeros(D)])
    plain, contrast = text_signal(tape, text), text_signal(tape, text, contrast=True)
    assert plain.isfinite().all()
    assert plain[0].abs().max() == plain[2].abs().max() == 0
    assert_rounded(plain[1].sum(1), torch.ones(2).double())
    assert_rounded(contrast[0].sum(1), -torch.ones(2).double())
    assert_rounded(contrast[0], -plain[1])
    with pytest.raises(GroundingError, match="signal 0 is all zero"):
        mwp(tape, plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_precision_is_that_of_the_wider(dtype):
    text = normal(3, D).to(dtype)
    assert text_signal(record(tower(), IMAGES), text).dtype == torch.float64
    tape = record(tower().float(), IMAGES.float())
    assert text_signal(tape, text).dtype == torch.float32


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ([[1.0] * D], facts("text is a list", r"embeddings \(K, 16\), a tensor")),
        (torch.ones(D), facts(r"text is \(16,\) torch.float32", r"\(K, 16\)")),
        (torch.ones(2, 5), facts(r"text is \(2, 5\)", r"\(K, 16\), as those of the image")),
        (torch.ones(2, D).long(), facts("torch.int64", "floating point")),
        (torch.ones(2, D) / 0, facts("NaN or infinity", "finite")),
    ],
)
def test_what_is_no_text(text, match):
    with pytest.raises(GroundingError, match=match) as caught:
        text_signal(record(tower(), IMAGES), text)
    assert len(str(caught.value).splitlines()) == 1


def test_scores_at_places_are_no_embeddings():
    with pytest.raises(GroundingError, match=facts(r"shape \(2, 3, 16, 16\)", r"embeddings \(N, D\)")):
        text_signal(record(nn.Conv2d(3, 3, 1).double(), IMAGES), torch.ones(1, 3))


def test_one_recording_serves_any_text_and_is_not_changed():
    tape = record(tower(), IMAGES)
    before = copy.deepcopy(tape)
    first, second = normal(2, D, seed=1), normal(3, D, seed=2)
    together = mwp(tape, text_signal(tape, torch.cat([first, second]), contrast=True), layer="1")
    apart = [mwp(tape, text_signal(tape, text, contrast=True), layer="1") for text in (first, second)]
    assert_rounded(torch.cat(apart, 1), together)
    assert torch.equal(tape.scores, before.scores)


def test_a_map_of_a_text_has_the_gradient_of_the_classifiers():
    text = normal(2, D, seed=3)

    def gradient(through_text):
        model = tower()
        if through_text:
            tape = record(model, IMAGES, differentiable=True)
            maps = mwp(tape, text_signal(tape, text, contrast=True), layer="1")
        else:
            tape = record(lambda images: functional.linear(model(images), text), IMAGES, differentiable=True)
            maps = contrastive_mwp(tape, torch.eye(2), layer="1")
        maps[..., :4, :4].sum().backward()
        return model[0].weight.grad

    expected = gradient(False)
    assert expected.abs().max() > 1e-4
    assert_rounded(gradient(True), expected, depth=100)


# --- scores of texts --------------------------------------------------------------------------------------------------


class OpenClip(nn.Module):
    """As open_clip has it: its forward returns a tuple."""

    def __init__(self):
        super().__init__()
        self.visual = tower()

    def encode_image(self, image):
        return self.visual(image)

    def forward(self, image):
        return self.encode_image(image), None, torch.ones(())


class Pooled:
    """What Hugging Face's towers return."""

    def __init__(self, embedding):
        self.last_hidden_state, self.pooler_output = embedding[:, None], embedding


class HuggingFace(nn.Module):
    """As transformers has it: `get_image_features` returns a tensor, or from version 5 an object."""

    def __init__(self, form=Pooled):
        super().__init__()
        self.vision_model, self.form = tower(), form

    def get_image_features(self, pixel_values):
        return self.form(self.vision_model(pixel_values))


TOWERS = {
    "a module": (tower, None),
    "a function": (lambda: lambda images: tower()(images), None),
    "of open_clip": (OpenClip, None),
    "of transformers": (HuggingFace, None),
    "of transformers, picked": (HuggingFace, "pooler_output"),
    "of transformers 4": (lambda: HuggingFace(lambda embedding: embedding), None),
    "a method": (lambda: HuggingFace().get_image_features, None),
    "one that returns a tuple": (lambda: lambda images: (images, tower()(images)), 1),
}


@pytest.mark.parametrize("name", TOWERS)
def test_similarities(name):
    build, output = TOWERS[name]
    model, text = build(), functional.normalize(normal(3, D), dim=-1)
    found = similarities(model, text.float(), output)(IMAGES)
    expected = functional.cosine_similarity(tower()(IMAGES)[:, None], text[None], dim=-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (lambda images: {"features": images}, facts("returned a dict with features", r"\(N, 16\)", "output=")),
        (lambda images: images.mean((2, 3)), facts(r"returned \(2, 3\)", r"\(N, 16\)", "as those of the text")),
    ],
)
def test_what_is_no_tower(model, match):
    with pytest.raises(GroundingError, match=match):
        similarities(model, normal(2, D))(IMAGES)
