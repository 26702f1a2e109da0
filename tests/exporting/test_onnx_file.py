"""Tiny networks as ONNX files, run by onnxruntime."""

import json
import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from torch import nn

from grounding.config import MapConfig
from grounding.errors import GroundingError
from grounding.exporting import onnx_file
from grounding.exporting.classifier import PlainClassifier
from grounding.exporting.conversion import OPSET, convert, relative_difference
from grounding.exporting.graphs import classifier_graph
from grounding.exporting.onnx_file import write_onnx
from grounding.methods import contrastive_mwp, encode
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import POOLINGS, plain_network
from helpers.errors import facts
from helpers.networks import soften
from helpers.rounding import assert_rounded

LAYERS = [(6, 2), (8, 2), (10, 2), (9, 1)]
TAGS = ("man", "hat", "dog", "café", "red")


def tiny(pooling="log-sum-exp", layers=LAYERS):
    torch.manual_seed(0)
    network = soften(plain_network(layers, len(TAGS), pooling, normalised=False))
    preprocessing = Preprocessing(32, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    return TagClassifier(network, TAGS, preprocessing, "tiny", map_layer=4)


@pytest.fixture(scope="module")
def localizer_file(tmp_path_factory):
    return write_onnx(tiny(), "localizer", tmp_path_factory.mktemp("localizer") / "tiny.onnx")


@pytest.fixture(scope="module")
def classifier_file(tmp_path_factory):
    return write_onnx(tiny(), "classifier", tmp_path_factory.mktemp("classifier") / "tiny.onnx")


def run(path, *inputs):
    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    return session.run(None, {name: each.numpy() for name, each in zip(names, inputs, strict=True)})


@pytest.mark.parametrize(("pictures", "words"), [(1, 1), (1, 4), (3, 2)])
def test_the_localizer_gives_the_engines_maps(localizer_file, pictures, words):
    pixels, signals = torch.rand(pictures, 3, 32, 32), torch.rand(pictures, words, len(TAGS))
    probabilities, maps = run(localizer_file.path, pixels, signals)
    assert maps.shape == (pictures, words, 8, 8)
    assert maps.dtype == probabilities.dtype == np.float32
    for picture, rows, row, of_picture in zip(pixels, signals, probabilities, maps, strict=True):
        encoding = encode(tiny(), tiny().preprocessing.normalise(picture[None]))
        expected = contrastive_mwp(encoding, rows, MapConfig())
        assert expected.max() > 0
        assert_rounded(of_picture, expected)
        assert_rounded(row, encoding.probabilities)


@pytest.mark.parametrize("sides", [(32, 32), (48, 31), (7, 90)])
def test_the_classifier_takes_any_size(classifier_file, sides):
    pixels, classifier = torch.rand(3, 3, *sides), tiny()
    logits = classifier.evidence(classifier.preprocessing.normalise(pixels))[1]
    assert_rounded(run(classifier_file.path, pixels)[0], classifier.probabilities(logits))
    assert classifier_file.inputs == {"pixels": ("pictures", 3, "height", "width")}


def test_a_network_whose_places_are_counted_keeps_its_size(tmp_path):
    found = write_onnx(tiny("top-k", LAYERS[:1]), "classifier", tmp_path / "tiny.onnx")
    assert found.inputs == {"pixels": ("pictures", 3, 32, 32)}
    assert found.difference < 1e-5
    assert "32 x 32" in json.loads((tmp_path / "tiny.onnx.json").read_text(encoding="utf-8"))["inputs"]["pixels"]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_plain_classifier_pools_as_the_network(pooling):
    classifier, pixels = tiny(pooling), torch.rand(2, 3, 40, 24)
    logits = classifier.network(classifier.preprocessing.normalise(pixels))
    assert_rounded(PlainClassifier(classifier)(pixels), logits.sigmoid())
    single = replace(classifier, multi_label=False)
    assert_rounded(PlainClassifier(single)(pixels), logits.softmax(1))


def test_a_classifier_that_is_no_tag_network():
    network = soften(torchvision.models.squeezenet1_1(weights=None, num_classes=len(TAGS)))
    classifier = TagClassifier(network, TAGS, Preprocessing(32), "squeezenet", multi_label=False)
    pixels = torch.rand(2, 3, 32, 32)
    assert_rounded(PlainClassifier(classifier)(pixels), network(pixels).softmax(1))


def test_the_description_is_in_the_file_and_beside_it(localizer_file):
    path = localizer_file.path
    model = onnx.load(path)
    beside = json.loads(path.with_name("tiny.onnx.json").read_text(encoding="utf-8"))
    inside = {each.key: each.value for each in model.metadata_props}
    assert inside.keys() == beside.keys()
    assert {
        key: value if isinstance(beside[key], str) else json.loads(value) for key, value in inside.items()
    } == beside
    wanted = {
        "what": "localizer",
        "classifier": "tiny",
        "image_size_px": 32,
        "mean": [0.1, 0.2, 0.3],
        "tags": list(TAGS),
    }
    assert wanted.items() <= beside.items()
    assert beside["fingerprint"] == tiny().fingerprint()
    assert list(beside["inputs"]) == [each.name for each in model.graph.input] == ["pixels", "signals"]
    assert list(beside["outputs"]) == [each.name for each in model.graph.output] == ["probabilities", "maps"]


def test_the_file_is_whole_and_tells_nothing_of_this_machine(localizer_file):
    path = localizer_file.path
    assert sorted(each.name for each in path.parent.iterdir()) == ["tiny.onnx", "tiny.onnx.json"]
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == OPSET
    assert localizer_file.size_bytes == path.stat().st_size
    assert b"site-packages" not in path.read_bytes()
    assert b".py" not in path.read_bytes()
    assert (localizer_file.runtime, localizer_file.difference < 1e-5) == (onnxruntime.__version__, True)
    shared = [
        [side.dim_param or side.dim_value for side in each.type.tensor_type.shape.dim] for each in model.graph.input
    ]
    assert shared == [["pictures", 3, 32, 32], ["pictures", "words", len(TAGS)]]


@pytest.mark.parametrize("factor", [1.01, math.nan])
def test_what_computes_something_else_at_other_sizes_is_found(factor, monkeypatch):
    module = PlainClassifier(tiny())
    program = SimpleNamespace(module=lambda: lambda pixels: module(pixels) * factor)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: SimpleNamespace(exported_program=program))
    with pytest.raises(GroundingError, match=facts("pictures and height and width free", "differs by (1%|nan)")):
        convert(classifier_graph(tiny(), any_size=True))


def test_nothing_is_written_where_the_runtime_computes_something_else(tmp_path, monkeypatch):
    class Wrong:
        def __init__(self, path, providers):
            assert path.read_bytes()

        def run(self, names, inputs):
            return [np.full((1, len(TAGS)), np.nan, np.float32)]

    monkeypatch.setattr(onnx_file, "convert", lambda graph: onnx.ModelProto(ir_version=10))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    path = tmp_path / "tiny.onnx"
    path.write_text("older")
    with pytest.raises(GroundingError, match="differs from PyTorch"):
        write_onnx(tiny(), "classifier", path)
    assert [each.name for each in tmp_path.iterdir()] == ["tiny.onnx"]
    assert path.read_text() == "older"


def test_without_onnxruntime_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "convert", lambda graph: onnx.ModelProto(ir_version=10))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = write_onnx(tiny(), "classifier", tmp_path / "tiny.onnx")
    assert (found.runtime, found.difference) == (None, None)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(missing, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(GroundingError, match=facts(f"needs {missing}:", r"pip install 'grounding\[export\]'")):
        write_onnx(tiny(), "localizer", tmp_path / "tiny.onnx")


def test_a_network_that_no_file_holds_is_refused(tmp_path):
    network = tiny().network
    network.head.weight = nn.Parameter(torch.ones(1).expand(700_000_000))
    with pytest.raises(GroundingError, match=facts(r"2\.8 GB", "2 GB")):
        write_onnx(replace(tiny(), network=network), "classifier", tmp_path / "tiny.onnx")


def test_differences_are_relative_to_each_output():
    small, large = torch.tensor([1e-3]), torch.tensor([100.0])
    assert relative_difference([small * 1.5, large], [small, large]) == pytest.approx(0.5)
    assert math.isnan(relative_difference([small * math.nan, large], [small, large]))
