"""What a classifier is asked when a data set names a class: the top-down signal of the class, and why it is that."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from grounding.errors import GroundingError, did_you_mean
from grounding.tagging.classifier import TagClassifier
from grounding.text.kinds import Kinds
from grounding.text.phrases import find_phrases
from grounding.text.tags_by_kind import TagsByKind, plain
from grounding.text.vocabulary import Vocabulary
from grounding.wording import counted

_SYNSET, _NUMBER = re.compile(r"n\d{8}"), re.compile(r"\d{1,3}")
_SHOWN = 5  # classes in a message


@dataclass(frozen=True, slots=True)
class ClassSignal:
    """The tags that stand for a class.

    Attributes:
        weights: tag -> its share of the signal; they sum to 1. Empty where no tag stands for the class.
        reason: `given`, `tag`, `order`, `kinds`, or what the vocabulary says of each word: `bear -> animal (kind)`.
        place: of the one tag, by `order`: ImageNet calls two of its classes cardigan.
    """

    name: str
    weights: Mapping[str, float]
    reason: str
    place: int | None = None

    def outputs(self, classifier: TagClassifier) -> dict[int, float]:
        """The weight of each output of the classifier that is asked."""
        if self.place is not None:
            return {self.place: 1.0}
        return {classifier.indices[tag]: weight for tag, weight in self.weights.items()}


def class_signals(
    classes: Sequence[str], classifier: TagClassifier, given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, ClassSignal]:
    """The signal of each class, by the first of these ways that leads to a tag.

    - `given`: the tags that the user names for it, each with the same share.
    - `tag`: the tag of the same name; case, hyphens and underscores do not count.
    - `order`: WordNet ids, or numbers from 0, as many as there are tags, are ImageNet's classes: the tag at the same
      place.
    - `kinds`: of a classifier whose tags exclude each other, every tag that is a kind of the class by WordNet's usual
      meaning of its name. Such a classifier knows no dogs, but 118 breeds.
    - else what the vocabulary makes of the words, as it does of a phrase; but a neighbour, which is only near in
      meaning, is not the class.

    Raises:
        GroundingError: `given` names a class or a tag that does not exist; or no class has any tag.
    """
    given = _checked(given or {}, classes, classifier)
    tags = {plain(name): tag for tag in reversed(classifier.tags) for name in classifier.names.get(tag, ())}
    tags |= {plain(tag): tag for tag in reversed(classifier.tags)}
    order = _imagenet_places(classes) if len(classes) == len(classifier.tags) else {}
    vocabulary = Vocabulary(classifier.tags, names=classifier.names)
    kinds = None if classifier.multi_label else TagsByKind.of(classifier.tags, Kinds.embedded(), classifier.names)
    signals = {}
    for name in classes:
        if name in given:
            found = ClassSignal(name, _equal_shares(given[name]), "given")
        elif tag := tags.get(plain(name)):
            found = ClassSignal(name, {tag: 1.0}, "tag")
        elif name in order:
            found = ClassSignal(name, {classifier.tags[order[name]]: 1.0}, "order", order[name])
        elif kinds is not None and (of_kind := kinds.tags(plain(name))):
            found = ClassSignal(name, _equal_shares(of_kind), "kinds")
        else:
            found = _by_words(name, vocabulary)
        signals[name] = found
    if not any(signal.weights for signal in signals.values()):
        raise GroundingError(
            f"no tag of {classifier.name} stands for any of {counted(len(classes), 'class', 'classes')}, such as "
            f"{', '.join(classes[:_SHOWN])}: write which do into a file for --classes, "
            f'{{"{classes[0]}": ["{classifier.tags[0]}"]}}'
        )
    return signals


def stack(signals: Sequence[ClassSignal], classifier: TagClassifier, probabilities: Tensor) -> Tensor:
    """The top-down signals of K classes in a picture, (K, T) float32.

    Tags that exclude each other share the signal in proportion to their probabilities in the picture: of all the
    breeds that make a dog, the one that is seen is asked for.

    Args:
        probabilities: (T,) float32, of the tags in the picture.
    """
    rows = torch.zeros(len(signals), len(classifier.tags))
    for row, signal in zip(rows, signals, strict=True):
        for output, weight in signal.outputs(classifier).items():
            row[output] = weight
        if not classifier.multi_label:
            row *= probabilities.clamp(min=torch.finfo(torch.float32).tiny)
            row /= row.sum()
    return rows


def read_given(path: Path) -> dict[str, list[str]]:
    """The tags of classes from a JSON file: `{"tv monitor": ["television", "screen"]}`.

    Raises:
        GroundingError: the file cannot be read or holds something else.
    """
    expected = 'expected JSON such as {"tv monitor": ["television", "screen"]}'
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GroundingError(f"classes file {path} cannot be read ({error.strerror}): {expected}") from error
    except ValueError as error:
        raise GroundingError(f"classes file {path} is not JSON ({error}): {expected}") from error
    if not isinstance(values, dict):
        raise GroundingError(f"classes file {path} holds a {type(values).__name__}: {expected}")
    given = {name: [tags] if isinstance(tags, str) else tags for name, tags in values.items()}
    for name, tags in given.items():
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise GroundingError(f"classes file {path}: '{name}' has {json.dumps(tags)}: {expected}")
    return given


def _checked(
    given: Mapping[str, Sequence[str]], classes: Sequence[str], classifier: TagClassifier
) -> Mapping[str, Sequence[str]]:
    for name, tags in given.items():
        if name not in classes:
            advice = did_you_mean(name, classes, f"expected one of {', '.join(classes[:_SHOWN])}, ...")
            raise GroundingError(f"the data set has no class '{name}': {advice}")
        for tag in tags:
            if tag not in classifier.indices:
                advice = did_you_mean(tag, classifier.tags, "see the tags in its config.json")
                raise GroundingError(f"class '{name}': {classifier.name} has no tag '{tag}': {advice}")
    return given


def _imagenet_places(classes: Sequence[str]) -> dict[str, int]:
    """The place of each class in the order of WordNet ids or of numbers; empty where classes are called otherwise."""
    if all(map(_SYNSET.fullmatch, classes)):
        return {name: place for place, name in enumerate(classes)}
    places = {name: int(name) for name in classes if _NUMBER.fullmatch(name)}
    return places if sorted(places.values()) == list(range(len(classes))) else {}


def _equal_shares(tags: Sequence[str]) -> dict[str, float]:
    return dict.fromkeys(tags, 1 / (len(set(tags)) or 1))


def _by_words(name: str, vocabulary: Vocabulary) -> ClassSignal:
    matches = vocabulary.match(find_phrases("", [plain(name)])[0])
    known = [match for match in matches if match.tags and match.reason != "neighbour"]
    total = sum(match.weight for match in known)
    weights: dict[str, float] = {}
    for match in known:
        for tag in match.tags:
            weights[tag] = weights.get(tag, 0.0) + match.weight / total / len(match.tags)
    return ClassSignal(name, weights, ", ".join(map(str, matches)))
