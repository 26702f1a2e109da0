"""`python -m grounding.export`: the command, bad input, and the example of its page."""

import contextlib
import io
import json
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from grounding.config import MapConfig
from grounding.export import main
from grounding.exporting.conversion import OPSET
from grounding.images import sample_scene
from grounding.methods import contrastive_mwp, encode
from grounding.regions.maps import peak, smooth
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network
from helpers.errors import facts
from helpers.networks import soften
from helpers.paths import ROOT
from helpers.rounding import assert_rounded

TAGS = ("man", "hat", "dog", "café")


@pytest.fixture
def export(in_empty_folder):
    return partial(in_empty_folder, main)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier that knows the words of the page."""
    torch.manual_seed(0)
    network = soften(plain_network([(6, 2), (8, 2), (10, 2), (9, 1)], len(TAGS), normalised=False))
    preprocessing = Preprocessing(48, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    folder = tmp_path_factory.mktemp("classifier") / "tiny"
    TagClassifier(network, TAGS, preprocessing, "tiny", map_layer=4).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    """What the command writes for it, and what it says; exporting takes seconds."""
    path, said = tmp_path_factory.mktemp("exported") / "localizer.onnx", io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["--classifier", str(folder), "--output", str(path)]) == 0
    return path, said.getvalue()


def test_what_the_command_says(exported):
    path, said = exported
    assert re.match(rf"{path}: localizer of \S+tiny, 4 tags, 0\.\d MB; .* {path}\.json\n", said)
    assert "pixels (pictures, 3, 48, 48)\n  signals (pictures, words, 4)\n" in said
    assert re.search(r"onnxruntime [\d.]+ differs from PyTorch by \de-0[5-9] of the largest value\n$", said)


@pytest.mark.parametrize(("pictures", "words"), [(1, 1), (1, 4), (3, 2)])
def test_the_file_gives_the_engines_maps(exported, folder, pictures, words):
    classifier = TagClassifier.from_pretrained(folder)
    pixels, signals = torch.rand(pictures, 3, 48, 48), torch.rand(pictures, words, len(TAGS))
    session = onnxruntime.InferenceSession(exported[0])
    probabilities, maps = session.run(None, {"pixels": pixels.numpy(), "signals": signals.numpy()})
    assert maps.shape == (pictures, words, 12, 12)
    assert maps.dtype == probabilities.dtype == np.float32
    for picture, rows, row, of_picture in zip(pixels, signals, probabilities, maps, strict=True):
        encoding = encode(classifier, classifier.preprocessing.normalise(picture[None]))
        expected = contrastive_mwp(encoding, rows, MapConfig())
        assert expected.max() > 0
        assert_rounded(of_picture, expected)
        assert_rounded(row, encoding.probabilities)


def test_the_description_is_in_the_file_and_beside_it(exported, folder):
    model, classifier = onnx.load(exported[0]), TagClassifier.from_pretrained(folder)
    beside = json.loads(exported[0].with_name("localizer.onnx.json").read_text(encoding="utf-8"))
    inside = {each.key: each.value for each in model.metadata_props}
    assert inside.keys() == beside.keys()
    assert {
        key: value if isinstance(beside[key], str) else json.loads(value) for key, value in inside.items()
    } == beside
    wanted = {
        "what": "localizer",
        "classifier": str(folder),
        "image_size_px": 48,
        "mean": [0.1, 0.2, 0.3],
        "multi_label": True,
    }
    assert wanted.items() <= beside.items()
    assert (beside["tags"], beside["fingerprint"]) == (list(TAGS), classifier.fingerprint())
    assert list(beside["inputs"]) == [each.name for each in model.graph.input] == ["pixels", "signals"]
    assert list(beside["outputs"]) == [each.name for each in model.graph.output] == ["probabilities", "maps"]


def test_the_file_is_whole_and_tells_nothing_of_this_machine(exported):
    path = exported[0]
    assert sorted(each.name for each in path.parent.iterdir()) == ["localizer.onnx", "localizer.onnx.json"]
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == OPSET
    assert b".py" not in path.read_bytes()
    sizes = [
        [side.dim_param or side.dim_value for side in each.type.tensor_type.shape.dim] for each in model.graph.input
    ]
    assert sizes == [["pictures", 3, 48, 48], ["pictures", "words", len(TAGS)]]


def test_the_example_of_its_page(exported, monkeypatch, tmp_path, capsys):
    """What the example computes with numpy alone is what this package does."""
    monkeypatch.chdir(tmp_path)
    Path("localizer.onnx").write_bytes(exported[0].read_bytes())
    Image.fromarray(sample_scene()[:, :300]).save("photo.jpg")
    page = (ROOT / "docs" / "guides" / "export.md").read_text()
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "InferenceSession" in block]
    assert "grounding" not in example
    names = {}
    exec(compile(example, "export.md", "exec"), names)
    assert names["maps"].max((2, 3)).min() > 0
    for word, map_ in zip(("man", "hat"), torch.from_numpy(names["maps"][0]), strict=True):
        x, y = peak(smooth(map_, len(map_) / 16))
        assert names["points"][word] == (round(x / 12 * 300), round(y / 12 * 512))
    assert capsys.readouterr().out.count("x and y in px") == 2


def test_the_example_for_browsers_speaks_of_what_is_in_the_file():
    page = (ROOT / "docs" / "guides" / "export.md").read_text()
    (example,) = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    assert example.count("\n") <= 26
    for name in ("about.image_size_px", "about.tags", "pixels: new ort.Tensor", "signals: new ort.Tensor"):
        assert name in example
    assert "{ probabilities, maps }" in example


def untouched():
    return sorted(path.name for path in Path.cwd().iterdir())


def test_the_folder_of_the_output_does_not_exist(export):
    status, out, err = export("--output", "nowhere/model.onnx")
    assert (status, out, err) == (2, "", "error: nowhere/model.onnx cannot be written: No such file or directory\n")


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.json"])
def test_the_output_is_a_folder(export, tmp_path, name):
    (tmp_path / name).mkdir()
    status, out, err = export("--output", "model.onnx")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(facts(rf"{name} is a folder", "expected a file"), err)
    assert untouched() == [name]


def test_a_folder_that_cannot_be_written_to(export, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # root may write anywhere
    assert export("--output", "model.onnx") == (2, "", "error: model.onnx cannot be written: Permission denied\n")


def test_missing_packages_are_told_before_anything_is_loaded(export, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    status, out, err = export("--classifier", "nothing of that name", "--output", "model.onnx")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'grounding[export]'" in err


def test_a_network_without_a_plain_form(export, monkeypatch):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    other = TagClassifier(network.eval(), ("man", "hat"), Preprocessing(32), "torchvision:mine")
    monkeypatch.setattr("grounding.tagging.sources.load_tag_classifier", lambda source: other)
    status, out, err = export("--classifier", "torchvision:mine", "--output", "model.onnx")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(facts("torchvision:mine is a Sequential", "no plain form", "--what classifier"), err)
    assert untouched() == []


@pytest.mark.parametrize("arguments", [(), ("--output", ""), ("--output", "a.onnx", "--what", "maps")])
def test_options_that_do_not_fit_are_one_line(export, arguments):
    status, out, err = export(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_the_description_of_a_failed_export_is_not_left(export, folder, monkeypatch):
    def full(path, text, **_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("grounding.exporting.onnx_file.convert", lambda graph: onnx.ModelProto(ir_version=10))
    monkeypatch.setattr(Path, "write_text", full)
    status, out, err = export("--classifier", folder, "--output", "model.onnx")
    assert (status, out, err) == (2, "", "error: model.onnx cannot be written: No space left on device\n")
    assert untouched() == []
