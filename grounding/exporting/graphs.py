"""What can be exported: a module, with the names, sizes and meaning of its inputs and outputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from grounding import __version__
from grounding.exporting.classifier import PlainClassifier
from grounding.exporting.localizer import PlainLocalizer
from grounding.tagging.classifier import TagClassifier

SCHEMA_VERSION = 1
_PROBABILITIES = "(pictures, tags) float32 in [0, 1]: the probability of each tag"


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A module to be exported, and what a user of the file needs to know.

    Attributes:
        module: takes a tensor for each input, and returns one for each output.
        inputs: the sizes of each; those that are names are free.
        outputs: the name of each.
        description: JSON-able.
    """

    module: nn.Module
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]
    description: Mapping[str, Any]

    def free(self) -> list[str]:
        """The names of the free dimensions."""
        return list(dict.fromkeys(size for sizes in self.inputs.values() for size in sizes if isinstance(size, str)))

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Make so many pictures and what belongs to them: random numbers in [0, 1], the same each time.

        Free heights and widths are the classifier's own for two pictures, else others.
        """
        side, more = self.description["image_size_px"], 32 * abs(count - 2)
        free = {"pictures": count, "words": 2 * count + 1, "height": side + more, "width": side + 2 * more}
        generator, weight = torch.Generator().manual_seed(0), next(self.module.parameters())
        shapes = [[size if isinstance(size, int) else free[size] for size in sizes] for sizes in self.inputs.values()]
        return tuple(torch.rand(shape, generator=generator).to(weight) for shape in shapes)

    def properties(self) -> dict[str, str]:
        """The description in texts; what is no text becomes JSON."""
        return {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in self.description.items()
        }


def localizer_graph(classifier: TagClassifier) -> Graph:
    """The localizer of a classifier with a plain network: `PlainLocalizer`.

    Raises:
        GroundingError: another network.
    """
    side = classifier.preprocessing.image_size_px
    outputs = {
        "probabilities": _PROBABILITIES,
        "maps": "(pictures, words, h, w) float32, at least 0: where in the picture each word is, over the whole of it; "
        "all 0 without evidence",
    }
    inputs = {
        "pixels": _pixels(side, side, side),
        "signals": "(pictures, words, tags) float32: 1 for the tag of each word, 0 for the others; several words for "
        "each picture",
    }
    sizes = {"pixels": ("pictures", 3, side, side), "signals": ("pictures", "words", len(classifier.tags))}
    described = _description("localizer", classifier, inputs, outputs)
    return Graph(PlainLocalizer(classifier).eval(), sizes, tuple(outputs), described)


def classifier_graph(classifier: TagClassifier, any_size: bool) -> Graph:
    """The classifier itself: `PlainClassifier`.

    Args:
        any_size: whether height and width are free, or the classifier's own.
    """
    side = classifier.preprocessing.image_size_px
    sides: tuple[int | str, int | str] = ("height", "width") if any_size else (side, side)
    inputs, outputs = {"pixels": _pixels(*sides, side)}, {"probabilities": _PROBABILITIES}
    described = _description("classifier", classifier, inputs, outputs)
    module = PlainClassifier(classifier)
    module.training = False  # eval() would reach into the network
    return Graph(module, {"pixels": ("pictures", 3, *sides)}, tuple(outputs), described)


def _pixels(height: int | str, width: int | str, side: int) -> str:
    return (
        f"(pictures, 3, {height}, {width}) float32, RGB in [0, 1], not normalised: the whole picture resized to "
        f"{side} x {side}, whatever its shape"
    )


def _description(
    what: str, classifier: TagClassifier, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "what": what,
        "classifier": classifier.name,
        "fingerprint": classifier.fingerprint(),
        "grounding": __version__,
        "image_size_px": classifier.preprocessing.image_size_px,
        "mean": classifier.preprocessing.mean,
        "std": classifier.preprocessing.std,
        "multi_label": classifier.multi_label,
        "inputs": inputs,
        "outputs": outputs,
        "tags": classifier.tags,
    }
