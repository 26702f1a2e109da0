"""Classifiers of timm, with random weights in files: nothing is downloaded."""

import json
import sys
from functools import cache

import pytest
import torch
from safetensors.torch import save_file

from grounding.errors import GroundingError
from grounding.tagging import timm_source
from grounding.tagging.sources import load_classifier
from helpers.errors import facts
from helpers.rounding import assert_rounded

SMALL = "test_resnet"  # 0.5 million parameters, 1,000 outputs of ImageNet
SIDE = 160


@cache
def network(name=SMALL, **options):
    """Random weights; shared, so nobody may change them."""
    import timm

    torch.manual_seed(0)
    return timm.create_model(name, **options).eval()


def state(**changes):
    return {key: value.contiguous() for key, value in network().state_dict().items()} | changes


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folder(config, weights=None, name="mine"):
    from pathlib import Path

    made = Path(name)
    made.mkdir()
    (made / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if weights is not False:
        save_file(weights or state(), made / "model.safetensors")
    return f"timm:{SMALL}={name}"


def refused(source, message):
    with pytest.raises(GroundingError, match=message) as error:
        load_classifier(source)
    assert "\n" not in str(error.value)


def same(classifier, expected, side=SIDE):
    images = torch.rand(1, 3, side, side)
    with torch.no_grad():
        assert_rounded(classifier.network(images), expected(images))


@pytest.mark.parametrize("write", [lambda: save_file(state(), "w.safetensors"), lambda: torch.save(state(), "w.pth")])
def test_weights_of_a_file(write, workplace):
    write()
    (file,) = workplace.iterdir()
    found = load_classifier(f"timm:{SMALL}={file.name}")
    same(found, network())
    assert (found.name, found.multi_label, len(found.tags)) == (f"timm:{SMALL}={file.name}", False, 1000)
    assert (found.tags[281], found.names["tabby"]) == ("tabby", ("tabby cat",))
    seen = network().pretrained_cfg
    assert found.preprocessing.image_size_px == SIDE
    assert (found.preprocessing.mean, found.preprocessing.std) == (seen["mean"], seen["std"])
    assert found.preprocessing.resample == seen["interpolation"] == "bilinear"
    assert not any(module.training for module in found.network.modules())
    assert "state_dict" not in found.network.pretrained_cfg


def test_a_folder_in_the_format_of_timm_says_what_differs():
    config = {
        "architecture": SMALL,
        "model_args": {"output_stride": 16},
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "input_size": [3, 64, 64]},
    }
    config["pretrained_cfg"]["interpolation"] = "bilinear"
    found = load_classifier(folder(config))
    assert (found.preprocessing.image_size_px, found.preprocessing.resample) == (64, "bilinear")
    assert found.preprocessing.mean == (0.1, 0.2, 0.3)
    other = network(output_stride=16)
    other.load_state_dict(state())
    same(found, other, 64)


def test_what_timm_saves_is_read_with_names_of_its_own():
    import timm

    torch.manual_seed(1)
    model = timm.create_model(SMALL, num_classes=3).eval()
    labels = {"label_names": ["x", "y", "z"], "label_descriptions": {"x": "man", "y": "hat, cap", "z": "a_b"}}
    timm.models._hub.save_for_hf(model, "saved", labels, safe_serialization=True)
    found = load_classifier(f"timm:{SMALL}=saved")
    assert (found.tags, found.names) == (("man", "hat", "a b"), {"hat": ("cap",)})
    same(found, model)


def test_weights_by_the_hub_repository_that_timm_names(monkeypatch, workplace):
    asked = []

    def fetch(name, access):
        asked.append((name, access.offline))
        return workplace / "mine"

    monkeypatch.setattr(timm_source, "fetch", fetch)
    folder({"architecture": SMALL, "num_classes": 1000, "pretrained_cfg": {}})
    same(load_classifier(f"timm:{SMALL}"), network())
    assert asked == [("timm/test_resnet.r160_in1k", False)]
    (workplace / "mine" / "model.safetensors").unlink()
    refused(f"timm:{SMALL}", facts("has no model.safetensors", "never read", f"timm:{SMALL}=FILE"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm:resnet5=w", facts("timm has no model 'resnet5'", "did you mean 'timm:resnet")),
        ("timm:", facts("timm has no model ''", "timm.list_models")),
        ("timm:resnet50.zz=w", facts("timm has no weights 'zz' of 'resnet50'", "expected one of .*a1_in1k")),
        (f"timm:{SMALL}=none", facts("weights file 'none' cannot be read", "expected a state dict")),
        ("timm:vit_small_patch16_224.dino=w", facts("it has no classifier", "trained on ImageNet", "label_names")),
        ("timm:vit_base_patch16_clip_224.openai=w", facts("its 512 outputs have no names", "clip:NAME")),
        ("timm:vit_base_patch16_siglip_224=w", facts("no classifier|no names")),
    ],
)
def test_models_that_are_refused(source, message):
    refused(source, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc.weight": torch.zeros(7, 512), "fc.bias": torch.zeros(7)}, facts("7 outputs", "expected the 1000")),
        ({"conv9.weight": torch.zeros(1)}, facts(f"is not of timm:{SMALL}", "Unexpected key")),
        ({"fc.bias": torch.full((1000,), float("nan"))}, "holds NaN or infinity"),
    ],
)
def test_weights_that_are_refused(changes, message):
    save_file(state(**changes), "w.safetensors")
    refused(f"timm:{SMALL}=w.safetensors", message)


def test_weights_that_lack_a_layer_are_never_filled_with_random_ones():
    weights = state()
    del weights["layer1.0.conv1.weight"]
    save_file(weights, "w.safetensors")
    refused(f"timm:{SMALL}=w.safetensors", facts(f"is not of timm:{SMALL}", "Missing key"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "cannot be read"),
        ("[]", facts("is not timm's", "architecture")),
        ({"architecture": 3}, "is not timm's"),
        ({"architecture": SMALL, "model_args": 3}, "is not timm's"),
        ({"architecture": "resnet18"}, facts("is of 'resnet18'", f"expected one of '{SMALL}'")),
        ({"architecture": SMALL, "label_names": ["a", "b"]}, facts("label_names are 2", "1,000 outputs")),
        ({"architecture": SMALL, "model_args": {"wings": 2}}, "is not of timm"),
        ({"architecture": SMALL, "pretrained_cfg": {"input_size": [3, 32, 64]}}, "expected 3 x S x S"),
    ],
)
def test_folders_that_are_refused(config, message):
    refused(folder(config), message)


def test_without_timm_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    refused(f"timm:{SMALL}", facts("needs timm", r"pip install 'grounding\[timm\]'"))
