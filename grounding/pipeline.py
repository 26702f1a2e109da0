"""From a picture and a caption to a region for every phrase: encode a picture once, ask about it many times."""

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from grounding.answering import check_threshold, ranked_regions, status_of
from grounding.asking import notes_of, vocabulary_of, with_prompt
from grounding.batches import encode_pictures
from grounding.boxes import Boxes
from grounding.config import METHOD, TOP_K, LocalizerConfig
from grounding.devices import usable_device
from grounding.errors import GroundingError, check_at_least_one
from grounding.grounded import GroundedPhrase, Region
from grounding.images import RgbImage, check_image, read_only
from grounding.locating import Picture, locate
from grounding.methods import Encoding, Method, encode, find_method, method_name
from grounding.regions.power import closeness
from grounding.regions.proposals import propose
from grounding.results import Grounding
from grounding.tagging.clip_classifier import Classifier, ClipClassifier
from grounding.tagging.presence import to_log_odds
from grounding.tagging.sources import load_classifier
from grounding.text.asked import check_caption, check_phrases
from grounding.text.context import PhraseContext, read_context
from grounding.text.people import BODY_PARTS
from grounding.text.phrases import Chunker, Phrase, find_phrases
from grounding.text.vocabulary import Match
from grounding.text.wholes import attribute_kind, whole_kind
from grounding.word_maps import WordMaps, make_together, tags_of
from grounding.wording import shortened


class Localizer:
    """A tag classifier with everything around it. Holds no state about pictures: `encode` returns it.

    Args:
        classifier: where the top-down signal of each word comes from. Its network is shared, or copied where it is on
            another device; either way it stays as it is.
        config: maps and regions.
        device: `cpu`, `cuda`, `mps` and so on, as PyTorch names them.
        method: what turns signals into word maps: a name of `grounding.methods.METHODS`, or a `Method` of your own.

    Raises:
        GroundingError: no classifier, an unknown or absent device, or an unknown method.
    """

    def __init__(
        self,
        classifier: Classifier,
        config: LocalizerConfig | None = None,
        device: str = "cpu",
        method: str | Method = METHOD,
    ) -> None:
        if not isinstance(classifier, Classifier):
            raise GroundingError(
                f"the classifier is a {type(classifier).__name__}: expected a TagClassifier; "
                "Localizer.from_pretrained takes its name or folder"
            )
        self.method = find_method(method) if isinstance(method, str) else method
        self.device = usable_device(device)
        self.config = config or LocalizerConfig()
        self.classifier = with_prompt(classifier, self.config.maps, self.method).to(self.device)
        self.chunker = Chunker.load()
        self.vocabulary = vocabulary_of(classifier)
        self.part_tags = tuple(tag for tag in classifier.tags if attribute_kind(tag) in ("clothing", "body"))

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "embedded",
        config: LocalizerConfig | None = None,
        device: str = "cpu",
        method: str | Method = METHOD,
        offline: bool = False,
    ) -> "Localizer":
        """Make a localizer with the classifier of a source.

        Args:
            source: `embedded`, a folder, a name on the hub, `torchvision:NAME`, `timm:NAME`, `hf:NAME` or `clip:NAME`:
                see `grounding.tagging.sources.load_classifier`.
            config: maps and regions.
            device: `cpu`, `cuda`, `mps` and so on, as PyTorch names them.
            method: what turns signals into word maps: a name of `grounding.methods.METHODS`, or a `Method` of your own.
            offline: download nothing.

        Raises:
            GroundingError: an unknown source, one that cannot be loaded, and what `Localizer` refuses.
        """
        return cls(load_classifier(source, offline), config, device, method)

    def phrases(self, caption: str, phrases: Sequence[str] | None = None) -> Sequence[Phrase]:
        """The noun phrases of a caption, or those that are given where it has them.

        Args:
            caption: a sentence, or a list of things such as `cat . dog`.
            phrases: texts, whose spans are where the caption has them.

        Returns:
            Each with its span in the caption, [start, end) characters, and its head noun.
        """
        return find_phrases(caption, phrases) if phrases else self.chunker.phrases(caption)

    def __repr__(self) -> str:
        return f"Localizer({shortened(self.classifier.name)}, method {method_name(self.method)}, on {self.device})"

    def encode(self, image: npt.NDArray[Any] | Image.Image | str | Path) -> "Scene":
        """Run one forward pass over a picture.

        Args:
            image: an array, a Pillow image or the path of a picture file, as `grounding.images.check_image` takes them.

        Raises:
            GroundingError: something that is no picture.
        """
        pixels = check_image(image)
        encoding = encode(self.classifier, self.classifier.preprocessing(pixels).to(self.device))
        return Scene(self, pixels, propose(pixels, self.config.regions), encoding)

    def encode_batch(
        self, images: Iterable[npt.NDArray[Any] | Image.Image | str | Path], at_once: int | None = None
    ) -> list["Scene"]:
        """Encode pictures of any sizes, several of them in one forward pass.

        Each scene is what `encode` gives, to the last bit where `at_once` is 1, and otherwise but for rounding. Scenes
        that were encoded together share one recorded forward pass, and keep it while one of them is kept: ask about
        them together, with `prepare_together` or `ground_batch`. One that is asked alone walks for all of them.

        Args:
            images: as `encode` takes them.
            at_once: pictures in a forward pass; by default as `batches.pictures_at_once` says: 1 on a processor.

        Returns:
            A scene for each picture, in order.

        Raises:
            GroundingError: something that is no picture, and which of them it is; `at_once` below 1.
        """
        encoded = encode_pictures(self.classifier, images, self.device, at_once)
        return [Scene(self, pixels, propose(pixels, self.config.regions), encoding) for pixels, encoding in encoded]

    def prepare_together(
        self, scenes: Sequence["Scene"], asked: Sequence[Iterable[tuple[str | None, Iterable[str] | None]]]
    ) -> None:
        """Make the word maps of all captions of each scene, in one walk for those that were encoded together.

        Grounding these captions then costs no walk.

        Args:
            scenes: encoded by this localizer.
            asked: for each scene, captions with phrases as `Scene.ground` takes them; it will say what is wrong there.
        """
        pairs = zip(scenes, asked, strict=True)
        make_together([(scene._word_maps, scene._wanted(captions)) for scene, captions in pairs])

    def ground_batch(
        self,
        asked: Iterable[tuple[npt.NDArray[Any] | Image.Image | str | Path, Sequence[str]]],
        top_k: int = TOP_K,
        threshold: float | None = None,
        at_once: int | None = None,
    ) -> list[list[Grounding]]:
        """Ground all captions of each of several pictures: `encode_batch`, one walk for all words, and `Scene.ground`.

        Args:
            asked: a picture and its captions, each.
            top_k: at most so many regions a phrase.
            threshold: a phrase with a lower presence is `absent`; by default `min_presence` of the configuration.
            at_once: pictures in a forward pass, as of `encode_batch`.

        Returns:
            For each picture, what was found of each caption.

        Raises:
            GroundingError: as `encode_batch` and `Scene.ground`; captions that are one text.
        """
        pairs = list(asked)
        for _, captions in pairs:
            if isinstance(captions, str):
                raise GroundingError(f"captions are the text '{captions[:60]}': expected a list of captions a picture")
        scenes = self.encode_batch([image for image, _ in pairs], at_once)
        self.prepare_together(scenes, [[(caption, None) for caption in captions] for _, captions in pairs])
        return [
            [scene.ground(caption, None, top_k, threshold) for caption in captions]
            for scene, (_, captions) in zip(scenes, pairs, strict=True)
        ]

    def __call__(
        self,
        image: npt.NDArray[Any] | Image.Image | str | Path,
        caption: str | None = None,
        phrases: Iterable[str] | None = None,
        top_k: int = TOP_K,
        threshold: float | None = None,
    ) -> Grounding:
        """Encode a picture and ground one caption in it: `encode` and `Scene.ground` in one.

        Args:
            image: as `encode` takes it.
            caption: a sentence; without one, the phrases by themselves.
            phrases: grounded exactly as given and in that order; by default the noun phrases of the caption.
            top_k: at most so many regions a phrase.
            threshold: a phrase with a lower presence is `absent`; by default `min_presence` of the configuration.

        Raises:
            GroundingError: as `encode` and `Scene.ground`.
        """
        return self.encode(image).ground(caption, phrases, top_k, threshold)


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
    _word_maps: WordMaps = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", read_only(self.image))
        object.__setattr__(self, "proposals", read_only(self.proposals))
        maps = WordMaps(self.encoding, self.localizer.method, self.localizer.config.maps)
        object.__setattr__(self, "_word_maps", maps)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        name = shortened(self.localizer.classifier.name)
        return f"Scene({width} x {height} px, {len(self.proposals):,} proposals, encoded by {name})"

    def under(self, localizer: Localizer) -> "Scene":
        """Return this picture under another localizer; what the two have in common is computed once.

        Args:
            localizer: of the same classifier, whose forward pass is then kept, or of another one.
        """
        if localizer.classifier is not self.encoding.classifier:
            return localizer.encode(self.image)
        ours, theirs = self.localizer.config.regions, localizer.config.regions
        equal = (ours.proposals, ours.windows) == (theirs.proposals, theirs.windows)
        proposals = self.proposals if equal else propose(self.image, theirs)
        scene = Scene(localizer, self.image, proposals, self.encoding)
        if (localizer.method, localizer.config.maps) == (self.localizer.method, self.localizer.config.maps):
            object.__setattr__(scene, "_word_maps", self._word_maps)
        return scene

    def tags(self, top: int = 5) -> list[tuple[str, float]]:
        """Return the most probable tags of the picture; a CLIP has none.

        Args:
            top: how many.

        Returns:
            Tags with their probabilities, from 0 to 1, best first.

        Raises:
            GroundingError: `top` below 1.
        """
        check_at_least_one("top", top)
        probabilities = self.encoding.probabilities
        best = probabilities.topk(min(top, len(probabilities)))
        names = self.localizer.classifier.tags
        return [(names[index], value) for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)]

    def ground(
        self,
        caption: str | None = None,
        phrases: Iterable[str] | None = None,
        top_k: int = TOP_K,
        threshold: float | None = None,
    ) -> Grounding:
        """Find the phrases of a caption.

        With a caption, and `context` of the configuration being `caption`, what it says of a phrase beside its own
        words counts: who wears what, which of two people, left and right. Otherwise each phrase is found by itself, and
        the others change nothing.

        Args:
            caption: a sentence; without one, the phrases by themselves.
            phrases: grounded exactly as given and in that order; by default the noun phrases of the caption.
            top_k: at most so many regions a phrase.
            threshold: a phrase with a lower presence is `absent`; by default `min_presence` of the configuration.

        Raises:
            GroundingError: neither caption nor phrases, empty ones, something else than texts, top_k below 1, or a
                threshold outside [0, 1].
        """
        start = time.perf_counter()
        check_at_least_one("top_k", top_k)
        phrases = None if phrases is None else check_phrases(phrases)
        in_context = caption is not None and self.localizer.config.context == "caption"
        caption = check_caption(caption, phrases)
        parts = self.localizer.phrases(caption, phrases)
        matches = [self.localizer.vocabulary.match(phrase) for phrase in parts]
        threshold = check_threshold(threshold, self.localizer.config, self.localizer.classifier)
        contexts = read_context(caption, parts) if in_context else None
        grounded = self._locate(parts, matches, contexts, top_k, threshold)
        time_s = time.perf_counter() - start
        classifier = self.localizer.classifier
        notes = notes_of(classifier, caption, phrases, matches)
        context: Literal["caption", "none"] = "caption" if in_context else "none"
        said = classifier.presence_source, threshold, context, notes
        return Grounding(self.image, caption, classifier.name, tuple(grounded), time_s, *said)

    def prepare(self, phrases: Iterable[str]) -> None:
        """Make the word maps of phrases at once: grounding them in several captions then costs a walk less each.

        Args:
            phrases: texts.
        """
        found = find_phrases("", check_phrases(phrases))
        self._word_maps.make(
            [*tags_of(map(self.localizer.vocabulary.match, found)), *((part,) for part in self._parts())]
        )

    def _wanted(self, asked: Iterable[tuple[str | None, Iterable[str] | None]]) -> list[tuple[str, ...]]:
        """The words whose maps `ground` will ask for; none of what it will refuse."""
        parts: list[Phrase] = []
        for caption, phrases in asked:
            with contextlib.suppress(GroundingError):
                given = None if phrases is None else check_phrases(phrases)
                parts += self.localizer.phrases(check_caption(caption, given), given)
        people = any(whole_kind(phrase.head) == "person" for phrase in parts)
        of_people = [(part,) for part in self._parts()] if people else []
        return [*tags_of(map(self.localizer.vocabulary.match, parts)), *of_people]

    def word_maps(self, tags: Sequence[str]) -> dict[str, Tensor]:
        """Make the word map of each tag.

        Args:
            tags: of the classifier.

        Returns:
            For each tag (h, w) float32, at least 0, on the CPU.
        """
        return {tag: map_.clone() for (tag,), map_ in self._word_maps.of((tag,) for tag in tags).items()}

    def presences(self, phrases: Sequence[str]) -> list[float | None]:
        """Say how probable it is that the picture shows each phrase, as `ground` does, without looking where.

        Args:
            phrases: texts.

        Returns:
            From 0 to 1 for each phrase, in order; None for one of which nothing is known.
        """
        found = find_phrases("", check_phrases(phrases))
        return self._presences(found, [self.localizer.vocabulary.match(phrase) for phrase in found])

    def _presences(self, phrases: Sequence[Phrase], matches: Sequence[tuple[Match, ...]]) -> list[float | None]:
        classifier = self.localizer.classifier
        if isinstance(classifier, ClipClassifier):
            return [
                *classifier.presences(
                    self.encoding.tape.outputs[1][self.encoding.row], [phrase.text for phrase in phrases]
                )
            ]
        log_odds = to_log_odds(self.encoding.probabilities)
        pairs = zip(phrases, matches, strict=True)
        return [classifier.presence(log_odds, words, phrase.head) for phrase, words in pairs]

    def _locate(
        self,
        phrases: Sequence[Phrase],
        matches: Sequence[tuple[Match, ...]],
        contexts: Sequence[PhraseContext] | None,
        top_k: int,
        threshold: float,
    ) -> list[GroundedPhrase]:
        """Find P phrases, given the tags of their words and what the caption says beside them."""
        if not phrases:
            return []
        config, (height, width) = self.localizer.config, self.image.shape[:2]
        parts = self._parts() if any(whole_kind(phrase.head) == "person" for phrase in phrases) else []
        with torch.autocast("cpu", enabled=False):  # the forward pass may have been in less than full precision
            self._word_maps.make([*tags_of(matches), *((part,) for part in parts)])  # in one walk
            maps, part_map = (
                self._word_maps.phrase_maps(phrases, matches, contexts is not None),
                self._word_maps.part_map(parts),
            )
            picture = Picture(self.proposals, height, width, self.closeness(), part_map)
            located = locate(picture, phrases, maps, contexts, config)
        presences = self._presences(phrases, matches)
        grounded = []
        for row, (phrase, words, presence) in enumerate(zip(phrases, matches, presences, strict=True)):
            point, boxes = located.points[row], tuple[Region, ...]()
            if point is not None:
                point = (point[0] * width, point[1] * height)
                boxes = ranked_regions(located.scores[row], self.proposals, presence, top_k, config.regions)
            arrays = located.box_maps[row].numpy(), located.point_maps[row].numpy()
            status = status_of(phrase, words, presence is not None and presence < threshold, point, boxes)
            grounded.append(GroundedPhrase(phrase, status, presence, words, point, boxes, *arrays, (height, width)))
        return grounded

    def _parts(self) -> list[str]:
        """The tags that say where people end; none where tags exclude each other, or people are not made whole."""
        localizer = self.localizer
        wanted = localizer.classifier.multi_label and localizer.config.wholes.amount > 0
        return self._word_maps.most_probable(localizer.part_tags) if wanted else []

    def closeness(self) -> float | None:
        """Say how close the photograph is taken; None where tags exclude each other, or name no body parts."""
        classifier = self.localizer.classifier
        if not classifier.multi_label:
            return None
        log_odds = self.encoding.probabilities.logit(1e-6).tolist()
        return closeness({tag: log_odds[index] for tag, index in classifier.indices.items()}, BODY_PARTS)
