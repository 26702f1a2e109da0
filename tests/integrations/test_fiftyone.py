"""With FiftyOne where it is installed, else with its documented interface."""

import importlib
import importlib.util
import json
import os

import numpy as np
import pytest
from PIL import Image

from grounding.errors import GroundingError
from grounding.images import sample_scene
from helpers import stand_ins
from helpers.errors import facts

SCENE = sample_scene()[:, :384]
REAL = importlib.util.find_spec("fiftyone") is not None
real = pytest.mark.skipif(not REAL, reason="fiftyone is not installed: scripts/check_integrations.py tests it")


@pytest.fixture
def module(monkeypatch, tmp_path):
    stand_ins.fiftyone(monkeypatch, tmp_path / "zoo")
    found = importlib.reload(importlib.import_module("grounding.integrations.fiftyone"))
    monkeypatch.setattr(found.fiftyone.config, "model_zoo_dir", str(tmp_path / "zoo"))
    return found


def test_boxes_are_shares_of_the_picture(module, localizer):
    with module.GroundingModel(["man", "dog", "hat"]) as model:
        found = model.predict(SCENE).detections
    expected = localizer(SCENE, phrases=["man", "hat"])
    assert sorted(each.label for each in found) == ["hat", "man"]  # no dog is there
    for each in found:
        region, (x, y, width, height) = expected[each.label].best, each.bounding_box
        assert (x * 384, y * 512, (x + width) * 384, (y + height) * 512) == pytest.approx(region.box)
        assert each.confidence == pytest.approx(region.score)
    assert model.media_type == "image"


def test_pictures_of_several_sizes_and_kinds(module):
    model = module.GroundingModel("man,hat", threshold=0.0)
    grey = np.asarray(Image.fromarray(SCENE).convert("L"))
    assert not model.ragged_batches
    found = model.predict_all([SCENE, SCENE[:200], grey, np.dstack([SCENE, np.full(SCENE.shape[:2], 255, np.uint8)])])
    assert [len(each.detections) for each in found] == [2] * 4


def test_nothing_found(module):
    assert module.GroundingModel(["man"], threshold=1.0).predict(SCENE).detections == []


@pytest.mark.parametrize(
    ("labels", "settings", "says"),
    [
        ([], {}, facts("empty")),
        ("man,", {}, facts("blank")),
        (3, {}, facts("int")),
        (["man"], {"boxes": 0}, facts("boxes")),
        (["man"], {"threshold": "x"}, facts("threshold", "x")),
    ],
)
def test_settings_that_are_none(module, labels, settings, says):
    with pytest.raises(GroundingError, match=says):
        module.GroundingModel(labels, **settings)


def test_the_folder_of_the_zoo_model(module):
    folder = module.register()
    assert module.register() == folder  # again, over the first
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["name"], [model["base_name"] for model in manifest["models"]]) == ("grounding", ["grounding"])
    spec = importlib.util.spec_from_file_location("zoo_model", folder / "__init__.py")
    zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(zoo)
    path = folder / manifest["models"][0]["base_filename"]
    zoo.download_model("grounding", str(path))
    assert path.read_text()
    model = zoo.load_model("grounding", str(path), labels="man,hat", boxes=2)
    assert len(model.predict(SCENE).detections) == 4


def test_a_zoo_that_cannot_be_written(module, tmp_path):
    (tmp_path / "zoo").write_text("a file")
    with pytest.raises(GroundingError, match=facts("model zoo", "cannot be written")):
        module.register()


@pytest.fixture
def pictures(tmp_path):
    import fiftyone
    from skimage import data

    for name, picture in (("scene", SCENE), ("cat", data.chelsea())):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    dataset = fiftyone.Dataset()
    dataset.add_samples([fiftyone.Sample(str(tmp_path / f"{name}.png")) for name in ("scene", "cat")])
    yield dataset
    dataset.delete()


@real
@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("FIFTYONE_DATABASE_URI"), reason="needs a database: FIFTYONE_DATABASE_URI")
def test_a_dataset_of_fiftyone(module, pictures):
    import fiftyone.zoo as foz

    module.register()
    assert "grounding" in foz.list_zoo_models()
    model = foz.load_zoo_model("grounding", labels=["man", "hat", "cat"])
    pictures.apply_model(model, label_field="found")
    pictures.apply_model(model, label_field="batched", batch_size=2)
    scene, cat = pictures
    for field in ("found", "batched"):
        assert {each.label for each in scene[field].detections} == {"man", "hat"}
        assert "cat" in {each.label for each in cat[field].detections}
    expected = {each.label: each.bounding_box for each in model.predict(SCENE).detections}
    assert {each.label: each.bounding_box for each in scene.found.detections} == expected
    assert pictures.count("found.detections") == pictures.count("batched.detections") >= 3
