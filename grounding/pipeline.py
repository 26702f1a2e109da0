"""From a picture and a caption to a region for every phrase: encode a picture once, ask about it many times."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from grounding.attention import Tape, contrastive_mwp, record
from grounding.boxes import Boxes
from grounding.config import LocalizerConfig
from grounding.errors import GroundingError
from grounding.images import RgbImage, check_image
from grounding.regions.maps import normalize, peak, phrase_map, smooth, upsample
from grounding.regions.power import area_powers, closeness
from grounding.regions.proposals import propose
from grounding.regions.scoring import best_boxes, in_turns, score_boxes
from grounding.results import GroundedPhrase, Grounding, Region, Status
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.sources import load_classifier
from grounding.text.phrases import Chunker, Phrase, find_phrases
from grounding.text.vocabulary import Match, Vocabulary

_AT_ONCE = 16  # words or phrases: bounds the memory that a very long caption takes


class Localizer:
    """A tag classifier with everything around it. Holds no state about pictures: `encode` returns it.

    Args:
        classifier: where the top-down signal of each word comes from.
        config: maps and regions.
        device: `cpu`, `cuda`, `mps` and so on, as PyTorch names them.

    Raises:
        GroundingError: an unknown or absent device.
    """

    def __init__(self, classifier: TagClassifier, config: LocalizerConfig | None = None, device: str = "cpu") -> None:
        try:
            self.device = torch.device(device)
            torch.zeros(1, device=self.device).cpu()
            classifier.network.to(self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise GroundingError(f"device '{device}' cannot be used: {reason}") from error
        self.classifier = classifier
        self.config = config or LocalizerConfig()
        self.chunker = Chunker.load()
        self.vocabulary = Vocabulary(classifier.tags)
        self.tag_indices = {tag: index for index, tag in reversed(list(enumerate(classifier.tags)))}

    @classmethod
    def from_pretrained(
        cls, source: str | Path = "embedded", config: LocalizerConfig | None = None, device: str = "cpu"
    ) -> "Localizer":
        """A localizer with the classifier of this source: `embedded`, a folder, or `torchvision:NAME`."""
        return cls(load_classifier(source), config, device)

    def encode(self, image: RgbImage | Image.Image) -> "Scene":
        """One forward pass over a picture.

        Args:
            image: (H, W, 3) or (H, W) uint8, or a Pillow image.

        Raises:
            GroundingError: something that is no picture.
        """
        return Scene(self, check_image(image))


class Scene:
    """One encoded picture: the recorded forward pass and the candidate boxes. Never changes.

    Attributes:
        image: (H, W, 3) uint8.
        proposals: (N, 4) float32 candidate boxes in px, the same for every phrase.
    """

    def __init__(self, localizer: Localizer, image: RgbImage) -> None:
        self.localizer, self.image = localizer, image
        classifier = localizer.classifier
        logits: list[Tensor] = []

        def forward(images: Tensor) -> Tensor:
            scores, pooled = classifier.evidence(images)
            logits.append(pooled)
            return scores

        self._tape: Tape = record(forward, classifier.preprocessing(image).to(localizer.device))
        self._probabilities = classifier.probabilities(logits[0])[0].cpu()
        self.proposals: Boxes = propose(image, localizer.config.regions)

    def tags(self, top: int = 5) -> list[tuple[str, float]]:
        """The most probable tags of the picture, best first, with their probabilities."""
        if top < 1:
            raise GroundingError(f"top is {top}: expected at least 1 tag")
        best = self._probabilities.topk(min(top, len(self._probabilities)))
        names = self.localizer.classifier.tags
        return [(names[index], value) for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)]

    def ground(self, caption: str, phrases: Sequence[str] | None = None, top_k: int = 10) -> Grounding:
        """Find the phrases of a caption. Each phrase is found by itself: the others change nothing.

        Args:
            caption: a sentence.
            phrases: grounded exactly as given and in that order; by default the noun phrases of the caption.
            top_k: at most so many regions a phrase.

        Raises:
            GroundingError: an empty caption, a blank phrase, or top_k below 1.
        """
        start = time.perf_counter()
        if top_k < 1:
            raise GroundingError(f"top_k is {top_k}: expected at least 1 region a phrase")
        if isinstance(phrases, str):
            raise GroundingError(f"phrases are the text {phrases!r}: expected a list of texts")
        if phrases is not None:
            found = find_phrases(caption, phrases)
        elif caption.strip():
            found = self.localizer.chunker.phrases(caption)
        else:
            raise GroundingError("the caption is empty: expected a sentence such as 'a man in a red hat'")
        matches = [self.localizer.vocabulary.match(phrase) for phrase in found]
        word_maps = self._word_maps(sorted({match.tag for words in matches for match in words if match.tag}))
        grounded: list[GroundedPhrase] = []
        for first in range(0, len(found), _AT_ONCE):
            group = slice(first, first + _AT_ONCE)
            grounded += self._locate(found[group], matches[group], word_maps, top_k)
        share_s = (time.perf_counter() - start) / max(1, len(grounded))
        timed = tuple(replace(phrase, time_s=share_s) for phrase in grounded)
        return Grounding(self.image, caption, self.localizer.classifier.name, timed)

    def _word_maps(self, tags: Sequence[str]) -> dict[str, Tensor]:
        """The (h, w) word map of each tag."""
        config, indices = self.localizer.config.maps, self.localizer.tag_indices
        layer = self.localizer.classifier.map_layer if config.stride is None else None
        maps: dict[str, Tensor] = {}
        for first in range(0, len(tags), _AT_ONCE):
            group = tags[first : first + _AT_ONCE]
            signals = torch.zeros(len(group), len(self.localizer.classifier.tags), device=self.localizer.device)
            signals[range(len(group)), [indices[tag] for tag in group]] = 1.0
            stride = None if layer is not None else config.stride or 16
            found = contrastive_mwp(self._tape, signals, layer=layer, stride=stride, residual=config.residual)
            maps.update(zip(group, found[0].clamp(min=0).cpu(), strict=True))  # (K, h, w)
        return maps

    def _locate(
        self,
        phrases: Sequence[Phrase],
        matches: Sequence[tuple[Match, ...]],
        word_maps: dict[str, Tensor],
        top_k: int,
    ) -> list[GroundedPhrase]:
        maps, regions = self.localizer.config.maps, self.localizer.config.regions
        height, width = self.image.shape[:2]
        side = maps.resolution
        fine = torch.stack([self._phrase_map(words, word_maps) for words in matches])  # (P, side, side)
        grids = normalize(smooth(fine, maps.box_smoothing * side))
        wide = normalize(smooth(fine, maps.point_smoothing * side) * centre_prior(side, maps.centre_prior))
        gammas = area_powers(grids.numpy(), [phrase.head for phrase in phrases], self._closeness(), regions)
        turns = score_boxes(grids.numpy(), self.proposals, height, width, gammas)  # (turns, P, N)
        located = []
        for row, (phrase, words) in enumerate(zip(phrases, matches, strict=True)):
            known, filled = any(match.tag for match in words), bool(grids[row].any())
            point, best = None, np.zeros(0, np.intp)
            if filled:
                x, y = peak(wide[row])
                point = (x * width / side, y * height / side)
                ranked = [
                    best_boxes(scores[row], self.proposals, len(self.proposals), regions.nms_iou) for scores in turns
                ]
                best = in_turns(ranked, self.proposals, top_k, regions.nms_iou)
            status: Status = "localized"
            if not known:
                status = "out-of-vocabulary"
            elif not filled:
                status = "empty-map"
            elif not len(best):
                status = "no-proposals"
            scores = np.minimum.accumulate(turns[0][row, best])  # no region's is above that of the one before it
            chosen = tuple(
                Region(*map(float, (*self.proposals[index], score))) for index, score in zip(best, scores, strict=True)
            )
            arrays = grids[row].numpy(), wide[row].numpy()
            located.append(GroundedPhrase(phrase, status, words, point, chosen, *arrays, (height, width), time_s=0.0))
        return located

    def _closeness(self) -> float | None:
        if not self.localizer.classifier.multi_label:
            return None
        log_odds = self._probabilities.logit(1e-6).tolist()
        return closeness({tag: log_odds[index] for tag, index in self.localizer.tag_indices.items()})

    def _phrase_map(self, words: tuple[Match, ...], word_maps: dict[str, Tensor]) -> Tensor:
        """(side, side), at least 0; uniform for a phrase without any known word."""
        side = self.localizer.config.maps.resolution
        known = [(word_maps[match.tag], match.weight) for match in words if match.tag]
        if not known:
            return torch.ones(side, side)
        maps, weights = zip(*known, strict=True)
        return upsample(phrase_map(torch.stack(maps), torch.tensor(weights)), side, side)


def centre_prior(side: int, width: float) -> Tensor:
    """(side, side) Gaussian bell round the centre, 1 at its top, `width` in sides; all ones for a width of 0."""
    if width == 0:
        return torch.ones(side, side)
    offset = (torch.arange(side) + 0.5) / side - 0.5
    bell = torch.exp(-0.5 * (offset / width) ** 2)
    return bell[:, None] * bell
