"""The localizer as a plain module: its maps are the engine's."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from grounding.config import MapConfig
from grounding.errors import GroundingError
from grounding.exporting.localizer import PlainLocalizer
from grounding.images import sample_scene
from grounding.methods import contrastive_mwp, encode
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.gala import GalaSettings
from grounding.tagging.network import TagNetwork, plain_network
from helpers.errors import facts
from helpers.networks import soften
from helpers.rounding import assert_rounded, tolerance

TAGS = 7
STATISTICS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}  # half of the normalised image is below 0
NETWORKS = [  # layers, size in px, map layer, what else
    ([(6, 2), (8, 2), (10, 1)], 32, -4, {}),  # one convolution above the map, as in the embedded classifier
    ([(6, 2), (8, 2), (10, 2), (9, 2), (8, 1)], 64, None, {"pooling": "average"}),  # stride 16
    ([(6, 2), (8, 2), (10, 2), (9, 1)], 30, 4, {"pooling": "top-k"}),  # several convolutions; the stride skips rows
    ([(6, 3), (8, 1)], 32, 1, {"pooling": "attention"}),
    ([(6, 2), (8, 2)], 17, 0, {"preprocessing": STATISTICS}),  # the map of the image itself
    ([(6, 2), (8, 2)], 16, -2, {"multi_label": False}),  # the features: no convolution above the map
]


def classifier(layers, size_px, map_layer, pooling="log-sum-exp", preprocessing=None, multi_label=True, dtype=None):
    network = soften(plain_network(layers, TAGS, pooling), seed=len(layers))
    network = network.folded().to(dtype or torch.float64)
    if network.attention is not None:
        nn.init.normal_(network.attention.weight)
    named = [f"tag {number}" for number in range(TAGS)]
    settings = Preprocessing(size_px, **(preprocessing or {}))
    return TagClassifier(network, named, settings, "random", multi_label=multi_label, map_layer=map_layer)


def engine(classifier, pixels, signals):
    """Probabilities and maps, a picture at a time."""
    found = []
    for picture, rows in zip(pixels, signals, strict=True):
        encoding = encode(classifier, classifier.preprocessing.normalise(picture[None]))
        found.append((encoding.probabilities, contrastive_mwp(encoding, rows, MapConfig())))
    return [torch.stack(each) for each in zip(*found, strict=True)]


@pytest.mark.parametrize(("layers", "size_px", "map_layer", "others"), NETWORKS)
@pytest.mark.parametrize(("pictures", "words"), [(1, 1), (2, 5)])
def test_maps_are_the_engines(layers, size_px, map_layer, others, pictures, words):
    tagger = classifier(layers, size_px, map_layer, **others)
    pixels = torch.rand(pictures, 3, size_px, size_px, dtype=torch.float64)
    signals = torch.rand(pictures, words, TAGS, dtype=torch.float64)
    signals[0, 0] = torch.eye(TAGS)[2]
    probabilities, maps = engine(tagger, pixels, signals)
    with torch.no_grad():
        found = PlainLocalizer(tagger)(pixels, signals)
    assert found[1].dtype == torch.float64
    assert maps.amax((2, 3)).min() > 0
    torch.testing.assert_close(found[1], maps, rtol=0, atol=1e-9 * float(maps.max()))
    torch.testing.assert_close(found[0].float(), probabilities, rtol=0, atol=1e-6)  # the engine rounds these


@pytest.mark.parametrize("seed", range(3))
def test_float32_differs_by_rounding(seed):
    torch.manual_seed(seed)
    tagger = classifier([(6, 2), (8, 2), (10, 2), (9, 1)], 32, 2, dtype=torch.float32)
    pixels, signals = torch.rand(2, 3, 32, 32), torch.rand(2, 3, TAGS)
    probabilities, maps = engine(tagger, pixels, signals)
    with torch.no_grad():
        found = PlainLocalizer(tagger)(pixels, signals)
    assert found[1].dtype == torch.float32
    assert_rounded(found[1], maps)
    assert_rounded(found[0], probabilities)


@pytest.mark.parametrize(("dtype", "size_px"), [(torch.float64, 96), (torch.float32, 384)])
def test_the_embedded_classifier(localizer, dtype, size_px):
    tagger = localizer.classifier
    tagger = replace(
        tagger,
        network=tagger.network.folded().to(dtype),
        preprocessing=replace(tagger.preprocessing, image_size_px=size_px),
    )
    pixels = tagger.preprocessing(sample_scene()).to(dtype)
    signals = torch.eye(len(tagger.tags), dtype=dtype)[[tagger.indices[tag] for tag in ("man", "hat", "red", "dog")]]
    probabilities, maps = engine(tagger, pixels, signals[None])
    with torch.no_grad():
        found = PlainLocalizer(tagger)(pixels, signals[None])
    assert maps.shape == (1, 4, size_px // 16, size_px // 16)
    assert maps.amax((2, 3)).min() > 0
    atol = 1e-9 if dtype is torch.float64 else tolerance(dtype, 10)
    torch.testing.assert_close(found[1], maps, rtol=0, atol=atol * float(maps.max()))
    torch.testing.assert_close(found[0].float(), probabilities, rtol=0, atol=tolerance(torch.float32, 10))


def test_batch_normalisation_is_folded_in():
    network = soften(plain_network([(6, 2), (8, 2)], TAGS)).double()  # some scales are negative
    whole = replace(classifier([(6, 2), (8, 2)], 16, 2), network=network)
    pixels, signals = torch.rand(1, 3, 16, 16).double(), torch.rand(1, 2, TAGS).double()
    with torch.no_grad():
        found = PlainLocalizer(whole)(pixels, signals)
    assert_rounded(found[1], engine(whole, pixels, signals)[1])
    assert network.features.normalised


def test_the_classifier_stays_as_it_was():
    tagger = classifier([(6, 2), (8, 2)], 16, 2)
    before = tagger.fingerprint()
    module = PlainLocalizer(tagger)
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
    assert tagger.fingerprint() == before


class OtherFeatures(nn.Identity):
    name = "vit_tiny_patch16_224"


def with_gala():
    network = plain_network([(6, 2), (8, 2)], TAGS).eval()
    network.insert_gala(GalaSettings(("relu2",)))
    return network


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (lambda: TagNetwork(OtherFeatures(), 3, TAGS), "timm:vit_tiny_patch16_224"),
        (with_gala, "attention"),
        (lambda: nn.Sequential(nn.Conv2d(3, TAGS, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "Sequential"),
    ],
)
def test_other_networks_are_refused_by_name(network, name):
    tagger = TagClassifier(network().eval(), [str(number) for number in range(TAGS)], Preprocessing(32), "mine")
    with pytest.raises(GroundingError, match=facts("mine", name, "ReLU", "--what classifier")):
        PlainLocalizer(tagger)


@pytest.mark.parametrize(("map_layer", "what"), [(-1, "places"), (99, "layer is 99"), (None, "stride 16")])
def test_a_layer_that_cannot_be_read_is_refused(map_layer, what):
    with pytest.raises(GroundingError, match=what):
        PlainLocalizer(classifier([(6, 2), (8, 2)], 16, map_layer))
