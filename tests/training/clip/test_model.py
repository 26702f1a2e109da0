"""The model that a training starts from: its words, its first layer, its folder."""

import numpy as np
import pytest
import torch
import transformers

from grounding.text.vectors import WordVectors
from grounding.training.clip.config import ClipConfig, TextConfig, VisionConfig
from grounding.training.clip.model import SPECIAL, Clip, normalise, words_of

CONFIG = ClipConfig(embedding=16, vision=VisionConfig(32, 1, 2, 8, 32), text=TextConfig(layers=1, heads=5, length=6))
WORDS = words_of(["A red hat.", "the dog's hats"])


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return Clip(CONFIG, WORDS)


def test_words_are_lower_case_each_once_in_order():
    assert WORDS == ["'s", ".", "a", "dog", "hat", "hats", "red", "the"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a red hat", ["<begin>", "a", "red", "hat", "<end>"]),
        ("A RED hat.", ["<begin>", "a", "red", "hat", ".", "<end>"]),
        ("a zebra", ["<begin>", "a", "<unknown>", "<end>"]),
        ("", ["<begin>", "<end>"]),
        ("a a a a a a a", ["<begin>", "a", "a", "a", "a", "<end>"]),  # cut to the length, with its end
    ],
)
def test_texts_become_tokens(clip, text, tokens):
    ids = clip.tokens([text])["input_ids"][0].tolist()
    assert clip.tokenizer.convert_ids_to_tokens(ids) == tokens


def test_shorter_texts_are_padded_and_change_nothing(clip):
    clip.model.eval()
    alone, both = [
        clip.model.get_text_features(**clip.tokens(texts)).pooler_output
        for texts in (["a hat"], ["a hat", "the red dog"])
    ]
    assert torch.allclose(alone[0], both[0], atol=1e-6)
    assert not torch.allclose(both[0], both[1], atol=1e-3)


def test_words_start_as_the_vectors_of_their_stems(clip):
    table, vectors = clip.model.text_model.embeddings.token_embedding.weight, WordVectors.embedded()
    rows = {word: table[len(SPECIAL) + number] for number, word in enumerate(WORDS)}
    expected = torch.from_numpy(vectors.vectors[vectors.stems.index("hat")])
    assert rows["hat"].equal(expected)
    assert rows["hats"].equal(expected)
    assert torch.allclose(table.norm(dim=1), torch.ones(len(table)), atol=1e-5)
    assert not table.requires_grad


def test_the_first_layer_sees_whitened_patches(clip):
    generator = torch.Generator().manual_seed(0)
    pixels = normalise(torch.rand(200, 3, 32, 32, generator=generator).cumsum(3) / 32)  # neighbours are alike
    clip.start_patches(pixels)
    seen = clip.model.vision_model.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2).flatten(0, 1)
    patches = [p[:, y : y + 8, x : x + 8].flatten() for p in pixels for y in range(0, 32, 8) for x in range(0, 32, 8)]
    variances = np.linalg.eigvalsh(np.cov(np.stack(patches).T))[-32:]
    expected = np.diag(variances / (variances + 1e-2))  # of independent numbers
    assert np.allclose(np.cov(seen.detach().numpy().T), expected, atol=1e-3)


def test_transformers_reads_the_folder(clip, tmp_path):
    clip.model.eval()
    clip.save_pretrained(tmp_path / "clip")
    model = transformers.CLIPModel.from_pretrained(tmp_path / "clip", use_safetensors=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "clip")
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "clip")
    assert tokenizer(["A red hat."])["input_ids"] == clip.tokens(["A red hat."])["input_ids"].tolist()
    picture = torch.randint(0, 256, (3, 20, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    seen = processor(images=picture, return_tensors="pt")["pixel_values"]
    assert seen.shape == (1, 3, 32, 32)  # a square, not a crop
    with torch.no_grad():
        ours = clip.model.get_image_features(pixel_values=seen).pooler_output
        theirs = model.get_image_features(pixel_values=seen).pooler_output
    assert torch.allclose(ours, theirs, atol=1e-6)
