"""CLIPs of Hugging Face's transformers: hub names, and folders that `save_pretrained` wrote."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from grounding.errors import GroundingError
from grounding.tagging.classifier import Preprocessing, check_finite
from grounding.tagging.towers import Towers

MODELS = {"clip": "CLIPModel", "siglip": "SiglipModel", "vision-text-dual-encoder": "VisionTextDualEncoderModel"}
_PADDED = ("siglip",)  # trained on texts padded to the whole context
T = TypeVar("T")


class TransformersTowers(Towers):
    """A model of transformers with `get_image_features` and `get_text_features`, and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.scale = float(model.logit_scale.detach().exp())
        bias = getattr(model, "logit_bias", None)
        self.independent = bias is not None
        self.bias = 0.0 if bias is None else float(bias.detach())
        text = model.config.text_config
        self.context = int(min(text.max_position_embeddings, tokenizer.model_max_length))
        self.size_px = model.config.vision_config.image_size
        self.padded = model.config.model_type in _PADDED

    def forward(self, images: Tensor) -> Tensor:
        """See `Towers`. Pictures of another side than the network's have its position embeddings interpolated."""
        options = {} if images.shape[-1] == self.size_px else {"interpolate_pos_encoding": True}
        return _embedding(self.model.get_image_features(pixel_values=images, **options))

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See `Towers`."""
        texts = list(texts)
        for text, ids in zip(texts, self.tokenizer(texts, verbose=False)["input_ids"], strict=True):
            if len(ids) > self.context:
                lost = self.tokenizer.decode(ids[self.context - 1 :], skip_special_tokens=True)
                self.check_length(text, len(ids), lost)
        padding = {"padding": "max_length", "max_length": self.context} if self.padded else {"padding": True}
        tokens = self.tokenizer(texts, return_tensors="pt", **padding).to(self.model.device)
        return _embedding(self.model.get_text_features(**tokens))


def load_transformers(source: str, where: str) -> tuple[Towers, Preprocessing]:
    """Load the model, the tokenizer and the image processor of a folder or a hub name.

    Args:
        where: what messages call it.

    Raises:
        GroundingError: transformers is missing, or this is no CLIP, incomplete, or cannot be fetched.
    """
    try:
        import transformers as library
    except ImportError as error:
        raise GroundingError(
            f"{where} needs transformers, which is not installed: pip install 'grounding[hf]'"
        ) from error
    transformers: Any = library
    with _quiet(transformers):
        config = _read(where, "configuration (config.json)", lambda: transformers.AutoConfig.from_pretrained(source))
        if config.model_type not in MODELS:
            raise GroundingError(
                f"{where} is a '{config.model_type}' of transformers: expected {', '.join(MODELS)}, a network with a "
                "tower for pictures and one for texts, projected into one space"
            )
        load = getattr(transformers, MODELS[config.model_type]).from_pretrained
        options = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        model, report = _read(where, "weights (model.safetensors)", lambda: load(source, **options))
        _check_complete(report, where)
        check_finite(model.state_dict(), f"weights of {where}")
        tokenizer = _read(where, "tokenizer", lambda: transformers.AutoTokenizer.from_pretrained(source))
        processor = _read(where, "image processor", lambda: transformers.AutoImageProcessor.from_pretrained(source))
    return TransformersTowers(model, tokenizer).eval(), _preprocessing(processor, where)


def _embedding(output: Any) -> Tensor:
    """The embedding: from transformers 5 an attribute of what its towers return."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _read(where: str, what: str, load: Callable[[], T]) -> T:
    """What transformers loads, or one line."""
    try:
        return load()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise GroundingError(f"{where}: its {what} cannot be loaded ({reason})") from error


def _check_complete(report: Mapping[str, Any], where: str) -> None:
    """Refuse weights that are not exactly those of the model."""
    for key, fault in (("missing_keys", "lack"), ("unexpected_keys", "hold unknown"), ("mismatched_keys", "misfit in")):
        if found := sorted(map(str, report.get(key) or ())):
            raise GroundingError(
                f"weights of {where} {fault} {len(found)} tensors, such as '{found[0]}': expected exactly the model's"
            )


def _preprocessing(processor: Any, where: str) -> Preprocessing:
    """The side of the picture, mean and standard deviation of an image processor."""
    size: Any = getattr(processor, "crop_size", None) or getattr(processor, "size", None) or {}
    sides = {key: size.get(key) for key in ("height", "width", "shortest_edge")} if hasattr(size, "get") else {}
    side = sides.get("height") or sides.get("shortest_edge")
    if not side:
        raise GroundingError(f"{where}: its image processor has no size: expected one of preprocessor_config.json")
    if sides.get("width") not in (None, side):
        raise GroundingError(f"{where} wants pictures of {side} x {sides['width']} px: expected a square")
    if not getattr(processor, "do_normalize", True):
        return Preprocessing(int(side))
    return Preprocessing(int(side), tuple(processor.image_mean), tuple(processor.image_std))


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no reports on weights: what matters is an error here."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
