"""CLIPs from folders, the hub and open_clip, with random weights; nothing here reaches the internet."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.tagging import clip, clip_open
from grounding.tagging.clip import load_clip
from grounding.tagging.clip_classifier import BACKGROUND
from grounding.tagging.hub import Access
from grounding.tagging.sources import load_classifier, load_tag_classifier
from helpers.clip import (
    CONTEXT,
    SIDE,
    TINY,
    as_transformers,
    clip_model,
    open_clip_model,
    processor,
    save_clip,
    save_open_clip,
    tokenizer,
)
from helpers.errors import facts

TEXTS = ["a man", "a red hat", "a dog, and the cat's tail"]


def words(texts=TEXTS):
    return [(text,) for text in texts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("siglip"), cls="SiglipModel")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return save_open_clip(tmp_path_factory.mktemp("open_clip"))


def images():
    pixels = torch.from_numpy(np.random.default_rng(0).random((2, 3, SIDE, SIDE), np.float32))
    return pixels * 2 - 1


# --- what is loaded ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ["CLIPModel", "SiglipModel"])
def test_embeddings_are_those_of_transformers(cls, folder, siglip):
    where, model = (folder, clip_model()) if cls == "CLIPModel" else (siglip, clip_model(cls=cls))
    found = load_classifier(f"clip:{where}")
    padding = {"padding": "max_length", "max_length": CONTEXT} if cls == "SiglipModel" else {"padding": True}
    with torch.no_grad():
        for text, row in zip(TEXTS, found.embed(found.prompted(TEXTS)), strict=True):
            tokens = tokenizer()([f"a photo of {text}."], return_tensors="pt", **padding)
            expected = functional.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)[0]
            torch.testing.assert_close(row, expected, rtol=0, atol=1e-5)
        expected = model.get_image_features(pixel_values=images()).pooler_output
        torch.testing.assert_close(found.evidence(images())[1], expected)
    assert found.preprocessing.image_size_px == SIDE
    assert found.preprocessing.mean == pytest.approx(processor().image_mean, abs=1e-5)
    assert (found.tags, found.multi_label, found.presence_model) == ((), False, None)
    assert not found.network.training


def test_the_same_weights_in_both_libraries(tmp_path):
    model = open_clip_model(seed=3)
    theirs, own_tokenizer = as_transformers(model)
    for part in (theirs, own_tokenizer, processor(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4])):
        part.save_pretrained(tmp_path / "transformers")
    a = load_clip(str(save_open_clip(tmp_path / "open_clip", model)))
    b = load_clip(str(tmp_path / "transformers"))
    assert a.preprocessing.mean == pytest.approx(b.preprocessing.mean, abs=1e-5)
    assert a.preprocessing.std == pytest.approx(b.preprocessing.std, abs=1e-5)
    assert (a.network.scale, a.network.bias) == (pytest.approx(b.network.scale), b.network.bias)
    torch.testing.assert_close(a.signals(words()), b.signals(words()), rtol=0, atol=1e-5)
    pixels = a.preprocessing(sample_scene())
    with torch.no_grad():
        torch.testing.assert_close(a.evidence(pixels)[0], b.evidence(pixels)[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(a.evidence(pixels)[1], b.evidence(pixels)[1], rtol=0, atol=1e-5)


def test_a_vision_text_dual_encoder(tmp_path):
    import transformers

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = transformers.BertConfig(**small, vocab_size=200, max_position_embeddings=CONTEXT)
    vision = transformers.ViTConfig(**small, image_size=SIDE, patch_size=8)
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=16)
    for part in (transformers.VisionTextDualEncoderModel(config), tokenizer(), processor()):
        part.save_pretrained(tmp_path)
    found = load_clip(str(tmp_path))
    assert found.embed(TEXTS).shape == (3, 16)
    assert found.signals(words()).shape == (3, 32)
    with torch.no_grad():
        assert [each.shape for each in found.evidence(images())] == [(2, 32), (2, 16)]


def test_the_way_to_a_library(folder, opened, tmp_path, monkeypatch):
    chosen = []
    loaded = "transformers", "open_clip folder", "open_clip"
    names = "load_transformers_clip", "load_open_clip_folder", "load_open_clip"
    for name, said in zip(names, loaded, strict=True):
        monkeypatch.setattr(clip, name, lambda *given, said=said: chosen.append(said) or (None, None))
    monkeypatch.setattr(clip, "ClipClassifier", lambda *given: given)
    monkeypatch.setattr(clip, "fetch", lambda name, access, files: folder if name == "user/clip" else opened)
    both = tmp_path / "both"
    save_open_clip(both)
    (both / "config.json").write_text("{}")
    for name, expected in (
        (str(folder), "transformers"),
        (str(opened), "open_clip folder"),
        (str(both), "transformers"),
        ("user/clip", "transformers"),
        ("user/open", "open_clip folder"),
        ("hf-hub:user/clip", "open_clip folder"),
        ("ViT-B-16", "open_clip"),
        ("ViT-B-16/laion2b_s34b_b88k", "open_clip"),
    ):
        clip.load_clip(name)
        assert chosen.pop() == expected, name


def test_what_is_fetched_of_a_repository(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(clip, "fetch", lambda *given: asked.append(given) or folder)
    assert load_clip("user/clip", Access(local_files_only=True)).name == "clip:user/clip"
    ((name, access, files),) = asked
    assert (name, access.offline) == ("user/clip", True)
    names = [path.name for path in folder.iterdir()]
    assert all(any(Path(each).match(pattern) for pattern in files) for each in names)
    assert not any(Path("pytorch_model.bin").match(pattern) for pattern in files)


def test_weights_that_open_clip_lists(tmp_path, monkeypatch):
    import open_clip

    (tmp_path / "tiny-clip.json").write_text(json.dumps(TINY))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [tmp_path])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {})
    open_clip.factory._rescan_model_configs()
    seen = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bicubic", "resize_mode": "shortest"}
    listed = {
        "pickled": {"url": "https://example.org/a.pt", "hf_hub": "", **seen},
        "first": {"url": "", "hf_hub": "user/first/", "quick_gelu": True, **seen},
        "second": {"url": "", "hf_hub": "user/second/named.bin", **seen},
        "gone": {"url": "", "hf_hub": "user/gone/", **seen},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", listed)
    weights = {"user/first": "open_clip_model.safetensors", "user/second": "named.safetensors"}
    for repository, file in weights.items():
        save_open_clip(tmp_path / repository.replace("/", "-"), open_clip_model(seed=len(file)), file)
    fetched = []

    def fetch(repository, access, files):
        fetched.append((repository, *files, access.offline))
        return tmp_path / repository.replace("/", "-")

    monkeypatch.setattr(clip_open, "fetch", fetch)
    first = load_clip("tiny-clip", Access(local_files_only=True))
    assert fetched.pop() == ("user/first", "open_clip_model.safetensors", True)
    assert first.preprocessing.mean == seen["mean"]
    assert "QuickGELU" in str(first.network)
    second = load_clip("tiny-clip/second")
    assert fetched.pop() == ("user/second", "named.safetensors", False)
    assert "QuickGELU" not in str(second.network)
    expected = open_clip_model(seed=len("named.safetensors")).encode_image(images())
    torch.testing.assert_close(second.evidence(images())[1], expected)
    for name, expected in (
        ("tiny-clip/pickled", facts("no weights 'pickled' of tiny-clip on the hub", "first, second, gone")),
        ("tiny-clip/secnd", facts("no weights 'secnd'", "first, second")),
        ("tiny-clip/gone", facts("user/gone has no open_clip_model.safetensors", "never read")),
        ("tiny-clop", facts("no architecture", "did you mean 'tiny-clip'")),
    ):
        with pytest.raises(GroundingError, match=expected):
            load_clip(name)


def test_the_first_weights_of_vit_b_16_are_on_the_hub():
    import open_clip

    cfg = open_clip.get_pretrained_cfg("ViT-B-16", open_clip.list_pretrained_tags_by_model("ViT-B-16")[0])
    assert cfg["hf_hub"] == "timm/vit_base_patch16_clip_224.openai/"  # what docs/guides/clip.md says
    assert cfg["quick_gelu"]


# --- texts ------------------------------------------------------------------------------------------------------------


def test_texts_are_embedded_once_and_few_are_kept(folder, monkeypatch):
    found = load_clip(str(folder))
    asked = []
    embed = found.network.embed
    monkeypatch.setattr(found.network, "embed", lambda texts: asked.append(list(texts)) or embed(texts))
    together = found.signals(words(["a man", "a dog", "a man"]))
    assert asked == [["a photo of a man.", "a photo of a dog."]]
    torch.testing.assert_close(together[0], together[2], rtol=0, atol=1e-6)
    torch.testing.assert_close(found.signals(words(["a dog"]))[0], together[1], rtol=0, atol=1e-6)
    assert len(asked) == 1
    torch.testing.assert_close(found.embed(asked[0]).norm(dim=1), torch.ones(2))
    monkeypatch.setattr("grounding.tagging.clip_classifier._KEPT", 2)
    found.signals(words(["a cat"]))
    assert list(found._embeddings) == ["a photo of a dog.", "a photo of a cat."]
    assert torch.equal(found.signals(words(["a man", "a dog"])).argmax(1), together[:2].argmax(1))
    assert found.signals([]).shape == (0, found.signals(words()).shape[1])


def test_a_text_does_not_depend_on_those_beside_it(folder, siglip, opened):
    for where in (folder, siglip, opened):
        found, again = load_clip(str(where)), load_clip(str(where))
        together = found.signals(words())
        apart = torch.cat([again.signals([word]) for word in words()])
        torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_a_text_longer_than_the_context(library, folder, opened):
    found = load_clip(str(folder if library == "transformers" else opened))
    text = "the dog " * 40
    with pytest.raises(GroundingError, match=facts("the dog the dog", "tokens long", f"reads {found.network.context}")):
        found.signals(words([text]))
    room = found.network.context - 2 - 5  # two ends; `a photo of .`, a token a word
    if library == "open_clip":
        found.signals(words([" ".join(["dog"] * room)]))
        with pytest.raises(GroundingError, match=facts(f"is {found.network.context + 1} tokens", r"not see '\.'")):
            found.signals(words([" ".join(["dog"] * (room + 2))]))


def test_the_words_that_are_lost_are_named(folder):
    found = load_clip(str(folder))  # a token a letter
    with pytest.raises(GroundingError, match=r"it would not see 'hat ?\.'"):
        found.signals(words(["m" * (CONTEXT - 2 - 8) + " hat"]))
    found.signals(words(["m" * (CONTEXT - 2 - 9)]))


def test_the_presence_of_siglip_is_its_own_sigmoid(siglip):
    found = load_clip(str(siglip))
    model = clip_model(cls="SiglipModel")
    assert found.network.independent
    with torch.no_grad():
        picture = found.evidence(images())[1][0]
        texts = tokenizer()([f"a photo of {text}." for text in TEXTS], padding="max_length", return_tensors="pt")
        expected = model(pixel_values=images()[:1], **texts).logits_per_image.sigmoid()[0]
    assert found.presences(picture, TEXTS) == pytest.approx(expected.tolist(), abs=1e-5)
    assert found.presences(picture, []) == []
    assert "not calibrated" in found.presence_source


def test_the_presence_of_a_clip_is_a_share(folder):
    found = load_clip(str(folder))
    assert not found.network.independent
    with torch.no_grad():
        picture = found.evidence(images())[1][0]
    unit = picture / picture.norm()
    for text, presence in zip(TEXTS, found.presences(picture, TEXTS), strict=True):
        logits = found.network.scale * torch.cat([found.embed([f"a photo of {text}."]), found.embed(BACKGROUND)]) @ unit
        assert presence == pytest.approx(float(logits.softmax(0)[0]), abs=1e-6)
    assert "background" in found.presence_source


def test_fingerprints(folder, siglip):
    found = load_clip(str(folder))
    again = load_clip(str(folder))
    assert found.fingerprint() == again.fingerprint()
    with torch.no_grad():
        again.network.model.text_projection.weight[0, 0] += 1
    assert found.fingerprint() != again.fingerprint()
    assert load_clip(str(siglip)).fingerprint() != found.fingerprint()


# --- bad input --------------------------------------------------------------------------------------------------------


def without(*names):
    def spoil(folder):
        for path in folder.iterdir():
            if any(path.match(name) for name in names):
                path.unlink()

    return spoil


def changed(file, **values):
    def spoil(folder):
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return spoil


def tensors(change):
    def spoil(folder):
        from safetensors.torch import load_file, save_file

        path = next(folder.glob("*.safetensors"))
        state = load_file(path)
        change(state)
        save_file(state, path, {"format": "pt"})

    return spoil


BROKEN = {
    "another network": (changed("config.json", model_type="bert"), facts("is a 'bert'", "clip, siglip")),
    "one tower": (changed("config.json", model_type="clip_vision_model"), facts("'clip_vision_model'", "projected")),
    "no config": (without("config.json"), facts("neither config.json", "open_clip_config.json")),
    "damaged config": (lambda f: (f / "config.json").write_text("{"), facts("configuration", "cannot be loaded")),
    "no weights": (without("*.safetensors"), facts("no model.safetensors", "pickled")),
    "damaged weights": (lambda f: (f / "model.safetensors").write_bytes(b"no"), facts("weights", "cannot be loaded")),
    "no tokenizer": (without("tokenizer*", "vocab*", "merges*"), facts("has no tokenizer", "tokenizer.json")),
    "another tokenizer": (
        lambda f: as_transformers(open_clip_model())[1].save_pretrained(f),
        facts("49,408 tokens", "190", "another one"),
    ),
    "no processor": (without("*processor*"), facts("image processor cannot be loaded")),
    "no projection": (
        tensors(lambda state: state.pop("visual_projection.weight")),
        facts("lack 1 tensors", "visual_projection.weight"),
    ),
    "too much": (tensors(lambda state: state.update(more=torch.ones(1))), facts("unknown 1", "'more'")),
    "NaN": (tensors(lambda state: state["visual_projection.weight"].fill_(torch.nan)), facts("holds NaN")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_folders_that_are_no_clip(name, tmp_path):
    spoil, expected = BROKEN[name]
    spoil(save_clip(tmp_path / "clip"))
    with pytest.raises(GroundingError, match=expected) as caught:
        load_clip(str(tmp_path / "clip"))
    assert len(str(caught.value).splitlines()) == 1


BROKEN_OPEN = {
    "pickled weights": (without("*.safetensors"), facts("no open_clip_model.safetensors", "never read")),
    "damaged config": (lambda f: (f / "open_clip_config.json").write_text("{"), facts("weights cannot be loaded")),
    "weights lack": (tensors(lambda state: state.pop("visual.proj")), facts("cannot be loaded", "visual.proj")),
    "NaN": (tensors(lambda state: state["visual.proj"].fill_(torch.nan)), facts("holds NaN")),
}


@pytest.mark.parametrize("name", BROKEN_OPEN)
def test_folders_that_are_no_open_clip(name, tmp_path):
    spoil, expected = BROKEN_OPEN[name]
    spoil(save_open_clip(tmp_path / "clip"))
    with pytest.raises(GroundingError, match=expected) as caught:
        load_clip(str(tmp_path / "clip"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("library", "name", "expected"),
    [
        ("transformers", "FOLDER", facts("needs transformers", r"grounding\[hf\]")),
        ("open_clip", "OPENED", facts("needs open_clip", r"grounding\[clip\]")),
        ("open_clip", "ViT-B-16", facts("clip:ViT-B-16 needs open_clip", r"grounding\[clip\]")),
    ],
)
def test_a_library_is_missing(library, name, expected, folder, opened, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(GroundingError, match=expected):
        load_clip({"FOLDER": str(folder), "OPENED": str(opened)}.get(name, name))


def test_names_that_are_none():
    with pytest.raises(GroundingError, match=facts("no name", "clip:FOLDER", "open_clip")):
        load_classifier("clip:")
    for name in ("nonsense", "a/b/c"):
        with pytest.raises(GroundingError, match=facts(f"clip:{name}", "no folder", "list_models")):
            load_clip(name)


def test_offline_is_said(monkeypatch):
    with pytest.raises(GroundingError, match=facts("user/nothing-such", "not in the cache", "offline")):
        load_clip("user/nothing-such", Access(local_files_only=True))


def test_a_clip_has_no_tags(folder):
    with pytest.raises(GroundingError, match="has no tags"):
        load_tag_classifier(f"clip:{folder}")


def test_no_pickle_is_read(tmp_path, monkeypatch):
    """The marks of the two libraries' own fallbacks: `pytorch_model.bin`, `open_clip_pytorch_model.bin`."""
    for save, file in ((save_clip, "pytorch_model.bin"), (save_open_clip, "open_clip_pytorch_model.bin")):
        where = save(tmp_path / file)
        state = open_clip_model().state_dict() if save is save_open_clip else clip_model().state_dict()
        torch.save(state, where / file)
        without("*.safetensors")(where)
        monkeypatch.setattr(torch, "load", lambda *given, **options: pytest.fail("a pickle was read"))
        with pytest.raises(GroundingError, match="safetensors"):
            load_clip(str(where))
        monkeypatch.undo()
