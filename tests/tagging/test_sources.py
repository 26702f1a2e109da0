"""Classifiers of torchvision: from its cache, by download, from a local file. Nothing here reaches the internet."""

import argparse
import gc
import hashlib
import json
import pickle
import re
import socket
import warnings
from functools import cache
from http.client import IncompleteRead
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.tagging.sources import load_classifier
from helpers.rounding import assert_rounded

SMALL = "squeezenet1_1"
URL = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
EXPECTED = "expected a state dict: a .safetensors file, or what"
LAST = "classifier.1.bias"


@cache
def network(name=SMALL, **options):
    """With random weights; shared by the tests, so they must not change it."""
    torch.manual_seed(0)
    return models.get_model(name, weights=None, **options).eval()


def weights(**changes):
    return dict(network().state_dict()) | changes


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch):
    """torchvision's empty cache, in a folder that does not exist yet, without internet."""

    def refuse(*_, **__):
        raise socket.gaierror(-3, "no internet in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("TORCH_HUB", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "hub" / "checkpoints"


def same(classifier, expected):
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert_rounded(classifier.network(images), expected(images))


def refused(source, *parts):
    """The one line of the error that a source leads to, with each of these in it."""
    with pytest.raises(GroundingError) as caught:
        load_classifier(source)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def test_weights_from_the_cache(checkpoints):
    checkpoints.mkdir(parents=True)
    torch.save(network().state_dict(), checkpoints / "squeezenet1_1-b8a52dc0.pth")
    classifier = load_classifier(f"torchvision:{SMALL}")
    same(classifier, network())
    assert classifier.name == "torchvision:squeezenet1_1"
    assert len(classifier.tags) == 1000
    assert classifier.tags[:2] == ("tench", "goldfish")
    assert not classifier.multi_label
    assert classifier.preprocessing.image_size_px == 224
    assert classifier.preprocessing.mean == (0.485, 0.456, 0.406)
    assert classifier.preprocessing.std == (0.229, 0.224, 0.225)
    assert not any(module.training for module in classifier.network.modules())
    found = Localizer(classifier).encode(sample_scene()).ground("a dog with toilet tissue and a cardigan")
    assert [phrase.status for phrase in found] == ["localized"] * 3  # the last of 1,000 tags, and one that stands twice


def test_weights_that_cannot_be_downloaded(checkpoints, monkeypatch):
    place = f"weights of torchvision:squeezenet1_1 are not at {checkpoints}/squeezenet1_1-b8a52dc0.pth"
    how = "name a local file with torchvision:squeezenet1_1=FILE"
    refused(f"torchvision:{SMALL}", place, f"cannot be downloaded from {URL}", "no internet in tests", how)
    assert list(checkpoints.iterdir()) == []

    def break_off(_):
        raise IncompleteRead(b"")

    monkeypatch.setattr("torch.hub.urlopen", break_off)
    refused(f"torchvision:{SMALL}", place, "IncompleteRead", how)
    assert list(checkpoints.iterdir()) == []
    (checkpoints.parents[1] / "file").write_text("no folder")
    monkeypatch.setenv("TORCH_HOME", str(checkpoints.parents[1] / "file"))
    refused(f"torchvision:{SMALL}", "home/file/hub/checkpoints/squeezenet1_1", "Not a directory", how)


@pytest.mark.parametrize("correct", [True, False])
def test_weights_by_download(checkpoints, tmp_path, monkeypatch, capsys, correct):
    file = tmp_path / "weights"
    torch.save(network().state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file = file.rename(tmp_path / f"weights-{digest[:8] if correct else '0' * 8}.pth")
    monkeypatch.setattr(models.SqueezeNet1_1_Weights.DEFAULT.value, "url", file.as_uri())
    if correct:
        same(load_classifier(f"torchvision:{SMALL}"), network())
        assert [path.name for path in checkpoints.iterdir()] == [file.name]
    else:
        refused(f"torchvision:{SMALL}", "invalid hash value", digest)
        assert list(checkpoints.iterdir()) == []
    assert capsys.readouterr().out == ""  # where the command line prints JSON and nothing else
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # PyTorch 2.7 does not close what it has downloaded
        gc.collect()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("w.pth", lambda file: torch.save(network().state_dict(), file)),
        ("w.pt", lambda file: torch.save(weights(), file, _use_new_zipfile_serialization=False)),
        ("w.safetensors", lambda file: save_file(weights(), file)),
        ("W.SAFETENSORS", lambda file: save_file(weights(), file)),
        ("w.pth.tar", lambda file: torch.save({"epoch": 3, "best": torch.ones(1), "state_dict": weights()}, file)),
        ("w.pth", lambda file: torch.save({"model": weights(), "model_ema": {}}, file)),
        ("w.pth", lambda file: torch.save({"state_dict": nn.DataParallel(network()).state_dict()}, file)),
        ("a=b.pth", lambda file: torch.save(weights(), file)),
    ],
)
def test_weights_of_a_local_file(checkpoints, name, write):
    write(name)
    classifier = load_classifier(f"torchvision:{SMALL}={name}")
    same(classifier, network())
    assert classifier.name == f"torchvision:squeezenet1_1={name}"
    assert not checkpoints.parents[1].exists()


def test_weights_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    torch.save(weights(), tmp_path / "me" / "w.pth")
    same(load_classifier(f"torchvision:{SMALL}=~/w.pth"), network())


def test_weights_in_half_precision_become_float32():
    torch.save({key: value.half() for key, value in weights().items()}, "w.pth")
    loaded = load_classifier(f"torchvision:{SMALL}=w.pth").network.state_dict()
    assert all(torch.equal(loaded[key], value.half().float()) for key, value in weights().items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(name):
    """torchvision's files have them, and the networks that they are for shift their input."""
    whole = network(name, aux_logits=True, init_weights=False, transform_input=True)
    torch.save(whole.state_dict(), "w.pth")
    classifier = load_classifier(f"torchvision:{name}=w.pth")
    same(classifier, whole)
    kept = classifier.network.state_dict()
    heads = {key.partition(".")[0] for key in set(whole.state_dict()) - set(kept)}
    assert heads == ({"aux1", "aux2"} if name == "googlenet" else {"AuxLogits"})
    torch.save(kept, "w.pth")
    same(load_classifier(f"torchvision:{name}=w.pth"), whole)


def test_the_names_of_old_densenets():
    """torchvision's files are from before module names could not have dots, and from before batches were counted."""
    state = network("densenet121").state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", key): value for key, value in state.items()}
    old = {key: value for key, value in old.items() if "num_batches_tracked" not in key}
    assert "features.denseblock1.denselayer2.norm.1.running_mean" in old
    torch.save(old, "w.pth")
    same(load_classifier("torchvision:densenet121=w.pth"), network("densenet121"))


def test_a_file_that_does_not_say_its_version():
    save_file(network("mnasnet0_5").state_dict(), "w.safetensors")
    same(load_classifier("torchvision:mnasnet0_5=w.safetensors"), network("mnasnet0_5"))


@pytest.mark.parametrize(
    ("name", "options"), [("vit_h_14", {"image_size": 518}), ("vit_b_16", {"image_size": 224}), ("resnet50", {})]
)
def test_a_network_is_built_for_the_size_of_its_weights(monkeypatch, name, options):
    def build(name, **options):
        raise GroundingError(f"{name} {options}")

    save_file({}, "w.safetensors")
    monkeypatch.setattr(models, "get_model", build)
    refused(f"torchvision:{name}=w.safetensors", f"{name} { {'weights': None, **options} }")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: None, "cannot be read (No such file or directory)"),
        (lambda file: file.mkdir(), "cannot be read (Is a directory)"),
        (lambda file: file.write_bytes(b""), "is damaged or of another kind"),
        (lambda file: file.write_text("<html>no weights</html>"), "is damaged or of another kind"),
        (lambda file: file.write_bytes(pickle.dumps(weights())[:-9]), "is damaged or of another kind"),
        (lambda file: torch.save(network(), file), "holds a Python object (torchvision.models.squeezenet.SqueezeNet)"),
        (lambda file: torch.save({"model": weights(), "args": argparse.Namespace()}, file), "(argparse.Namespace)"),
        (lambda file: torch.save([weights()], file), "holds a list"),
        (lambda file: torch.save({"model": SMALL, "net": weights()}, file), "holds 'model', 'net'"),
        (lambda file: torch.save({"epoch": 3, **weights()}, file), "holds 'epoch', 'features.0.weight', "),
        (lambda file: torch.save({1: torch.zeros(1)}, file), "holds a dict"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_without_a_state_dict(tmp_path, suffix, write, message):
    file = tmp_path / f"w{suffix}"
    write(file)
    if suffix == ".safetensors" and file.is_file():
        message = "is damaged or of another kind"
    refused(f"torchvision:{SMALL}={file}", f"weights file '{file}'", message, EXPECTED)


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_was_cut_off(tmp_path, suffix, keep):
    file = tmp_path / f"w{suffix}"
    (torch.save if suffix == ".pth" else save_file)(weights(), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    refused(f"torchvision:{SMALL}={file}", f"weights file '{file}' is damaged or of another kind", EXPECTED)


class Harm:
    def __reduce__(self):
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("save", [torch.save, lambda value, file: Path(file).write_bytes(pickle.dumps(value))])
def test_nothing_is_unpickled_freely(checkpoints, tmp_path, save, local):
    pickle.loads(pickle.dumps(Harm()))
    (tmp_path / "harm").unlink()  # it works
    checkpoints.mkdir(parents=True)
    file = checkpoints / "squeezenet1_1-b8a52dc0.pth"
    save({**weights(), "harm": Harm()}, file)
    refused(f"torchvision:{SMALL}={file}" if local else f"torchvision:{SMALL}", f"weights file '{file}'", EXPECTED)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, 'Missing key(s) in state_dict: "features.0.weight"'),
        ({"fc.weight": torch.zeros(1)}, 'Unexpected key(s) in state_dict: "fc.weight"'),
        ({"aux1.conv": torch.zeros(1)}, 'Unexpected key(s) in state_dict: "aux1.conv"'),
        ({"features.0.bias": torch.zeros(3)}, "size mismatch for features.0.bias"),
        ({LAST: torch.tensor(0.0)}, f"size mismatch for {LAST}"),
    ],
)
def test_weights_of_another_model(state, message):
    torch.save(weights(**state) if state else {}, "w.pth")
    refused(f"torchvision:{SMALL}=w.pth", "weights file 'w.pth' is not of torchvision:squeezenet1_1", message)


def test_a_classifier_of_other_things_than_imagenet():
    torch.save(models.squeezenet1_1(num_classes=37).state_dict(), "w.pth")
    message = "weights file 'w.pth' has 37 outputs: expected the 1000 of torchvision:squeezenet1_1"
    refused(f"torchvision:{SMALL}=w.pth", message, "a TagClassifier takes any network")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value):
    bias = torch.zeros(1000)
    bias[7] = value
    torch.save(weights(**{LAST: bias}), "w.pth")
    refused(f"torchvision:{SMALL}=w.pth", f"weights file 'w.pth': '{LAST}' holds NaN or infinity")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "torchvision:squeezenet11=w.pth",
            "torchvision has no classifier 'squeezenet11': did you mean 'torchvision:sq",
        ),
        ("torchvision:=w.pth", "torchvision has no classifier '': known: alexnet, "),
        ("w.pth", "unknown classifier source 'w.pth' (and no such folder): expected embedded, a folder"),
        ("w.pth", "torchvision:NAME[=FILE], timm:NAME[=FILE]"),
        ("", "no classifier was named: expected embedded, a folder"),
        ("torchvison:resnet50", "did you mean 'torchvision:resnet50'?"),
    ],
)
def test_unknown_sources(source, message):
    torch.save(weights(), "w.pth")
    refused(source, message)


def test_the_command_line_takes_a_local_file(run):
    torch.save(weights(), "w.pth")
    source = f"torchvision:{SMALL}=w.pth"
    status, printed, _ = run("--classifier", source, "--caption", "a dog", "--json")
    assert status == 0
    assert json.loads(printed)["classifier"] == source
    assert json.loads(printed)["phrases"][0]["status"] == "localized"
    status, printed, said = run("--classifier", f"torchvision:{SMALL}=v.pth", "--caption", "a dog")
    assert (status, printed) == (2, "")
    assert said.startswith("error: weights file 'v.pth' cannot be read (No such file or directory)")
