"""From the labels of a network's outputs to tags, and the other names that a tag is known by."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from grounding.errors import GroundingError

_SYNSET = re.compile(r"n\d{8}(?!\d)[\s_:,]*")
_NO_WORD = re.compile(r"(?i:label|class)?[\s_]*\d*|n\d{8}")


@dataclass(frozen=True, slots=True)
class OutputNames:
    """What T outputs are called.

    Attributes:
        tags: T different texts in lower case, in the order of the outputs.
        others: for each tag that has some, its other names; two tags may share one.
    """

    tags: tuple[str, ...]
    others: dict[str, tuple[str, ...]]


def output_names(labels: Sequence[str], source: str) -> OutputNames:
    """Read labels as ImageNet's networks have them: `tabby, tabby cat` or `n02123045 tabby`.

    Commas separate names of one output, underscores are spaces and WordNet's ids are left out. The tag is the first
    name, or all of them where several outputs begin with the same: ImageNet has `cardigan` and `cardigan, cardigan
    welsh corgi`. Where that is not enough, as for its two cranes, the second is `crane (2)`.

    Args:
        source: of the labels, for errors.

    Raises:
        GroundingError: most labels hold no word, such as `LABEL_0`.
    """
    names = [_names(label) for label in labels]
    if 2 * sum(not given for given in names) > len(labels):
        raise GroundingError(
            f"the outputs of {source} are called {', '.join(labels[:2])}, ...: expected words, for captions to find; "
            "write them into id2label (label_names) of its config.json"
        )
    named = [given or [f"output {output}"] for output, given in enumerate(names)]
    first = Counter(given[0] for given in named)
    tags: dict[str, tuple[str, ...]] = {}
    for given in named:
        tag = given[0] if first[given[0]] == 1 else ", ".join(given)
        tag = next(unused for n in range(len(labels)) if (unused := _numbered(tag, n + 1)) not in tags)
        tags[tag] = tuple(name for name in given if name != tag)
    return OutputNames(tuple(tags), {tag: others for tag, others in tags.items() if others})


def _names(label: str) -> list[str]:
    """The names in a label, each once; none where it says nothing."""
    label = label.strip()
    text = label[len(found[0]) :] if (found := _SYNSET.match(label)) else label
    parts = (" ".join(part.replace("_", " ").lower().split()) for part in text.split(","))
    return [part for part in dict.fromkeys(parts) if not _NO_WORD.fullmatch(part)]


def _numbered(tag: str, number: int) -> str:
    return tag if number == 1 else f"{tag} ({number})"
