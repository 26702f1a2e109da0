"""The word maps of one picture, each made when it is first asked for, and what they add up to."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from grounding.config import MapConfig
from grounding.methods import Encoding, Method
from grounding.regions.maps import phrase_map, upsample
from grounding.regions.wholes import part_map
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

    def of(self, words: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
        """The map of each word, given its tags, in their order."""
        words = list(dict.fromkeys(words))
        new = [word for word in words if word not in self._maps]
        with torch.autocast("cpu", enabled=False):  # the forward pass may have been in less than full precision
            for first in range(0, len(new), _AT_ONCE):
                group = new[first : first + _AT_ONCE]
                signals = self._encoding.classifier.signals(group)  # (K, T)
                stack = self._method(self._encoding, signals, self._config)  # (K, h, w)
                self._maps.update(zip(group, stack.float().cpu(), strict=True))
        return {word: self._maps[word] for word in words}

    def phrase_maps(self, phrases: Sequence[Phrase], matches: Sequence[tuple[Match, ...]]) -> Tensor:
        """The maps of phrases, given the tags of their words: (P, side, side), at least 0.

        Uniform for a phrase without any known word, 0 for one that is not there.
        """
        side = self._config.resolution
        self.of(tags_of(matches))
        maps = [self._phrase_map(*asked) for asked in zip(phrases, matches, strict=True)]
        return torch.stack(maps) if maps else torch.zeros(0, side, side, dtype=torch.float32)

    def _phrase_map(self, phrase: Phrase, words: tuple[Match, ...]) -> Tensor:
        side = self._config.resolution
        if phrase.negated:
            return torch.zeros(side, side, dtype=torch.float32)
        known = [(self._maps[match.tags], match.weight) for match in words if match.tags]
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


def tags_of(matches: Iterable[Sequence[Match]]) -> list[tuple[str, ...]]:
    """The tags of each word that has any, each combination once, in alphabetical order."""
    return sorted({match.tags for words in matches for match in words if match.tags})
