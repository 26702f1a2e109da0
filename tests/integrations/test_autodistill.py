"""With autodistill where it is installed, else with its documented interface."""

import importlib

import cv2
import numpy as np
import pytest
from PIL import Image

from grounding.errors import GroundingError
from grounding.images import sample_scene
from helpers import stand_ins
from helpers.errors import facts

SCENE = sample_scene()[:, :384]


@pytest.fixture
def tool(monkeypatch):
    stand_ins.autodistill(monkeypatch)
    return importlib.import_module("autodistill.detection")


@pytest.fixture
def base_model(tool):
    module = importlib.import_module("grounding.integrations.autodistill")
    return importlib.reload(module).GroundingBaseModel


@pytest.fixture
def model(tool, base_model):
    return base_model(tool.CaptionOntology({"dog": "animal", "red hat": "headwear", "man": "person"}))


def test_predictions_index_the_classes(model, localizer):
    found = model.predict(Image.fromarray(SCENE))
    expected = localizer(SCENE, phrases=["red hat", "man"])
    assert sorted(found.class_id.tolist()) == [1, 2]  # no dog is there
    for box, confidence, number, name in zip(
        found.xyxy, found.confidence, found.class_id, found.data["class_name"], strict=True
    ):
        region = expected[number - 1].best
        assert box.tolist() == pytest.approx(region.box)
        assert confidence == pytest.approx(region.score)
        assert name == model.ontology.classes()[number]
    assert found.confidence.tolist() == sorted(found.confidence.tolist(), reverse=True)


def test_paths_images_and_bgr_arrays_are_one_picture(model, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(SCENE).save(path)
    expected = model.predict(Image.fromarray(SCENE))
    for form in (path, str(path), cv2.imread(str(path))):
        found = model.predict(form)
        assert (found.xyxy == expected.xyxy).all()
        assert (found.confidence == expected.confidence).all()
    swapped = model.predict(SCENE)  # RGB taken for BGR: the hat is blue
    assert not np.allclose(swapped.confidence, expected.confidence, rtol=0.01)


def test_a_folder_is_labelled(model, tmp_path):
    from skimage import data

    folder = tmp_path / "photos"
    folder.mkdir()
    for name, picture in (("scene", SCENE), ("cat", data.chelsea())):
        Image.fromarray(picture).save(folder / f"{name}.jpg", quality=95)
    labelled = model.label(str(folder), extension=".jpg", output_folder=str(tmp_path / "labelled"))
    assert labelled.classes == ["animal", "headwear", "person"]
    kept = {path.rpartition("/")[2]: found for path, found in labelled.annotations.items()}
    assert 2 in kept["scene.jpg"].class_id
    written = {path.stem: path.read_text().split("\n") for path in (tmp_path / "labelled").rglob("*.txt")}
    assert set(written) == {"scene", "cat"}
    for name, lines in written.items():
        rows = [line.split() for line in lines if line]
        assert sorted(int(row[0]) for row in rows) == sorted(kept[f"{name}.jpg"].class_id.tolist())
        assert all(0 <= float(value) <= 1 for row in rows for value in row[1:])


def test_a_picture_without_any(tool, base_model):
    model = base_model(tool.CaptionOntology({"man": "person"}), threshold=1.0)
    found = model.predict(Image.fromarray(SCENE))
    assert found.xyxy.shape == (0, 4)
    assert found.class_id.shape == (0,)


def test_another_ontology(model, tool):
    model.set_ontology(tool.CaptionOntology({"man": "person"}))
    assert model.predict(Image.fromarray(SCENE)).data["class_name"].tolist() == ["person"]


@pytest.mark.parametrize(
    ("prompts", "settings", "says"),
    [
        ({" ": "person"}, {}, facts("blank")),
        ({"man": "person"}, {"boxes": 0}, facts("boxes")),
        ({"man": "person"}, {"threshold": -1}, facts("threshold", "-1")),
        ({"man": "person"}, {"classifier": "nowhere"}, facts("nowhere")),
    ],
)
def test_settings_that_are_none(tool, base_model, prompts, settings, says):
    with pytest.raises(GroundingError, match=says):
        base_model(tool.CaptionOntology(prompts), **settings)
