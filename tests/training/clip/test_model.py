"""The model that a training starts from: its words, its first layer, its folder."""

from dataclasses import replace

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file

from grounding.text.vectors import WordVectors
from grounding.training.clip.config import ClipConfig, TextConfig, VisionConfig
from grounding.training.clip.model import SPECIAL, Clip, words_of
from helpers.clip_training import wake
from helpers.paths import SHARED

CONFIG = ClipConfig(embedding=16, vision=VisionConfig("", 0.125, 64), text=TextConfig(layers=1, heads=5, length=6))
WEIGHTS = SHARED / "weights" / "mobilenetv1_100_imagenet.safetensors"
WORDS = words_of(["A red hat.", "the dog's hats"])


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return wake(Clip(CONFIG, WORDS))


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


def test_features_and_places_are_the_towers(clip):
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = clip.features(pixels)
        places = clip.places(features)
        embedded = clip.model.get_image_features(pixel_values=2 * pixels - 1).pooler_output
    assert features.shape == (2, 64, 4, 4)
    assert places.shape == (2, 4, 128)
    assert torch.allclose(clip.model.visual_projection(places.mean(1)), embedded, atol=1e-5)
    fixed = {name for name, value in clip.model.vision_model.named_parameters() if not value.requires_grad}
    assert fixed == {
        name for name, _ in clip.model.vision_model.named_parameters() if name[6:8] not in ("22", "23", "24", "25")
    }


@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs ../shared: MobileNet's weights")
def test_timms_weights_are_transformers_weights():
    source = timm.create_model("mobilenetv1_100", pad_type="same").eval()
    source.load_state_dict(load_file(WEIGHTS))
    ours = Clip(replace(CONFIG, vision=VisionConfig(str(WEIGHTS), 1.0, 64)), WORDS)
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = source.forward_features(2 * pixels - 1).flatten(2).transpose(1, 2)
        found = ours.places(ours.features(pixels))
    assert torch.allclose(found, expected, atol=1e-3)  # of up to 6
    assert expected.max() > 1


def test_transformers_reads_the_folder(clip, tmp_path):
    clip.model.eval()
    clip.save_pretrained(tmp_path / "clip")
    model = transformers.VisionTextDualEncoderModel.from_pretrained(tmp_path / "clip", use_safetensors=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "clip")
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "clip")
    assert tokenizer(["A red hat."])["input_ids"] == clip.tokens(["A red hat."])["input_ids"].tolist()
    picture = torch.randint(0, 256, (3, 20, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    seen = processor(images=picture, return_tensors="pt")["pixel_values"]
    assert seen.shape == (1, 3, 64, 64)  # a square, not a crop
    with torch.no_grad():
        ours = clip.model.get_image_features(pixel_values=seen).pooler_output
        theirs = model.get_image_features(pixel_values=seen).pooler_output
    assert torch.allclose(ours, theirs, atol=1e-6)
