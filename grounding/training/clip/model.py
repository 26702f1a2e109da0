"""A small CLIP of transformers' format: a MobileNet and a text transformer, whole words as tokens."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from grounding.errors import GroundingError
from grounding.folders import whole_folder
from grounding.tagging.timm_features import Rgb
from grounding.text.tokens import stem, tokenize
from grounding.text.vectors import WordVectors
from grounding.training.clip.config import ClipConfig

MEAN: Rgb = (0.5, 0.5, 0.5)
STD: Rgb = (0.5, 0.5, 0.5)
SPECIAL = ("<pad>", "<begin>", "<end>", "<unknown>")  # with these numbers; transformers gives the end 2 a meaning
FROZEN = 22  # layers of the MobileNet: those up to stride 16


class Clip:
    """The model with what it needs to read pictures and texts.

    Args:
        config: its sizes.
        words: of the tokenizer, lower case, each once.

    Attributes:
        model: `transformers.VisionTextDualEncoderModel`, its vision tower in evaluation mode.
        tokenizer: `transformers.PreTrainedTokenizerFast`.

    Raises:
        GroundingError: transformers is missing, `text.heads` does not divide the length of word vectors, or
            `vision.weights` is no state dict of such a MobileNet.
    """

    def __init__(self, config: ClipConfig, words: Sequence[str]) -> None:
        transformers = _transformers()
        self.config, vectors = config, WordVectors.embedded()
        self.tokenizer = _tokenizer(transformers, words, config.text.length)
        width = vectors.vectors.shape[1]
        if width % config.text.heads:
            raise GroundingError(f"text.heads is {config.text.heads}: expected a divisor of {width}")
        text = {
            "vocab_size": len(SPECIAL) + len(words),
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": config.text.layers,
            "num_attention_heads": config.text.heads,
            "max_position_embeddings": config.text.length,
            "hidden_act": "relu",
            **{f"{name}_token_id": SPECIAL.index(f"<{word}>") for name, word in _ROLES.items()},
        }
        towers = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
            transformers.MobileNetV1Config(
                depth_multiplier=config.vision.width,
                image_size=config.vision.image_size_px,
                layer_norm_eps=1e-5,  # as timm's
                hidden_size=int(1024 * config.vision.width),  # which the dual encoder asks for
            ),
            transformers.CLIPTextConfig(**text),
            projection_dim=config.embedding,
        )
        self.model: Any = transformers.VisionTextDualEncoderModel(towers)
        if config.vision.weights:
            _fill(self.model.vision_model, Path(config.vision.weights).expanduser())
        self.model.vision_model.eval()
        table = self.model.text_model.embeddings.token_embedding.weight
        table.data = _token_vectors(words, vectors, table)
        for fixed in (table, *self.model.vision_model.conv_stem.parameters(), *self._frozen.parameters()):
            fixed.requires_grad_(False)

    @property
    def _frozen(self) -> Any:
        return self.model.vision_model.layer[:FROZEN]

    def features(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> (N, C, S / 16, S / 16), what the layers that stay as they are make of them."""
        features: Tensor = self.model.vision_model.conv_stem(normalise(pixels))
        for layer in self._frozen:
            features = layer(features)
        return features

    def places(self, features: Tensor) -> Tensor:
        """`features` -> (N, S / 32 * S / 32, C'), the last layer's, at least 0; the mean over places is pooled."""
        for layer in self.model.vision_model.layer[FROZEN:]:
            features = layer(features)
        return features.flatten(2).transpose(1, 2)

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, (K, L) int64 each, as long as the longest text."""
        return dict(self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt"))

    def save_pretrained(self, folder: Path) -> None:
        """Write model, tokenizer and image processor as transformers lays them out, whole or not at all."""
        transformers, size = _transformers(), self.config.vision.image_size_px
        square = {"height": size, "width": size}
        seen = {"image_mean": list(MEAN), "image_std": list(STD), "resample": 2}  # bilinear
        processor = transformers.CLIPImageProcessor(size=square, do_center_crop=False, **seen)
        with whole_folder(folder, overwrite=True, ours=("*.json", "*.safetensors")) as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            processor.save_pretrained(partial)


_ROLES = {"pad": "pad", "bos": "begin", "eos": "end"}


def normalise(pixels: Tensor) -> Tensor:
    """(N, 3, H, W) RGB in [0, 1], as the image processor leaves it."""
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pixels - mean) / std


def words_of(texts: Iterable[str]) -> list[str]:
    """The different words of texts as the tokenizer reads them, in alphabetical order."""
    return sorted({token.text.lower() for text in texts for token in tokenize(text)})


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise GroundingError(
            "a CLIP needs transformers, which is not installed: pip install 'grounding[hf]'"
        ) from error
    return transformers


def _fill(tower: Any, file: Path) -> None:
    """Give a MobileNet of transformers the weights of timm's, which has the same layers in the same order."""
    from timm import create_model

    try:
        source = create_model("mobilenetv1_100")
        source.load_state_dict(load_file(file))
        weights = source.state_dict().items()
        ours = [value for key, value in weights if not key.startswith("classifier.")]
        tower.load_state_dict(dict(zip(tower.state_dict(), ours, strict=True)))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise GroundingError(
            f"vision.weights {file} cannot be read as timm's mobilenetv1_100, at vision.width 1: {reason}"
        ) from error


def _tokenizer(transformers: Any, words: Sequence[str], length: int) -> Any:
    """Whole words in lower case, divided at spaces and punctuation, between a begin and an end."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    _, begin, end, unknown = SPECIAL
    numbers = {word: number for number, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    ends = [(begin, numbers[begin]), (end, numbers[end])]
    tokenizer.post_processor = processors.TemplateProcessing(f"{begin} $A {end}", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=length,
        **{f"{name}_token": f"<{word}>" for name, word in _ROLES.items()},
        unk_token=unknown,
    )


def _token_vectors(words: Sequence[str], vectors: WordVectors, like: Tensor) -> Tensor:
    """A row for each token: the vector of the word's stem, or a random one as long where there is none."""
    table = torch.nn.functional.normalize(torch.randn(like.shape), dim=1)
    row = {known: number for number, known in enumerate(vectors.stems)}
    for number, word in enumerate(words, start=len(SPECIAL)):
        if (found := row.get(stem(word))) is not None:
            table[number] = torch.from_numpy(vectors.vectors[found])
    return table
