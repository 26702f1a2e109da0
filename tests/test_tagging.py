"""Networks, classifier folders and sources."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import TagNetwork, log_mean_exp
from grounding.tagging.sources import load_classifier


def small_network(seed=0):
    torch.manual_seed(seed)
    network = TagNetwork([(8, 2), (12, 2)], tags=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)  # some scales are negative
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


@pytest.fixture
def folder(tmp_path):
    classifier = TagClassifier(
        small_network().folded(), ["man", "hat", "dog"], Preprocessing(32), "small", map_layer=-2
    )
    classifier.save_pretrained(tmp_path / "c")
    return tmp_path / "c"


def test_log_mean_exp_against_its_definition():
    local = torch.randn(2, 3, 4, 5, dtype=torch.float64) * 3
    expected = torch.stack([torch.stack([torch.log(torch.exp(t).mean()) for t in image]) for image in local])
    torch.testing.assert_close(log_mean_exp(local).double(), expected, rtol=1e-5, atol=1e-5)


def test_folding_changes_nothing_but_the_layers():
    network = small_network().eval()
    images = torch.rand(2, 3, 33, 47)
    folded = network.folded()
    torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_the_two_readings_of_a_network():
    network = small_network().folded()
    images = torch.rand(2, 3, 40, 40)
    classifier = TagClassifier(network, ["a", "b", "c"], Preprocessing(40), "small")
    scores, logits = classifier.evidence(images)
    local = network.local_scores(network.features(images))
    torch.testing.assert_close(scores, local.mean((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, network(images))
    assert network.features(images).min() >= 0


def test_preprocessing_squashes_and_normalises():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 10:] = [255, 51, 0]
    pixels = Preprocessing(4, (0.5, 0.0, 0.0), (0.5, 0.1, 1.0))(image)
    assert pixels.shape == (1, 3, 4, 4)
    torch.testing.assert_close(pixels[0, :, 0, 3], torch.tensor([1.0, 2.0, 0.0]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pixels[0, :, 3, 0], torch.tensor([-1.0, 0.0, 0.0]))


def test_save_and_load(folder):
    classifier = load_classifier(folder)
    assert classifier.tags == ("man", "hat", "dog")
    assert classifier.preprocessing.image_size_px == 32
    assert classifier.map_layer == -2
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(classifier.network(images), small_network().folded()(images), rtol=0.05, atol=0.05)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert not classifier.network.training


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in (config | changes).items() if v is not None}))


def poison(folder):
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"][1] = float("nan")
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "lacks schema_version"),
        (lambda f: change_config(f, tags=None), "lacks tags"),
        (lambda f: change_config(f, schema_version=2), "of schema 2"),
        (lambda f: change_config(f, tags=["man"]), "do not fit"),
        (lambda f: change_config(f, layers=[[8, 2]]), "do not fit"),
        (lambda f: change_config(f, layers="deep"), "'layers' is not"),
        (lambda f: change_config(f, layers=[[8, 0], [12, 2]]), "'layers' is not"),
        (lambda f: change_config(f, map_layer="deep"), "'map_layer' is not"),
        (lambda f: change_config(f, image_size_px=0), "'image_size_px' is not"),
        (lambda f: change_config(f, tags=[1, 2, 3]), "'tags' is not"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x01" * 99), "are corrupt"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]), "are corrupt"),
        (poison, "'head.bias' holds NaN"),
    ],
)
def test_harmed_folders(folder, harm, message):
    harm(folder)
    with pytest.raises(GroundingError, match=message) as caught:
        load_classifier(folder)
    assert "\n" not in str(caught.value)


def test_only_the_embedded_architecture_is_saved(tmp_path):
    with pytest.raises(GroundingError, match="Linear cannot be saved"):
        TagClassifier(nn.Linear(2, 2), ["a", "b"], Preprocessing(2), "x").save_pretrained(tmp_path)


def test_torchvision_weights_come_from_its_cache_or_are_missed_aloud(tmp_path, monkeypatch):
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    file = cache / SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    file.write_bytes(b"no weights")
    with pytest.raises(GroundingError, match="squeezenet1_1"):
        load_classifier("torchvision:squeezenet1_1")
    torch.manual_seed(0)
    network = squeezenet1_1().eval()
    torch.save(network.state_dict(), file)
    classifier = load_classifier("torchvision:squeezenet1_1")
    images = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(classifier.network(images), network(images))
    assert classifier.tags[:2] == ("tench", "goldfish")
    assert not classifier.multi_label
    found = Localizer(classifier).encode(sample_scene()).ground("a dog with toilet tissue and a cardigan")
    assert [phrase.status for phrase in found] == ["localized"] * 3  # the last of 1,000 tags, and one that stands twice


def test_the_embedded_classifier_sees_what_the_sample_scene_shows():
    classifier = load_classifier()
    assert classifier.name == "embedded"
    assert len(classifier.tags) == len(set(classifier.tags)) == 1000
    with torch.no_grad():
        _, logits = classifier.evidence(classifier.preprocessing(sample_scene()))
    probabilities = classifier.probabilities(logits)[0]
    best = {classifier.tags[index] for index in probabilities.topk(10).indices}
    assert {"man", "hat", "red"} <= best
    assert 0 <= probabilities.min() < probabilities.max() <= 1


def test_the_fingerprint_follows_weights_and_tags(folder):
    first = load_classifier(folder).fingerprint()
    assert load_classifier(folder).fingerprint() == first
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"][1] += 1
    save_file(weights, folder / "model.safetensors")
    assert load_classifier(folder).fingerprint() != first
