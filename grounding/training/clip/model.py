"""A small `CLIPModel` of transformers with random weights, its tokenizer of whole words and its image processor."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grounding.errors import GroundingError
from grounding.folders import whole_folder
from grounding.tagging.timm_features import Rgb
from grounding.text.tokens import stem, tokenize
from grounding.text.vectors import WordVectors
from grounding.training.clip.config import ClipConfig

MEAN: Rgb = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's own pictures, which its image processor assumes
STD: Rgb = (0.26862954, 0.26130258, 0.27577711)
SPECIAL = ("<pad>", "<begin>", "<end>", "<unknown>")  # with these numbers; transformers gives the end 2 a meaning
PATCHES = 20_000  # from which the first layer starts


class Clip:
    """The model with what it needs to read pictures and texts.

    Args:
        config: its sizes.
        words: of the tokenizer, lower case, each once.

    Attributes:
        model: `transformers.CLIPModel`.
        tokenizer: `transformers.PreTrainedTokenizerFast`.

    Raises:
        GroundingError: transformers is missing, or `text.heads` does not divide the length of word vectors.
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
        vision = {
            "hidden_size": config.vision.width,
            "intermediate_size": 4 * config.vision.width,
            "num_hidden_layers": config.vision.layers,
            "num_attention_heads": config.vision.heads,
            "image_size": config.vision.image_size_px,
            "patch_size": config.vision.patch_px,
            "hidden_act": "relu",  # at least 0, as Excitation Backprop assumes
        }
        both = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=config.embedding)
        self.model: Any = transformers.CLIPModel(both)
        table = self.model.text_model.embeddings.token_embedding.weight
        table.data = _token_vectors(words, vectors, table)
        table.requires_grad_(False)

    def start_patches(self, pixels: Tensor) -> None:
        """Let the first layer begin with the principal components of patches, whitened, of (N, 3, S, S) in [0, 1]."""
        embedding = self.model.vision_model.embeddings.patch_embedding
        weight, size = embedding.weight, self.config.vision.patch_px
        patches = torch.nn.functional.unfold(normalise(pixels), size, stride=size).transpose(1, 2).flatten(0, 1)
        patches = patches[torch.randperm(len(patches))[:PATCHES]]
        values, vectors = torch.linalg.eigh(torch.cov(patches.T) + 1e-2 * torch.eye(patches.shape[1]))
        count = min(len(weight), len(values))
        rows = vectors[:, -count:] / values[-count:].sqrt()
        with torch.no_grad():
            weight[:count] = rows.T.reshape(count, *weight.shape[1:])

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, (K, L) int64 each, as long as the longest text."""
        return dict(self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt"))

    def save_pretrained(self, folder: Path) -> None:
        """Write model, tokenizer and image processor as transformers lays them out, whole or not at all."""
        transformers, size = _transformers(), self.config.vision.image_size_px
        square = {"height": size, "width": size}
        processor = transformers.CLIPImageProcessor(
            size=square, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD)
        )
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
