"""The word maps of one picture, each made when it is first asked for, and what they add up to."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from grounding.config import MapConfig
from grounding.methods import Encoding, Method, less, maps_together
from grounding.regions.maps import normalize, phrase_map, upsample
from grounding.regions.wholes import part_map
from grounding.tagging.clip_classifier import ClipClassifier
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match

_AT_ONCE = 48  # words: bounds the memory that a very long caption takes
_MOST_PARTS = 24  # tags of clothes and body parts of a picture that are looked for


class WordMaps:
    """Word maps by the tags of a word: (h, w) float32, at least 0, on the CPU. Those that were asked for are kept.

    Args:
        encoding: the picture.
        method: makes the maps.
        config: where and how they are read, and the resolution of what they add up to.
    """

    def __init__(self, encoding: Encoding, method: Method, config: MapConfig) -> None:
        self._encoding, self._method, self._config = encoding, method, config
        self._maps: dict[tuple[str, ...], Tensor] = {}
        self._mean_background: Tensor | None = None

    def of(self, words: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
        """The map of each word, given its tags, in their order."""
        words = list(dict.fromkeys(words))
        self.make(words)
        return {word: self._contrasted(word, ()) for word in words}

    def make(self, words: Iterable[tuple[str, ...]]) -> None:
        """Make the maps of words at once, for those that ask later."""
        make_together([(self, words)])

    def missing(self, words: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Those of the words whose maps have not been made, each once, in their order."""
        return [word for word in dict.fromkeys(words) if word not in self._maps]

    def phrase_maps(
        self, phrases: Sequence[Phrase], matches: Sequence[tuple[Match, ...]], together: bool = False
    ) -> Tensor:
        """The maps of phrases, given the tags of their words: (P, side, side), at least 0.

        Uniform for a phrase without any known word, 0 for one that is not there.

        Args:
            together: whether they are of one caption, whose other phrases count where `contrast` is `phrases`.
        """
        side = self._config.resolution
        self.make(tags_of(matches))
        shown = [words for phrase, words in zip(phrases, matches, strict=True) if not phrase.negated]
        others = tags_of(shown) if together and self._config.contrast == "phrases" else []
        maps = [self._phrase_map(*asked, others) for asked in zip(phrases, matches, strict=True)]
        return torch.stack(maps) if maps else torch.zeros(0, side, side, dtype=torch.float32)

    def _contrasted(self, word: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> Tensor:
        """The map of a word; with another contrast than `dual`, what is above 0 of it less the mean of other maps.

        All are first made shares of what gets to the places: max(0, n(M) - mean n(M')), n(M) = M / sum(M).


        Args:
            others: the words, this one among them, whose maps are taken away; without any, those of the background.
        """
        if self._config.contrast == "dual":
            return self._maps[word]
        taken = [normalize(self._maps[other]) for other in others if other != word]
        return less(self._maps[word], torch.stack(taken).mean(0) if taken else self._background())

    def _background(self) -> Tensor:
        """The mean map of what any picture shows: (h, w)."""
        if self._mean_background is None:
            classifier = self._encoding.classifier
            assert isinstance(classifier, ClipClassifier), "Localizer refuses other contrasts than the dual of tags"
            with torch.autocast("cpu", enabled=False):
                stack = self._method(self._encoding, classifier.background(), self._config)
            self._mean_background = normalize(stack.float().cpu()).mean(0)
        return self._mean_background

    def _phrase_map(self, phrase: Phrase, words: tuple[Match, ...], others: Sequence[tuple[str, ...]]) -> Tensor:
        side = self._config.resolution
        if phrase.negated:
            return torch.zeros(side, side, dtype=torch.float32)
        known = [(self._contrasted(match.tags, others), match.weight) for match in words if match.tags]
        if not known:
            return torch.ones(side, side, dtype=torch.float32)
        maps, weights = zip(*known, strict=True)
        return upsample(phrase_map(torch.stack(maps), torch.tensor(weights, dtype=torch.float32)), side, side)

    def part_map(self, parts: Sequence[str]) -> Tensor | None:
        """Where parts of people are, by the tags that name them: (side, side), or None without any."""
        if not parts:
            return None
        indices = [self._encoding.classifier.indices[part] for part in parts]
        maps = torch.stack(list(self.of((part,) for part in parts).values()))
        return part_map(maps, self._rounded(indices), self._config.resolution)

    def most_probable(self, tags: Sequence[str]) -> list[str]:
        """The 24 most probable of some tags, best first."""
        indices = [self._encoding.classifier.indices[tag] for tag in tags]
        order = self._rounded(indices).argsort(descending=True, stable=True)
        return [tags[index] for index in order[:_MOST_PARTS].tolist()]

    def _rounded(self, indices: Sequence[int]) -> Tensor:
        """The probabilities of tags, so rounded that the order in which threads sum shows in no result."""
        return self._encoding.probabilities[list(indices)].logit(1e-6).round(decimals=1).sigmoid()


def make_together(asked: Sequence[tuple[WordMaps, Iterable[tuple[str, ...]]]]) -> None:
    """Make the maps of words of several pictures that are missing: in one walk where these were encoded together.

    All have the same method and configuration.
    """
    by_tape: dict[int, list[tuple[WordMaps, list[tuple[str, ...]]]]] = {}
    for maps, words in asked:
        by_tape.setdefault(id(maps._encoding.tape), []).append((maps, maps.missing(words)))
    for left in by_tape.values():
        while left := [(maps, words) for maps, words in left if words]:
            now = [(maps, words[:_AT_ONCE]) for maps, words in left]
            first, encodings = now[0][0], [maps._encoding for maps, _ in now]
            with torch.autocast("cpu", enabled=False):  # the forward pass may have been in less than full precision
                signals = [maps._encoding.classifier.signals(words) for maps, words in now]  # (K, T) each
                stacks = maps_together(first._method, encodings, signals, first._config)  # (K, h, w) each
                for (maps, words), stack in zip(now, stacks, strict=True):
                    maps._maps.update(zip(words, stack.float().cpu(), strict=True))
            left = [(maps, words[_AT_ONCE:]) for maps, words in left]


def tags_of(matches: Iterable[Sequence[Match]]) -> list[tuple[str, ...]]:
    """The tags of each word that has any, each combination once, in alphabetical order."""
    return sorted({match.tags for words in matches for match in words if match.tags})
