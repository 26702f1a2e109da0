"""Global-and-local attention: its equation, what it leaves as it is, where it can be put, and the engine's way through."""

import copy
import math
import pickle

import pytest
import timm
import torch
import torchvision
from torch import nn

from grounding.attention import contrastive_mwp, mwp, record
from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.gala import (
    GalaSettings,
    GlobalLocalAttention,
    attended,
    capture,
    gala_layers,
    gala_parameters,
    insert_gala,
)
from grounding.tagging.network import PlainFeatures, plain_network, timm_network
from grounding.tagging.sources import load_classifier
from helpers.errors import facts
from helpers.networks import signals, soften
from helpers.networks import state as state_of
from helpers.rounding import assert_rounded

KINDS = [(squash, apply_to) for squash in ("tanh", "sigmoid") for apply_to in ("input", "output")]


def learnt(network, scale=1.0):
    """As after some training: alpha and beta are not 0, and differ by channel."""
    generator = torch.Generator().manual_seed(3)
    for layer in gala_layers(network).values():
        for parameter in (layer.alpha, layer.beta):
            parameter.data.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return network


def softened_resnet():
    torch.manual_seed(0)
    return soften(torchvision.models.resnet18(num_classes=12))


def mobilenet():
    torch.manual_seed(0)
    return soften(timm.create_model("mobilenetv3_small_100", num_classes=12))


def plain():
    """A network without a class of its own: convolutions, a pool, and a linear layer."""
    torch.manual_seed(0)
    body = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(12, 12)).eval()


NETWORKS = {
    "resnet18": (softened_resnet, ("layer3", "layer4.1")),
    "mobilenetv3": (mobilenet, ("blocks.2", "blocks.4.0")),
    "plain": (plain, ("1", "3")),
}


def loops(x, state, squash):
    """The equation, a number at a time, in Python's float64."""
    images, channels, height, width = x.shape
    weights = {name: value.tolist() for name, value in state.items()}
    narrow = len(weights["global_branch.0.bias"])
    factors = torch.zeros(x.shape, dtype=torch.float64)
    for n in range(images):
        pixels = x[n].tolist()
        means = [sum(map(sum, pixels[c])) / (height * width) for c in range(channels)]
        squeezed = [
            max(0.0, bias + sum(w * mean for w, mean in zip(row, means, strict=True)))
            for row, bias in zip(weights["global_branch.0.weight"], weights["global_branch.0.bias"], strict=True)
        ]
        g = [
            bias + sum(w * s for w, s in zip(row, squeezed, strict=True))
            for row, bias in zip(weights["global_branch.2.weight"], weights["global_branch.2.bias"], strict=True)
        ]
        first = [[[0.0] * width for _ in range(height)] for _ in range(narrow)]
        second = copy.deepcopy(first)
        for d in range(narrow):
            for i in range(height):
                for j in range(width):
                    total = weights["local_branch.0.bias"][d]
                    for c in range(channels):
                        total += weights["local_branch.0.weight"][d][c][0][0] * pixels[c][i][j]
                    first[d][i][j] = max(0.0, total)
        for d in range(narrow):
            for i in range(height):
                for j in range(width):
                    total = weights["local_branch.2.bias"][d]
                    for e in range(narrow):
                        for di in range(-2, 3):
                            for dj in range(-2, 3):
                                if 0 <= i + di < height and 0 <= j + dj < width:
                                    kernel = weights["local_branch.2.weight"][d][e]
                                    total += kernel[di + 2][dj + 2] * first[e][i + di][j + dj]
                    second[d][i][j] = max(0.0, total)
        for i in range(height):
            for j in range(width):
                row = weights["local_branch.4.weight"][0]
                local = weights["local_branch.4.bias"][0] + sum(row[d][0][0] * second[d][i][j] for d in range(narrow))
                for c in range(channels):
                    z = weights["alpha"][c] * (g[c] + local) + weights["beta"][c] * g[c] * local
                    factors[n, c, i, j] = 1 + math.tanh(z) if squash == "tanh" else 2 / (1 + math.exp(-z))
    return factors


@pytest.mark.parametrize("squash", ["tanh", "sigmoid"])
@pytest.mark.parametrize(("shape", "reduction"), [((2, 8, 6, 7), 4), ((1, 5, 1, 1), 2), ((1, 3, 2, 9), 3)])
def test_the_equation_in_loops(shape, reduction, squash):
    torch.manual_seed(1)
    layer = learnt(GlobalLocalAttention(shape[1], reduction, squash).double())
    for parameter in layer.parameters():
        parameter.data *= 2  # so that all terms count
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        found = layer(x)
    torch.testing.assert_close(found, loops(x, layer.state_dict(), squash), rtol=1e-12, atol=1e-12)
    assert found.std() > 0.01


@pytest.mark.parametrize("squash", ["tanh", "sigmoid"])
def test_factors_lie_between_0_and_2(squash):
    layer = learnt(GlobalLocalAttention(4, 4, squash), scale=100.0)
    factors = layer(10 * torch.randn(8, 4, 5, 5))
    assert factors.min() >= 0
    assert factors.min() < 0.01
    assert 1.99 < factors.max() <= 2


@pytest.mark.parametrize(
    ("channels", "how", "message"),
    [
        (3, {}, "attention over 3 channels has reduction 4: expected at most 3"),
        (8, {"reduction": 0}, "reduction is 0: expected at least 1"),
        (8, {"reduction": 2.0}, "reduction is 2.0: expected a whole number"),
        (8, {"squash": "relu"}, "squash is 'relu': expected tanh or sigmoid"),
    ],
)
def test_attention_that_cannot_be(channels, how, message):
    with pytest.raises(GroundingError, match=facts(message)):
        GlobalLocalAttention(channels, **how)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("squash", "apply_to"), KINDS)
def test_a_network_keeps_its_output_to_the_last_bit_and_can_learn(name, squash, apply_to):
    make, layers = NETWORKS[name]
    network, images = make(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
    before = set(network.state_dict())
    insert_gala(network, layers, images[:1], squash=squash, apply_to=apply_to)
    with torch.no_grad():
        assert torch.equal(network(images), expected)
    new = set(network.state_dict()) - before
    assert set(network.state_dict()) >= before
    assert len(new) == 2 * 12  # alpha, beta and five layers of weights and bias
    assert all(".gala." in key for key in new)
    network(images)[:, 0].sum().backward()
    for layer in gala_layers(network).values():
        assert layer.alpha.grad.abs().sum() > 0
        assert layer.beta.grad.abs().sum() > 0
    learnt(network)
    assert not torch.allclose(network(images), expected)


def test_the_factors_multiply_what_a_stage_is_given_or_returns():
    x = torch.rand(1, 8, 5, 5)
    for apply_to in ("input", "output"):
        network = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))
        conv = network[0]
        with torch.no_grad():
            given = conv(x)
            insert_gala(network, ["0"], x, apply_to=apply_to)
            learnt(network)
            if apply_to == "input":
                expected = nn.functional.conv2d(x * conv.gala(x), conv.weight, conv.bias, padding=1)
            else:
                expected = given * conv.gala(given)
            torch.testing.assert_close(network(x), expected)
        assert attended(conv) == apply_to
    assert attended(nn.ReLU()) is None


@pytest.mark.parametrize(
    ("apply_to", "expected"), [("input", ["layer3.0.gala", "fc.gala"]), ("output", ["layer3.1.gala", "fc.gala"])]
)
def test_of_a_sequential_the_outermost_child_attends(apply_to, expected):
    network = softened_resnet()
    network.fc = nn.Sequential(nn.Unflatten(1, (512, 1, 1)), nn.Conv2d(512, 12, 1))  # nested at both ends
    network.fc = nn.Sequential(nn.Sequential(nn.Conv2d(512, 512, 1)), nn.Sequential(nn.Conv2d(512, 12, 1)))
    network.flatten = nn.Identity()
    network.forward = lambda images: network.fc(network.layer4(features_of(network, images)))
    insert_gala(network, ["layer3", "fc"], torch.rand(1, 3, 64, 64), apply_to=apply_to)
    inner = "fc.0.0.gala" if apply_to == "input" else "fc.1.0.gala"
    assert list(gala_layers(network)) == [expected[0], inner]


def features_of(network, images):
    return network.layer3(network.layer2(network.layer1(network.maxpool(network.bn1(network.conv1(images))))))
