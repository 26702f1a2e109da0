"""Captions or labels to what is learnt from them: the tags, and the target of each tag for each picture."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grounding.datasets.columns import TableOptions
from grounding.datasets.webimages import CaptionedImages
from grounding.errors import GroundingError
from grounding.text.tags import build_tags, label_tags, tag_of_label, tag_targets
from grounding.text.tokens import stem
from grounding.training.config import DEFAULT_TAGS, TrainConfig
from grounding.wording import counted

_SHOWN = 10  # tags in the summary


@dataclass(frozen=True, slots=True, eq=False)
class Captioned:
    """Pictures with the tags and targets of their captions or labels.

    Attributes:
        images: their `captions` are the labels where labels are learnt.
        targets: (N, T) uint8, twice the target of each tag: 0, 1 or 2.
        fingerprint: of the names of the pictures and of the captions.
    """

    images: CaptionedImages
    tags: tuple[str, ...]
    targets: Tensor
    fingerprint: str
    unit: str = "caption"  # what a text of `images.captions` is called

    @property
    def shares(self) -> Tensor:
        """(T,) float32, the mean target of each tag."""
        return self.targets.sum(0) / (2 * len(self.targets))

    @property
    def summary(self) -> str:
        """A line for people: how many pictures, what was left out and why, the most frequent tags."""
        texts = sum(map(len, self.images.captions))
        text = f"{counted(len(self.images), 'picture')} with {counted(texts, self.unit)}"
        left_out = ", ".join(
            f"{count:,} {reason.replace('caption', self.unit)}"
            for reason, count in self.images.skipped.items()
            if count
        )
        text += f" (left out: {left_out})" if left_out else ""
        shown = ", ".join(self.tags[:_SHOWN]) + ", ..." * (len(self.tags) > _SHOWN)
        return f"{text}; {counted(len(self.tags), 'tag')}: {shown}"


def read_captions(config: TrainConfig) -> Captioned:
    """Read all captions, or all labels, and choose the tags.

    Raises:
        GroundingError: no sources, no usable picture, captions with fewer different words than tags asked for, or
            labels that are empty or of which there are not as many different ones as `tags` says.
    """
    if not config.data.sources:
        raise GroundingError("data.sources is empty: expected webdataset tars, tables or folders of captioned pictures")
    data = config.data
    column = data.label_column or data.caption_column
    options = TableOptions(data.image_column, column, "", data.delimiter, data.image_folder)
    images = CaptionedImages(data.sources, options)
    tags, found = _of_labels(images, config.tags) if data.label_column else _of_captions(images, config.tags)
    targets = torch.zeros(len(images), len(tags), dtype=torch.uint8)
    for row, pairs in enumerate(found):
        for tag, target in pairs:
            targets[row, tag] = round(2 * target)
    digest = hashlib.sha256(json.dumps([images.ids, images.captions]).encode()).hexdigest()
    fingerprint = f"{len(images)} pictures, {digest[:16]}"
    return Captioned(images, tuple(tags), targets, fingerprint, "label" if data.label_column else "caption")


_Targets = Iterable[Sequence[tuple[int, float]]]  # of each picture, the (tag, target) pairs above 0


def _of_captions(images: CaptionedImages, size: int | None) -> tuple[list[str], _Targets]:
    tags = build_tags((caption for captions in images.captions for caption in captions), size or DEFAULT_TAGS)
    tag_of_stem = {stem(tag): index for index, tag in enumerate(tags)}
    return tags, (tag_targets(captions, tag_of_stem) for captions in images.captions)


def _of_labels(images: CaptionedImages, size: int | None) -> tuple[list[str], _Targets]:
    if empty := images.skipped.get("empty caption"):
        raise GroundingError(
            f"{counted(empty, 'label')} {'is' if empty == 1 else 'are'} empty: expected a name, or for a picture "
            "without one an empty list or no row"
        )
    tags = label_tags(label for labels in images.captions for label in labels)
    if size not in (None, len(tags)):
        raise GroundingError(
            f"tags is {size} where the pictures have {counted(len(tags), 'different label')}: each label is a tag, so "
            f"set tags to {len(tags)} or to none"
        )
    place = {tag: index for index, tag in enumerate(tags)}
    return tags, ([(place[tag], 1.0) for tag in set(map(tag_of_label, labels))] for labels in images.captions)
