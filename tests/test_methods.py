"""What turns signals into word maps: each method against its definition, and what every one of them must hold."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from grounding import attention
from grounding.attention.mass import LostMassWarning
from grounding.baselines.shared import prepare
from grounding.config import METHOD, LocalizerConfig, MapConfig, RegionConfig, WholeConfig
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.localize import build_parser
from grounding.methods import METHODS, Explanation, encode, explained_model, find_method, layer_name
from grounding.pipeline import Localizer
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network

CAPTION = "a man in a red hat with a dog"
TAGS = ("dog", "man", "hat", "red", "woman", "shirt")
QUICK = sorted(METHODS.keys() - {"rise"})  # which takes thousands of forward passes


@pytest.fixture(scope="module")
def classifier():
    """A small network of random weights; maps are read at the output of its third ReLU, of stride 8."""
    torch.manual_seed(0)
    network = plain_network([(8, 2), (8, 2), (8, 2), (8, 1)], len(TAGS), normalised=False).eval()
    with torch.no_grad():
        network.head.weight += 0.2  # so that every method finds something
    return TagClassifier(network, TAGS, Preprocessing(96), "small", map_layer=-4)


@pytest.fixture(scope="module")
def encoding(classifier):
    return encode(classifier, classifier.preprocessing(sample_scene()))


@pytest.fixture(scope="module")
def signals(classifier):
    return classifier.signals(["dog", "man"])


def below_and_above(classifier):
    """The network up to the layer that is read, and from there to the features."""
    parts = list(classifier.network.features)
    return nn.Sequential(*parts[:6]).eval(), nn.Sequential(*parts[6:]).eval()


def scores_above(classifier, layer, explained):
    """(1, T) scores, step by step from the (1, C, h, w) layer that is read."""
    network = classifier.network
    features = below_and_above(classifier)[1](layer)
    if explained == "mean scores":
        return features.mean((2, 3)) @ network.head.weight.T + network.head.bias
    return network.pool(network.local_scores(features), features)


@pytest.mark.parametrize("name", QUICK)
def test_maps_are_what_a_method_promises(name, encoding, signals):
    maps = METHODS[name](encoding, signals, MapConfig(resolution=32))
    assert maps.dim() == 3
    assert len(maps) == 2
    assert maps.is_floating_point()
    assert not maps.requires_grad
    assert max(maps.shape[1:]) <= 32
    assert (maps >= 0).all()
    assert (maps.amax((1, 2)) > 0).all()


def test_the_default_is_the_walk_of_the_engine(encoding, signals):
    expected = attention.contrastive_mwp(encoding.tape, signals, layer=-4)[0].clamp(min=0)
    torch.testing.assert_close(METHODS[METHOD](encoding, signals, MapConfig()), expected, rtol=0, atol=0)
    assert METHOD == build_parser().parse_args([]).method == "contrastive_mwp"


def test_mwp_is_the_walk_without_contrast(encoding, signals):
    walked = attention.mwp(encoding.tape, signals, layer=-4, channels=True)[0]  # (K, C, h, w)
    torch.testing.assert_close(METHODS["mwp"](encoding, signals, MapConfig()), walked.sum(1))


def test_without_a_layer_of_the_classifier_the_stride_decides(classifier, encoding, signals):
    """Stride 16 has no layer in this small network; 4 has one."""
    free = encode(replace(classifier, map_layer=None), encoding.images)
    with pytest.raises(GroundingError, match="stride 16"):
        METHODS["mwp"](free, signals, MapConfig())
    for each in (free, encoding):
        assert METHODS["mwp"](each, signals, MapConfig(stride=4)).shape[1:] == (24, 24)


def test_cam_is_the_local_scores_without_bias(classifier, encoding, signals):
    network = classifier.network
    with torch.no_grad():
        local = network.local_scores(network.features(encoding.images))[0]  # (T, h, w)
    expected = (local - network.head.bias[:, None, None])[[classifier.tags.index(tag) for tag in ("dog", "man")]]
    torch.testing.assert_close(METHODS["cam"](encoding, signals, MapConfig()), expected.clamp(min=0))


@pytest.mark.parametrize("explained", ["logits", "mean scores"])
def test_grad_cam_is_of_the_layer_and_the_scores_it_says(classifier, encoding, signals, explained):
    """Slow definition: gradients by central differences in float64."""
    exact = replace(classifier, network=classifier.network)
    below, _ = below_and_above(classifier)
    with torch.no_grad():
        layer = below(encoding.images)
    method = Explanation(METHODS["grad_cam"].baseline, explained, at_layer=True)
    maps = method(encoding, signals, MapConfig())
    leaf = layer.clone().requires_grad_()
    for row, tag in enumerate(("dog", "man")):
        (gradient,) = torch.autograd.grad(scores_above(exact, leaf, explained)[0, classifier.tags.index(tag)], leaf)
        weights = gradient[0].sum((1, 2)) / gradient[0, 0].numel()
        expected = (weights[:, None, None] * layer[0]).sum(0).clamp(min=0)
        torch.testing.assert_close(maps[row], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("explained", ["logits", "mean scores", "probabilities"])
@pytest.mark.parametrize("multi_label", [True, False])
def test_what_is_explained(classifier, encoding, explained, multi_label):
    classifier = replace(classifier, multi_label=multi_label)
    network = classifier.network
    with torch.no_grad():
        features = network.features(encoding.images)
        logits = network.pool(network.local_scores(features), features)
        expected = {
            "logits": logits,
            "mean scores": features.mean((2, 3)) @ network.head.weight.T + network.head.bias,
            "probabilities": logits.sigmoid() if multi_label else logits.exp() / logits.exp().sum(),
        }
        torch.testing.assert_close(explained_model(classifier, explained)(encoding.images), expected[explained])


def test_maps_finer_than_the_working_resolution_are_averaged(encoding, signals):
    fine = METHODS["gradient"](encoding, signals, MapConfig(resolution=1024))
    assert fine.shape[1:] == (96, 96)
    coarse = METHODS["gradient"](encoding, signals, MapConfig(resolution=24))
    blocks = fine.reshape(2, 24, 4, 24, 4).mean((2, 4))
    torch.testing.assert_close(coarse, blocks)


@pytest.mark.parametrize("name", QUICK)
def test_the_network_is_left_as_it_was(name, classifier, encoding, signals):
    network = classifier.network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    METHODS[name](encoding, signals, MapConfig())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(module.training or module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_a_layer_inside_no_module_is_refused(classifier, encoding):
    """The layer is found by what it holds; here what the modules give is not it."""
    torch.manual_seed(1)  # not the weights of the classifier
    other = replace(classifier, network=plain_network([(8, 2)] * 3 + [(8, 1)], len(TAGS), normalised=False).eval())
    with pytest.raises(GroundingError, match=r"maps\.stride"):
        layer_name(encoding, explained_model(other, "logits"), MapConfig())


class TwoRuns(nn.Module):
    """A ReLU that runs twice, at first at the layer to read, which may also be the output of a module of its own."""

    def __init__(self, marked):
        super().__init__()
        self.first, self.relu = nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU()
        self.mark = nn.Identity() if marked else None
        self.second, self.head = nn.Conv2d(4, 4, 3, 1, 1), nn.Linear(4, 2)

    def forward(self, images):
        layer = self.relu(self.first(images))
        layer = self.mark(layer) if self.mark else layer
        return self.head(self.relu(self.second(layer)).mean((2, 3)))


def test_a_module_that_runs_often_is_not_the_layer():
    torch.manual_seed(1)
    images = torch.rand(1, 3, 32, 32)
    marked, bare = (
        TagClassifier(TwoRuns(marked).eval(), ("a", "b"), Preprocessing(32), "twice") for marked in (True, False)
    )
    at_4 = MapConfig(stride=4)
    assert layer_name(encode(marked, images), explained_model(marked, "logits"), at_4) == "0.mark"
    with pytest.raises(GroundingError, match="no module"):
        layer_name(encode(bare, images), explained_model(bare, "logits"), at_4)


def test_a_method_that_cannot_work_says_so(encoding, signals):
    network = nn.Sequential(nn.Conv2d(3, 6, 3, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 144, 6)).eval()
    seen = encode(TagClassifier(network, TAGS, Preprocessing(96), "flat"), encoding.images)
    with pytest.raises(GroundingError, match="cam needs"):
        METHODS["cam"](seen, signals, MapConfig())


@pytest.mark.parametrize(("name", "advice"), [("grad-cam", "did you mean 'grad_cam'"), ("xyzzy", "expected one of")])
def test_an_unknown_method_is_named_with_the_nearest(name, advice):
    with pytest.raises(GroundingError, match=f"'{name}': {advice}"):
        find_method(name)


def test_help_names_every_method():
    assert all(name in build_parser().format_help() for name in METHODS)


def test_a_method_changes_the_maps_only(classifier):
    scene = Localizer(classifier).encode(sample_scene())
    other = scene.under(Localizer(classifier, method="cam"))
    assert other.encoding is scene.encoding
    for ours, theirs in zip(scene.ground(CAPTION), other.ground(CAPTION), strict=True):
        assert (ours.phrase, ours.words, ours.status) == (theirs.phrase, theirs.words, theirs.status)
        assert not np.array_equal(ours.grid_map, theirs.grid_map)


def test_a_method_of_ones_own_needs_no_registry(classifier):
    calls = []

    def centre(encoding, signals, config):
        calls.append((encoding, signals, config))
        maps = torch.zeros(len(signals), 5, 5)
        maps[:, 2, 2] = 1
        return maps

    config = LocalizerConfig(maps=MapConfig(stride=8), wholes=WholeConfig(amount=0))
    result = Localizer(classifier, config, method=centre).encode(sample_scene()).ground("a man")
    assert result[0].point == pytest.approx((256, 256), abs=6)
    ((_, signals, given),) = calls
    assert given is config.maps
    assert signals.tolist() == [[float(tag == "man") for tag in TAGS]]


def test_a_scene_under_other_proposals_has_those(classifier):
    scene = Localizer(classifier).encode(sample_scene())
    for regions in (RegionConfig(windows=3), RegionConfig(proposals="edge-boxes")):
        other = Localizer(classifier, LocalizerConfig(regions=regions))
        np.testing.assert_array_equal(scene.under(other).proposals, other.encode(scene.image).proposals)


def test_a_scene_under_another_classifier_is_encoded_again(classifier):
    scene = Localizer(classifier).encode(sample_scene())
    other = Localizer(replace(classifier, name="other"))
    assert scene.under(other).encoding is not scene.encoding
    assert scene.under(other).ground("a man").classifier == "other"


def test_rise_explains_probabilities(monkeypatch, classifier, encoding, signals):
    asked = {}

    def few(model, images, signals, layer=None):
        asked["scores"] = prepare(model, images)[0](images)
        return torch.ones(1, len(signals), 8, 8)

    replace(METHODS["rise"], baseline=few)(encoding, signals, MapConfig())
    assert (asked["scores"] > 0).all()
    assert (asked["scores"] < 1).all()


def test_signals_are_one_for_the_first_output_of_a_tag(classifier):
    twice = replace(classifier, tags=("dog", "man", "man", "red", "woman", "shirt"))
    assert twice.signals(["man", "red"]).nonzero().tolist() == [[0, 1], [1, 3]]
    assert twice.signals([]).shape == (0, 6)
    assert set(itertools.chain(*twice.signals(["man"]).tolist())) == {0.0, 1.0}


def by_bias(classifier, deaf):
    """The same, but the first `deaf` channels below the features are active by their bias alone, whatever is seen."""
    network = copy.deepcopy(classifier.network)
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight[:deaf] = -last.weight[:deaf].abs()
        last.bias[:deaf] = 100.0
    return TagClassifier(network, classifier.tags, classifier.preprocessing, "deaf", map_layer=-4)


@pytest.mark.parametrize("method", [METHOD, "mwp"])
def test_a_network_that_loses_its_signals_is_told_of_and_grounds_nothing(classifier, method):
    scene = Localizer(by_bias(classifier, 8), method=method).encode(sample_scene())
    with pytest.warns(LostMassWarning, match="less than a fifth"):
        result = scene.ground("a man with a dog")
    assert {found.status for found in result} == {"empty-map"}
