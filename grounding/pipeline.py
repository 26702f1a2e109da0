"""From a picture and a caption to a region for every phrase: encode a picture once, ask about it many times."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from grounding.attention import Tape, contrastive_mwp, record
from grounding.attention.maps import normalize, peak, phrase_map, smooth, upsample
from grounding.boxes import Boxes
from grounding.config import LocalizerConfig
from grounding.errors import GroundingError
from grounding.images import RgbImage, check_image
from grounding.regions.proposals import propose
from grounding.regions.scoring import best_boxes, score_boxes
from grounding.results import GroundedPhrase, Grounding, Region, Status
from grounding.tagging.classifier import TagClassifier
from grounding.tagging.sources import load_classifier
from grounding.text.phrases import Chunker, Phrase, find_phrases
from grounding.text.vocabulary import Match, Vocabulary

_SIGNALS_AT_ONCE = 32  # bounds memory for captions with very many words


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
    """One encoded picture: the recorded forward pass and the candidate boxes. Never changes."""

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
        self._proposals: Boxes = propose(image, localizer.config.regions)

    def tags(self, top: int = 5) -> list[tuple[str, float]]:
        """The most probable tags of the picture, best first, with their probabilities."""
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
        if phrases is not None:
            found = find_phrases(caption, phrases)
        elif caption.strip():
            found = self.localizer.chunker.phrases(caption)
        else:
            raise GroundingError("the caption is empty: expected a sentence such as 'a man in a red hat'")
        matches = [self.localizer.vocabulary.match(phrase) for phrase in found]
        word_maps = self._word_maps(sorted({match.tag for words in matches for match in words if match.tag}))
        grounded = [self._locate(phrase, words, word_maps, top_k) for phrase, words in zip(found, matches, strict=True)]
        share_s = (time.perf_counter() - start) / max(1, len(grounded))
        timed = tuple(replace(phrase, time_s=share_s) for phrase in grounded)
        return Grounding(self.image, caption, self.localizer.classifier.name, timed)

    def _word_maps(self, tags: Sequence[str]) -> dict[str, Tensor]:
        """The (h, w) word map of each tag."""
        config, maps = self.localizer.config.maps, {}
        for first in range(0, len(tags), _SIGNALS_AT_ONCE):
            group = tags[first : first + _SIGNALS_AT_ONCE]
            signals = torch.zeros(len(group), len(self.localizer.classifier.tags), device=self.localizer.device)
            for row, tag in enumerate(group):
                signals[row, self.localizer.tag_indices[tag]] = 1.0
            walked = contrastive_mwp(self._tape, signals, stride=config.stride, residual=config.residual)
            maps.update(zip(group, walked.sum(2).clamp(min=0)[:, 0].cpu(), strict=True))  # (K, h, w)
        return maps

    def _locate(
        self, phrase: Phrase, words: tuple[Match, ...], word_maps: dict[str, Tensor], top_k: int
    ) -> GroundedPhrase:
        config = self.localizer.config
        side = config.maps.resolution
        known = [match for match in words if match.tag is not None]
        status: Status = "localized"
        if known:
            weights = torch.tensor([match.weight for match in known])
            coarse = phrase_map(torch.stack([word_maps[match.tag] for match in known if match.tag]), weights)
            fine = upsample(coarse[None], side, side)[0]
        else:
            status, fine = "out-of-vocabulary", torch.ones(side, side)
        grid = normalize(smooth(fine, config.maps.box_smoothing * side))
        point, regions = None, ()
        if not bool(grid.any()):
            status = "empty-map"
        else:
            point = self._point(fine)
            regions = self._regions(grid.numpy(), top_k)
            if not regions:
                status = "no-proposals"
        return GroundedPhrase(phrase, status, words, point, regions, grid.numpy(), self.image.shape[:2], 0.0)

    def _point(self, fine: Tensor) -> tuple[float, float]:
        """(x, y) in picture pixels where the widely smoothed map, times the centre prior, is highest."""
        config, side = self.localizer.config.maps, len(fine)
        wide = smooth(fine, config.point_smoothing * side)
        if config.centre_prior > 0:
            offset = (torch.arange(side) + 0.5) / side - 0.5
            bell = torch.exp(-0.5 * (offset / config.centre_prior) ** 2)
            wide = wide * bell[:, None] * bell
        x, y = peak(wide)
        height, width = self.image.shape[:2]
        return x * width / side, y * height / side

    def _regions(self, grid: npt.NDArray[np.float32], top_k: int) -> tuple[Region, ...]:
        if not len(self._proposals):
            return ()
        height, width = self.image.shape[:2]
        config = self.localizer.config.regions
        scores = score_boxes(grid[None], self._proposals, height, width, config.gamma)[0]
        best = best_boxes(scores, self._proposals, top_k, config.nms_iou)
        return tuple(Region(*map(float, self._proposals[index]), float(scores[index])) for index in best)
