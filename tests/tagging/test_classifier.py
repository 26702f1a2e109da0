"""Networks, classifier folders and sources."""

import copy
import hashlib
import json
import math
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.gala import GalaSettings, gala_parameters
from grounding.tagging.network import POOLINGS, TagNetwork, attention_mean, plain_network, timm_network
from grounding.tagging.sources import load_classifier
from helpers.errors import facts
from helpers.rounding import assert_rounded

TINY_VIT = {"img_size": 32, "embed_dim": 24, "depth": 1, "num_heads": 2, "dynamic_img_size": True}
TINY_SWIN = {"img_size": 64, "window_size": 2, "embed_dim": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]}


def small_network(seed=0, pooling="log-sum-exp"):
    torch.manual_seed(seed)
    network = plain_network([(8, 2), (12, 2)], tags=3, pooling=pooling)
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


def pool_one(pooling, scores, attention):
    """The definition, for the list of one tag's scores at every place."""
    if pooling == "log-sum-exp":
        return math.log(sum(math.exp(score) for score in scores) / len(scores))
    if pooling == "average":
        return sum(scores) / len(scores)
    if pooling == "top-k":
        best = sorted(scores, reverse=True)[: max(1, round(0.1 * len(scores)))]
        return sum(best) / len(best)
    weights = [math.exp(value) for value in attention]
    return sum(weight * score for weight, score in zip(weights, scores, strict=True)) / sum(weights)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 5), (5, 5), (6, 10)])  # k is 1, 1, 2, 2 and 6
def test_poolings_against_their_definitions(pooling, height, width):
    network = small_network(pooling=pooling).double().requires_grad_(False)
    if network.attention is not None:
        nn.init.normal_(network.attention.weight)
    features = torch.randn(2, 12, height, width, dtype=torch.float64)
    local = network.local_scores(features) * 3
    pooled = network.pool(local, features)
    assert pooled.dtype == torch.float64
    for image in range(2):
        for tag in range(3):
            scores = local[image, tag].flatten().tolist()
            attention = [0.0] * len(scores)
            if network.attention is not None:
                attention = (features[image].flatten(1).T @ network.attention.weight[tag]).tolist()
            assert float(pooled[image, tag]) == pytest.approx(pool_one(pooling, scores, attention), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_of_poolings(pooling):
    network = small_network(pooling=pooling).double()
    local = torch.randn(2, 3, 3, 5, dtype=torch.float64, requires_grad=True)
    attention = torch.randn(2, 3, 3, 5, dtype=torch.float64, requires_grad=True)
    if pooling == "attention":
        assert torch.autograd.gradcheck(attention_mean, (local, attention))
    else:
        assert torch.autograd.gradcheck(lambda scores: network.pool(scores, None), (local,))


def test_attention_begins_as_the_average_and_learns():
    network, images = small_network(pooling="attention"), torch.rand(4, 3, 33, 47)
    average = small_network(pooling="average")
    average.load_state_dict({k: v for k, v in network.state_dict().items() if k != "attention.weight"})
    torch.testing.assert_close(network(images), average(images))
    network(images).sum().backward()
    assert network.attention.weight.grad.abs().sum() > 0


def test_poolings_of_half_precision_are_float32():
    local = torch.full((1, 3, 30, 30), 7.0, dtype=torch.bfloat16)
    for pooling in POOLINGS:
        pooled = small_network(pooling=pooling).bfloat16().pool(local, torch.ones(1, 12, 30, 30, dtype=torch.bfloat16))
        assert pooled.dtype == torch.float32
        torch.testing.assert_close(pooled, torch.full((1, 3), 7.0), rtol=1e-5, atol=1e-5)


def test_an_unknown_pooling():
    with pytest.raises(GroundingError, match=facts("pooling", "'median'", "expected one of log-sum-exp, average")):
        plain_network([(8, 2)], tags=3, pooling="median")


def test_folding_changes_nothing_but_the_layers():
    network = small_network().eval()
    images = torch.rand(2, 3, 33, 47)
    folded = network.folded()
    torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(folded.folded()(images), folded(images))
    training = small_network()
    training.folded()
    assert all(module.training for module in training.modules())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_two_readings_of_a_network(pooling):
    network = small_network(pooling=pooling).folded()
    if network.attention is not None:
        nn.init.normal_(network.attention.weight)
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
    weights = load_file(folder / "model.safetensors")
    assert sorted(weights) == [
        "features.conv1.bias",
        "features.conv1.weight",
        "features.conv2.bias",
        "features.conv2.weight",
        "head.bias",
        "head.weight",
    ]
    assert {value.dtype for value in weights.values()} == {torch.bfloat16}


def test_saving_again_replaces_ours_and_nothing_else(folder):
    first = replace(load_classifier(folder), tags=("a", "b", "c"))
    first.save_pretrained(folder)
    assert load_classifier(folder).tags == ("a", "b", "c")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(GroundingError, match=r"holds other things, such as notes\.txt"):
        first.save_pretrained(folder)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_pooling_is_saved_too(tmp_path, pooling):
    network = small_network(pooling=pooling).folded().bfloat16().float()
    if network.attention is not None:
        nn.init.constant_(network.attention.weight, 0.5)
    saved = TagClassifier(network, ["a", "b", "c"], Preprocessing(32, (0.5, 0.25, 0.0), (1.0, 2.0, 0.5)), "small")
    saved.save_pretrained(tmp_path)
    loaded, images = load_classifier(tmp_path), torch.rand(2, 3, 32, 32)
    assert loaded.network.pooling == pooling
    assert loaded.preprocessing == saved.preprocessing
    assert (loaded.network.mean, loaded.network.std) == (saved.preprocessing.mean, saved.preprocessing.std)
    assert_rounded(loaded.network(images), network(images))
    assert loaded.fingerprint() == saved.fingerprint()


def test_a_folder_from_before_there_were_poolings(folder):
    """It loads, and has the fingerprint that it always had: runs that were started with it can be continued."""
    change_config(folder, pooling=None, mean=None, std=None)
    assert len(json.loads((folder / "config.json").read_text())) == 6
    classifier = load_classifier(folder)
    preprocessing = "Preprocessing(image_size_px=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))"
    digest = hashlib.sha256(f"(('man', 'hat', 'dog'), {preprocessing}, -2)".encode())
    for name, value in classifier.network.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    assert classifier.fingerprint() == digest.hexdigest()


def test_a_plain_network_is_folded_before_it_is_saved(tmp_path):
    classifier = TagClassifier(small_network(), ["a", "b", "c"], Preprocessing(32), "small")
    with pytest.raises(GroundingError, match=r"save network.folded\(\)"):
        classifier.save_pretrained(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in (config | changes).items() if v is not None}))


def attention(**changes):
    """What `config.json` says of GALA."""
    return {"layers": ["relu1"], "reduction": 4, "squash": "tanh", "apply_to": "input"} | changes


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
        (
            lambda f: change_config(f, architecture="resnet18"),
            "is a resnet18 of schema 1: expected TagNetwork or timm:",
        ),
        (lambda f: change_config(f, architecture=["timm:"]), "expected TagNetwork or timm:"),
        (lambda f: change_config(f, architecture="timm:resnet18"), "'options' is not"),
        (lambda f: change_config(f, architecture="timm:resnet19", options={}), "did you mean 'timm:resnet18'"),
        (lambda f: change_config(f, architecture="timm:test_resnet", options={}), "do not fit"),
        (lambda f: change_config(f, pooling="median"), "'pooling' is not"),
        (lambda f: change_config(f, pooling=["average"]), "'pooling' is not"),
        (lambda f: change_config(f, pooling="attention"), "do not fit"),
        (lambda f: change_config(f, gala="deep"), "'gala' is not"),
        (lambda f: change_config(f, gala={}), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(colour="red")), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(layers=[])), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(layers="relu1")), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(layers=["relu1", 1])), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(reduction=0)), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(reduction=True)), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(squash="relu")), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(apply_to="both")), "'gala' is not"),
        (lambda f: change_config(f, gala=attention(layers=["relu3"])), "has no module 'relu3': did you mean"),
        (lambda f: change_config(f, gala=attention()), "do not fit"),
        (lambda f: change_config(f, mean=[0, 0]), "'mean' is not"),
        (lambda f: change_config(f, mean=[0, float("nan"), 0]), "'mean' is not"),
        (lambda f: change_config(f, std=[1, 0, 1]), "'std' is not"),
        (lambda f: change_config(f, std="one"), "'std' is not"),
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


def test_the_fingerprint_follows_the_pooling(tmp_path):
    prints = set()
    for pooling in ("log-sum-exp", "average", "top-k"):
        network = small_network(pooling=pooling).folded()
        prints.add(TagClassifier(network, ["a", "b", "c"], Preprocessing(32), "small").fingerprint())
    assert len(prints) == 3


def test_the_fingerprint_follows_the_attention():
    prints = set()
    for settings in ({}, {"squash": "sigmoid"}, {"apply_to": "output"}):
        network = small_network().folded()
        network.insert_gala(GalaSettings(("relu1",), **settings))
        for parameter in gala_parameters(network):
            nn.init.zeros_(parameter)
        prints.add(TagClassifier(network, ["a", "b", "c"], Preprocessing(32), "small").fingerprint())
    assert len(prints) == 3


def test_a_folder_says_what_attention_there_is_and_nothing_where_there_is_none(tmp_path, folder):
    keys = ["schema_version", "architecture", "layers", "pooling", "image_size_px", "mean", "std", "map_layer", "tags"]
    assert list(json.loads((folder / "config.json").read_text())) == keys
    network = small_network().folded()
    network.insert_gala(GalaSettings(("relu1",)))
    TagClassifier(network, ["a", "b", "c"], Preprocessing(32), "small").save_pretrained(tmp_path / "attended")
    config = json.loads((tmp_path / "attended" / "config.json").read_text())
    assert list(config) == [*keys[:4], "gala", *keys[4:]]
    assert config["gala"] == attention()


def test_the_fingerprint_follows_weights_and_tags(folder):
    first = load_classifier(folder).fingerprint()
    assert load_classifier(folder).fingerprint() == first
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"][1] += 1
    save_file(weights, folder / "model.safetensors")
    assert load_classifier(folder).fingerprint() != first


def tiny_resnet(**options):
    torch.manual_seed(0)
    network = timm_network("test_resnet", 3, options=options).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            module.num_batches_tracked.fill_(12345)
    return network.bfloat16().float()


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something wanted the internet")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_timm_network_comes_back_from_its_folder(tmp_path, offline):
    network = tiny_resnet(output_stride=16)
    saved = TagClassifier(network, ["man", "hat", "dog"], Preprocessing(64, network.mean, network.std), "tiny")
    saved.save_pretrained(tmp_path / "c")
    loaded, images = load_classifier(tmp_path / "c"), torch.randn(2, 3, 64, 64)
    assert loaded.preprocessing == saved.preprocessing
    assert loaded.network.features.options == {"output_stride": 16}
    assert loaded.network.features(images).shape == (2, network.features.channels, 4, 4)
    assert_rounded(loaded.network(images), network(images))
    assert not loaded.network.training
    assert loaded.fingerprint() == saved.fingerprint()
    assert loaded.network.backbone.layer1[0].bn1.num_batches_tracked == 12345  # counts are not rounded
    coarse = TagClassifier(tiny_resnet(), saved.tags, saved.preprocessing, "tiny")
    assert coarse.fingerprint() != saved.fingerprint()


def test_a_saved_resnet_grounds_phrases(tmp_path):
    torch.manual_seed(0)
    network = timm_network("resnet18", 3).eval()
    assert (network.mean, network.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # timm's, as ImageNet's
    preprocessing = Preprocessing(96, network.mean, network.std)
    TagClassifier(network, ["man", "hat", "dog"], preprocessing, "random").save_pretrained(tmp_path)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    scene = Localizer.from_pretrained(tmp_path).encode(sample_scene())
    result = scene.ground("a man in a red hat with a piano")
    assert [phrase.status for phrase in result] == ["localized", "localized", "out-of-vocabulary"]
    man, hat = result["a man"].phrase_map, result["a red hat"].phrase_map
    assert man.sum() == pytest.approx(1, abs=1e-4)
    assert np.abs(man - hat).sum() > 0.01
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (48, 16)])
def test_tokens_become_a_map(height, width):
    network = timm_network("vit_tiny_patch16_224", 3, options=TINY_VIT).eval()
    images = torch.randn(2, 3, height, width)
    tokens, features = network.backbone.forward_features(images), network.features(images)
    assert tokens.shape[1] == 1 + height * width // 256  # the first stands for no place
    assert features.shape == (2, 24, height // 16, width // 16)
    for row in range(height // 16):
        for column in range(width // 16):
            torch.testing.assert_close(features[:, :, row, column], tokens[:, 1 + row * (width // 16) + column])


def test_channels_last_becomes_a_map():
    network = timm_network("swin_tiny_patch4_window7_224", 3, options=TINY_SWIN).eval()
    images = torch.randn(2, 3, 64, 64)
    features = network.features(images)
    assert features.shape == (2, 96, 2, 2)
    torch.testing.assert_close(features.movedim(1, 3), network.backbone.forward_features(images))


def test_a_size_that_a_timm_network_does_not_take():
    network = timm_network("vit_tiny_patch16_224", 3, options=TINY_VIT | {"dynamic_img_size": False})
    with pytest.raises(GroundingError, match=r"takes no images of 64x48 px: .*dynamic_img_size") as caught:
        network(torch.zeros(1, 3, 48, 64))
    assert "\n" not in str(caught.value)


def test_output_stride_16_is_the_same_function_at_more_places(tmp_path):
    """With `same` padding, cell i at stride 32 is centred on cell 2i + 1 at stride 16."""
    import timm

    torch.manual_seed(0)
    whole = timm.create_model("mobilenetv1_100", pad_type="same")
    save_file({k: v for k, v in whole.state_dict().items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    coarse, fine = (
        timm_network("mobilenetv1_100", 3, "average", {"pad_type": "same", **options}, str(tmp_path / "w.safetensors"))
        for options in ({}, {"output_stride": 16})
    )
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        expected = whole.eval().forward_features(images)
        torch.testing.assert_close(coarse.eval().features(images), expected)
        seen = fine.eval().features(images)
    assert seen.shape == (1, 1024, 8, 8)
    torch.testing.assert_close(seen[:, :, 1::2, 1::2], expected, rtol=1e-4, atol=1e-4)
    assert coarse.mean == coarse.std == (0.5, 0.5, 0.5)


def write_weights(path, **changes):
    import timm

    torch.manual_seed(1)
    weights = timm.create_model("test_resnet").state_dict()
    weights = {key: value for key, value in (weights | changes).items() if value is not None}
    save_file(weights, path)
    return weights


def test_weights_of_a_whole_model_but_its_classifier(tmp_path):
    weights = write_weights(tmp_path / "w.safetensors")
    assert "fc.weight" in weights
    network = timm_network("test_resnet", 3, weights=str(tmp_path / "w.safetensors"))
    kept = network.backbone.state_dict()
    assert set(weights) - set(kept) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, weights[key]) for key, value in kept.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bn1.weight": None}, r"not those of timm:test_resnet.*Missing key.*bn1\.weight"),
        ({"conv9.weight": torch.zeros(1)}, r"Unexpected key.*conv9\.weight"),
        ({"fc2.weight": torch.zeros(1)}, r"Unexpected key.*fc2\.weight"),
        ({"bn1.weight": torch.zeros(1)}, r"size mismatch for bn1\.weight"),
    ],
)
def test_weights_of_another_model(tmp_path, changes, message):
    write_weights(tmp_path / "w.safetensors", **changes)
    with pytest.raises(GroundingError, match=message) as caught:
        timm_network("test_resnet", 3, weights=str(tmp_path / "w.safetensors"))
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_weights(tmp_path):
    with pytest.raises(GroundingError, match="do not exist: expected a safetensors file"):
        timm_network("test_resnet", 3, weights=str(tmp_path / "w.safetensors"))
    (tmp_path / "w.safetensors").write_bytes(b"\x01" * 99)
    with pytest.raises(GroundingError, match="not those of timm:test_resnet"):
        timm_network("test_resnet", 3, weights=str(tmp_path / "w.safetensors"))


def test_pretrained_weights_that_cannot_be_had(tmp_path, offline, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(GroundingError, match=r"timm:test_resnet cannot be made with .*pretrained weights") as caught:
        timm_network("test_resnet", 3, weights="pretrained")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet19", {}, "timm has no model 'resnet19': did you mean 'timm:resnet18'"),
        ("hf-hub:timm/test_resnet", {}, "timm has no model"),
        ("test_resnet.nobody_in1k", {}, "cannot be made with options"),
        ("test_resnet", {"colour": "red"}, "cannot be made with options .*colour"),
        ("deit_tiny_distilled_patch16_224", {}, "cannot be made with options"),
        ("test_resnet", {"num_classes": 5}, "option 'num_classes' of timm:test_resnet is set by this package"),
        ("test_resnet", {"checkpoint_path": "evil.pth"}, "option 'checkpoint_path'"),
        ("test_resnet", {"pretrained": True}, "option 'pretrained'"),
    ],
)
def test_timm_networks_that_do_not_exist(name, options, message):
    with pytest.raises(GroundingError, match=message) as caught:
        timm_network(name, 3, options=options)
    assert "\n" not in str(caught.value)


def test_without_timm(monkeypatch, folder):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(GroundingError, match=r"timm:resnet18 needs timm: .*pip install 'grounding\[train\]'"):
        timm_network("resnet18", 3)
    load_classifier(folder)  # a plain one does not need it


def statistics(network):
    return {key: value.clone() for key, value in network.backbone.state_dict().items() if "running_mean" in key}


@pytest.mark.parametrize(
    ("network", "frozen", "kept"),
    [
        (lambda: tiny_resnet(), ["conv1", "bn1", "layer1.0"], ["conv1.", "bn1.", "layer1.0."]),
        (lambda: small_network(), ["conv1", "norm1"], ["conv1.", "norm1."]),
        (lambda: plain_network([(4, 1)] * 11, 3), ["conv1", "norm1"], ["conv1.", "norm1."]),  # and not conv11
        (lambda: small_network(), ["conv2", "norm1.bias"], ["conv2.", "norm1.bias"]),
        (lambda: small_network(), [], []),
    ],
)
def test_what_is_frozen_stays(network, frozen, kept):
    network = network().train()
    network.freeze(frozen)
    for tried in (network, copy.deepcopy(network).eval().train()):
        before = statistics(tried)
        tried(torch.rand(2, 3, 64, 64)).sum().backward()
        for name, parameter in tried.backbone.named_parameters():
            assert parameter.requires_grad == (not name.startswith(tuple(kept)))
            assert (parameter.grad is not None) == parameter.requires_grad
        for name, value in statistics(tried).items():
            assert torch.equal(value, before[name]) == name.startswith(tuple(kept))
        assert tried.head.weight.requires_grad
        assert tried.training


@pytest.mark.parametrize("name", ["layer9", "layer", "relu1", "", "head"])
def test_frozen_names_that_hold_nothing(name):
    with pytest.raises(GroundingError, match=f"network.frozen: '{name}' holds no parameter: .*conv1, norm1"):
        small_network().freeze([name])


def test_a_timm_network_is_folded_by_a_copy():
    network = tiny_resnet().train()
    folded = network.folded()
    assert network.training
    assert not folded.training
    assert folded.state_dict().keys() == network.state_dict().keys()
    assert isinstance(folded, TagNetwork)
