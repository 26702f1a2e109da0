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

from grounding.errors import GroundingError
from grounding.exporting import onnx_file
from grounding.exporting.classifier import PlainClassifier
from grounding.exporting.conversion import convert, relative_difference
from grounding.exporting.graphs import classifier_graph
from grounding.exporting.onnx_file import write_onnx
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
def classifier_file(tmp_path_factory):
    return write_onnx(tiny(), "classifier", tmp_path_factory.mktemp("classifier") / "tiny.onnx")


def run(path, *inputs):
    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    return session.run(None, {name: each.numpy() for name, each in zip(names, inputs, strict=True)})


@pytest.mark.parametrize("sides", [(32, 32), (48, 31), (7, 90)])
def test_the_classifier_takes_any_size(classifier_file, sides):
    pixels, classifier = torch.rand(3, 3, *sides), tiny()
    logits = classifier.evidence(classifier.preprocessing.normalise(pixels))[1]
    assert_rounded(run(classifier_file.path, pixels)[0], classifier.probabilities(logits))
    assert classifier_file.inputs == {"pixels": ("pictures", 3, "height", "width")}


def test_a_network_that_cannot_have_any_size_keeps_its_own(tmp_path, monkeypatch):
    tried = []

    def convert_fixed(graph):
        tried.append(graph.free())
        if "height" in graph.free():
            raise GroundingError("it counts places")
        return onnx.ModelProto(ir_version=10)

    monkeypatch.setattr(onnx_file, "convert", convert_fixed)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = write_onnx(tiny(), "classifier", tmp_path / "tiny.onnx")
    assert tried == [["pictures", "height", "width"], ["pictures"]]
    assert found.inputs == {"pixels": ("pictures", 3, 32, 32)}
    assert "32, 32" in json.loads((tmp_path / "tiny.onnx.json").read_text(encoding="utf-8"))["inputs"]["pixels"]


def test_a_network_that_counts_places_cannot_have_any_size():
    with pytest.raises(GroundingError, match="cannot be exported with pictures and height and width free"):
        convert(classifier_graph(tiny("top-k", LAYERS[:1]), any_size=True))


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
