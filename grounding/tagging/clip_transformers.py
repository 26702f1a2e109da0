"""CLIPs of Hugging Face's transformers: a folder that `save_pretrained` wrote, with tokenizer and image processor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, check_finite
from grounding.tagging.towers import Towers
from grounding.tagging.transformers_library import attempt, check_complete, preprocessing_of, quiet, transformers_for

MODELS = {"clip": "CLIPModel", "siglip": "SiglipModel", "vision-text-dual-encoder": "VisionTextDualEncoderModel"}
TOKENIZER = ("tokenizer*.json", "vocab.*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens.json")
_WORDS = ("tokenizer.json", "vocab.*", "*.model")  # one of these has the words of a tokenizer
_PADDED = ("siglip",)  # trained on texts padded to the whole context
_INTERPOLATING = ("clip", "siglip")  # with position embeddings
_ENDLESS = 1 << 20  # tokenizers without a limit say something above this


class TransformersTowers(Towers):
    """A model of transformers with `get_image_features` and `get_text_features`, and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, context: int) -> None:
        super().__init__()
        self.model, self.tokenizer, self.context = model, tokenizer, context
        self.scale = float(model.logit_scale.detach().exp())
        bias = getattr(model, "logit_bias", None)
        self.independent = bias is not None
        self.bias = 0.0 if bias is None else float(bias.detach())
        self.padded = model.config.model_type in _PADDED
        self._size_px = model.config.vision_config.image_size if model.config.model_type in _INTERPOLATING else None

    def forward(self, images: Tensor) -> Tensor:
        """See `Towers`. For pictures of another side than the network's its position embeddings are interpolated."""
        usual = self._size_px in (None, images.shape[-1])
        options = {} if usual else {"interpolate_pos_encoding": True}
        features: Tensor = self.model.vision_model(pixel_values=images, **options).pooler_output
        return features

    def project(self, features: Tensor) -> Tensor:
        """See `Towers`. SigLIP has no projection."""
        projection = getattr(self.model, "visual_projection", None)
        return features if projection is None else projection(features)

    def pull(self, texts: Tensor) -> Tensor:
        """See `Towers`."""
        projection = getattr(self.model, "visual_projection", None)
        return texts if projection is None else texts.to(projection.weight) @ projection.weight

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See `Towers`."""
        texts = list(texts)
        for text, ids in zip(texts, self.tokenizer(texts, verbose=False)["input_ids"], strict=True):
            if len(ids) > self.context:
                lost = self.tokenizer.decode(ids[self.context - 1 :], skip_special_tokens=True)
                self.check_length(text, len(ids), lost)
        padding = {"padding": "max_length", "max_length": self.context} if self.padded else {"padding": True}
        tokens = self.tokenizer(texts, return_tensors="pt", **padding).to(self.model.device)
        embeddings: Tensor = self.model.get_text_features(**tokens).pooler_output
        return embeddings


def load_transformers_clip(folder: Path, where: str) -> tuple[Towers, Preprocessing]:
    """Load the model, the tokenizer and the image processor of a folder.

    Args:
        where: what messages call it.

    Raises:
        GroundingError: transformers is missing; the folder is no CLIP, or lacks a part; or its weights are pickled, or
            not exactly the model's.
    """
    transformers = transformers_for(where)
    options = {"local_files_only": True, "trust_remote_code": False}
    with quiet(transformers):
        config = attempt(
            where, "configuration (config.json)", lambda: transformers.AutoConfig.from_pretrained(folder, **options)
        )
        if config.model_type not in MODELS:
            raise GroundingError(
                f"{where} is a '{config.model_type}': expected {', '.join(MODELS)}, a network with a tower for "
                "pictures and one for texts, both projected into one space"
            )
        if not any(folder.glob("model*.safetensors")):
            raise GroundingError(f"{where} has no model.safetensors: pickled weights are never read; save it again")
        load = getattr(transformers, MODELS[config.model_type]).from_pretrained
        weights = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        model, report = attempt(where, "weights", lambda: load(folder, **options, **weights))
        check_complete(report, where)
        check_finite(model.state_dict(), f"weights of {where}")
        tokenizer = _tokenizer(transformers, folder, model.config.text_config.vocab_size, where)
        processor = attempt(
            where, "image processor", lambda: transformers.AutoImageProcessor.from_pretrained(folder, **options)
        )
        preprocessing = preprocessing_of(processor, where)
    longest = getattr(model.config.text_config, "max_position_embeddings", _ENDLESS)
    context = int(min(longest, tokenizer.model_max_length, _ENDLESS))
    return TransformersTowers(model, tokenizer, context).eval(), preprocessing


def _tokenizer(transformers: Any, folder: Path, known: int, where: str) -> Any:
    """The tokenizer of a folder; without its files, transformers would make one without words."""
    if not any(path for name in _WORDS for path in folder.glob(name)):
        raise GroundingError(
            f"{where} has no tokenizer: expected tokenizer.json, as tokenizer.save_pretrained writes it"
        )
    load = transformers.AutoTokenizer.from_pretrained
    tokenizer = attempt(where, "tokenizer", lambda: load(folder, local_files_only=True, trust_remote_code=False))
    if len(tokenizer) > known:
        raise GroundingError(
            f"{where}: its tokenizer has {len(tokenizer):,} tokens, and its network {known:,}: is it of another one?"
        )
    return tokenizer
