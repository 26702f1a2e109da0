"""The learning rate of every step, and which parameters have which."""

import math

import pytest
import torch
from torch import nn

from grounding.tagging.gala import GalaSettings
from grounding.tagging.network import plain_network
from grounding.training.config import TrainConfig
from grounding.training.schedule import parameter_groups, set_learning_rates


def test_schedule_warms_up_and_ends_near_zero():
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "peak": 2.0}], lr=1.0)
    rates = []
    for step in range(100):
        set_learning_rates(optimizer, step, 100)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert rates[52] == pytest.approx(2 * 0.5 * (1 + math.cos(math.pi * 47 / 95)))
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.002


def test_decay_is_for_matrices_and_the_head_has_its_own_peak():
    network = plain_network([(4, 2), (6, 2)], 5)
    network.freeze(["conv1"])
    config = TrainConfig(learning_rate=0.1, head_learning_rate=0.3, weight_decay=0.2)
    options = {
        name: (group["weight_decay"], group["peak"])
        for group in parameter_groups(network, config)
        for name, parameter in network.named_parameters()
        if any(parameter is grouped for grouped in group["params"])
    }
    assert options == {
        "features.conv2.weight": (0.2, 0.1),
        **{f"features.norm{n}.{kind}": (0.0, 0.1) for n in (1, 2) for kind in ("weight", "bias")},
        "head.weight": (0.2, 0.3),
        "head.bias": (0.0, 0.3),
    }
    assert {group["peak"] for group in parameter_groups(network, TrainConfig(learning_rate=0.1))} == {0.1}


def test_attention_has_the_rate_of_the_head_and_no_decay():
    network = plain_network([(4, 2), (6, 2)], 5)
    network.insert_gala(GalaSettings(("relu1",)))
    network.freeze(["conv1", "norm1"])
    groups = parameter_groups(network, TrainConfig(learning_rate=0.1, head_learning_rate=0.3, weight_decay=0.2))
    assert sum(len(group["params"]) for group in groups) == 3 + 2 + 12  # conv2 and norm2, the head, attention
    for parameter in network.features.relu1.gala.parameters():
        (group,) = [group for group in groups if any(parameter is each for each in group["params"])]
        assert (group["weight_decay"], group["peak"]) == (0.0, 0.3)
    decayed = [group["params"] for group in groups if group["weight_decay"]]
    assert [[each is network.features.conv2.weight for each in params] for params in decayed] == [[True], [False]]
    assert decayed[1][0] is network.head.weight
