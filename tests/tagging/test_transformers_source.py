"""Image classifiers of transformers: tiny ones of random weights, saved as anyone's are, and the same ones in timm."""

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from grounding.config import LocalizerConfig, MapConfig
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.sources import load_classifier
from grounding.tagging.transformers_library import preprocessing_of
from helpers.errors import facts
from helpers.rounding import assert_rounded

LABELS = ["n02123045 tabby, tabby cat", "tiger cat", "collie", "jeep, landrover", "cowboy hat"]
SIDE, PATCH, WIDTH, BLOCKS = 32, 8, 32, 2
HALF = [0.5, 0.5, 0.5]


@cache
def model(labels=tuple(LABELS)):
    """A vision transformer; shared, so nobody may change it."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    names = dict(enumerate(labels))
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": 2, "intermediate_size": 64}
    config = ViTConfig(image_size=SIDE, patch_size=PATCH, id2label=names, label2id={}, **sizes)
    made = ViTForImageClassification(config).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 0.2)
    return made


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    from transformers import ViTImageProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("vit")
    model().save_pretrained(folder)
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}, resample=3).save_pretrained(folder)
    logging.enable_progress_bar()
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """A copy that may be spoilt."""
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def change(folder, name, **values):
    path = folder / name
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def refused(source, message):
    with pytest.raises(GroundingError, match=message) as error:
        load_classifier(source)
    assert "\n" not in str(error.value)


def test_a_folder_that_transformers_wrote(saved):
    found = load_classifier(f"hf:{saved}")
    assert found.tags == ("tabby", "tiger cat", "collie", "jeep", "cowboy hat")
    assert found.names == {"tabby": ("tabby cat",), "jeep": ("landrover",)}
    assert (found.name, found.multi_label, found.dtype) == (f"hf:{saved}", False, torch.float32)
    assert found.preprocessing == Preprocessing(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    assert not any(module.training for module in found.network.modules())
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        assert_rounded(found.network(images), model()(pixel_values=images).logits)


def test_words_reach_all_their_tags(saved):
    result = Localizer(load_classifier(f"hf:{saved}")).encode(sample_scene()).ground("a cat in a hat near a collie")
    words = {found.phrase.text: found.words[0] for found in result}
    assert (words["a cat"].tags, words["a cat"].reason) == (("tabby", "tiger cat"), "kinds")
    assert (words["a hat"].tags, words["a hat"].reason) == (("cowboy hat",), "kinds")
    assert words["a collie"].reason == "exact"
    assert {found.status for found in result} <= {"localized", "empty-map"}


def test_weights_in_half_precision_become_float32(copied):
    weights = {key: value.half() for key, value in load_file(copied / "model.safetensors").items()}
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    change(copied, "config.json", dtype="float16")
    assert load_classifier(f"hf:{copied}").dtype == torch.float32


def test_independent_outputs_are_said_by_the_configuration(copied):
    change(copied, "config.json", problem_type="multi_label_classification")
    assert load_classifier(f"hf:{copied}").multi_label


def to_timm(weights):
    """The names of timm for a ViT of transformers: q, k and v are one layer."""
    renamed = {}
    for key, value in weights.items():
        key = key.removeprefix("vit.").replace("embeddings.", "").replace("patch_projection", "patch_embed.proj")
        key = key.replace("patch_embeddings.projection", "patch_embed.proj").replace("cls_token", "cls_token")
        key = (
            key.replace("position_embeddings", "pos_embed")
            .replace("encoder.layer.", "blocks.")
            .replace("layers.", "blocks.")
        )
        key = (
            key.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2").replace("layernorm.", "norm.")
        )
        key = key.replace("classifier.", "head.").replace("attention.output.dense", "attn.proj")
        key = key.replace("attention.o_proj", "attn.proj").replace("intermediate.dense", "mlp.fc1")
        key = key.replace("output.dense", "mlp.fc2")
        renamed[key] = value
    return renamed


def joined(weights, block, kind):
    """q, k and v of a block, however transformers calls them."""
    parts = []
    for names in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
        (name,) = (k for k in weights if f".{block}." in k and any(f".{n}.{kind}" in k for n in names))
        parts.append(weights.pop(name))
    return torch.cat(parts)


def test_the_same_weights_in_timm_and_in_transformers_give_equal_maps(saved):
    import timm

    weights = dict(model().state_dict())
    qkv = {
        f"blocks.{b}.attn.qkv.{kind}": joined(weights, b, kind) for b in range(BLOCKS) for kind in ("weight", "bias")
    }
    sizes = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": BLOCKS, "num_heads": 2, "mlp_ratio": 2}
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=len(LABELS), **sizes).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-12  # transformers' own
    theirs.load_state_dict({**to_timm(weights), **qkv})
    ours = load_classifier(f"hf:{saved}")
    other = TagClassifier(theirs, ours.tags, ours.preprocessing, "timm", multi_label=False, names=ours.names)
    for depth in (0.0, None):
        config = LocalizerConfig(maps=MapConfig(depth=depth))
        scenes = [Localizer(each, config).encode(sample_scene()) for each in (ours, other)]
        torch.testing.assert_close(*(scene.encoding.probabilities for scene in scenes), rtol=1e-4, atol=1e-6)
        maps = [torch.stack(list(scene.word_maps(ours.tags).values())) for scene in scenes]
        assert maps[0].abs().max() > 0
        largest = maps[0].abs().amax((1, 2), keepdim=True).clamp(min=1e-9)
        assert float(((maps[0] - maps[1]) / largest).abs().max()) < 1e-4


class Processor:
    """Resizes to a square, or not, and normalises, as settings say."""

    def __init__(self, size=8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), resample=2, **settings):
        self.size, self.mean, self.std, self.resample = size, np.array(mean), np.array(std), resample
        self.settings = settings

    def __call__(self, picture, return_tensors, input_data_format):
        assert (return_tensors, input_data_format) == ("np", "channels_last")
        height, width = (
            self.size
            if isinstance(self.size, tuple)
            else (self.size or picture.shape[0], self.size or picture.shape[1])
        )
        values = (np.full((height, width, 3), picture[0, 0, 0] / 255) - self.mean) / self.std
        if self.settings.get("padded"):
            values[0] = 0
        return {"pixel_values": values.transpose(2, 0, 1)[None] * self.settings.get("scale", 1)}


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (Processor(), Preprocessing(8, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))),
        (Processor(mean=(0, 0, 0), std=(1, 1, 1), resample=None), Preprocessing(8)),
        (Processor(16, resample=3), Preprocessing(16, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")),
        (Processor(mean=HALF, std=HALF, scale=0.5), Preprocessing(8, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))),
    ],
)
def test_what_a_processor_does_is_asked_of_the_processor(processor, expected):
    assert preprocessing_of(processor, "x") == expected


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (Processor(None), facts("has no size", "330 x 210 px", "preprocessor_config.json")),
        (Processor((8, 16)), facts("makes arrays", "1 x 3 x S x S")),
        (Processor(padded=True), "does more than resize and normalise"),
        (Processor(scale=-1), "does more than resize and normalise"),
    ],
)
def test_processors_that_are_refused(processor, message):
    with pytest.raises(GroundingError, match=message) as error:
        preprocessing_of(processor, "hf:x")
    assert "\n" not in str(error.value)


def test_preprocessing_is_that_of_the_processor(saved):
    from transformers import AutoImageProcessor

    picture = np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8)
    expected = AutoImageProcessor.from_pretrained(saved)(picture, return_tensors="pt")["pixel_values"]
    found = load_classifier(f"hf:{saved}").preprocessing(picture)
    assert float((found - expected).abs().max()) < 0.02  # of 2; theirs rounds to bytes between


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: change(f, "config.json", model_type=None), facts("names no model_type", "not of transformers")),
        (lambda f: change(f, "config.json", model_type="qwrtz"), "config.json cannot be loaded"),
        (lambda f: change(f, "config.json", model_type="bert"), facts("is a 'bert'", "image classifier")),
        (lambda f: change(f, "config.json", model_type=None, pretrained_cfg={}), "timm:NAME=FOLDER"),
        (lambda f: change(f, "config.json", auto_map={"AutoModel": "m.M"}), facts("code of its own", "never run")),
        (lambda f: change(f, "config.json", id2label=None), facts("LABEL_0", "expected words")),
        (lambda f: change(f, "config.json", num_hidden_layers=3), facts("lack", "expected exactly")),
        (lambda f: change(f, "config.json", num_hidden_layers=1), facts("hold unknown", "expected exactly")),
        (lambda f: change(f, "config.json", intermediate_size=48), "weights"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.safetensors").write_bytes(b"cut"), "weights cannot be loaded"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            facts("has no model.safetensors", "pickled"),
        ),
        (lambda f: (f / "preprocessor_config.json").unlink(), "has no preprocessor_config.json"),
        (lambda f: change(f, "preprocessor_config.json", do_resize=False), facts("has no size", "preprocessor_config")),
    ],
)
def test_folders_that_are_refused(copied, spoil, message):
    spoil(copied)
    refused(f"hf:{copied}", message)


def test_names_that_are_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    refused("hf:none", facts("'none' is no folder and no name on the hub", "user/name"))
    refused("hf:", "is no folder and no name on the hub")
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused("hf:none", facts("needs transformers", r"pip install 'grounding\[hf\]'"))
    assert list(Path().iterdir()) == []
