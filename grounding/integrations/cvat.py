"""A CVAT auto-annotation function: `cvat-cli auto-annotate ID --function-module grounding.integrations.cvat`.

`-p labels=str:"bird,car"` names the labels, which the task must have.
"""

from typing import TYPE_CHECKING, Any

import cvat_sdk.auto_annotation as cvataa

from grounding.integrations.detector import Detector, check_labels, warn_of_unknown

if TYPE_CHECKING:
    from PIL import Image


class DetectionFunction:
    """What CVAT's SDK calls: `spec` says the labels, `detect` finds them as rectangles.

    Args:
        labels: of the task, divided by commas; each is also the phrase that is looked for.
        classifier: a source, as `Localizer.from_pretrained` takes it.
        device: as `Localizer.from_pretrained` takes it.
        boxes: at most so many a label and picture.
        threshold: the least score of a box, where CVAT gives no `conf_threshold`; by default the boxes of what is in
            the picture, whatever their score.

    Raises:
        GroundingError: no label or a blank one; an unknown classifier; boxes below 1; a threshold outside [0, 1].
    """

    def __init__(
        self,
        labels: str,
        classifier: str = "embedded",
        device: str = "cpu",
        boxes: int = 1,
        threshold: float | None = None,
    ) -> None:
        self._labels = list(dict.fromkeys(check_labels(labels)))
        self._detector = Detector.from_pretrained(classifier, device, boxes, threshold)
        warn_of_unknown(self._detector.localizer, self._labels)
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(label, number, type="rectangle") for number, label in enumerate(self._labels)]
        )

    def detect(self, context: "cvataa.DetectionFunctionContext", image: "Image.Image") -> list[Any]:
        """Find the labels in a frame: `LabeledShapeRequest` rectangles in px with their scores."""
        found = self._detector(image, self._labels, context.conf_threshold)
        return [
            cvataa.rectangle(detection.index, list(detection.region.box), score=detection.region.score)
            for detection in found
        ]


create = DetectionFunction
