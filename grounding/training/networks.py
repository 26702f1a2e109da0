"""The network that a training begins with."""

from collections.abc import Sequence
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from grounding.errors import GroundingError
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.network import PlainFeatures, TagNetwork, plain_network, timm_network, warm_start
from grounding.training.config import NetworkConfig


def create_network(config: NetworkConfig, tags: int) -> TagNetwork:
    """Create the network of a configuration, in training mode, with `weights` loaded and `frozen` parts frozen.

    The weights of the head are 0. Its bias and the weights of `initial` are left to the caller: see `start_from`.

    Raises:
        GroundingError: options that are wrong or not for a plain network, or what `timm_network` or `freeze` refuses.
    """
    kind, _, name = config.architecture.partition(":")
    if kind == "timm":
        network = timm_network(name, tags, config.pooling, _options(config.options), config.weights)
    else:
        network = _plain(config, tags)
    nn.init.zeros_(network.head.weight)
    network.freeze(config.frozen)
    return network.train()


@torch.no_grad()
def start_from(network: TagNetwork, initial: TagClassifier, tags: Sequence[str], images: Tensor) -> None:
    """Copy the weights of another classifier, head included, into a network.

    Args:
        network: of `create_network`; changed in place.
        initial: has the same backbone and tags; options of its timm model may differ.
        tags: T, in the order of the network's outputs.
        images: (N, 3, H, W) in [0, 1], for the statistics of batch normalisation where `initial` has none.

    Raises:
        GroundingError: other tags or another backbone.
    """
    check_tags(initial, tags, "network.initial")
    source = initial.network
    if not isinstance(source, TagNetwork) or type(source.features) is not type(network.features):
        raise GroundingError(f"network.initial {initial.name} has another architecture than the network")
    if isinstance(network.features, PlainFeatures):
        warm_start(network, source, images)
    else:
        try:
            network.features.load_state_dict(source.features.state_dict())
        except RuntimeError as error:
            raise GroundingError(f"network.initial {initial.name} has another backbone than the network") from error
        network.head.load_state_dict(source.head.state_dict())
    if network.attention is not None and source.attention is not None:
        network.attention.load_state_dict(source.attention.state_dict())


def check_tags(classifier: TagClassifier, tags: Sequence[str], role: str) -> None:
    """Raise a `GroundingError` that says where the tags differ unless a classifier has these tags in this order."""
    pairs = enumerate(zip(classifier.tags, tags, strict=False), start=1)
    differences = [f"tag {n} is '{its}' where the captions give '{ours}'" for n, (its, ours) in pairs if its != ours]
    if len(classifier.tags) != len(tags):
        differences.append(f"it has {len(classifier.tags)} where the captions give {len(tags)}")
    if differences:
        raise GroundingError(
            f"{role} {classifier.name} has other tags: {differences[0]}: train it on the same captions"
        )


def _plain(config: NetworkConfig, tags: int) -> TagNetwork:
    """Create a plain network with He initialisation by fan-out."""
    if config.weights or config.options:
        raise GroundingError("network.weights and network.options are for timm networks: a plain one takes 'initial'")
    network = plain_network(list(zip(config.channels, config.strides, strict=True)), tags, config.pooling)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """Parse `key=value` texts, values in YAML, into keyword arguments."""
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise GroundingError(f"network.options '{text}' is not YAML: expected key=value") from error
        if not equals or not key.isidentifier():
            raise GroundingError(f"network.options '{text}' is no option: expected key=value such as output_stride=16")
    return options
