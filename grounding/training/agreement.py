"""Validation while training by where people look: the maps of a picture's classes against fixations."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from grounding.benchmarks.data import Source
from grounding.benchmarks.measurer import Job, Measurer, normalised
from grounding.benchmarks.methods import MapMaker, centre_map
from grounding.benchmarks.metrics import to_table
from grounding.benchmarks.names import parse_methods
from grounding.benchmarks.statistics import value_of
from grounding.benchmarks.tasks import PEOPLE, TRUE_BOX, Agreement
from grounding.config import MapConfig
from grounding.errors import GroundingError
from grounding.images import read_image
from grounding.regions.maps import upsample
from grounding.tagging.classifier import TagClassifier
from grounding.training.config import ValidationConfig
from grounding.wording import counted

_CENTRE: Final = "centre"


@dataclass(frozen=True, slots=True)
class Number:
    """A number of `evaluate agreement`, in percent.

    Attributes:
        name: in logs.
        score: of `benchmarks.tasks.Agreement.scores`.
    """

    name: str
    score: str


NUMBERS: Final = (
    Number("agreement/spearman", "Spearman"),
    Number("agreement/auc", "AUC"),
    Number("agreement/spearman/ceiling", "Spearman / ceiling"),
    Number("agreement/auc/ceiling", "AUC / ceiling"),
)


class AgreementValidation:
    """Pictures with fixations, on which the maps of a classifier are measured as `evaluate agreement` does.

    Attributes:
        summary: a line for people: what is measured, and what people, the centre and the true box reach.
        centre: what a Gaussian round the centre reaches, as `measure` gives it.

    Raises:
        GroundingError: pictures, annotations or fixations are missing, unreadable or do not belong together; or a
            method that is not one of the benchmarks'.
    """

    def __init__(self, config: ValidationConfig) -> None:
        methods = parse_methods(config.method)
        if len(methods) != 1:
            raise GroundingError(f"validation.method is '{config.method}': expected one method")
        source = Source(
            str(config.dataset), Path(config.root), config.split, gaze=Path(config.gaze), viewers=config.viewers
        )
        everything = source.open()
        fixations, _ = source.fixations(everything)
        seen = [image for image in everything.images if image.id in fixations]
        count = min(config.limit, len(seen))
        self._images = [seen[place * len(seen) // count] for place in range(count)]  # spread evenly
        self._data = replace(everything, images=self._images)
        self._job = Job("agreement", source, "trained", (MapMaker(methods[0]),))
        for image in self._images:
            read_image(io.BytesIO(self._data.read(image.id)), image.id)
        beside = self._beside(Agreement(fixations))
        self.centre = beside[_CENTRE]
        named = [f"{name}: {_shown(beside[name])}" for name in (PEOPLE, _CENTRE, TRUE_BOX) if beside[name]]
        whose = f" of viewers {', '.join(map(str, config.viewers))}" if config.viewers else ""
        pictures = counted(count, "picture")
        self.summary = f"validation on {everything.name}, {pictures} with fixations{whose}; {'; '.join(named)} percent"

    def measure(self, classifier: TagClassifier, device: str, limit: int | None = None) -> dict[str, float]:
        """The numbers in percent, by name; those that cannot be known are left out.

        Pictures of classes that no tag stands for are left out.

        Args:
            limit: use only the first so many pictures.

        Raises:
            GroundingError: no tag stands for any of the classes, or a picture cannot be read any more.
        """
        measurer = Measurer(replace(self._job, device=device), classifier, self._data)
        tagged = {name for name, signal in measurer.signals.items() if signal.weights}
        known = [image.id for image in self._images if any(region.name in tagged for region in image.regions)]
        if not known:
            raise GroundingError(f"no tag stands for any class of the {len(self._images)} pictures of the validation")
        records = []
        for image in known[:limit]:
            outcome = measurer(image)
            if outcome.error:
                raise GroundingError(f"validation: {outcome.error}")
            records.append(asdict(outcome))
        return self._numbers(records)[self._job.makers[0].name]

    def _beside(self, task: Agreement) -> dict[str, dict[str, float]]:
        """What stands beside the classifier's maps, by name."""
        coarse, records = centre_map(MapConfig())[None], []
        for image in self._images:
            centre = normalised(upsample(coarse, image.height, image.width)[0].clamp(min=0).numpy())
            rows = {
                region.name: {_CENTRE: task.measure(centre, image, region), **task.other_rows(image, region)}
                for region in image.regions
            }
            records.append({"image": image.id, "predicted": None, "rows": rows})
        return self._numbers(records)

    def _numbers(self, records: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
        """Method -> name -> percent."""
        table = to_table(records, self._data.classes)
        images, classes = len(records), len(self._data.classes)
        found: dict[str, dict[str, float]] = {}
        for method, rows in table.groupby("method", sort=False):
            scores = Agreement().scores(rows, images, classes)
            values = {number.name: 100 * value_of(scores[number.score], images) for number in NUMBERS}
            found[str(method)] = {name: value for name, value in values.items() if not np.isnan(value)}
        return found


def _shown(numbers: Mapping[str, float]) -> str:
    """Those that are no fractions."""
    return " ".join(f"{number.name} {numbers[number.name]:.1f}" for number in NUMBERS[:2] if number.name in numbers)
