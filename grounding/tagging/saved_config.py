"""The `config.json` of a saved classifier: what it says of a network, and the network that it says."""

import json
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from grounding.errors import GroundingError
from grounding.tagging.gala import APPLY_TO, SQUASHES, GalaSettings
from grounding.tagging.network import POOLINGS, PlainFeatures, TagNetwork, plain_network, timm_network

SCHEMA_VERSION: Final = 1
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
PLAIN: Final = "TagNetwork"  # an architecture; another is timm:NAME
_TIMM: Final = "timm:"
_LARGEST_PX: Final = 2048  # at which a network sees pictures: more would take tens of GB
_MOST_LAYERS: Final = 1000
_KEYS: Final = ("schema_version", "architecture", "image_size_px", "map_layer", "tags")
DEFAULTS: Final = {"pooling": "log-sum-exp", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}  # where it says nothing


def read_config(path: Path) -> dict[str, Any]:
    """Read the values of a `config.json`, with the defaults of keys that older versions did not write.

    Raises:
        GroundingError: the file is missing, broken, another library's, or holds a value that does not fit.
    """
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GroundingError(
            f"classifier configuration {path} cannot be read ({error.strerror}): "
            f"expected a folder with {CONFIG} and {WEIGHTS}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise GroundingError(f"classifier configuration {path} is not JSON: {error}") from error
    missing = [key for key in _KEYS if not isinstance(config, dict) or key not in config]
    if missing:
        others = {
            "model_type": "transformers: name it with hf: before",
            "pretrained_cfg": "timm: name it as timm:NAME=FOLDER",
        }
        found = next((advice for key, advice in others.items() if isinstance(config, dict) and key in config), "")
        advice = f"it is of {found}" if found else "is it of another library?"
        raise GroundingError(f"classifier configuration {path} lacks {', '.join(missing)}: {advice}")
    architecture = config["architecture"]
    plain, timm = architecture == PLAIN, isinstance(architecture, str) and architecture.startswith(_TIMM)
    if config["schema_version"] != SCHEMA_VERSION or not (plain or timm):
        given = f"{architecture} of schema {config['schema_version']}"
        raise GroundingError(
            f"classifier configuration {path} is a {given}: expected {PLAIN} or {_TIMM}NAME of {SCHEMA_VERSION}"
        )
    config = {**DEFAULTS, **config}
    if wrong := _wrong_keys(config, plain):
        raise GroundingError(f"classifier configuration {path}: '{wrong[0]}' is not what save_pretrained writes")
    return config


def _wrong_keys(config: dict[str, Any], plain: bool) -> list[str]:
    """The keys of a `config.json` whose values do not fit; `plain` says that the network is no timm one."""
    pairs = config["layers"] if isinstance(config.get("layers"), list) else [None]
    layers = all(isinstance(p, list) and len(p) == 2 and all(map(_natural, p)) for p in pairs)
    layers = layers and 1 <= len(pairs) <= _MOST_LAYERS
    sound = {
        "layers": layers or not plain,
        "options": plain or isinstance(config.get("options"), dict),
        "pooling": config["pooling"] in POOLINGS,
        "gala": "gala" not in config or _sound_gala(config["gala"]),
        "image_size_px": _natural(config["image_size_px"]) and config["image_size_px"] <= _LARGEST_PX,
        "mean": _rgb(config["mean"]),
        "std": _rgb(config["std"]) and min(config["std"]) > 0,
        "map_layer": config["map_layer"] is None
        or (type(config["map_layer"]) is int and abs(config["map_layer"]) < 8192),
        "tags": isinstance(config["tags"], list) and all(isinstance(tag, str) for tag in config["tags"]),
    }
    return [key for key, good in sound.items() if not good]


def architecture_of(network: TagNetwork) -> dict[str, Any]:
    """What `network_of` needs to build it again."""
    features = network.features
    attention = {} if network.gala is None else {"gala": asdict(network.gala)}
    if isinstance(features, PlainFeatures):
        return {"architecture": PLAIN, "layers": features.layers, "pooling": network.pooling, **attention}
    name, options = _TIMM + features.name, features.options
    return {"architecture": name, "options": options, "pooling": network.pooling, **attention}


def network_of(config: dict[str, Any], weights_bytes: int) -> TagNetwork:
    """Build the network of a `config.json`, with random weights.

    Args:
        weights_bytes: of the file beside it, which has at least a byte for each weight of the network.

    Raises:
        GroundingError: a plain network that has more, and would take memory for nothing; or as `timm_network`.
    """
    architecture, tags, pooling = config["architecture"], len(config["tags"]), config["pooling"]
    if architecture == PLAIN:
        widths = [3, *(width for width, _ in config["layers"])]
        if sum(9 * a * b for a, b in pairwise(widths)) + widths[-1] * tags > weights_bytes:
            raise GroundingError(
                f"a network of {len(config['layers'])} layers of up to {max(widths)} channels and {tags} tags has more "
                f"weights than the {weights_bytes:,} bytes beside its {CONFIG}: fetch or train it again"
            )
        network = plain_network(config["layers"], tags, pooling, normalised=False)
    else:
        network = timm_network(architecture.removeprefix(_TIMM), tags, pooling, config["options"])
    network.mean, network.std = tuple(config["mean"]), tuple(config["std"])
    if gala := config.get("gala"):
        network.insert_gala(GalaSettings(**gala | {"layers": tuple(gala["layers"])}))
    return network


def _sound_gala(gala: Any) -> bool:
    """Whether this is what `GalaSettings` are in JSON."""
    if not isinstance(gala, dict) or gala.keys() != {each.name for each in fields(GalaSettings)}:
        return False
    names = gala["layers"]
    named = isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)
    return named and _natural(gala["reduction"]) and gala["squash"] in SQUASHES and gala["apply_to"] in APPLY_TO


def _natural(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 8192


def _rgb(values: Any) -> bool:
    numbers = isinstance(values, list) and len(values) == 3 and all(type(value) in (int, float) for value in values)
    return numbers and all(-1e6 < value < 1e6 for value in values)
