"""`python -m grounding.export`: the command, bad input, and the example of its page."""

import re
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from grounding.export import main
from grounding.images import sample_scene
from grounding.regions.maps import peak, smooth
from grounding.tagging.classifier import Preprocessing, TagClassifier
from grounding.tagging.network import plain_network
from helpers.errors import facts
from helpers.networks import soften
from helpers.paths import ROOT


@pytest.fixture
def export(in_empty_folder):
    return partial(in_empty_folder, main)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier that knows the words of the page."""
    torch.manual_seed(0)
    network = soften(plain_network([(6, 2), (8, 2), (10, 1)], 3, normalised=False))
    folder = tmp_path_factory.mktemp("classifier") / "tiny"
    TagClassifier(network, ("man", "hat", "dog"), Preprocessing(48), "tiny", map_layer=-4).save_pretrained(folder)
    return folder


def test_the_command_and_the_example_of_its_page(export, folder, capsys):
    """What the example computes with numpy alone is what this package does."""
    status, out, err = export("--classifier", folder, "--output", "localizer.onnx")
    assert (status, err) == (0, "")
    assert re.search(r"localizer\.onnx: localizer of \S+tiny, 3 tags, 0\.0 MB; .* localizer\.onnx\.json\n", out)
    assert "pixels (pictures, 3, 48, 48)\n  signals (pictures, words, 3)\n" in out
    assert re.search(r"onnxruntime [\d.]+ differs from PyTorch by \de-0[5-9] of the largest value\n$", out)

    Image.fromarray(sample_scene()[:, :300]).save("photo.jpg")
    page = (ROOT / "docs" / "export.md").read_text()
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
    page = (ROOT / "docs" / "export.md").read_text()
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
    monkeypatch.setattr("grounding.tagging.sources.load_classifier", lambda source: other)
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

    monkeypatch.setattr("grounding.exporting.onnx_file.convert", lambda graph: graph_of_zeros())
    monkeypatch.setattr(Path, "write_text", full)
    status, out, err = export("--classifier", folder, "--output", "model.onnx")
    assert (status, out, err) == (2, "", "error: model.onnx cannot be written: No space left on device\n")
    assert untouched() == []


def graph_of_zeros():
    import onnx

    return onnx.ModelProto(ir_version=10)
