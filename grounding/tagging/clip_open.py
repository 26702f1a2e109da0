"""CLIPs of open_clip: its architectures with weights that it lists, and folders in its format."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from grounding.errors import GroundingError, did_you_mean
from grounding.tagging.classifier import Preprocessing, Resample, check_finite
from grounding.tagging.hub import Access, fetch
from grounding.tagging.towers import Towers
from grounding.tagging.transformers_library import attempt

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


class OpenClipTowers(Towers):
    """A model of open_clip and its tokenizer, which fills or cuts texts to the context."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.scale = float(model.logit_scale.detach().exp())
        self.independent = model.logit_bias is not None
        self.bias = float(model.logit_bias.detach()) if self.independent else 0.0
        self.context = int(tokenizer.context_length)

        self.projection = getattr(model.visual, "proj", None)  # (C, D); of other towers it is inside
        self.trunk = model.visual
        if isinstance(self.projection, nn.Parameter):
            self.trunk = copy.copy(model.visual)  # the same weights, without the projection
            self.trunk._parameters = {**model.visual._parameters, "proj": None}

    def forward(self, images: Tensor) -> Tensor:
        """See `Towers`."""
        features: Tensor = self.trunk(images)
        return features

    def project(self, features: Tensor) -> Tensor:
        """See `Towers`."""
        return features if self.projection is None else features @ self.projection

    def pull(self, texts: Tensor) -> Tensor:
        """See `Towers`."""
        return texts if self.projection is None else texts.to(self.projection) @ self.projection.T

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See `Towers`."""
        for text in texts:
            self._check(text)
        tokens = self.tokenizer(list(texts)).to(self.model.logit_scale.device)
        embeddings: Tensor = self.model.encode_text(tokens)
        return embeddings

    def _check(self, text: str) -> None:
        inner = getattr(self.tokenizer, "tokenizer", None)  # of transformers; open_clip's own has none inside
        if inner is None:
            ids, ends, decode = self.tokenizer.encode(text), 2, self.tokenizer.decode
        else:
            ids, ends, decode = inner(text, verbose=False)["input_ids"], 0, inner.decode
        if len(ids) + ends > self.context:
            self.check_length(text, len(ids) + ends, decode(ids[self.context - (ends or 1) :]))


def architectures() -> list[str]:
    """Those of open_clip; none where it is not installed."""
    try:
        import open_clip
    except ImportError:
        return []
    return list(open_clip.list_models())


def load_open_clip_folder(folder: Path, where: str) -> tuple[Towers, Preprocessing]:
    """Load a folder with `open_clip_config.json`, weights in safetensors and, for some, the files of a tokenizer.

    Args:
        where: what messages call it.

    Raises:
        GroundingError: open_clip is missing, or the folder lacks a part, or its weights are pickled or do not fit.
    """
    open_clip = _library(where)
    if not any(folder.glob("*.safetensors")):
        raise GroundingError(f"{where} has no {WEIGHTS}: expected it beside {CONFIG}; pickled weights are never read")
    return _loaded(open_clip, where, f"local-dir:{folder}", {})


def load_open_clip(name: str, access: Access, where: str) -> tuple[Towers, Preprocessing]:
    """Load an architecture of open_clip, `NAME` or `NAME/WEIGHTS`; by default with the first weights that it lists.

    Raises:
        GroundingError: open_clip is missing, or has no such architecture or weights, or they are no safetensors on the
            hub, or cannot be fetched.
    """
    open_clip = _library(where)
    architecture, _, tag = name.partition("/")
    if architecture not in (known := open_clip.list_models()):
        advice = did_you_mean(architecture, known, "expected a folder, user/name, or one of open_clip.list_models()")
        raise GroundingError(f"{where}: no folder, and no architecture of open_clip: {advice}")
    listed = {each: open_clip.get_pretrained_cfg(architecture, each) for each in _tags(open_clip, architecture)}
    on_hub = [each for each, settings in listed.items() if settings.get("hf_hub")]
    if not on_hub or (tag and tag not in on_hub):
        given = f"weights '{tag}' of {architecture}" if tag else f"weights of {architecture}"
        raise GroundingError(
            f"{where}: open_clip lists no {given} on the hub: expected {', '.join(on_hub) or 'a folder'}"
        )
    settings = listed[tag or on_hub[0]]
    quick = bool(settings.get("quick_gelu"))
    if open_clip.get_model_config(architecture).get("quick_gelu") and not quick:
        raise GroundingError(f"{where}: these weights were trained without QuickGELU: leave out '-quickgelu'")
    repository, file = os.path.split(settings["hf_hub"])
    file = f"{Path(file).stem}.safetensors" if file else WEIGHTS
    weights = fetch(repository, access, [file]) / file
    if not weights.is_file():
        raise GroundingError(f"{where}: {repository} has no {file}: pickled weights are never read; choose others")
    seen = {key: settings[key] for key in ("mean", "std", "interpolation")}
    options = {"pretrained": str(weights), "force_quick_gelu": quick, "force_preprocess_cfg": seen}
    return _loaded(open_clip, where, architecture, options)


def _library(where: str) -> Any:
    try:
        import open_clip
    except ImportError as error:
        install = "pip install 'grounding[clip]'"
        raise GroundingError(f"{where} needs open_clip, which is not installed: {install}") from error
    return open_clip


def _tags(open_clip: Any, architecture: str) -> list[str]:
    tags: list[str] = open_clip.list_pretrained_tags_by_model(architecture)
    return tags


def _loaded(open_clip: Any, where: str, model_name: str, options: dict[str, Any]) -> tuple[Towers, Preprocessing]:
    """The model with weights, strictly, and its tokenizer."""
    create = open_clip.create_model
    model = attempt(where, "weights", lambda: create(model_name, require_pretrained=True, **options))
    tokenizer = attempt(where, "tokenizer", lambda: open_clip.get_tokenizer(model_name))
    check_finite(model.state_dict(), f"weights of {where}")
    seen = model.visual.preprocess_cfg
    size = seen["size"]
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise GroundingError(f"{where} wants pictures of {' x '.join(map(str, size))} px: expected a square")
    resample: Resample = "bilinear" if seen["interpolation"] == "bilinear" else "bicubic"
    preprocessing = Preprocessing(sides.pop(), tuple(seen["mean"]), tuple(seen["std"]), resample)
    return OpenClipTowers(model, tokenizer).eval(), preprocessing
