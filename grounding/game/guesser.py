"""What a classifier makes of a picture of which only bubbles are seen.

It guesses among the categories of the game. The evidence for one is the log-odds of its tag less their mean over the
game's pictures: a classifier that believes in a man everywhere does not see one for that. What is hidden is strongly
blurred, as the player sees it too.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from grounding.game.pictures import Picture
from grounding.game.rounds import RADIUS, Bubble
from grounding.images import RgbImage, read_image
from grounding.tagging.classifier import TagClassifier
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match, Vocabulary

_MEANT: Final = ("exact", "stem", "spelling", "synonym", "kinds", "kind")  # why a tag stands for a category
_SIDE: Final = 448  # px of the longer side that is guessed from
_BLURRED: Final = 24  # px of it where it is hidden
_LOOKED_AT: Final = 64  # pictures for the means
_MORE: Final = 1.5  # as in docs/guides/clickme.md: fewer pictures are recognised from bubbles beside their object
_KEPT: Final = 16  # pictures in memory
SHOWN: Final = 5  # guesses
Evidence = npt.NDArray[np.float64]  # (C,), a value a known category


class Guess(NamedTuple):
    """What the classifier thinks of the bubbles so far.

    Attributes:
        best: up to five categories with their shares of belief, the first the most likely; all shares sum to 1.
        recognised: whether the right category is among the first ones, and its odds are half as high again as with
            nothing revealed.
    """

    best: tuple[tuple[str, float], ...]
    recognised: bool


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A picture, small, whole and hidden: (h, w, 3) uint8; and the shares of belief with nothing revealed."""

    whole: RgbImage
    hidden: RgbImage
    before: Evidence


class Guesser:
    """A classifier that guesses among categories.

    Attributes:
        categories: those it has a tag for.
        unknown: the others.
        top: the right category must be among so many.
    """

    def __init__(
        self, classifier: TagClassifier, categories: Sequence[str], device: torch.device, top: int | None = None
    ) -> None:
        self._classifier, self._device = classifier.to(device), device
        vocabulary = Vocabulary(classifier.tags, exclusive=not classifier.multi_label, names=classifier.names)
        tags = {category: _tags(vocabulary, category) for category in dict.fromkeys(categories)}
        self.categories = tuple(category for category, its in tags.items() if its)
        self.unknown = tuple(category for category, its in tags.items() if not its)
        self.top = top or default_top(len(self.categories))
        self._outputs = [[classifier.indices[tag] for tag in tags[category]] for category in self.categories]
        self._usual: Evidence = np.zeros(len(self.categories))
        self._views: OrderedDict[str, _View] = OrderedDict()

    def look_at(self, pictures: Sequence[Picture]) -> None:
        """Learn how much is usually believed of each category, from at most 64 pictures, spread evenly.

        Raises:
            GroundingError: one of them cannot be read.
        """
        count = min(_LOOKED_AT, len(pictures))
        some = [pictures[place * len(pictures) // count] for place in range(count)]
        self._usual = np.zeros(len(self.categories))
        self._views.clear()
        found = [self._evidence(_small(read_image(picture.path))) for picture in some]
        self._usual = np.mean(found, axis=0)

    def open(self, picture: Picture) -> None:
        """Read a picture, so that a guess need not.

        Raises:
            GroundingError: it cannot be read.
        """
        self._view(picture)

    def guess(self, picture: Picture, bubbles: Sequence[Bubble]) -> Guess:
        """Guess what is in a picture of which these bubbles are seen.

        Args:
            bubbles: px of the picture.

        Raises:
            GroundingError: it cannot be read.
        """
        view = self._view(picture)
        if not self.categories:
            return Guess((), False)
        shares = _softmax(self._evidence(_revealed(view, picture, bubbles)))
        order = np.argsort(-shares, kind="stable")
        best = tuple((self.categories[place], float(shares[place])) for place in order[:SHOWN])
        if picture.category not in self.categories:
            return Guess(best, False)
        right = self.categories.index(picture.category)
        now, before = float(shares[right]), float(view.before[right])
        more = now * (1 - before) > _MORE * before * (1 - now)
        return Guess(best, more and int((shares > now).sum()) < self.top)

    def _view(self, picture: Picture) -> _View:
        view = self._views.pop(picture.name, None)
        if view is None:
            whole = _small(read_image(picture.path))
            hidden = _blurred(whole)
            view = _View(whole, hidden, _softmax(self._evidence(hidden)))
        self._views[picture.name] = view
        while len(self._views) > _KEPT:
            self._views.popitem(last=False)
        return view

    def _evidence(self, image: RgbImage) -> Evidence:
        if not self.categories:
            return np.zeros(0)
        with torch.inference_mode():
            pixels = self._classifier.preprocessing(image).to(self._device, self._classifier.dtype)
            logits = self._classifier.evidence(pixels)[1][0].double().cpu().numpy()  # (T,)
        return np.array([logits[outputs].max() for outputs in self._outputs]) - self._usual


def default_top(categories: int) -> int:
    """Among how many guesses the right one must be: one of five categories, and five at most."""
    return max(1, min(5, categories // 5))


def _tags(vocabulary: Vocabulary, category: str) -> tuple[str, ...]:
    """The tags that mean a category: those of its last word that has any."""
    words = category.lower().split()
    matches: Sequence[Match] = (vocabulary.lookup(category.lower()),)
    if len(words) > 1 and matches[0].reason not in _MEANT:
        matches = vocabulary.match(Phrase(category.lower(), 0, len(category), words[-1]))[-1:]
    return next((match.tags for match in matches if match.reason in _MEANT), ())


def _small(image: RgbImage) -> RgbImage:
    height, width = image.shape[:2]
    return _resized(image, min(1.0, _SIDE / max(height, width)), cv2.INTER_AREA)


def _blurred(image: RgbImage) -> RgbImage:
    height, width = image.shape[:2]
    tiny = _resized(image, min(1.0, _BLURRED / max(height, width)), cv2.INTER_AREA)
    return np.asarray(cv2.resize(tiny, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _resized(image: RgbImage, scale: float, how: int) -> RgbImage:
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _revealed(view: _View, picture: Picture, bubbles: Sequence[Bubble]) -> RgbImage:
    """(h, w, 3): the hidden picture with discs of the whole one."""
    height, width = view.whole.shape[:2]
    seen = np.zeros((height, width), np.uint8)
    radius = max(1, round(RADIUS * min(height, width)))
    for x, y, _ in bubbles:
        centre = math.floor(x * width / picture.width), math.floor(y * height / picture.height)
        cv2.circle(seen, centre, radius, 1, -1)
    return np.where(seen[..., None] > 0, view.whole, view.hidden)


def _softmax(values: Evidence) -> Evidence:
    if not len(values):
        return values
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum(), np.float64)
