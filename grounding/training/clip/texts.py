"""What a CLIP is taught with: captions, their phrases, and the teacher's tags that each phrase stands for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grounding.errors import GroundingError
from grounding.text.phrases import Chunker, Phrase
from grounding.text.tags import caption_stems
from grounding.text.tokens import stem
from grounding.text.vocabulary import Vocabulary

_KNOWN = ("exact", "stem")  # of what a tag means: synonyms and neighbours are left to the student


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """The texts of N pictures, without words that are held out.

    Attributes:
        tags: of the teacher, those that are taught.
        columns: where these are among the teacher's, (T,) int64.
        held_out: the teacher's other tags.
        captions: of each picture; maybe none.
        phrases: of each picture, as the text and the weight of each of `tags` by its number; weights sum to 1.
    """

    tags: tuple[str, ...]
    columns: Tensor
    held_out: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    phrases: tuple[tuple[tuple[str, dict[int, float]], ...], ...]

    def weights(self, phrases: Sequence[dict[int, float]]) -> Tensor:
        """The weight of each tag in each phrase: (P, T) float32."""
        weights = torch.zeros(len(phrases), len(self.tags))
        for row, tags in enumerate(phrases):
            weights[row, list(tags)] = torch.tensor(list(tags.values()))
        return weights


def read_texts(
    tags: Sequence[str],
    captions: Sequence[Sequence[str]],
    held_out_every: int,
    progress: Callable[[], object] = lambda: None,
) -> Texts:
    """Divide captions into phrases, and leave out what has a word that is held out.

    Args:
        tags: of the teacher, the most frequent first.
        captions: of each picture.
        held_out_every: so many-th tags are held out, the first of them half as far from the front; 0 holds out none.
        progress: called after each picture.

    Raises:
        GroundingError: every tag is held out.
    """
    held_out = tags[held_out_every // 2 :: held_out_every] if held_out_every else ()
    stems = {stem(tag) for tag in held_out}
    columns = [column for column, tag in enumerate(tags) if stem(tag) not in stems]
    if not columns:
        raise GroundingError(f"held_out_every is {held_out_every}: expected at least 2, or 0 to hold out none")
    chunker, vocabulary = Chunker.load(), Vocabulary([tags[column] for column in columns])
    number = {tag: row for row, tag in enumerate(vocabulary.tags)}
    kept, phrases = [], []
    for texts in captions:
        kept.append(tuple(text for text in texts if stems.isdisjoint(caption_stems(text))))
        found = {phrase.text: phrase for text in kept[-1] for phrase in chunker.phrases(text) if not phrase.negated}
        weights = ((phrase.text, _weights(phrase, vocabulary, number)) for phrase in found.values())
        phrases.append(tuple((text, shares) for text, shares in weights if shares))
        progress()
    return Texts(vocabulary.tags, torch.tensor(columns), tuple(held_out), tuple(kept), tuple(phrases))


def _weights(phrase: Phrase, vocabulary: Vocabulary, number: dict[str, int]) -> dict[int, float]:
    """The weights of the tags that a phrase says itself, by their numbers."""
    weights: dict[int, float] = {}
    for match in vocabulary.match(phrase):
        if match.tag is None or match.reason not in _KNOWN:
            continue
        weights[number[match.tag]] = weights.get(number[match.tag], 0.0) + match.weight
    total = sum(weights.values())
    return {tag: weight / total for tag, weight in weights.items()}
