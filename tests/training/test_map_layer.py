"""The layer at which maps are read, in a network with attention."""

import copy

import pytest
import torch
from torch import nn

from grounding.attention import contrastive_mwp, record
from grounding.errors import GroundingError
from grounding.tagging.gala import GalaSettings
from grounding.tagging.network import plain_network
from grounding.training.human_maps import excitation_maps
from grounding.training.map_layer import past_attention, while_training


def network():
    """Its layers are the image, three times convolution and ReLU (-7 to -2), and the mean (-1)."""
    torch.manual_seed(0)
    made = plain_network([(8, 2), (8, 2), (8, 2)], 3, normalised=False).eval()
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.uniform_(module.bias, 0, 0.1)
    return made


@pytest.mark.parametrize(
    ("names", "apply_to", "map_layer", "expected"),
    [
        (("relu3",), "output", -2, -3),  # -2 is the product, the ReLU comes before it
        (("relu3",), "input", -2, -2),  # the product lies below the ReLU
        (("relu3",), "input", -3, -4),
        (("conv3",), "input", -3, -3),
        (("conv3",), "input", -4, -5),
        (("conv3", "relu3"), "input", -4, -6),
        (("relu1", "relu2", "relu3"), "output", -4, -6),
        (("relu1",), "output", -4, -4),
    ],
)
def test_the_same_layer_is_read(names, apply_to, map_layer, expected):
    without = network()
    attended = copy.deepcopy(without)
    attended.insert_gala(GalaSettings(names, apply_to=apply_to))
    assert past_attention(map_layer, attended, 32) == expected
    images = torch.rand(1, 3, 32, 32)
    tapes = [record(lambda x, each=each: each.mean_scores(each.features(x)), images) for each in (without, attended)]
    maps = [
        contrastive_mwp(tape, torch.eye(3), layer=layer)
        for tape, layer in zip(tapes, (map_layer, expected), strict=True)
    ]
    assert maps[0].abs().max() > 0
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-4, atol=1e-6)


def test_a_network_without_attention_is_not_run():
    assert past_attention(-99, network(), 32) == -99


def test_a_layer_that_does_not_exist():
    attended = network()
    attended.insert_gala(GalaSettings(("relu3",)))
    with pytest.raises(GroundingError, match="map_layer is -9: expected one of -8 to -1"):
        past_attention(-9, attended, 32)


def test_a_network_in_training_stays_so():
    attended = plain_network([(8, 2), (8, 2)], 3)
    attended.insert_gala(GalaSettings(("relu2",)))
    assert past_attention(-4, attended, 32) == -5
    assert all(module.training for module in attended.modules())


@pytest.mark.parametrize("map_layer", [-2, -3, -4, -6])
def test_a_layer_of_the_finished_classifier_is_taught_before_it_is_folded(map_layer):
    torch.manual_seed(1)
    trained = plain_network([(8, 2), (8, 2), (8, 2)], 3)
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, 0, 0.5)
    images = torch.rand(3, 3, 32, 32)
    taught = excitation_maps(trained, images, torch.eye(3), while_training(map_layer, trained, 32))
    finished = excitation_maps(trained.folded(), images, torch.eye(3), map_layer)
    torch.testing.assert_close(taught, finished, rtol=1e-3, atol=1e-5)


def test_other_layers_are_counted_alike_in_training():
    assert while_training(-3, network(), 32) == -3  # no batch normalisation
    assert while_training(None, plain_network([(8, 2)], 3), 32) is None
