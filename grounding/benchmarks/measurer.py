"""One picture under every method: what each process of a benchmark does."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from grounding.benchmarks.data import Fixations, Source
from grounding.benchmarks.methods import MapMaker
from grounding.benchmarks.signals import ClassSignal, class_signals, stack
from grounding.benchmarks.tasks import Agreement, Localization, Map, Pointing, Row, Task
from grounding.config import MapConfig
from grounding.datasets.labelled import LabelledImage, LabelledImages
from grounding.devices import usable_device
from grounding.errors import GroundingError
from grounding.images import RgbImage, read_image
from grounding.methods import Encoding, encode
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.sources import load_tag_classifier
from grounding.workers import one_thread

_DECIMALS: Final = 5  # of maps, whose highest value is 1: so that no order of summation shows


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a process needs to know.

    Attributes:
        task: `pointing`, `localization` or `agreement`.
        given: class -> tags, where the user says which.
    """

    task: str
    source: Source
    classifier: str
    makers: tuple[MapMaker, ...]
    config: MapConfig = field(default_factory=MapConfig)
    device: str = "cpu"
    given: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one picture.

    Attributes:
        image: its id.
        error: why it could not be read, and then nothing else is known; or None.
        sha256: of its file.
        predicted: of the classes with a tag, the most probable one.
        rows: class -> method -> what was measured; no method for a class without a tag.
    """

    image: str
    error: str | None = None
    sha256: str = ""
    predicted: str | None = None
    rows: Mapping[str, Mapping[str, Row]] = field(default_factory=dict)


class Measurer:
    """A classifier, the methods that explain it, and the pictures that they are measured on.

    Args:
        classifier: the job's, where it is loaded already.
        data: the job's, or some of its pictures, where they are open already.

    Attributes:
        signals: of each class.
        fixations: of the pictures, for `agreement`; else empty.
        left_out: of the fixations, why -> how often.
    """

    def __init__(self, job: Job, classifier: TagClassifier | None = None, data: LabelledImages | None = None) -> None:
        self.job = job
        self.data = data or job.source.open()
        self.classifier = (classifier or load_tag_classifier(job.classifier)).to(usable_device(job.device))
        self.signals = class_signals(self.data.classes, self.classifier, job.given)
        self.fixations: Fixations = {}
        self.left_out: Mapping[str, int] = {}
        self.images: Mapping[str, LabelledImage] = {image.id: image for image in self.data.images}
        self.task: Task
        if job.task == "agreement":
            self.fixations, self.left_out = job.source.fixations(self.data)
            self.task = Agreement(self.fixations)
            self.images = {name: image for name, image in self.images.items() if name in self.fixations}
        else:
            self.task = Pointing() if job.task == "pointing" else Localization()

    def __call__(self, image: str) -> Outcome:
        """Measure one picture, with one thread, so that the number of processes changes nothing."""
        labelled = self.images[image]
        try:
            content = self.data.read(image)
            pixels = read_image(io.BytesIO(content), image)
        except GroundingError as error:
            return Outcome(image, str(error))
        with one_thread():
            encoding = self.encode(pixels)
            predicted = self._predicted(encoding)
            maps = self.maps(encoding, labelled, [region.name for region in labelled.regions])
        rows: dict[str, dict[str, Row]] = {}
        for region in labelled.regions:
            known = maps.get(region.name, {})
            rows[region.name] = {
                method: self.task.measure(map_, labelled, region) for method, map_ in known.items()
            } | (self.task.other_rows(labelled, region) if known else {})
        return Outcome(image, None, hashlib.sha256(content).hexdigest(), predicted, rows)

    def encode(self, pixels: RgbImage) -> Encoding:
        """Run the classifier on a picture."""
        return encode(self.classifier, self.classifier.preprocessing(pixels).to(usable_device(self.job.device)))

    def maps(self, encoding: Encoding, labelled: LabelledImage, classes: Sequence[str]) -> dict[str, dict[str, Map]]:
        """Class -> method -> (H, W) map at the annotated size, at most 1; of those classes that have a tag."""
        asked = [name for name in classes if self.signals[name].weights]
        if not asked:
            return {}
        signals = stack([self.signals[name] for name in asked], self.classifier, encoding.probabilities)
        found: dict[str, dict[str, Map]] = {name: {} for name in asked}
        for maker in self.job.makers:
            made = maker(encoding, signals, self.job.config, labelled.height, labelled.width).numpy()
            for name, map_ in zip(asked, made, strict=True):
                found[name][maker.name] = normalised(map_)
        return found

    def _predicted(self, encoding: Encoding) -> str | None:
        """The class whose most probable tag is the most probable of all."""

        def chance(signal: ClassSignal) -> float:
            return max(float(encoding.probabilities[output]) for output in signal.outputs(self.classifier))

        known = [signal for signal in self.signals.values() if signal.weights]
        return max(known, key=chance).name if known else None


def normalised(map_: Map) -> Map:
    """A map as it is measured: its highest value is 1, unless it is zero everywhere."""
    return np.asarray(np.round(map_ / (map_.max() or 1.0), _DECIMALS), np.float32)


def settings_of(job: Job, classifier: TagClassifier) -> dict[str, Any]:
    """What a run must have in common with another to be continued by it, as plain values."""
    source = job.source
    maps: dict[str, Any] = {
        "stride": job.config.stride,
        "residual": job.config.residual,
        "resolution": job.config.resolution,
    }
    if job.config.bias != "none":  # which earlier runs do not say
        maps["bias"] = job.config.bias
    return {
        "task": job.task,
        "dataset": source.kind,
        "split": source.chosen_split,
        "limit": source.limit,
        "viewers": sorted(set(source.viewers)) or None,
        "classifier": {"source": job.classifier, "fingerprint": classifier.fingerprint()},
        "methods": [maker.name for maker in job.makers],
        "smoothing": job.makers[0].smoothing,
        "rise_masks": next((maker.rise_masks for maker in job.makers if maker.name == "rise"), None),
        "maps": maps,
        "device": job.device,
        "classes": {name: list(tags) for name, tags in job.given.items()},
    }
