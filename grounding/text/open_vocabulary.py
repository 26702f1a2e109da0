"""The vocabulary of a network that reads any text: every phrase is one word of it, and speaks for itself."""

from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match


class OpenVocabulary:
    """As `Vocabulary` to the pipeline, but without tags: no phrase is out of it."""

    def match(self, phrase: Phrase) -> tuple[Match, ...]:
        """The phrase as one word, whose one tag is its own text."""
        return (Match(phrase.text, (phrase.text,), "text", 1.0),)
