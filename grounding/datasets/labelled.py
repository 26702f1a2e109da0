"""Pictures in which classes are marked by boxes or masks: what every benchmark of maps reads, whatever its files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from grounding.boxes import Boxes

Mask = npt.NDArray[np.bool_]  # (H, W)


def _nowhere(_: str) -> None:
    """Where the file of a picture lies that is in no folder."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassRegion:
    """Where the objects of one class are in a picture, in px of the annotated size.

    Attributes:
        name: of the class, as the data set writes it.
        boxes: (N, 4) float64, half-open, of the N >= 1 objects that count; inside the picture.
        mask: gives the (height, width) union of the masks of these objects; None where there are only boxes.
    """

    name: str
    boxes: Boxes
    mask: Callable[[], Mask] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One picture and the classes in it.

    Attributes:
        id: names it in the data set.
        width: in px, of the size that its boxes and masks are given in; the picture's file may have another one.
        height: in px, likewise.
        regions: of each class of which an object counts, in the order of the data set's classes; never empty.
    """

    id: str
    width: int
    height: int
    regions: tuple[ClassRegion, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """The pictures of one split of a data set.

    Attributes:
        name: such as `VOC07 test`.
        classes: of the whole data set, in its order; some may be in no picture.
        images: in the data set's order, each with an object that counts.
        read: the bytes of a picture's file by the picture's id; raises a `GroundingError` where it cannot be read.
        left_out: what is not in `images`, and why -> how many, such as `pictures without objects`.
        sources: the files and folders that were read.
        file: where a picture's file lies on the disk by the picture's id: None where it is in an archive.
    """

    name: str
    classes: tuple[str, ...]
    images: Sequence[LabelledImage]
    read: Callable[[str], bytes]
    left_out: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[Path, ...] = ()
    file: Callable[[str], Path | None] = _nowhere
