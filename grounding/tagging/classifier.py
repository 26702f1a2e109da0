"""A tag classifier: a network, the tag of each of its outputs, and the preprocessing of its pictures."""

import copy
import hashlib
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from grounding.errors import GroundingError
from grounding.folders import whole_folder
from grounding.images import RgbImage
from grounding.tagging.gala import APPLY_TO, SQUASHES, GalaSettings
from grounding.tagging.network import POOLINGS, PlainFeatures, TagNetwork, plain_network, timm_network
from grounding.tagging.presence import Numbers, PresenceModel, expit, read_presence, write_presence
from grounding.tagging.timm_features import Rgb
from grounding.text.vocabulary import Match
from grounding.wording import counted, shortened

SCHEMA_VERSION = 1
_CONFIG, _WEIGHTS, PRESENCE = "config.json", "model.safetensors", "presence.json"
_PLAIN, _TIMM = "TagNetwork", "timm:"  # architectures
_KEYS = ("schema_version", "architecture", "image_size_px", "map_layer", "tags")
_PIXELS = 1 << 20  # of a picture that are turned into numbers at a time
_DEFAULTS = {"pooling": "log-sum-exp", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}  # where a folder says nothing


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resizes a picture to a square, whatever its shape, and normalises it: (value / 255 - mean) / std for R, G, B."""

    image_size_px: int
    mean: Rgb = (0.0, 0.0, 0.0)
    std: Rgb = (1.0, 1.0, 1.0)

    def __call__(self, image: RgbImage) -> Tensor:
        """Turn (H, W, 3) uint8 into (1, 3, S, S) float32, resized with antialiasing."""
        pixels = torch.tensor(image).permute(2, 0, 1)[None]  # a copy: PyTorch warns of arrays that cannot be written
        return self.normalise(resize_to_square(pixels, self.image_size_px))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise (..., 3, H, W) RGB in [0, 1]: less the mean, over the standard deviation."""
        mean, std = (pixels.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels - mean) / std


def resize_to_square(images: Tensor, size_px: int) -> Tensor:
    """Resize (N, 3, H, W) uint8 to (N, 3, size_px, size_px) float32 in [0, 1], bilinear with antialiasing.

    A large picture is resized across some rows at a time, so that it is never there in float32.
    """
    height, width = images.shape[2:]
    rows = _PIXELS // width if width > size_px else height
    if rows < height:
        across = torch.empty(len(images), 3, height, size_px)
        for some, to in zip(images.split(max(1, rows), 2), across.split(max(1, rows), 2), strict=True):
            to.copy_(_bilinear(some.float(), some.shape[2], size_px))
        return _bilinear(across, size_px, size_px) / 255
    return _bilinear(images.float(), size_px, size_px) / 255


def _bilinear(images: Tensor, height: int, width: int) -> Tensor:
    return nn.functional.interpolate(images, (height, width), mode="bilinear", antialias=True)


@dataclass(frozen=True, eq=False)
class TagClassifier:
    """A network with a name for each output.

    Attributes:
        network: in evaluation mode; (N, 3, S, S) -> (N, T) logits.
        tags: T lower-case words, in the order of the network's outputs.
        preprocessing: from a picture to the network's input.
        name: what results call this classifier.
        multi_label: whether the tags are independent (sigmoid) or exclude each other (softmax).
        map_layer: the layer at which its maps are best read, counted as `grounding.attention.layers.layers` does
            (-1 is the classifier's input); None leaves it to the stride.
        presence_model: from the probabilities of tags to the presence of a phrase; None where there is none.
        indices: the output of each tag; the first of equals.
    """

    network: nn.Module = field(repr=False)
    tags: Sequence[str] = field(repr=False)
    preprocessing: Preprocessing
    name: str
    multi_label: bool = True
    map_layer: int | None = None
    presence_model: PresenceModel | None = field(default=None, repr=False)
    indices: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(self.tags))
        last_first = reversed(list(enumerate(self.tags)))
        object.__setattr__(self, "indices", {tag: index for index, tag in last_first})

    def __repr__(self) -> str:
        kind, size = "multi-label" if self.multi_label else "single-label", self.preprocessing.image_size_px
        return f"TagClassifier({shortened(self.name)}, {counted(len(self.tags), 'tag')}, {kind}, {size} px)"

    def to(self, device: torch.device) -> "TagClassifier":
        """Return this classifier where its network is on the device, else one with a copy of the network there."""
        if all(tensor.device == device for tensor in self.network.state_dict().values()):
            return self
        return replace(self, network=copy.deepcopy(self.network).to(device))

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in: the type of its first floating point weight."""
        weights = (weight.dtype for weight in self.network.parameters() if weight.is_floating_point())
        return next(weights, torch.float32)

    def signals(self, tags: Sequence[str]) -> Tensor:
        """Make the top-down signal of each of K tags: (K, T) float32, 1 for its output and 0 for the others."""
        signals = torch.zeros(len(tags), len(self.tags), dtype=torch.float32)
        signals[range(len(tags)), [self.indices[tag] for tag in tags]] = 1.0
        return signals

    def evidence(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run one forward pass.

        Args:
            images: (N, 3, S, S) of `dtype`.

        Returns:
            (N, T) scores from which the walk down starts, and (N, T) logits. They differ for a `TagNetwork`, whose
            logits pool local scores as it was told: its walk starts as if they were averaged.
        """
        if isinstance(self.network, TagNetwork):
            features = self.network.features(images)
            return self.network.mean_scores(features), self.network.pool(self.network.local_scores(features), features)
        logits = self.network(images)
        return logits, logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """(N, T) logits -> (N, T) tag probabilities."""
        return logits.sigmoid() if self.multi_label else logits.softmax(1)

    def presence(self, log_odds: Numbers, words: Sequence[Match], head: str) -> float | None:
        """Say how probable it is that a picture shows a phrase; `presence_source` says what it is computed from.

        Args:
            log_odds: (T,) of the tags for the picture.
            words: of the phrase.
            head: its head noun.

        Returns:
            What the presence model says. Without one, the mean probability of the words' tags, by the weights of the
            words; None for a phrase without any tag.
        """
        if self.presence_model is not None:
            return self.presence_model(log_odds, words, head, self.indices)
        known = [(expit(log_odds[self.indices[match.tag]]), match.weight) for match in words if match.tag]
        return sum(probability * weight for probability, weight in known) if known else None

    @property
    def presence_source(self) -> str:
        """What `presence` is computed from, in words."""
        if self.presence_model is not None:
            return (
                f"the log-odds of the phrase's tags, calibrated on {self.presence_model.recipe['pictures']:,} pictures"
            )
        if self.multi_label:
            return "the mean probability of the phrase's tags, not calibrated"
        return "the mean share of the phrase's tags, which exclude each other in this classifier, not calibrated"

    def fingerprint(self) -> str:
        """Return the same text for the same weights, tags, pooling, attention and preprocessing."""
        digest = hashlib.sha256(repr((self.tags, self.preprocessing, self.map_layer)).encode())
        if isinstance(self.network, TagNetwork):
            values = _architecture(self.network)
            first = {"architecture": _PLAIN, "pooling": _DEFAULTS["pooling"]}  # what was there first
            if "gala" in values or any(values[key] != value for key, value in first.items()):
                digest.update(json.dumps(values, sort_keys=True).encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` (bfloat16), the layout of the Hugging Face hub.

        Raises:
            GroundingError: the network is no `TagNetwork`, it is a plain one with batch normalisation (`folded` first),
                or the folder holds other files or cannot be written; then it stays as it was.
        """
        if not isinstance(self.network, TagNetwork):
            raise GroundingError(f"a {type(self.network).__name__} cannot be saved: only a TagNetwork can")
        if isinstance(self.network.features, PlainFeatures) and self.network.features.normalised:
            raise GroundingError("a plain network with batch normalisation cannot be saved: save network.folded()")
        config = {
            "schema_version": SCHEMA_VERSION,
            **_architecture(self.network),
            "image_size_px": self.preprocessing.image_size_px,
            "mean": self.preprocessing.mean,
            "std": self.preprocessing.std,
            "map_layer": self.map_layer,
            "tags": self.tags,
        }
        weights = {
            key: (value.bfloat16() if value.is_floating_point() else value).contiguous()
            for key, value in self.network.state_dict().items()
        }
        with whole_folder(Path(folder).expanduser(), overwrite=True, ours=(_CONFIG, _WEIGHTS, PRESENCE)) as partial:
            (partial / _WEIGHTS).write_bytes(save(weights, {"format": "pt"}))
            (partial / _CONFIG).write_text(json.dumps(config, ensure_ascii=False) + "\n", encoding="utf-8")
            if self.presence_model is not None:
                write_presence(self.presence_model, partial / PRESENCE)

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str | None = None) -> "TagClassifier":
        """Read what `save_pretrained` wrote; nothing is downloaded.

        Raises:
            GroundingError: a missing folder or file, a broken or foreign configuration, corrupt weights, weights that
                do not fit the configuration, weights that are not finite, or a timm network where timm is missing.
        """
        folder = Path(folder).expanduser()
        config = _read_config(folder / _CONFIG)
        path = folder / _WEIGHTS
        if not path.is_file():
            raise GroundingError(f"classifier folder {folder} has no {_WEIGHTS}")
        network = _network(config)
        try:
            weights = load_file(path)
            network.load_state_dict(weights)
        except (SafetensorError, OSError) as error:
            raise GroundingError(f"weights {path} are corrupt ({error}): fetch or train them again") from error
        except RuntimeError as error:
            reason = textwrap.shorten(str(error), 300, placeholder=" ...")
            raise GroundingError(f"weights {path} do not fit the configuration beside them: {reason}") from error
        check_finite(weights, f"weights {path}")
        return cls(
            network.eval(),
            config["tags"],
            Preprocessing(config["image_size_px"], network.mean, network.std),
            name or str(folder),
            map_layer=config["map_layer"],
            presence_model=read_presence(folder / PRESENCE, len(config["tags"])),
        )


def check_finite(weights: Mapping[str, Tensor], source: str) -> None:
    """Raise a `GroundingError` where a tensor of a state dict holds NaN or infinity."""
    for key, value in weights.items():
        if not bool(value.isfinite().all()):
            raise GroundingError(f"{source}: '{key}' holds NaN or infinity: fetch or train it again")


def _read_config(path: Path) -> dict[str, Any]:
    """Read the values of a `config.json`, with the defaults of keys that older versions did not write.

    Raises:
        GroundingError: the file is missing, broken, another library's, or holds a value that does not fit.
    """
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GroundingError(
            f"classifier configuration {path} cannot be read ({error.strerror}): "
            f"expected a folder with {_CONFIG} and {_WEIGHTS}"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GroundingError(f"classifier configuration {path} is not JSON: {error}") from error
    missing = [key for key in _KEYS if not isinstance(config, dict) or key not in config]
    if missing:
        raise GroundingError(f"classifier configuration {path} lacks {', '.join(missing)}: is it of another library?")
    architecture = config["architecture"]
    plain, timm = architecture == _PLAIN, isinstance(architecture, str) and architecture.startswith(_TIMM)
    if config["schema_version"] != SCHEMA_VERSION or not (plain or timm):
        given = f"{architecture} of schema {config['schema_version']}"
        raise GroundingError(
            f"classifier configuration {path} is a {given}: expected {_PLAIN} or {_TIMM}NAME of {SCHEMA_VERSION}"
        )
    config = {**_DEFAULTS, **config}
    if wrong := _wrong_keys(config, plain):
        raise GroundingError(f"classifier configuration {path}: '{wrong[0]}' is not what save_pretrained writes")
    return config


def _wrong_keys(config: dict[str, Any], plain: bool) -> list[str]:
    """The keys of a `config.json` whose values do not fit; `plain` says that the network is no timm one."""
    pairs = config["layers"] if isinstance(config.get("layers"), list) else [None]
    layers = all(isinstance(p, list) and len(p) == 2 and all(map(_natural, p)) for p in pairs) and bool(pairs)
    sound = {
        "layers": layers or not plain,
        "options": plain or isinstance(config.get("options"), dict),
        "pooling": config["pooling"] in POOLINGS,
        "gala": "gala" not in config or _sound_gala(config["gala"]),
        "image_size_px": _natural(config["image_size_px"]),
        "mean": _rgb(config["mean"]),
        "std": _rgb(config["std"]) and min(config["std"]) > 0,
        "map_layer": config["map_layer"] is None or type(config["map_layer"]) is int,
        "tags": isinstance(config["tags"], list) and all(isinstance(tag, str) for tag in config["tags"]),
    }
    return [key for key, good in sound.items() if not good]


def _architecture(network: TagNetwork) -> dict[str, Any]:
    """What `_network` needs to build it again."""
    features = network.features
    attention = {} if network.gala is None else {"gala": asdict(network.gala)}
    if isinstance(features, PlainFeatures):
        return {"architecture": _PLAIN, "layers": features.layers, "pooling": network.pooling, **attention}
    name, options = _TIMM + features.name, features.options
    return {"architecture": name, "options": options, "pooling": network.pooling, **attention}


def _network(config: dict[str, Any]) -> TagNetwork:
    """Build the network of a `config.json`, with random weights."""
    architecture, tags, pooling = config["architecture"], len(config["tags"]), config["pooling"]
    if architecture == _PLAIN:
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
    return numbers and all(map(math.isfinite, values))
