"""The tags of a classifier: the most frequent stems of captions, each as its most frequent word; or all labels."""

from collections import Counter
from collections.abc import Iterable, Sequence

from grounding.errors import GroundingError
from grounding.text.captions import read_caption
from grounding.text.tokens import is_content_word, stem, tokenize


def caption_stems(caption: str) -> set[str]:
    """Return the stems of a caption's content words."""
    return {stem(word) for word in content_words(caption)}


def content_words(caption: str) -> list[str]:
    """Return the content words of a caption as given, in lower case and in its order."""
    return [token.text.lower() for token in tokenize(read_caption(caption).text) if is_content_word(token.text)]


def build_tags(captions: Iterable[str], size: int) -> list[str]:
    """Choose the `size` most frequent stems (counted once a caption), each as its most frequent word in lower case.

    Ties are broken alphabetically, so the list depends on nothing but the captions.

    Raises:
        GroundingError: the captions hold fewer different words than that, or none.
    """
    stems: Counter[str] = Counter()
    words: dict[str, Counter[str]] = {}
    for caption in captions:
        used = content_words(caption)
        stems.update({stem(word) for word in used})
        for word in used:
            words.setdefault(stem(word), Counter())[word] += 1
    if not stems:
        raise GroundingError("the captions hold no usable word: expected more than stop words and punctuation")
    if len(stems) < size:
        raise GroundingError(
            f"the captions hold {len(stems)} different words; {size} tags were asked for: lower `tags`"
        )
    frequent = sorted(stems, key=lambda s: (-stems[s], s))[:size]
    return [min(words[s], key=lambda w: (-words[s][w], w)) for s in frequent]


def tag_targets(captions: Sequence[str], tag_of_stem: dict[str, int]) -> list[tuple[int, float]]:
    """Label one picture, noisily: (tag index, min(1, captions that use the word / 2)) for each tag that occurs."""
    counts = Counter(tag_of_stem[s] for caption in captions for s in caption_stems(caption) if s in tag_of_stem)
    return [(tag, min(1.0, count / 2)) for tag, count in sorted(counts.items())]


def tag_of_label(label: str) -> str:
    """Return the tag of a label: in lower case, with `_` and runs of spaces as one space. Nothing else is changed."""
    return " ".join(label.replace("_", " ").split()).lower()


def label_tags(labels: Iterable[str]) -> list[str]:
    """Return the different tags of labels, the most frequent first; ties are broken alphabetically.

    Raises:
        GroundingError: a label without a letter or digit.
    """
    counts = Counter[str]()
    for label in labels:
        tag = tag_of_label(label)
        if not any(map(str.isalnum, tag)):
            raise GroundingError(f"a label is '{label}': expected a name with a letter or a digit")
        counts[tag] += 1
    return sorted(counts, key=lambda tag: (-counts[tag], tag))
