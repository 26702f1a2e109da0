"""A tag classifier: a network, the tag of each of its outputs, and how a picture is prepared for it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from grounding.errors import GroundingError
from grounding.images import RgbImage
from grounding.tagging.network import TagNetwork, log_mean_exp

SCHEMA_VERSION = 1
_KEYS = ("schema_version", "architecture", "layers", "image_size_px", "map_layer", "tags")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """A picture is squashed to a square and normalised: (value / 255 - mean) / std for each of R, G, B."""

    image_size_px: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, image: RgbImage) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, S, S) float32, resized with antialiasing."""
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        size = (self.image_size_px, self.image_size_px)
        pixels = nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True) / 255
        return (pixels - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


class TagClassifier:
    """A network with a name for each output.

    Args:
        network: in evaluation mode; (N, 3, S, S) -> (N, T) logits.
        tags: T lower-case words, in the order of the network's outputs.
        preprocessing: from a picture to the network's input.
        name: what results call this classifier.
        multi_label: whether the tags are independent (sigmoid) or exclude each other (softmax).
        map_layer: the layer at which its maps are best read, counted as `grounding.attention.excitation.layers` does
            (-1 is the classifier's input); None leaves it to the stride.
    """

    def __init__(
        self,
        network: nn.Module,
        tags: Sequence[str],
        preprocessing: Preprocessing,
        name: str,
        multi_label: bool = True,
        map_layer: int | None = None,
    ) -> None:
        self.network, self.tags, self.preprocessing = network, tuple(tags), preprocessing
        self.name, self.multi_label, self.map_layer = name, multi_label, map_layer

    def evidence(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """One forward pass.

        Args:
            images: (N, 3, S, S) float32.

        Returns:
            (N, T) scores from which the walk down starts, and (N, T) logits. They differ for the embedded
            architecture, whose logits pool local scores by log-mean-exp: its walk starts as if they were averaged.
        """
        if isinstance(self.network, TagNetwork):
            features = self.network.features(images)
            return self.network.mean_scores(features), log_mean_exp(self.network.local_scores(features))
        logits = self.network(images)
        return logits, logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """(N, T) logits -> (N, T) tag probabilities."""
        return logits.sigmoid() if self.multi_label else logits.softmax(1)

    def fingerprint(self) -> str:
        """The same text for the same weights and tags."""
        digest = hashlib.sha256(repr((self.tags, self.preprocessing, self.map_layer)).encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` (bfloat16), the layout of the Hugging Face hub.

        Raises:
            GroundingError: the network is not the embedded architecture, or the folder cannot be written.
        """
        if not isinstance(self.network, TagNetwork):
            raise GroundingError(f"a {type(self.network).__name__} cannot be saved: only the embedded architecture can")
        folder = Path(folder)
        convolutions = [module for module in self.network.features if isinstance(module, nn.Conv2d)]
        config = {
            "schema_version": SCHEMA_VERSION,
            "architecture": "TagNetwork",
            "layers": [[conv.out_channels, conv.stride[0]] for conv in convolutions],
            "image_size_px": self.preprocessing.image_size_px,
            "map_layer": self.map_layer,
            "tags": list(self.tags),
        }
        weights = {key: value.bfloat16().contiguous() for key, value in self.network.state_dict().items()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
            (folder / "model.safetensors").chmod(0o644)
            (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise GroundingError(f"classifier folder {folder} cannot be written: {error.strerror}") from error

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str | None = None) -> "TagClassifier":
        """Read what `save_pretrained` wrote.

        Raises:
            GroundingError: a missing folder or file, a broken or foreign configuration, corrupt weights, weights that
                do not fit the configuration, or weights that are not finite.
        """
        folder = Path(folder)
        config = _read_config(folder / "config.json")
        path = folder / "model.safetensors"
        if not path.is_file():
            raise GroundingError(f"classifier folder {folder} has no model.safetensors")
        try:
            network = TagNetwork(config["layers"], len(config["tags"]), normalised=False)
            weights = {key: value.float() for key, value in load_file(path).items()}
            network.load_state_dict(weights)
        except (SafetensorError, OSError) as error:
            raise GroundingError(f"weights {path} are corrupt ({error}): fetch or train them again") from error
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise GroundingError(f"weights {path} do not fit the configuration beside them: {reason}") from error
        for key, value in weights.items():
            if not bool(value.isfinite().all()):
                raise GroundingError(f"weights {path}: '{key}' holds NaN or infinity: train the classifier again")
        preprocessing = Preprocessing(config["image_size_px"])
        return cls(network.eval(), config["tags"], preprocessing, name or str(folder), map_layer=config["map_layer"])


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GroundingError(
            f"classifier configuration {path} cannot be read ({error.strerror}): "
            "expected a folder with config.json and model.safetensors"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GroundingError(f"classifier configuration {path} is not JSON: {error}") from error
    missing = [key for key in _KEYS if not isinstance(config, dict) or key not in config]
    if missing:
        raise GroundingError(f"classifier configuration {path} lacks {', '.join(missing)}: is it of another library?")
    if config["schema_version"] != SCHEMA_VERSION or config["architecture"] != "TagNetwork":
        given = f"{config['architecture']} of schema {config['schema_version']}"
        raise GroundingError(f"classifier configuration {path} is a {given}: expected TagNetwork of {SCHEMA_VERSION}")
    pairs = config["layers"] if isinstance(config["layers"], list) else [None]
    sound = {
        "layers": all(isinstance(p, list) and len(p) == 2 and all(_natural(n) for n in p) for p in pairs) and pairs,
        "image_size_px": _natural(config["image_size_px"]),
        "map_layer": config["map_layer"] is None or type(config["map_layer"]) is int,
        "tags": isinstance(config["tags"], list) and all(isinstance(tag, str) for tag in config["tags"]),
    }
    wrong = [key for key, good in sound.items() if not good]
    if wrong:
        raise GroundingError(f"classifier configuration {path}: '{wrong[0]}' is not what save_pretrained writes")
    return config


def _natural(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 8192
