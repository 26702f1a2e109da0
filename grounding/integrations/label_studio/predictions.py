"""The prediction of a task: one, with all its regions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from grounding.errors import GroundingError, check_at_least_one
from grounding.grounded import GroundedPhrase, Region
from grounding.integrations.detector import detect
from grounding.integrations.label_studio.interface import Choice, Control, Interface
from grounding.integrations.label_studio.pictures import Pictures
from grounding.pipeline import Localizer, Scene
from grounding.text.tokens import stem, tokenize

_MOST: Final = 10_000  # characters of a caption


@dataclass(frozen=True, slots=True)
class Drafter:
    """Drafts regions for tasks.

    Attributes:
        boxes: at most so many a label, or a phrase of a caption.
    """

    localizer: Localizer
    pictures: Pictures
    boxes: int = 1

    def __post_init__(self) -> None:
        check_at_least_one("--boxes", self.boxes)

    def predict(self, task: object, interface: Interface) -> dict[str, Any]:
        """Draft the regions of a task.

        Labels are looked for each by itself. A caption of the task is read as well: a phrase that names a label, such
        as `a man in a red hat` the label `man`, is its region in place of that of the label alone, with the phrase as
        its note; other phrases are plain rectangles where the project has such a tag.

        Args:
            task: `{"data": {field: value}}`.

        Returns:
            `{"result": [region, ...], "score": mean of theirs, 0 without any}`.

        Raises:
            GroundingError: no task, no picture or one that cannot be read, or a caption that is too long.
        """
        data = task.get("data") if isinstance(task, Mapping) else None
        if not isinstance(data, Mapping):
            raise GroundingError('the task has no data: expected {"data": {"image": ...}}')
        captions = [value for name in interface.captions if isinstance(value := data.get(name), str) and value.strip()]
        if any(len(caption) > _MOST for caption in captions):
            raise GroundingError(f"the caption has over {_MOST:,} characters: expected a sentence")
        scenes = {
            field: self.localizer.encode(self.pictures.read(data.get(field)))
            for field in dict.fromkeys(control.field for control in interface.labels)
        }
        results: list[dict[str, Any]] = []
        for field, scene in scenes.items():
            results += self._regions(scene, field, interface, captions)
        for number, region in enumerate(results, start=1):
            region["id"] = f"grounding-{number}"
        scores = [region["score"] for region in results]
        return {"result": results, "score": sum(scores) / len(scores) if scores else 0.0}

    def _regions(self, scene: Scene, field: str, interface: Interface, captions: list[str]) -> Iterator[dict[str, Any]]:
        """The regions of one picture."""
        size = scene.image.shape[:2]
        phrases = [each for caption in captions for each in scene.ground(caption, top_k=self.boxes)]
        phrases = [each for each in phrases if each.status == "localized"]
        named: set[int] = set()
        for control in interface.labels:
            if control.field != field:
                continue
            alone = []
            for choice in control.choices:
                those = [number for number, each in enumerate(phrases) if _names(each, choice)]
                named.update(those)
                if not those:
                    alone.append(choice)
                for number in those:
                    for region in phrases[number].regions:
                        yield _region(control, region, size, choice.label, phrases[number].phrase.text)
            yield from self._labels(scene, control, alone)
        for control in interface.rectangles:
            if control.field == field:
                for number, each in enumerate(phrases):
                    if number not in named:
                        for region in each.regions:
                            yield _region(control, region, size, None, each.phrase.text)

    def _labels(self, scene: Scene, control: Control, choices: list[Choice]) -> Iterator[dict[str, Any]]:
        """The regions of labels by themselves, the best ones of all phrases of a label."""
        asked = [(phrase, choice.label) for choice in choices for phrase in choice.phrases]
        left = {choice.label: self.boxes for choice in choices}
        for found in detect(scene, [phrase for phrase, _ in asked], self.boxes) if asked else []:
            label = asked[found.index][1]
            left[label] -= 1
            if left[label] >= 0:
                yield _region(control, found.region, scene.image.shape[:2], label)


def _names(grounded: GroundedPhrase, choice: Choice) -> bool:
    """Whether a phrase of a caption names a label: it has its words, and its head is the last of them."""
    head, words = stem(grounded.phrase.head), {stem(token.text) for token in tokenize(grounded.phrase.text)}
    for phrase in choice.phrases:
        stems = [stem(token.text) for token in tokenize(phrase)]
        if stems and stems[-1] == head and words.issuperset(stems):
            return True
    return False


def _region(
    control: Control, region: Region, size: tuple[int, ...], label: str | None, note: str | None = None
) -> dict[str, Any]:
    """A region as Label Studio keeps it: edges in percent of the picture.

    Args:
        size: (H, W) of the picture in px.
    """
    height, width = size
    kind = "rectangle" if label is None else "rectanglelabels"
    value: dict[str, Any] = {
        "x": 100 * region.x0 / width,
        "y": 100 * region.y0 / height,
        "width": 100 * (region.x1 - region.x0) / width,
        "height": 100 * (region.y1 - region.y0) / height,
        "rotation": 0,
    }
    if label is not None:
        value[kind] = [label]
    return {
        "id": "",
        "from_name": control.name,
        "to_name": control.to_name,
        "type": kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": region.score,
        "value": value,
        **({} if note is None else {"meta": {"text": [note]}}),
    }
