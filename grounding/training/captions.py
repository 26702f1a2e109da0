"""Captions to what is learnt from them: the tags, and the target of each tag for each picture."""

import hashlib
import json
from dataclasses import dataclass

import torch
from torch import Tensor

from grounding.datasets.columns import TableOptions
from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.text.tags import build_tags, tag_targets
from grounding.text.tokens import stem
from grounding.training.config import TrainConfig
from grounding.wording import counted

_SHOWN = 10  # tags in the summary


@dataclass(frozen=True, slots=True, eq=False)
class Captioned:
    """Pictures with the tags and targets of their captions.

    Attributes:
        targets: (N, T) uint8, twice the target of each tag: 0, 1 or 2.
        fingerprint: of the names of the pictures and of the captions.
    """

    images: CaptionedImages
    tags: tuple[str, ...]
    targets: Tensor
    fingerprint: str

    @property
    def shares(self) -> Tensor:
        """(T,) float32, the mean target of each tag."""
        return self.targets.sum(0) / (2 * len(self.targets))

    @property
    def summary(self) -> str:
        """A line for people: how many pictures, what was left out and why, the most frequent tags."""
        sentences = sum(map(len, self.images.captions))
        text = f"{counted(len(self.images), 'picture')} with {counted(sentences, 'caption')}"
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in self.images.skipped.items() if count)
        text += f" (left out: {left_out})" if left_out else ""
        shown = ", ".join(self.tags[:_SHOWN]) + ", ..." * (len(self.tags) > _SHOWN)
        return f"{text}; {counted(len(self.tags), 'tag')}: {shown}"


def read_captions(config: TrainConfig) -> Captioned:
    """Read all captions and choose the tags.

    Raises:
        GroundingError: no sources, no usable picture, or captions with fewer different words than tags asked for.
    """
    if not config.data.sources:
        raise GroundingError("data.sources is empty: expected webdataset tars, tables or folders of captioned pictures")
    data = config.data
    options = TableOptions(data.image_column, data.caption_column, "", data.delimiter, data.image_folder)
    images = CaptionedImages(data.sources, options)
    tags = build_tags((caption for captions in images.captions for caption in captions), config.tags)
    tag_of_stem = {stem(tag): index for index, tag in enumerate(tags)}
    targets = torch.zeros(len(images), len(tags), dtype=torch.uint8)
    for row, captions in enumerate(images.captions):
        for tag, target in tag_targets(captions, tag_of_stem):
            targets[row, tag] = round(2 * target)
    digest = hashlib.sha256(json.dumps([images.ids, images.captions]).encode()).hexdigest()
    return Captioned(images, tuple(tags), targets, f"{len(images)} pictures, {digest[:16]}")
