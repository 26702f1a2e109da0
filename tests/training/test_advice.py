"""What a training says at its start and at its end."""

from types import SimpleNamespace

import pytest
import torch

from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network
from grounding.training.advice import advice, below_the_centre
from grounding.training.config import NetworkConfig, TrainConfig

LITTLE = (
    "from random weights teach little: network.initial=embedded goes on from the embedded classifier, "
    "with head_only=true in minutes"
)
SHORT = "warning: the classifier points no better than the centre of the picture: pointing/phrase "


@pytest.mark.parametrize(
    ("count", "network", "lines"),
    [
        (60, NetworkConfig(), [f"60 pictures {LITTLE}"]),
        (1, NetworkConfig(), [f"1 picture {LITTLE.replace('teach', 'teaches')}"]),
        (999, NetworkConfig(), [f"999 pictures {LITTLE}"]),
        (1000, NetworkConfig(), []),
        (60, NetworkConfig("timm:resnet18", weights="pretrained"), []),
    ],
)
def test_few_pictures_from_random_weights(count, network, lines):
    data = SimpleNamespace(images=range(count), tags=("a",), unit="caption")
    assert advice(TrainConfig(network=network), None, data) == lines


@pytest.mark.parametrize(
    ("tags", "lines"),
    [(("a", "b"), []), (("b", "grebe"), ["1 of 2 tags is known to first: its row is kept"])],
)
def test_the_tags_that_are_known(tags, lines):
    first = TagClassifier(plain_network([(8, 2)], 2), ["a", "b"], Preprocessing(32), "first")
    data = SimpleNamespace(images=range(3), tags=tags, unit="caption")
    assert advice(TrainConfig(network=NetworkConfig(initial="first")), first, data) == lines


@pytest.mark.parametrize(
    ("unit", "shares", "named"),
    [
        ("label", [0.1, 0.9], None),
        ("label", [0.1, 0.91], "label b:"),
        ("label", [1.0, 1.0], "label a, b:"),
        ("caption", [1.0, 1.0], None),
    ],
)
def test_labels_that_are_in_all_pictures(unit, shares, named):
    first = TagClassifier(plain_network([(8, 2)], 2), ["a", "b"], Preprocessing(32), "first")
    data = SimpleNamespace(images=range(60), tags=("a", "b"), unit=unit, shares=torch.tensor(shares))
    lines = advice(TrainConfig(network=NetworkConfig(initial="first")), first, data)
    assert len(lines) == (named is not None)
    assert named is None or named in lines[0]


@pytest.mark.parametrize(
    ("measured", "keys", "line"),
    [
        ({"pointing/phrase": 60.0}, {}, None),
        ({}, {}, None),
        ({"recall@1/merged-box": 1.0}, {}, None),
        (
            {"pointing/phrase": 55.0},
            {},
            f"{SHORT}55.0 against 55.0; what may help: more pictures, network.initial=embedded, head_only=true",
        ),
        (
            {"pointing/phrase": 41.26},
            {"network": NetworkConfig(initial="embedded")},
            f"{SHORT}41.3 against 55.0; what may help: more pictures, head_only=true",
        ),
        (
            {"pointing/phrase": 0.0},
            {"network": NetworkConfig(initial="embedded"), "head_only": True},
            f"{SHORT}0.0 against 55.0; what may help: more pictures",
        ),
    ],
)
def test_a_training_that_ends_below_the_centre(measured, keys, line):
    assert below_the_centre(measured, {"pointing/phrase": 55.0}, TrainConfig(**keys)) == line
