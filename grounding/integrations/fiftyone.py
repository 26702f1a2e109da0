"""A FiftyOne model: `dataset.apply_model(GroundingModel(["bird", "car"]), label_field="grounding")`.

`register` puts it into the model zoo of this machine, where `foz.load_zoo_model("grounding", labels=...)` finds it.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fiftyone
import fiftyone.core.models as fom
import numpy as np
import numpy.typing as npt

from grounding.folders import writing
from grounding.integrations.detector import Detector, check_labels, warn_of_unknown

NAME = "grounding"
_ZOO_FOLDER = Path(__file__).parent / "fiftyone_zoo"


class GroundingModel(fom.Model):  # type: ignore[misc]
    """Finds labels in pictures.

    Args:
        labels: texts, or one text in which commas divide them.
        classifier: a source, as `Localizer.from_pretrained` takes it.
        device: as `Localizer.from_pretrained` takes it.
        boxes: at most so many a label and picture.
        threshold: the least score of a box; by default the boxes of what is in the picture, whatever their score.

    Raises:
        GroundingError: no label or a blank one; an unknown classifier; boxes below 1; a threshold outside [0, 1].
    """

    media_type = "image"
    ragged_batches = False  # pictures of several sizes may come together
    transforms = None
    preprocess = False

    def __init__(
        self,
        labels: str | Iterable[str],
        classifier: str = "embedded",
        device: str = "cpu",
        boxes: int = 1,
        threshold: float | None = None,
    ) -> None:
        self.labels = check_labels(labels)
        self._detector = Detector.from_pretrained(classifier, device, boxes, threshold)
        warn_of_unknown(self._detector.localizer, self.labels)

    def predict(self, arg: npt.NDArray[np.uint8]) -> Any:
        """Find the labels in an (H, W, 3) uint8 picture: `fiftyone.Detections`, the best score first."""
        height, width = arg.shape[:2]
        found = self._detector(arg, self.labels)
        return fiftyone.Detections(
            detections=[
                fiftyone.Detection(
                    label=detection.label,
                    bounding_box=[
                        detection.region.x0 / width,
                        detection.region.y0 / height,
                        (detection.region.x1 - detection.region.x0) / width,
                        (detection.region.y1 - detection.region.y0) / height,
                    ],
                    confidence=detection.region.score,
                )
                for detection in found
            ]
        )


def register() -> Path:
    """Copy the zoo model's folder to FiftyOne's model zoo on this machine, and return where it is.

    Raises:
        GroundingError: the place cannot be written.
    """
    folder = Path(fiftyone.config.model_zoo_dir) / NAME
    with writing(f"FiftyOne's model zoo {folder}"):
        shutil.copytree(_ZOO_FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return folder
