"""The network that a training begins with, and how it takes over another's weights."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.gala import GalaSettings, gala_layers, gala_parameters
from grounding.tagging.network import plain_network, timm_network
from grounding.tagging.sources import load_classifier
from grounding.training.attention_config import GalaConfig
from grounding.training.config import NetworkConfig
from grounding.training.networks import check_tags, create_network, following, known_line, known_rows, start_from

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
    for layer in gala_layers(network).values():
        layer.alpha.data.normal_(generator=generator)
        layer.beta.data.normal_(generator=generator)
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


@pytest.mark.parametrize(
    ("known", "tags", "rows"),
    [
        (TAGS, TAGS, {0: 0, 1: 1, 2: 2}),
        (TAGS, ("dog", "albatross", "man"), {0: 2, 2: 0}),
        (TAGS, ("Dogs", "hats"), {0: 2, 1: 1}),  # the same stems
        (("running", "run"), ("run", "runs", "running"), {0: 1, 1: 0, 2: 0}),  # exact before stem, the first of equals
        (("dog", "dog"), ("dog",), {0: 0}),
        (TAGS, ("albatross",), {}),
    ],
)
def test_the_rows_that_are_known(known, tags, rows):
    assert known_rows(known, tags) == rows


@pytest.mark.parametrize(
    ("tags", "line"),
    [
        (("dogs", "cat", "man", "grebe"), "2 of 4 tags are known to first: their rows are kept"),
        (("grebe", "hat"), "1 of 2 tags is known to first: its row is kept"),
        (("grebe",), "0 of 1 tags are known to first: the head starts anew"),
    ],
)
def test_what_is_known_is_said(tags, line):
    assert known_line(classifier(plain_network([(8, 2)], 3)), tags) == line


@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("pooling", ["log-sum-exp", "attention"])
def test_other_tags_keep_the_backbone_and_the_rows_that_are_known(pooling, head_only):
    first = trained(plain_network([(8, 2), (12, 4)], 3, pooling)).folded()
    network = create_network(NetworkConfig(**SMALL, pooling=pooling), 4, head_only)
    network.head.bias.data.copy_(torch.arange(4) - 9.0)
    images = torch.rand(16, 3, 32, 32)
    start_from(network, classifier(first), ("dogs", "cat", "man", "grebe"), images)
    torch.testing.assert_close(network.eval().features(images), first.features(images), rtol=1e-4, atol=1e-4)
    for layer, source in ((network.head, first.head), (network.attention, first.attention)):
        if layer is not None:
            assert torch.equal(layer.weight[[0, 2]], source.weight[[2, 0]])
            assert not layer.weight[[1, 3]].any()
    assert torch.equal(
        network.head.bias, torch.stack([first.head.bias[2], torch.tensor(-8.0), first.head.bias[0], torch.tensor(-6.0)])
    )


def test_a_head_alone_has_a_backbone_that_does_not_learn():
    network = create_network(NetworkConfig(**SMALL), 3, head_only=True)
    assert not network.features.normalised  # it is the backbone that was learnt, not one with its function
    assert [name for name, each in network.named_parameters() if each.requires_grad] == ["head.weight", "head.bias"]
    network = create_network(NetworkConfig("timm:test_resnet", pooling="attention"), 3, head_only=True)
    learning = [name for name, each in network.named_parameters() if each.requires_grad]
    assert learning == ["head.weight", "head.bias", "attention.weight"]


def test_what_is_left_out_follows_the_initial_classifier():
    plain = classifier(plain_network([(8, 2), (12, 4)], 3, "top-k", normalised=False))
    config = following(NetworkConfig(initial="x", frozen=("conv1",)), plain)
    assert (config.architecture, config.channels, config.strides) == ("plain", (8, 12), (2, 4))
    assert (config.pooling, config.frozen) == ("top-k", ("conv1",))
    assert following(NetworkConfig(initial="x", pooling="average"), plain).pooling == "average"
    named = NetworkConfig(architecture="plain", **SMALL, initial="x")
    assert following(named, plain) == dataclasses.replace(named, pooling="top-k")
    timm = classifier(
        timm_network("test_resnet", 3, "attention", {"output_stride": 16, "act_layer": "gelu", "layers": [1, 1, 1, 2]})
    )
    config = following(NetworkConfig(initial="x"), timm)
    assert (config.architecture, config.pooling) == ("timm:test_resnet", "attention")
    network = create_network(config, 2)
    assert network.features.options == timm.network.features.options
    start_from(network, timm, ("man", "grebe"), torch.rand(1, 3, 32, 32))
    given = NetworkConfig(initial="x", options=("output_stride=32",))
    assert following(given, timm).options == ("output_stride=32",)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"architecture": "timm:test_resnet"}, "the architecture plain where network.architecture is timm:test_resnet"),
        ({"channels": (8, 16), "strides": (2, 4)}, r"the channels \[8, 12\] where network.channels is \[8, 16\]"),
        ({"channels": (8, 12), "strides": (2, 2)}, "set network.strides to none to follow it"),
    ],
)
def test_another_architecture_than_the_initial_one(keys, message):
    first = classifier(plain_network([(8, 2), (12, 4)], 3, normalised=False))
    with pytest.raises(GroundingError, match=f"network.initial first has .*{message}"):
        following(NetworkConfig(initial="x", **keys), first)


def test_a_network_of_another_kind_to_start_from():
    first = TagClassifier(nn.Linear(3, 3), TAGS, Preprocessing(32), "first")
    with pytest.raises(GroundingError, match=r"network\.initial first is a Linear: expected embedded, or a classifier"):
        following(NetworkConfig(initial="x"), first)


@pytest.mark.parametrize(
    ("keys", "layers"),
    [(SMALL, ("relu1", "conv2")), ({"architecture": "timm:test_resnet", "frozen": ("layer3",)}, ("layer3", "layer4"))],
)
def test_attention_of_a_configuration(keys, layers):
    config, images = NetworkConfig(**keys), torch.rand(2, 3, 32, 32)
    torch.manual_seed(0)
    without = create_network(config, 3)
    torch.manual_seed(0)
    disabled = create_network(config, 3, gala=GalaConfig(layers=layers))
    torch.manual_seed(0)
    network = create_network(config, 3, gala=GalaConfig(True, layers, 2, "sigmoid", "input"))
    assert without.gala is disabled.gala is None
    assert not gala_layers(disabled)
    assert network.gala == GalaSettings(layers, 2, "sigmoid", "input")
    assert len(gala_layers(network)) == 2
    assert network.training
    assert all(parameter.requires_grad for parameter in gala_parameters(network))
    assert torch.equal(network.eval().features(images), without.eval().features(images))
    with pytest.raises(GroundingError, match="the network has no module 'layer9'"):
        create_network(config, 3, gala=GalaConfig(True, ("layer9",)))


def test_weights_from_a_file_are_loaded_before_attention_is_inserted(tmp_path):
    trunk = timm_network("test_resnet", 3).backbone
    save_file(trunk.state_dict(), tmp_path / "w.safetensors")
    config = NetworkConfig("timm:test_resnet", weights=str(tmp_path / "w.safetensors"))
    network = create_network(config, 3, gala=GalaConfig(True, ("layer4",)))
    state = network.backbone.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in trunk.state_dict().items())


ATTENDED = {
    "plain": (SMALL, GalaConfig(True, ("relu1", "conv2"))),
    "plain output": (SMALL, GalaConfig(True, ("relu1", "relu2"), 2, "sigmoid", "output")),
    "timm": ({"architecture": "timm:test_resnet"}, GalaConfig(True, ("layer3", "layer4"))),
}


@pytest.mark.parametrize("kind", ATTENDED)
def test_a_network_starts_with_the_attention_of_another(kind):
    keys, gala = ATTENDED[kind]
    first = trained(create_network(NetworkConfig(**keys), 3, gala=gala)).folded()
    network = create_network(NetworkConfig(**keys), 3, gala=gala)
    images = torch.rand(16, 3, 32, 32)
    start_from(network, classifier(first), TAGS, images)
    for layer, theirs in zip(gala_layers(network).values(), gala_layers(first).values(), strict=True):
        assert all(map(torch.equal, layer.state_dict().values(), theirs.state_dict().values()))
    expected = first(images)
    torch.testing.assert_close(network.eval()(images), expected, rtol=1e-4, atol=1e-4)
    if kind != "timm":
        torch.testing.assert_close(network.train()(images), expected, rtol=1e-2, atol=1e-2)  # batch statistics fit too
    assert (first(images) - trained(create_network(NetworkConfig(**keys), 3)).eval()(images)).abs().max() > 0.01


@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("kind", ATTENDED)
def test_a_network_with_attention_starts_from_one_without(kind, head_only):
    keys, gala = ATTENDED[kind]
    first = trained(create_network(NetworkConfig(**keys), 3)).folded()
    network = create_network(NetworkConfig(**keys), 3, head_only, gala)
    before = {key: value.clone() for key, value in network.state_dict().items() if ".gala." in key}
    images = torch.rand(16, 3, 32, 32)
    start_from(network, classifier(first), TAGS, images)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())
    torch.testing.assert_close(network.eval()(images), first(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ATTENDED)
def test_other_attention_than_the_initial_classifier_has(kind):
    keys, gala = ATTENDED[kind]
    first = classifier(create_network(NetworkConfig(**keys), 3, gala=gala).folded())
    layers = ", ".join(gala.layers)
    for other in (
        None,
        dataclasses.replace(gala, enabled=False),
        dataclasses.replace(gala, layers=gala.layers[:1]),
        dataclasses.replace(gala, reduction=3),
        dataclasses.replace(gala, squash="tanh" if gala.squash == "sigmoid" else "sigmoid"),
    ):
        network = create_network(NetworkConfig(**keys), 3, gala=other)
        message = rf"network\.initial first has other attention .* set gala\.enabled=true gala\.layers=\[{layers}\] "
        with pytest.raises(GroundingError, match=message) as caught:
            start_from(network, first, TAGS, torch.rand(4, 3, 32, 32))
        assert "\n" not in str(caught.value)
        assert ("which has none" in str(caught.value)) == (network.gala is None)
        given = str(caught.value).partition(": set ")[2].split(" gala.")
        assert given[2:] == [f"reduction={gala.reduction}", f"squash={gala.squash}", f"apply_to={gala.apply_to}"]


@pytest.mark.parametrize("kind", ATTENDED)
def test_a_head_alone_keeps_the_attention_of_its_backbone(kind):
    keys, gala = ATTENDED[kind]
    first = trained(create_network(NetworkConfig(**keys), 3, gala=gala)).folded()
    network = create_network(NetworkConfig(**keys), 2, head_only=True)
    images = torch.rand(2, 3, 32, 32)
    start_from(network, classifier(first), ("dog", "grebe"), images)
    assert network.gala == first.gala
    assert torch.equal(network.eval().features(images), first.features(images))
    assert [name for name, each in network.named_parameters() if each.requires_grad] == ["head.weight", "head.bias"]
