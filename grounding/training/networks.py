"""The network that a training begins with."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, cast

import torch
import yaml
from torch import Tensor, nn

from grounding.errors import GroundingError
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.gala import GalaSettings, gala_layers
from grounding.tagging.network import PlainFeatures, TagNetwork, plain_network, timm_network, warm_start
from grounding.text.tokens import stem
from grounding.training.attention_config import GalaConfig
from grounding.training.config import DEFAULTS, NetworkConfig, Pooling


def following(config: NetworkConfig, initial: TagClassifier) -> NetworkConfig:
    """Fill what a configuration leaves out (architecture, layers, pooling, options) from the classifier to start from.

    Raises:
        GroundingError: the classifier is no `TagNetwork`, or the configuration names another architecture.
    """
    network, name = initial.network, initial.name
    if not isinstance(network, TagNetwork):
        raise GroundingError(
            f"network.initial {name} is a {type(network).__name__}: expected embedded, or a classifier that "
            "grounding.train has trained; timm networks are named by network.architecture and network.weights"
        )
    features = network.features
    if isinstance(features, PlainFeatures):
        channels, strides = zip(*features.layers, strict=True)
        its: dict[str, Any] = {"architecture": "plain", "channels": channels, "strides": strides}
    else:
        its = {"architecture": f"timm:{features.name}"}
        if not config.options:
            its["options"] = tuple(f"{key}={json.dumps(value)}" for key, value in features.options.items())
    for key in filter(its.get, DEFAULTS):
        named = getattr(config, key)
        if named not in (None, its[key]):
            raise GroundingError(
                f"network.initial {name} has the {key} {_written(its[key])} where network.{key} is {_written(named)}: "
                f"set network.{key} to none to follow it"
            )
    return dataclasses.replace(config, **its, pooling=config.pooling or cast(Pooling, network.pooling))


def _written(value: Any) -> str:
    return value if isinstance(value, str) else str(list(value))


def create_network(
    config: NetworkConfig, tags: int, head_only: bool = False, gala: GalaConfig | None = None
) -> TagNetwork:
    """Create the network of a configuration, in training mode, with `weights` loaded and `frozen` parts frozen.

    The weights of the head are 0. Its bias and the weights of `initial` are left to the caller: see `start_from`.

    Args:
        head_only: the whole backbone is frozen; a plain one has no batch normalisation.
        gala: the attention to insert into the backbone, if it is enabled. It learns in frozen parts too.

    Raises:
        GroundingError: options that are wrong or not for a plain network, or what `timm_network`, `freeze` or
            `insert_gala` refuses.
    """
    values = config.given_or_default()
    kind, _, name = values["architecture"].partition(":")
    if kind == "timm":
        network = timm_network(name, tags, values["pooling"], _options(config.options), config.weights)
    else:
        network = _plain(config, tags, normalised=not head_only)
    nn.init.zeros_(network.head.weight)
    if gala is not None and gala.enabled:
        network.insert_gala(GalaSettings(gala.layers, gala.reduction, gala.squash, gala.apply_to))
    network.freeze(config.frozen)
    if head_only:
        network.features.requires_grad_(False)
    return network.train()


@torch.no_grad()
def start_from(network: TagNetwork, initial: TagClassifier, tags: Sequence[str], images: Tensor) -> None:
    """Copy the backbone of another classifier into a network, and the rows of its head whose tags are known.

    Attention (GALA) that the other has is copied too; where it has none, that of the network stays as it is. A backbone
    that is frozen as a whole, as for a head alone, gets the attention of the other first.

    Args:
        network: of `create_network`; changed in place. The rows of other tags stay as they are.
        initial: has the same backbone; options of its timm model may differ.
        tags: T, in the order of the network's outputs.
        images: (N, 3, H, W) in [0, 1], for the statistics of batch normalisation where `initial` has none.

    Raises:
        GroundingError: another backbone, or other attention than the network's.
    """
    source = initial.network
    if not isinstance(source, TagNetwork) or type(source.features) is not type(network.features):
        raise GroundingError(f"network.initial {initial.name} has another architecture than the network")
    if source.gala and not network.gala and not any(each.requires_grad for each in network.features.parameters()):
        network.insert_gala(source.gala)
        network.features.requires_grad_(False)
    if source.gala not in (None, network.gala):
        given = "none" if network.gala is None else str(network.gala)
        raise GroundingError(
            f"network.initial {initial.name} has other attention than the network, which has {given}: "
            f"set gala.enabled=true {source.gala}"
        )
    if isinstance(network.features, PlainFeatures) and network.features.normalised:
        warm_start(network, source, images)
    else:
        try:
            network.features.load_state_dict(_attention_state(network.features) | source.features.state_dict())
        except RuntimeError as error:
            raise GroundingError(f"network.initial {initial.name} has another backbone than the network") from error
    network.mean, network.std = source.mean, source.std
    rows = known_rows(initial.tags, tags)
    ours, theirs = list(rows), list(rows.values())
    for name in ("head.weight", "head.bias", "attention.weight"):
        if name in network.state_dict() and name in source.state_dict():
            network.get_parameter(name)[ours] = source.get_parameter(name)[theirs]


def _attention_state(features: nn.Module) -> dict[str, Tensor]:
    """The part of a state dict that is attention."""
    state = {name: each.state_dict() for name, each in gala_layers(features).items()}
    return {f"{name}.{key}": value for name, values in state.items() for key, value in values.items()}


def known_rows(known: Sequence[str], tags: Sequence[str]) -> dict[int, int]:
    """The place of each tag that is among the known ones, or has the same stem as one -> that one's place."""
    exact = {tag: index for index, tag in reversed(list(enumerate(known)))}
    stems = {stem(tag): index for tag, index in exact.items()}  # the last one written is the first
    places = {row: exact.get(tag, stems.get(stem(tag))) for row, tag in enumerate(tags)}
    return {row: place for row, place in places.items() if place is not None}


def known_line(initial: TagClassifier, tags: Sequence[str]) -> str:
    """Say in one line for people how many tags the classifier to start from knows."""
    count = len(known_rows(initial.tags, tags))
    kept = {0: "the head starts anew", 1: "its row is kept"}.get(count, "their rows are kept")
    return f"{count:,} of {len(tags):,} tags {'is' if count == 1 else 'are'} known to {initial.name}: {kept}"


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


def _plain(config: NetworkConfig, tags: int, normalised: bool) -> TagNetwork:
    """Create a plain network with He initialisation by fan-out."""
    if config.weights or config.options:
        raise GroundingError(
            "network.weights and network.options are for timm networks: set them to none; a plain one takes 'initial'"
        )
    values = config.given_or_default()
    layers = list(zip(values["channels"], values["strides"], strict=True))
    network = plain_network(layers, tags, values["pooling"], normalised)
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
        except (yaml.YAMLError, ValueError, KeyError, IndexError, RecursionError) as error:  # of odd tags, or too deep
            raise GroundingError(f"network.options '{text}' is not YAML: expected key=value") from error
        if not equals or not key.isidentifier():
            raise GroundingError(f"network.options '{text}' is no option: expected key=value such as output_stride=16")
    return options
