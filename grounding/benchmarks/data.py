"""Which pictures a benchmark is about, as a command line names them; every process opens them for itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from grounding.boxes import Values
from grounding.datasets.coco import read_coco
from grounding.datasets.cub import read_cub
from grounding.datasets.entity_words import read_entity_words
from grounding.datasets.gaze import read_gaze
from grounding.datasets.imagenet import read_imagenet
from grounding.datasets.labelled import LabelledImages
from grounding.datasets.labelled_folder import read_folder
from grounding.datasets.voc import read_voc
from grounding.errors import GroundingError

Fixations = Mapping[str, tuple[Values, ...]]  # image id -> (N, 3) of each viewer: x, y, duration_ms
_READERS: Final[Mapping[str, Callable[[Path, str], LabelledImages]]] = {
    "voc07": read_voc,
    "coco": read_coco,
    "imagenet": read_imagenet,
    "cub": read_cub,
}
_SPLITS: Final = {"voc07": "test", "coco": "val2014", "entities": "val", "imagenet": "val", "cub": "test"}


@dataclass(frozen=True, slots=True)
class Source:
    """The pictures of a benchmark.

    Attributes:
        kind: `voc07`, `coco`, `entities`, `imagenet`, `cub` or `folder`.
        root: where they lie in their official layout; for `entities` the annotations.
        split: by default the one that papers report on; a folder has none.
        images: the photographs of `entities`.
        gaze: a file of fixations for these pictures.
        limit: only so many of the pictures, spread evenly over the split.
        viewers: only the fixations of these people, by their numbers in that file; of all where it is empty.
    """

    kind: str
    root: Path
    split: str | None = None
    images: tuple[Path, ...] = ()
    gaze: Path | None = None
    limit: int | None = None
    viewers: tuple[int, ...] = ()

    def open(self) -> LabelledImages:
        """Read the annotations.

        Raises:
            GroundingError: as the reader; a split or photographs that change nothing; or nothing is there to measure.
        """
        split = self.chosen_split or ""
        if self.images and self.kind != "entities":
            raise GroundingError(f"--images is for --dataset entities: the pictures of {self.kind} lie in --root")
        if self.kind == "folder":
            if split:
                raise GroundingError(f"a folder has no split '{split}': leave out --split")
            data = read_folder(self.root)
        elif self.kind == "entities":
            if not self.images:
                raise GroundingError("--dataset entities needs --images: the photographs of the annotations in --root")
            data = read_entity_words(self.root, self.images, split)
        else:
            data = _READERS[self.kind](self.root, split)
        if not data.images:
            raise GroundingError(f"{data.name} in {self.root} has no picture with an object: nothing to measure")
        if self.limit is None or self.limit >= len(data.images):
            return data
        places = (place * len(data.images) // self.limit for place in range(self.limit))
        return replace(data, images=[data.images[place] for place in places])

    @property
    def chosen_split(self) -> str | None:
        """The split, or the one that papers report on; None of a folder."""
        return self.split or _SPLITS.get(self.kind)

    def fixations(self, data: LabelledImages) -> tuple[Fixations, Mapping[str, int]]:
        """The fixations on the pictures, and what of the file was left out: why -> how often."""
        if self.gaze is None:
            raise GroundingError("no fixations were given: expected --gaze FILE")
        gaze = read_gaze(self.gaze, data.images, self.viewers)
        return gaze.fixations, gaze.left_out
