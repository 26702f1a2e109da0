"""A tag classifier: a network, the tag of each of its outputs, and the preprocessing of its pictures."""

import copy
import hashlib
import json
import os
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from grounding.errors import GroundingError
from grounding.folders import whole_folder
from grounding.images import RgbImage
from grounding.tagging.hub import Access, fetch, is_hub_name, push
from grounding.tagging.model_card import model_card
from grounding.tagging.network import PlainFeatures, TagNetwork
from grounding.tagging.presence import Numbers, PresenceModel, expit, read_presence, write_presence
from grounding.tagging.saved_config import (
    CONFIG,
    DEFAULTS,
    PLAIN,
    SCHEMA_VERSION,
    WEIGHTS,
    architecture_of,
    network_of,
    read_config,
)
from grounding.tagging.timm_features import Rgb
from grounding.text.vocabulary import Match
from grounding.wording import counted, shortened

PRESENCE = "presence.json"
_PIXELS = 1 << 20  # of a picture that are turned into numbers at a time
Resample = Literal["bilinear", "bicubic"]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resizes a picture to a square, whatever its shape, and normalises it: (value / 255 - mean) / std for R, G, B."""

    image_size_px: int
    mean: Rgb = (0.0, 0.0, 0.0)
    std: Rgb = (1.0, 1.0, 1.0)
    resample: Resample = field(default="bilinear", repr=False)

    def __call__(self, image: RgbImage) -> Tensor:
        """Turn (H, W, 3) uint8 into (1, 3, S, S) float32, resized with antialiasing."""
        pixels = torch.tensor(image).permute(2, 0, 1)[None]  # a copy: PyTorch warns of arrays that cannot be written
        return self.normalise(resize_to_square(pixels, self.image_size_px, self.resample))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise (..., 3, H, W) RGB in [0, 1]: less the mean, over the standard deviation."""
        mean, std = (pixels.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels - mean) / std


def resize_to_square(images: Tensor, size_px: int, resample: Resample = "bilinear") -> Tensor:
    """Resize (N, 3, H, W) uint8 to (N, 3, size_px, size_px) float32 in [0, 1], with antialiasing.

    A large picture is resized across some rows at a time, so that it is never there in float32.
    """
    height, width = images.shape[2:]
    rows = _PIXELS // width if width > size_px else height
    if rows < height:
        across = torch.empty(len(images), 3, height, size_px)
        for some, to in zip(images.split(max(1, rows), 2), across.split(max(1, rows), 2), strict=True):
            to.copy_(_resized(some.float(), some.shape[2], size_px, resample))
        resized = _resized(across, size_px, size_px, resample)
    else:
        resized = _resized(images.float(), size_px, size_px, resample)
    return (resized.clamp(0, 255) if resample == "bicubic" else resized) / 255  # bicubic overshoots at edges


def _resized(images: Tensor, height: int, width: int, resample: Resample) -> Tensor:
    return nn.functional.interpolate(images, (height, width), mode=resample, antialias=True)


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
        names: other names of tags, such as `tabby cat` of `tabby`; two tags may share one.
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
    names: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
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
        network = on_device(self.network, device)
        return self if network is self.network else replace(self, network=network)

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in: the type of its first floating point weight."""
        return dtype_of(self.network)

    def signals(self, words: Sequence[str | tuple[str, ...]]) -> Tensor:
        """Make the top-down signal of each of K words, given its tag or tags.

        Args:
            words: K tags, or tuples of the tags that stand for a word.

        Returns:
            (K, T) float32: 1 for the output of the tag and 0 for others; of several tags, the mean of their signals.
        """
        signals = torch.zeros(len(words), len(self.tags), dtype=torch.float32)
        for row, word in zip(signals, words, strict=True):
            tags = (word,) if isinstance(word, str) else word
            for tag in tags:
                row[self.indices[tag]] += 1 / len(tags)
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
            What the presence model says. Without one, the mean probability of the words, by their weights: of a word
            with several tags, the sum of theirs where tags exclude each other, else the highest. None for a phrase
            without any tag.
        """
        if self.presence_model is not None:
            return self.presence_model(log_odds, words, head, self.indices)
        known = [(self._probability(log_odds, match.tags), match.weight) for match in words if match.tags]
        return sum(probability * weight for probability, weight in known) if known else None

    def _probability(self, log_odds: Numbers, tags: Sequence[str]) -> float:
        probabilities = [expit(log_odds[self.indices[tag]]) for tag in dict.fromkeys(tags)]
        return max(probabilities) if self.multi_label else min(sum(probabilities), 1.0)

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
        """Return the same text for the same weights, tags with their names, pooling, attention and preprocessing."""
        digest = hashlib.sha256(repr((self.tags, self.preprocessing, self.map_layer)).encode())
        later = {"resample": self.preprocessing.resample, "names": {tag: list(n) for tag, n in self.names.items()}}
        if later != {"resample": "bilinear", "names": {}}:  # what there was first
            digest.update(json.dumps(later, sort_keys=True).encode())
        if isinstance(self.network, TagNetwork):
            values = architecture_of(self.network)
            first = {"architecture": PLAIN, "pooling": DEFAULTS["pooling"]}  # what was there first
            if "gala" in values or any(values[key] != value for key, value in first.items()):
                digest.update(json.dumps(values, sort_keys=True).encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` (bfloat16), the layout of the Hugging Face hub.

        Raises:
            GroundingError: the network is no `TagNetwork`, it is a plain one with batch normalisation (`folded` first),
                the preprocessing is bicubic, or the folder holds other files or cannot be written; then it stays as it
                was.
        """
        network = self._savable()
        config = {
            "schema_version": SCHEMA_VERSION,
            **architecture_of(network),
            "image_size_px": self.preprocessing.image_size_px,
            "mean": self.preprocessing.mean,
            "std": self.preprocessing.std,
            "map_layer": self.map_layer,
            "tags": self.tags,
        }
        weights = {
            key: (value.bfloat16() if value.is_floating_point() else value).contiguous()
            for key, value in network.state_dict().items()
        }
        with whole_folder(Path(folder).expanduser(), overwrite=True, ours=(CONFIG, WEIGHTS, PRESENCE)) as partial:
            (partial / WEIGHTS).write_bytes(save(weights, {"format": "pt"}))
            (partial / CONFIG).write_text(json.dumps(config, ensure_ascii=False) + "\n", encoding="utf-8")
            if self.presence_model is not None:
                write_presence(self.presence_model, partial / PRESENCE)

    def _savable(self) -> TagNetwork:
        if not isinstance(self.network, TagNetwork):
            raise GroundingError(f"a {type(self.network).__name__} cannot be saved: only a TagNetwork can")
        if isinstance(self.network.features, PlainFeatures) and self.network.features.normalised:
            raise GroundingError("a plain network with batch normalisation cannot be saved: save network.folded()")
        if self.preprocessing.resample != "bilinear" or self.names:
            raise GroundingError("a classifier with bicubic preprocessing or other names of tags cannot be saved")
        return self.network

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Push a tag classifier of grounding",
        private: bool | None = None,
        token: str | bool | None = None,
        branch: str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, and a README.md, to the Hugging Face hub.

        Args:
            repo_id: `user/name`; made where there is none.
            commit_message: of the upload.
            private: whether a new repository is; by default as the account says.
            token: by default that of `hf auth login` or of HF_TOKEN.
            branch: by default the main one.

        Returns:
            The address of the commit.

        Raises:
            GroundingError: what `save_pretrained` raises, or the hub refuses or cannot be reached.
        """
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / "classifier"
            self.save_pretrained(folder)
            (folder / "README.md").write_text(model_card(repo_id, self.tags), encoding="utf-8")
            return push(folder, repo_id, commit_message, private, token, branch or "")

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        name: str | None = None,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> "TagClassifier":
        """Read what `save_pretrained` or `push_to_hub` wrote: a folder, or `user/name` on the Hugging Face hub.

        Only a name on the hub is downloaded, its configuration and its safetensors, into the hub's cache. The other
        arguments are huggingface_hub's. Weights fit name by name, or are refused.

        Args:
            source: a folder, or a name on the hub.
            name: what results call this classifier; by default the source.
            revision: of the repository on the hub: a branch, a tag or a commit.
            token: by default that of `hf auth login` or of HF_TOKEN.
            cache_dir: by default the hub's cache.
            local_files_only: download nothing.

        Raises:
            GroundingError: a missing folder or file, a broken or foreign configuration, corrupt weights, weights that
                do not fit the configuration, weights that are not finite, a timm network where timm is missing, or a
                repository that cannot be fetched.
        """
        given = Path(source).expanduser()
        folder = given
        if not os.path.exists(given) and is_hub_name(str(source)):  # noqa: PTH110 - never raises
            folder = fetch(str(source), Access(revision, token, cache_dir, local_files_only))
        config = read_config(folder / CONFIG)
        path = folder / WEIGHTS
        if not path.is_file():
            raise GroundingError(f"classifier folder {folder} has no {WEIGHTS}")
        try:
            weights = load_file(path)
            network = network_of(config, path.stat().st_size)
            network.load_state_dict(weights)
        except (SafetensorError, OSError) as error:
            raise GroundingError(f"weights {path} are corrupt ({error}): fetch or train them again") from error
        except RuntimeError as error:
            reason = textwrap.shorten(str(error), 300, placeholder=" ...")
            raise GroundingError(f"weights {path} do not fit the configuration beside them: {reason}") from error
        check_finite(network.state_dict(), f"weights {path}")
        return cls(
            network.eval(),
            config["tags"],
            Preprocessing(config["image_size_px"], network.mean, network.std),
            name or str(source if folder != given else given),
            map_layer=config["map_layer"],
            presence_model=read_presence(folder / PRESENCE, len(config["tags"])),
        )


def on_device(network: Network, device: torch.device) -> Network:
    """The network where it is on the device, else a copy of it there."""
    if all(tensor.device == device for tensor in network.state_dict().values()):
        return network
    return copy.deepcopy(network).to(device)


def dtype_of(network: nn.Module) -> torch.dtype:
    """What a network computes in: the type of its first floating point weight."""
    weights = (weight.dtype for weight in network.parameters() if weight.is_floating_point())
    return next(weights, torch.float32)


def check_finite(weights: Mapping[str, Tensor], source: str) -> None:
    """Raise a `GroundingError` where a tensor of a state dict holds NaN or infinity."""
    for key, value in weights.items():
        if not bool(value.isfinite().all()):
            raise GroundingError(f"{source}: '{key}' holds NaN or infinity: fetch or train it again")
