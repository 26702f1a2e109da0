"""From a picture and a caption to a region for every phrase: encode a picture once, ask about it many times."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from grounding.boxes import Boxes
from grounding.config import METHOD, TOP_K, LocalizerConfig
from grounding.devices import usable_device
from grounding.errors import GroundingError, check_at_least_one
from grounding.grounded import GroundedPhrase, Region, Status
from grounding.images import RgbImage, check_image, read_only
from grounding.methods import Encoding, Method, encode, find_method
from grounding.regions.maps import centre_prior, normalize, peak, phrase_map, smooth, upsample
from grounding.regions.power import area_powers, closeness
from grounding.regions.proposals import propose
from grounding.regions.scoring import best_boxes, in_turns, score_boxes
from grounding.results import Grounding
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.sources import load_classifier
from grounding.text.captions import as_read
from grounding.text.language import reading_notes
from grounding.text.people import BODY_PARTS, names_people
from grounding.text.phrases import Chunker, Phrase, find_phrases
from grounding.text.vocabulary import Match, Vocabulary

_AT_ONCE = 16  # words or phrases: bounds the memory that a very long caption takes


class Localizer:
    """A tag classifier with everything around it. Holds no state about pictures: `encode` returns it.

    Args:
        classifier: where the top-down signal of each word comes from. Its network is shared, or copied where it is on
            another device; either way it stays as it is.
        config: maps and regions.
        device: `cpu`, `cuda`, `mps` and so on, as PyTorch names them.
        method: what turns signals into word maps: a name of `grounding.methods.METHODS`, or a `Method` of your own.

    Raises:
        GroundingError: an unknown or absent device, or an unknown method.
    """

    def __init__(
        self,
        classifier: TagClassifier,
        config: LocalizerConfig | None = None,
        device: str = "cpu",
        method: str | Method = METHOD,
    ) -> None:
        self.method = find_method(method) if isinstance(method, str) else method
        self.device = usable_device(device)
        self.classifier = classifier.to(self.device)
        self.config = config or LocalizerConfig()
        self.chunker = Chunker.load()
        self.vocabulary = Vocabulary(classifier.tags)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "embedded",
        config: LocalizerConfig | None = None,
        device: str = "cpu",
        method: str | Method = METHOD,
    ) -> "Localizer":
        """Make a localizer with the classifier of this source: `embedded`, a folder, or `torchvision:NAME`."""
        return cls(load_classifier(source), config, device, method)

    def encode(self, image: RgbImage | Image.Image) -> "Scene":
        """Run one forward pass over a picture.

        Args:
            image: (H, W, 3) or (H, W) uint8, or a Pillow image.

        Raises:
            GroundingError: something that is no picture.
        """
        pixels = check_image(image)
        encoding = encode(self.classifier, self.classifier.preprocessing(pixels).to(self.device))
        return Scene(self, pixels, propose(pixels, self.config.regions), encoding)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One encoded picture. Never changes: its arrays cannot be written to.

    Attributes:
        localizer: which encoded it.
        image: (H, W, 3) uint8.
        proposals: (N, 4) float32 candidate boxes in px, the same for every phrase.
        encoding: what the classifier made of the picture.
    """

    localizer: Localizer = field(repr=False)
    image: RgbImage = field(repr=False)
    proposals: Boxes = field(repr=False)
    encoding: Encoding

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", read_only(self.image))
        object.__setattr__(self, "proposals", read_only(self.proposals))

    def under(self, localizer: Localizer) -> "Scene":
        """Return this picture under another localizer; the same classifier shares the forward pass."""
        if localizer.classifier is not self.encoding.classifier:
            return localizer.encode(self.image)
        ours, theirs = self.localizer.config.regions, localizer.config.regions
        equal = (ours.proposals, ours.windows) == (theirs.proposals, theirs.windows)
        proposals = self.proposals if equal else propose(self.image, theirs)
        return Scene(localizer, self.image, proposals, self.encoding)

    def tags(self, top: int = 5) -> list[tuple[str, float]]:
        """Return the most probable tags of the picture, best first, with their probabilities."""
        check_at_least_one("top", top)
        probabilities = self.encoding.probabilities
        best = probabilities.topk(min(top, len(probabilities)))
        names = self.localizer.classifier.tags
        return [(names[index], value) for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)]

    def ground(self, caption: str | None = None, phrases: Sequence[str] | None = None, top_k: int = TOP_K) -> Grounding:
        """Find the phrases of a caption. Each phrase is found by itself: the others change nothing.

        Args:
            caption: a sentence; without one, the phrases divided by commas.
            phrases: grounded exactly as given and in that order; by default the noun phrases of the caption.
            top_k: at most so many regions a phrase.

        Raises:
            GroundingError: no caption, an empty one, a blank phrase, or top_k below 1.
        """
        start = time.perf_counter()
        check_at_least_one("top_k", top_k)
        if isinstance(phrases, str):
            raise GroundingError(f"phrases are the text {phrases!r}: expected a list of texts")
        caption = ", ".join(phrases or ()) if caption is None else caption
        parts = self._phrases(caption, phrases)
        matches = [self.localizer.vocabulary.match(phrase) for phrase in parts]
        word_maps = self.word_maps(sorted({match.tag for words in matches for match in words if match.tag}))
        grounded: list[GroundedPhrase] = []
        for first in range(0, len(parts), _AT_ONCE):
            group = slice(first, first + _AT_ONCE)
            grounded += self._locate(parts[group], matches[group], word_maps, top_k)
        time_s = time.perf_counter() - start
        known = {match.word.lower() for words in matches for match in words if match.tag}
        notes = reading_notes(caption if phrases is None else " . ".join(phrases), known)
        return Grounding(self.image, caption, self.localizer.classifier.name, tuple(grounded), time_s, notes)

    def word_maps(self, tags: Sequence[str]) -> dict[str, Tensor]:
        """Make the (h, w) word map of each tag: float, at least 0, on the CPU."""
        localizer = self.localizer
        maps: dict[str, Tensor] = {}
        for first in range(0, len(tags), _AT_ONCE):
            group = tags[first : first + _AT_ONCE]
            signals = localizer.classifier.signals(group)  # (K, T)
            stack = localizer.method(self.encoding, signals, localizer.config.maps)  # (K, h, w)
            maps.update(zip(group, stack.cpu(), strict=True))
        return maps

    def _phrases(self, caption: str, phrases: Sequence[str] | None) -> tuple[Phrase, ...]:
        """The given phrases with their places in the caption, or else its noun phrases."""
        if phrases is not None:
            return find_phrases(caption, phrases)
        if not as_read(caption):
            raise GroundingError("the caption is empty: expected a sentence such as 'a man in a red hat', or phrases")
        return self.localizer.chunker.phrases(caption)

    def _locate(
        self,
        phrases: Sequence[Phrase],
        matches: Sequence[tuple[Match, ...]],
        word_maps: dict[str, Tensor],
        top_k: int,
    ) -> list[GroundedPhrase]:
        """Find P phrases, given the tags of their words and the map of each tag: boxes are scored for all at once."""
        maps, regions = self.localizer.config.maps, self.localizer.config.regions
        height, width = self.image.shape[:2]
        side = maps.resolution
        fine = torch.stack([self._phrase_map(*asked, word_maps) for asked in zip(phrases, matches, strict=True)])
        for_boxes = normalize(smooth(fine, maps.box_smoothing * side))
        for_points = normalize(smooth(fine, maps.point_smoothing * side) * centre_prior(side, maps.centre_prior))
        people = [names_people(phrase.head) for phrase in phrases]
        powers = area_powers(for_boxes.numpy(), people, self._closeness(), regions)  # (rankings, P)
        scores = score_boxes(for_boxes.numpy(), self.proposals, height, width, powers)  # (rankings, P, N)
        located = []
        for row, (phrase, words) in enumerate(zip(phrases, matches, strict=True)):
            point, boxes = None, tuple[Region, ...]()
            if for_boxes[row].any():
                x, y = peak(for_points[row])
                point = (x * width / side, y * height / side)
                boxes = self._regions(scores[:, row], top_k)
            arrays = for_boxes[row].numpy(), for_points[row].numpy()
            status = _status(phrase, words, point, boxes)
            located.append(GroundedPhrase(phrase, status, words, point, boxes, *arrays, (height, width)))
        return located

    def _phrase_map(self, phrase: Phrase, words: tuple[Match, ...], word_maps: dict[str, Tensor]) -> Tensor:
        """(side, side), at least 0; uniform for a phrase without any known word, 0 for one that is not there."""
        side = self.localizer.config.maps.resolution
        if phrase.negated:
            return torch.zeros(side, side)
        known = [(word_maps[match.tag], match.weight) for match in words if match.tag]
        if not known:
            return torch.ones(side, side)
        maps, weights = zip(*known, strict=True)
        return upsample(phrase_map(torch.stack(maps), torch.tensor(weights)), side, side)

    def _regions(self, scores: npt.NDArray[np.float32], top_k: int) -> tuple[Region, ...]:
        """The best proposals by the scores of a phrase, (rankings, N): one ranking for each entry of `regions.turns`.

        The result shows the scores of the first ranking.
        """
        proposals, nms_iou = self.proposals, self.localizer.config.regions.nms_iou
        rankings = [best_boxes(row, proposals, len(proposals), nms_iou) for row in scores]
        best = in_turns(rankings, proposals, top_k, nms_iou)
        shown = np.minimum.accumulate(scores[0, best])  # no region's is above that of the one before it
        boxes = np.column_stack([proposals[best], shown])  # (at most top_k, 5)
        return tuple(Region(*row) for row in boxes.tolist())

    def _closeness(self) -> float | None:
        """How close the photograph is taken; None where tags exclude each other, or name no body parts."""
        classifier = self.localizer.classifier
        if not classifier.multi_label:
            return None
        log_odds = self.encoding.probabilities.logit(1e-6).tolist()
        return closeness({tag: log_odds[index] for tag, index in classifier.indices.items()}, BODY_PARTS)


def _status(
    phrase: Phrase, words: Sequence[Match], point: tuple[float, float] | None, regions: Sequence[Region]
) -> Status:
    """What became of a phrase, as `GroundedPhrase` says."""
    if phrase.negated:
        return "absent"
    if not any(match.tag for match in words):
        return "out-of-vocabulary"
    if point is None:
        return "empty-map"
    return "localized" if regions else "no-proposals"
