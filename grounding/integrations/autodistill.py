"""An autodistill base model: it labels a folder of pictures for a smaller detector to learn from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import supervision
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from grounding.integrations.detector import Detector, check_labels, warn_of_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grounding.integrations.detector import Detection


@dataclass
class GroundingBaseModel(DetectionBaseModel):  # type: ignore[misc]
    """Finds the prompts of an ontology.

    Args:
        ontology: `CaptionOntology({"prompt": "class"})`; each prompt is the phrase that is looked for.
        classifier: a source, as `Localizer.from_pretrained` takes it.
        device: as `Localizer.from_pretrained` takes it.
        boxes: at most so many a prompt and picture.
        threshold: the least score of a box; by default the boxes of what is in the picture, whatever their score.

    Raises:
        GroundingError: a blank prompt; an unknown classifier; boxes below 1; a threshold outside [0, 1].
    """

    ontology: CaptionOntology
    classifier: str = "embedded"
    device: str = "cpu"
    boxes: int = 1
    threshold: float | None = None

    def __post_init__(self) -> None:
        prompts = check_labels(self.ontology.prompts())
        self._detector = Detector.from_pretrained(self.classifier, self.device, self.boxes, self.threshold)
        warn_of_unknown(self._detector.localizer, prompts)

    def predict(self, input: npt.NDArray[np.uint8] | Image.Image | str | Path) -> Any:
        """Find the prompts in a picture.

        Args:
            input: a path, a Pillow image, or (H, W, 3) uint8 **BGR**, as autodistill's `label` gives.

        Returns:
            `supervision.Detections`, the best score first; `class_id` is a position in `ontology.classes()`.
        """
        image = input[..., ::-1] if isinstance(input, np.ndarray) else input
        return as_detections(self._detector(image, self.ontology.prompts()), self.ontology.classes())


def as_detections(found: "Sequence[Detection]", classes: "Sequence[str]") -> Any:
    """`supervision.Detections` of N boxes."""
    boxes = np.array([detection.region.box for detection in found], np.float32).reshape(-1, 4)
    scores = np.array([detection.region.score for detection in found], np.float32)
    indices = np.array([detection.index for detection in found], int)
    names = np.array([classes[index] for index in indices], str)
    return supervision.Detections(boxes, confidence=scores, class_id=indices, data={"class_name": names})
