"""`explain`: its numbers are those of the engine, its picture shows them, and bad input is told so in one line."""

import copy
import dataclasses
import io

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

from grounding import attention
from grounding.attention import contrastive_mwp, mwp, record
from grounding.attention.layers import find_layer, layers
from grounding.errors import GroundingError
from grounding.painting import signed_picture, tiled
from helpers.rounding import assert_rounded

NAMES = ["ant", "bee", "cat", "dog", "eel"]


@pytest.fixture
def model():
    torch.manual_seed(3)
    trunk = [nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).double().eval()


@pytest.fixture
def image():
    return torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(4)).double()


def scores_of(*scores):
    """A model with these scores and a map of 4 x 6 places."""
    values = torch.tensor(scores)

    def model(images):
        x = nn.functional.avg_pool2d(images, 4).mean(1, keepdim=True)
        return nn.functional.linear(x.mean((2, 3)), torch.ones(len(scores), 1)) * 0 + values

    return model


def test_the_maps_are_those_of_direct_calls_the_deepest_first(model, image):
    found = attention.explain(model, image, top=2)
    tape = record(model, image[None])
    best = tape.scores[0].argsort(descending=True)[:2].tolist()
    assert [prediction.index for prediction in found.predictions] == best
    for depth, layer in enumerate(("3", "0")):
        plain = mwp(tape, torch.eye(5)[best].double(), layer=layer)[0].float()
        signed = contrastive_mwp(tape, torch.eye(5)[best].double(), layer=layer)[0].float()
        for k, prediction in enumerate(found.predictions):
            evidence = prediction.evidence[depth]
            assert evidence.layer == layer
            assert evidence.mwp.dtype == evidence.contrastive_mwp.dtype == evidence.dual_mwp.dtype == np.float32
            np.testing.assert_allclose(evidence.mwp, plain[k], rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(evidence.contrastive_mwp, signed[k], rtol=1e-6, atol=1e-9)
            assert evidence.mwp.shape == ((4, 6), (8, 12))[depth]
            assert abs(evidence.contrastive_mwp).max() > 1e-3


def test_the_dual_map_is_that_of_the_negated_classifier(model, image):
    negated = copy.deepcopy(model)
    with torch.no_grad():
        negated[-1].weight.neg_()
    tape = record(negated, image[None])
    for prediction in attention.explain(model, image, top=5).predictions:
        for evidence in prediction.evidence:
            dual = mwp(tape, torch.eye(5)[[prediction.index]].double(), layer=evidence.layer)[0, 0]
            np.testing.assert_allclose(evidence.dual_mwp, dual, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(evidence.mwp.sum() - evidence.dual_mwp.sum(), 0, atol=1e-6)


def test_predictions_are_ordered_by_score_and_equal_ones_by_position(image):
    found = attention.explain(scores_of(1.0, 3.0, 2.0, 3.0), image.float(), top=3)
    assert [prediction.index for prediction in found.predictions] == [1, 3, 2]
    assert [prediction.score for prediction in found.predictions] == [3.0, 3.0, 2.0]
    assert [prediction.name for prediction in found.predictions] == ["output 1", "output 3", "output 2"]
    assert len(attention.explain(scores_of(1.0, 3.0, 2.0), image.float()).predictions) == 3
    assert len(attention.explain(scores_of(1.0, 3.0, 2.0), image.float(), 1).predictions) == 1


def test_probabilities_are_a_softmax_or_where_outputs_are_independent_a_sigmoid(image):
    scores = (0.0, float(np.log(2.0)), float(np.log(5.0)))
    softmax = attention.explain(scores_of(*scores), image.float()).predictions
    assert [prediction.probability for prediction in softmax] == pytest.approx([5 / 8, 2 / 8, 1 / 8])
    sigmoid = attention.explain(scores_of(*scores), image.float(), multi_label=True).predictions
    assert [prediction.probability for prediction in sigmoid] == pytest.approx([5 / 6, 2 / 3, 1 / 2])


def test_outputs_can_be_asked_for_by_position_and_by_name(model, image):
    found = attention.explain(model, image, outputs=["dog", 0], names=NAMES)
    scores = model(image[None])[0].tolist()
    assert [(prediction.index, prediction.name) for prediction in found.predictions] == [(3, "dog"), (0, "ant")]
    assert [prediction.score for prediction in found.predictions] == pytest.approx([scores[3], scores[0]])
    every = {prediction.index: prediction for prediction in attention.explain(model, image, top=5).predictions}
    for prediction in found.predictions:
        for one, other in zip(prediction.evidence, every[prediction.index].evidence, strict=True):
            np.testing.assert_allclose(one.contrastive_mwp, other.contrastive_mwp, rtol=1e-6, atol=1e-9)


def test_the_scores_may_be_named_among_what_the_model_returns(model, image):
    found = attention.explain(lambda x: {"loss": x.sum(), "logits": model(x)}, image, output="logits", top=2)
    expected = attention.explain(model, image, top=2)
    for one, other in zip(found.predictions, expected.predictions, strict=True):
        assert (one.index, one.score) == (other.index, other.score)
        assert_rounded(one.evidence[0].contrastive_mwp, other.evidence[0].contrastive_mwp)


def test_by_default_there_are_three_outputs_or_all_of_fewer(image):
    for count, expected in ((1, 1), (2, 2), (3, 3), (5, 3)):
        scores = [float(at) for at in range(count)]
        assert len(attention.explain(scores_of(*scores), image.float()).predictions) == expected


class Clip(nn.Module):
    """Two towers, as open_clip has them; its own output is no score."""

    def __init__(self, tower):
        super().__init__()
        self.visual = tower

    def encode_image(self, images):
        return self.visual(images)

    def forward(self, images):
        return self.encode_image(images), None


@pytest.mark.parametrize("whole", [False, True], ids=["tower", "both towers"])
def test_texts_are_explained_in_place_of_outputs(model, image, whole):
    text = torch.nn.functional.normalize(torch.randn(3, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    words = ["a dog", "a cat", "a bee"]
    found = attention.explain(Clip(model) if whole else model, image, text=10 * text, names=words)
    cosines = torch.nn.functional.cosine_similarity(model(image[None]), text.double()).detach()
    order = cosines.argsort(descending=True).tolist()
    assert [prediction.name for prediction in found.predictions] == [words[at] for at in order]
    assert [prediction.score for prediction in found.predictions] == pytest.approx((10 * cosines[order]).tolist())
    assert [prediction.probability for prediction in found.predictions] == pytest.approx(
        (10 * cosines).softmax(0)[order].tolist()
    )
    tape = record(model, image[None])
    for at, prediction in zip(order, found.predictions, strict=True):
        for evidence in prediction.evidence:
            end = evidence.layer.removeprefix("visual.")
            signal = attention.text_signal(tape, text[[at]], contrast=True)
            assert_rounded(evidence.contrastive_mwp, mwp(tape, signal, layer=end)[0, 0].float())
    (one,) = attention.explain(model, image, text=text, outputs=["a cat"], names=words).predictions
    assert_rounded(one.evidence[0].mwp, found.predictions[order.index(1)].evidence[0].mwp)


def test_one_image_with_or_without_its_batch(model, image):
    one, other = (attention.explain(model, each, top=1).predictions[0] for each in (image, image[None]))
    assert_rounded(one.evidence[0].mwp, other.evidence[0].mwp)
    assert_rounded(one.evidence[1].dual_mwp, other.evidence[1].dual_mwp)


def depths(found):
    return [(evidence.layer, evidence.mwp.shape) for evidence in found.predictions[0].evidence]


def test_layers_are_chosen_by_their_places_by_name_by_position_or_by_stride(model, image):
    assert depths(attention.explain(model, image)) == [("3", (4, 6)), ("0", (8, 12))]
    assert depths(attention.explain(model, image, layers=["1", "2"])) == [("1", (8, 12)), ("2", (4, 6))]
    assert depths(attention.explain(model, image, layers=[0, "3", 1])) == [
        ("image", (16, 24)),
        ("3", (4, 6)),
        ("0", (8, 12)),
    ]
    assert depths(attention.explain(model, image, strides=[2, 1])) == [("0", (8, 12)), ("image", (16, 24))]
    head = nn.Linear(3, 5).double()
    assert depths(attention.explain(lambda images: head(images.mean((2, 3))), image)) == [("image", (16, 24))]


def test_the_default_depths_of_a_residual_network_are_strides_32_and_16():
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18().eval()
    image = torch.rand(3, 64, 96)
    found = attention.explain(resnet, image, top=1)
    assert [shape for _, shape in depths(found)] == [(2, 3), (4, 6)]
    tape = record(resnet, image[None])
    at = layers(tape).index(find_layer(tape, 16))
    expected = contrastive_mwp(tape, torch.eye(1000)[[found.predictions[0].index]], layer=at)[0, 0]
    np.testing.assert_allclose(found.predictions[0].evidence[1].contrastive_mwp, expected, rtol=1e-5, atol=1e-8)


def test_the_last_layer_is_one_with_signal_at_its_places_and_no_reshaped_one():
    torch.manual_seed(0)
    image = torch.rand(3, 64, 96)
    options = {"img_size": (64, 96), "depth": 3, "embed_dim": 24, "num_heads": 2}
    vit = timm.create_model("vit_tiny_patch16_224", **options).eval()  # reads the class token
    assert depths(attention.explain(vit, image, top=1)) == [("blocks.1", (4, 6)), ("patch_embed.proj", (4, 6))]
    assert attention.explain(vit, image, top=1).predictions[0].evidence[0].mwp.any()
    trunk = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Conv2d(4, 4, 2, 2))
    flat = nn.Sequential(trunk, nn.Flatten(), nn.Linear(4 * 4 * 6, 5))
    assert depths(attention.explain(flat, image, top=1)) == [("0.2", (4, 6)), ("0.0", (8, 12))]


def test_a_layer_made_outside_of_any_module_is_named_by_its_position(image):
    assert depths(attention.explain(scores_of(1.0, 2.0), image.float(), top=1, layers=[1])) == [("layer 1", (4, 6))]


def test_the_picture_is_the_one_given_or_the_tensor_stretched(model, image):
    given = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)
    for picture in (given, Image.fromarray(given)):
        assert np.array_equal(attention.explain(model, image, picture=picture).picture, given)
    drawn = attention.explain(model, image - 7).picture
    expected = (image - image.min()) / (image.max() - image.min()) * 255
    assert drawn.shape == (16, 24, 3)
    np.testing.assert_allclose(drawn, expected.permute(1, 2, 0), atol=0.51)
    two = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    grey = attention.explain(two, torch.stack([torch.eye(8) * 2, torch.eye(8).flip(1)])).picture
    assert np.array_equal(np.unique(grey), [0, 128, 255])  # channel means 0, 0.5 and 1
    assert (grey == grey[:, :, :1]).all()
    assert not attention.explain(two, torch.ones(2, 8, 8)).picture.any()  # a constant


@pytest.mark.slow
def test_the_grid_has_a_row_a_prediction_and_three_columns_a_depth_and_shows_the_maps(model, image):
    found = attention.explain(model, image, top=2, names=NAMES)
    grid = found.grid()
    column, row = 200 + 6, 133 + 40
    assert grid.size == (6 + 7 * column, 40 + 2 * row + 6)
    shown = Image.open(io.BytesIO(found._repr_png_()))
    assert np.array_equal(np.asarray(shown), np.asarray(grid))
    assert (np.asarray(found.grid()) == np.asarray(grid)).all()
    fields = ("mwp", "contrastive_mwp", "dual_mwp")
    for at, (k, depth, name) in enumerate((k, depth, name) for k in range(2) for depth in range(2) for name in fields):
        prediction = found.predictions[k]
        evidence = list(prediction.evidence)
        evidence[depth] = dataclasses.replace(evidence[depth], **{name: getattr(evidence[depth], name)[::-1].copy()})
        predictions = list(found.predictions)
        predictions[k] = dataclasses.replace(prediction, evidence=tuple(evidence))
        changed = np.asarray(dataclasses.replace(found, predictions=tuple(predictions)).grid())
        ys, xs = np.nonzero((changed != np.asarray(grid)).any(2))
        left, top = 6 + (1 + at % 6) * column, 40 + k * row
        assert left <= xs.min() < xs.max() < left + 200
        assert top <= ys.min() < ys.max() < top + 133
    assert (np.asarray(grid)[40 : 40 + 133, 6:206].mean((0, 1)) > 20).all()  # the picture


def test_the_grid_is_warm_for_cold_against_and_both_in_the_contrast(model, image):
    found = attention.explain(model, image, top=1, picture=np.full((80, 120, 3), 90, np.uint8))
    pixels = np.asarray(found.grid()).astype(int)
    for at in range(6):
        left = 6 + (1 + at) * 206
        cell = pixels[40 : 40 + 133, left : left + 200]
        warmth = cell[:, :, 0] - cell[:, :, 2]
        assert (warmth.max() > 40) == (at % 3 != 2)
        assert (warmth.min() < -40) == (at % 3 != 0)


@pytest.mark.parametrize("name", ["name", "score", "probability"])
def test_the_grid_says_what_was_predicted(model, image, name):
    found = attention.explain(model, image, top=1, names=NAMES)
    other = dataclasses.replace(found.predictions[0], **{name: "fox" if name == "name" else 0.123})
    before, after = (np.asarray(each.grid()) for each in (found, dataclasses.replace(found, predictions=(other,))))
    ys, xs = np.nonzero((before != after).any(2))
    assert ys.min() >= 40 + 133
    assert xs.max() < 206


def test_warm_is_above_zero_and_cold_below_and_the_largest_is_brightest():
    picture = np.full((320, 640, 3), 128, np.uint8)
    values = np.array([[2.0, 0.0, -1.0, 0.0], [0.0, 0.0, 0.0, 0.5]], np.float32)
    drawn = np.asarray(signed_picture(picture, values)).astype(int)
    assert drawn.shape == (320, 640, 3)
    warm, dark, cold, faint = drawn[80, 80], drawn[240, 400], drawn[80, 400], drawn[240, 560]
    assert warm[0] > cold[2] > dark[2] + 20
    assert warm[0] > warm[2] + 40
    assert cold[2] > cold[0] + 40
    assert warm.sum() > faint.sum() > dark.sum()
    assert len({*dark.tolist()}) == 1  # the grey picture
    assert np.array_equal(np.asarray(signed_picture(picture, -values)), drawn_flipped(picture, values))
    blank = np.asarray(signed_picture(picture, np.zeros((2, 4), np.float32)))
    assert (blank == dark).all()
    same = np.asarray(signed_picture(picture, values * 1e-6))
    assert np.abs(same.astype(int) - drawn).max() <= 1


def drawn_flipped(picture, values):
    """Where grey is equal in all channels, the map of the other sign swaps red and blue."""
    return np.asarray(signed_picture(picture, values))[:, :, ::-1]


def test_a_table_keeps_its_columns_and_cuts_its_titles():
    red, blue = Image.new("RGB", (40, 80), "red"), Image.new("RGB", (40, 80), "blue")
    table = np.asarray(tiled([[red, blue]], ["a", "b"], [""], cell_px=100))
    assert table.shape[1] == 6 + 2 * (110 + 6)  # no column is narrower than its text
    assert (table[60, 30] == (255, 0, 0)).all()
    assert (table[60, 6 + 116 + 30] == (0, 0, 255)).all()
    long = np.asarray(tiled([[red, blue]], ["a title far too long for its column", ""], [""], cell_px=100))
    assert (long[:20, 6:116] < 128).any()
    assert (long[:20, 116:] == 255).all()


NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "top is 0: expected a number from 1 to 5"),
        ({"top": 6}, "top is 6: expected a number from 1 to 5"),
        ({"top": 1.5}, "top is 1.5: expected a number from 1 to 5"),
        ({"names": ["a", "b"]}, "names are 2 of them: expected a list of 5, one for each output"),
        ({"names": "abcde"}, "names are the text 'abcde': expected a list of 5"),
        ({"names": NAMES, "text": torch.ones(2, 5)}, "names are 5 of them: expected a list of 2, one for each output"),
        ({"text": torch.ones(2, 6)}, r"the tower of images returned \(1, 5\): expected embeddings \(N, 6\)"),
        ({"text": ["a dog"]}, r"text is a list: expected embeddings \(K, D\), a tensor"),
        ({"text": torch.ones(2, 5), "output": "logits"}, "no output='logits': the model returned a Tensor"),
        ({"output": "logits"}, "no output='logits': the model returned a Tensor: leave output out"),
        ({"outputs": [True]}, "a class is True: expected a position from 0 to 4"),
        ({"outputs": ["dgo"], "names": NAMES}, "no output is named 'dgo': did you mean 'dog'"),
        ({"outputs": ["zz"], "names": NAMES}, "no output is named 'zz': see names"),
        ({"outputs": [5]}, "output is 5: expected a position from 0 to 4"),
        ({"outputs": [-1]}, "output is -1: expected a position from 0 to 4"),
        ({"outputs": []}, "outputs are empty"),
        ({"outputs": "dog", "names": NAMES}, "outputs are empty or a text"),
        ({"layers": ["33"]}, "the network has no layer '33'"),
        ({"layers": [99]}, "layer is 99"),
        ({"layers": []}, "layers or strides are empty or a text"),
        ({"layers": "3"}, "layers or strides are empty or a text"),
        ({"strides": []}, "layers or strides are empty or a text"),
        ({"strides": [64]}, "no layer of the network has stride 64"),
        ({"layers": ["3"], "strides": [4]}, "both layers and strides were given"),
        ({"layers": ["6"]}, "above the contrast|no places"),
        ({"picture": np.zeros((4, 4), complex)}, "the image is a complex128 array"),
        ({"image": torch.zeros(2, 3, 16, 16).double()}, r"the image has shape \(2, 3, 16, 16\): expected one image"),
        ({"image": torch.zeros(16, 16).double()}, r"the image has shape \(16, 16\): expected one image"),
        ({"image": torch.zeros(3, 0, 16).double()}, r"the image has shape \(3, 0, 16\): expected one image"),
        ({"image": torch.zeros(3, 16, 16, dtype=torch.uint8)}, "the image is a torch.uint8 tensor"),
        ({"image": np.zeros((3, 16, 16), np.float32)}, "the image is a ndarray"),
        ({"image": torch.full((3, 16, 16), NAN).double()}, "hold NaN or infinity"),
        ({"model": lambda x: x}, r"the model returned scores \(1, 3, 16, 24\): expected \(1, T\)"),
        ({"model": lambda x: x.mean((2, 3)) * NAN}, "hold NaN or infinity"),
        ({"model": lambda x: x.mean((2, 3))}, "no convolution or linear layer"),
    ],
)
def test_bad_input_gets_one_line(model, image, options, message):
    arguments = {"model": model, "image": image, **options}
    with pytest.raises(GroundingError, match=message) as caught:
        attention.explain(arguments.pop("model"), arguments.pop("image"), **arguments)
    assert "\n" not in str(caught.value)
