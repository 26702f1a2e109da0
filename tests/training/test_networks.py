"""The network that a training begins with, and how it takes over another's weights."""

import pytest
import torch
from torch import nn

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network, timm_network
from grounding.tagging.sources import load_classifier
from grounding.training.config import NetworkConfig
from grounding.training.networks import check_tags, create_network, start_from

SMALL = {"channels": (8, 12), "strides": (2, 4)}
TAGS = ("man", "hat", "dog")


def classifier(network):
    return TagClassifier(network, TAGS, Preprocessing(32, network.mean, network.std), "first")


def trained(network):
    """As after some steps: nothing is 0, no statistics are the initial ones."""
    generator = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(-1, 1, generator=generator)
            module.bias.data.uniform_(-0.5, 0.5, generator=generator)
            module.running_mean.uniform_(-0.1, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    for layer in (network.head, network.attention):
        if layer is not None:
            layer.weight.data.normal_(generator=generator)
    return network.eval()


def test_a_plain_network_from_random_weights():
    torch.manual_seed(0)
    network = create_network(NetworkConfig(), 1000)
    assert network.training
    assert network.features.layers[:3] == ((32, 2), (64, 2), (128, 2))
    assert not network.head.weight.any()
    deepest = network.features.get_submodule("conv9").weight  # 512 x 256 x 3 x 3
    assert deepest.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)  # He et al., by fan-out
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_timm_network_with_options_pooling_and_frozen_parts():
    config = NetworkConfig(
        "timm:test_resnet",
        pooling="attention",
        options=("output_stride=16", "act_layer=gelu"),
        frozen=("bn1", "layer1"),
    )
    network = create_network(config, 5)
    assert network.features.options == {"output_stride": 16, "act_layer": "gelu"}
    assert network.features(torch.zeros(2, 3, 64, 64)).shape[2:] == (4, 4)
    assert network.attention.weight.shape == (5, network.features.channels)
    assert network.training
    assert not network.backbone.bn1.training
    assert not network.backbone.layer1.training
    assert network.backbone.layer2.training


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"architecture": "timm:"}, "timm has no model ''"),
        ({"architecture": "timm:resnet19"}, "did you mean 'timm:resnet18'"),
        ({"weights": "w.safetensors"}, "are for timm networks"),
        ({"options": ("a=1",)}, "are for timm networks"),
        ({"frozen": ("conv77",)}, "'conv77' holds no parameter"),
        ({"pooling": "median"}, "pooling is 'median'"),
        ({"architecture": "timm:test_resnet", "options": ("output_stride",)}, "expected key=value such as"),
        ({"architecture": "timm:test_resnet", "options": ("=16",)}, "expected key=value such as"),
        ({"architecture": "timm:test_resnet", "options": ("a=[",)}, "is not YAML"),
        ({"architecture": "timm:test_resnet", "options": ("num_classes=3",)}, "is set by this package"),
    ],
)
def test_bad_configurations(keys, message):
    with pytest.raises(GroundingError, match=message) as caught:
        create_network(NetworkConfig(**keys), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pooling", ["log-sum-exp", "attention"])
def test_a_plain_network_starts_with_the_function_of_another(pooling):
    first = trained(plain_network([(8, 2), (12, 4)], 3, pooling)).folded()
    network = create_network(NetworkConfig(**SMALL, pooling=pooling), 3)
    images = torch.rand(16, 3, 32, 32)
    start_from(network, classifier(first), TAGS, images)
    torch.testing.assert_close(network.eval()(images), first(images), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.train()(images), first(images), rtol=1e-2, atol=1e-2)  # batch statistics fit too


def test_a_network_may_start_from_one_with_another_pooling():
    first = trained(plain_network([(8, 2), (12, 4)], 3)).folded()
    network = create_network(NetworkConfig(**SMALL, pooling="attention"), 3)
    start_from(network, classifier(first), TAGS, torch.rand(16, 3, 32, 32))
    assert torch.equal(network.head.weight, first.head.weight)
    assert not network.attention.weight.any()


def test_a_timm_network_starts_with_the_weights_of_another(tmp_path):
    first = trained(timm_network("test_resnet", 3))
    classifier(first).save_pretrained(tmp_path)
    network = create_network(NetworkConfig("timm:test_resnet", options=("output_stride=16",), frozen=("layer1",)), 3)
    saved = load_classifier(tmp_path)
    start_from(network, saved, TAGS, torch.rand(1, 3, 32, 32))
    assert all(torch.equal(value, saved.network.state_dict()[key]) for key, value in network.state_dict().items())
    assert not network.backbone.layer1[0].conv1.weight.requires_grad


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (lambda: plain_network([(8, 2), (12, 2)], 3, normalised=False), "other layers"),
        (lambda: plain_network([(8, 2)], 3, normalised=False), "other layers"),
        (lambda: timm_network("test_resnet", 3), "network.initial first has another architecture"),
    ],
)
def test_networks_to_start_from_that_do_not_fit(first, message):
    with pytest.raises(GroundingError, match=message):
        start_from(create_network(NetworkConfig(**SMALL), 3), classifier(first()), TAGS, torch.rand(2, 3, 32, 32))


def test_another_timm_network_to_start_from():
    network = create_network(NetworkConfig("timm:test_resnet"), 3)
    with pytest.raises(GroundingError, match=r"network\.initial first has another backbone than the network"):
        start_from(network, classifier(timm_network("test_efficientnet", 3)), TAGS, torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (("man", "hat", "cat"), "teacher first has other tags: tag 3 is 'dog' where the captions give 'cat'"),
        (("hat", "man", "dog"), "tag 1 is 'man' where the captions give 'hat'"),
        (("man", "hat"), "it has 3 where the captions give 2"),
        (("man", "hat", "dog", "cat"), "it has 3 where the captions give 4"),
    ],
)
def test_other_tags(tags, message):
    first = classifier(plain_network([(8, 2)], 3))
    check_tags(first, list(TAGS), "teacher")
    with pytest.raises(GroundingError, match=message):
        check_tags(first, tags, "teacher")
    with pytest.raises(GroundingError, match=r"network\.initial first has other tags"):
        start_from(create_network(NetworkConfig(**SMALL), 3), first, tags, torch.rand(2, 3, 32, 32))
