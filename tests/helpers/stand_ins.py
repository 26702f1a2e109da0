"""The documented interfaces of tools that are too large, or too particular, for the test environment.

`scripts/check_integrations.py` runs the same tests with the tools themselves.
"""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2


def stand_in(monkeypatch, tool, modules):
    """Let these modules be found where the tool is not installed; returns whether they were needed."""
    if find_spec(tool) is not None:
        return False
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return True


class CaptionOntology:
    def __init__(self, ontology):
        self.promptMap = list(ontology.items())

    def prompts(self):
        return [prompt for prompt, _ in self.promptMap]

    def classes(self):
        return [name for _, name in self.promptMap]


@dataclass
class DetectionBaseModel:
    ontology: CaptionOntology

    def set_ontology(self, ontology):
        self.ontology = ontology

    def label(self, input_folder, extension=".jpg", output_folder=None):
        import supervision

        paths = [str(path) for path in Path(input_folder).glob(f"*{extension}")]
        found = {path: self.predict(cv2.imread(path)) for path in paths}
        data = supervision.DetectionDataset(self.ontology.classes(), paths, found)
        data.as_yolo(f"{output_folder}/images", f"{output_folder}/annotations")
        return data


def autodistill(monkeypatch):
    detection = {"CaptionOntology": CaptionOntology, "DetectionBaseModel": DetectionBaseModel}
    return stand_in(monkeypatch, "autodistill", {"autodistill": {}, "autodistill.detection": detection})


class Record:
    def __init__(self, **fields):
        vars(self).update(fields)


class Model:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def predict_all(self, args):
        return [self.predict(arg) for arg in args]


def fiftyone(monkeypatch, zoo):
    models = ModuleType("fiftyone.core.models")
    models.Model = Model
    core = ModuleType("fiftyone.core")
    core.models = models
    content = {
        "core": core,
        "Detection": Record,
        "Detections": Record,
        "config": SimpleNamespace(model_zoo_dir=str(zoo)),
    }
    modules = {"fiftyone": content, "fiftyone.core": vars(core), "fiftyone.core.models": vars(models)}
    return stand_in(monkeypatch, "fiftyone", modules)
