"""A timm network without its classifier, as a backbone whose output is a map of features."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from grounding.errors import GroundingError, did_you_mean

_OURS = (
    "cache_dir",
    "checkpoint_path",
    "features_only",
    "global_pool",
    "in_chans",
    "num_classes",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
)
Rgb = tuple[float, float, float]


class TimmFeatures(nn.Module):
    """Any timm model whose `forward_features` gives a map or tokens. timm is the optional extra `train`.

    Args:
        name: as timm knows it, such as `resnet50` or `resnet50.a1_in1k`.
        options: keyword arguments of `timm.create_model`, such as `output_stride`.
        weights: "" for random weights, `pretrained` for timm's own, which it may download, or a safetensors file with
            the state dict of the whole model: its classifier, as timm names it in `pretrained_cfg`, is left out.

    Attributes:
        trunk: timm's model; saved weights have this name.
        channels: of the features.
        mean, std: with which timm normalises RGB in [0, 1] for this model.

    Raises:
        GroundingError: timm is not installed, it has no such model or the model no such option, or weights that are
            missing, corrupt or another model's.
    """

    def __init__(self, name: str, options: Mapping[str, Any], weights: str = "") -> None:
        super().__init__()
        self.name, self.options = name, dict(options)
        self.trunk: Any = _create(name, options, weights == "pretrained")
        if weights not in ("", "pretrained"):
            _load(self.trunk, name, Path(weights))
        self.channels: int = self.trunk.num_features
        self.mean: Rgb = tuple(self.trunk.pretrained_cfg["mean"])
        self.std: Rgb = tuple(self.trunk.pretrained_cfg["std"])

    @property
    def usual_size_px(self) -> tuple[int, int]:
        """Height and width of images that the model takes: those of its option `img_size`, or of timm's own."""
        size = self.options.get("img_size", self.trunk.pretrained_cfg["input_size"][1:])
        height, width = (size, size) if isinstance(size, int) else size
        return height, width

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, C, h, w) features.

        Raises:
            GroundingError: the model takes no images of this size, or makes no map of them.
        """
        height, width = images.shape[-2:]
        try:
            features = self.trunk.forward_features(images)
        except AssertionError as error:
            raise GroundingError(
                f"timm:{self.name} takes no images of {width}x{height} px: {_line(error)}; "
                "try options such as img_size or dynamic_img_size"
            ) from error
        if isinstance(features, Tensor) and features.dim() == 3:  # tokens
            features = features[:, getattr(self.trunk, "num_prefix_tokens", 0) :]
            rows = max(1, round((features.shape[1] * height / width) ** 0.5))
            if features.shape[1] % rows == 0:
                features = features.unflatten(1, (rows, -1))
        if isinstance(features, Tensor) and features.dim() == 4:
            if features.shape[1] == self.channels:
                return features
            if features.shape[3] == self.channels:
                return features.permute(0, 3, 1, 2)
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise GroundingError(f"timm:{self.name} makes features of {shape}: expected a map or tokens: choose another")


def _create(name: str, options: Mapping[str, Any], pretrained: bool) -> Any:
    """Make timm's model without its classifier; what timm refuses is a `GroundingError`."""
    try:
        import timm
    except ImportError as error:
        raise GroundingError(f"timm:{name} needs timm: install it with pip install 'grounding[train]'") from error
    if not timm.is_model(name):
        advice = did_you_mean(name, timm.list_models(), "see timm.list_models()", "timm:")
        raise GroundingError(f"timm has no model '{name}': {advice}")
    if refused := [key for key in options if key in _OURS]:
        raise GroundingError(f"option '{refused[0]}' of timm:{name} is set by this package: leave it out")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, global_pool="", **options)
    except (AssertionError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        what = f"options {dict(options)}" + (" and pretrained weights" if pretrained else "")
        raise GroundingError(f"timm:{name} cannot be made with {what}: {_line(error)}") from error


def _load(trunk: Any, name: str, path: Path) -> None:
    if not path.is_file():
        raise GroundingError(f"weights {path} do not exist: expected a safetensors file, 'pretrained' or nothing")
    classifier = trunk.pretrained_cfg["classifier"] or ()
    names = (classifier,) if isinstance(classifier, str) else classifier
    left_out = tuple(f"{layer}." for layer in names)
    try:
        weights = {key: value for key, value in load_file(path).items() if not key.startswith(left_out)}
        trunk.load_state_dict(weights)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise GroundingError(f"weights {path} are not those of timm:{name}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return textwrap.shorten(str(error), 300, placeholder=" ...") or type(error).__name__
