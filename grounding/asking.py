"""How a classifier is asked about phrases: by tags through a vocabulary, or a CLIP by texts in a prompt."""

from collections.abc import Sequence
from dataclasses import replace

from grounding.config import METHOD, MapConfig
from grounding.errors import GroundingError
from grounding.methods import Method, contrastive_mwp, method_name
from grounding.tagging.clip_classifier import Classifier, ClipClassifier
from grounding.text.language import NOT_DIVIDED, reading_notes
from grounding.text.open_vocabulary import OpenVocabulary
from grounding.text.vocabulary import Match, Vocabulary
from grounding.wording import shortened


def with_prompt(classifier: Classifier, config: MapConfig, method: Method) -> Classifier:
    """The classifier with the prompt of the configuration.

    Raises:
        GroundingError: it has no prompts, or no other contrast than the dual; or the method has none.
    """
    if isinstance(classifier, ClipClassifier):
        if config.contrast != "dual" and method is not contrastive_mwp:
            raise GroundingError(
                f"maps.contrast is '{config.contrast}': expected dual with the method {method_name(method)}; "
                f"{METHOD} has the others"
            )
        prompt = classifier.prompt if config.prompt is None else config.prompt
        return classifier if prompt == classifier.prompt else replace(classifier, prompt=prompt)
    usual = MapConfig()
    for key in ("contrast", "prompt"):
        given = getattr(config, key)
        if given != getattr(usual, key):
            raise GroundingError(
                f"maps.{key} is '{given}': {shortened(classifier.name)} has tags and reads no texts; leave it out, or "
                "choose --classifier clip:NAME"
            )
    return classifier


def vocabulary_of(classifier: Classifier) -> Vocabulary | OpenVocabulary:
    """The way from words to what the classifier knows."""
    if isinstance(classifier, ClipClassifier):
        return OpenVocabulary()
    return Vocabulary(classifier.tags, exclusive=not classifier.multi_label, names=classifier.names)


def notes_of(
    classifier: Classifier, caption: str, phrases: Sequence[str] | None, matches: Sequence[tuple[Match, ...]]
) -> tuple[str, ...]:
    """What to say of a caption that is hardly English; where any text is read, only if it was to be divided."""
    if isinstance(classifier, ClipClassifier):
        return (NOT_DIVIDED,) if not phrases and reading_notes(caption) else ()
    known = {match.word.lower() for words in matches for match in words if match.tags}
    return reading_notes(" . ".join(phrases) if phrases else caption, known)
