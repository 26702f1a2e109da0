"""What became of a phrase, in words. Each word stands on a share that was measured.

On 247 photographs of Flickr30k Entities val: of the phrases with a presence from 0.9 on 95% were there (where half of
those asked for were), of 0.7 to 0.9 84%, of 0.4 to 0.7 60%, of less 30% down to the threshold. A score is no such
probability: it is too low, and tells right boxes from wrong ones poorly (an AUC of 0.65), so words for a box are timid.
Of the boxes with a score from 0.6 on 80% were right, of 0.25 to 0.6 58%, of less 39%.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grounding.grounded import GroundedPhrase
from grounding.text.vocabulary import Match, Reason

PRESENCE: Final = (
    (0.9, "surely there"),
    (0.7, "probably there"),
    (0.4, "perhaps there"),
    (0.0, "doubtful whether it is there"),
)
BOX: Final = (
    (0.6, "box probably right", "about 8 of 10 such boxes were right"),
    (0.25, "box uncertain", "about 6 of 10 such boxes were right"),
    (0.0, "box is a guess", "about 4 of 10 such boxes were right"),
)
REASONS: Final[dict[Reason, str]] = {
    "stem": "another form of the same word",
    "spelling": "another spelling of the same word",
    "synonym": "the tag means the same",
    "kind": "it is a kind of what the tag names",
    "kinds": "the tags are kinds of it",
    "neighbour": "the nearest word in meaning that the classifier knows, which can mislead",
    "text": "the classifier reads the text itself",
    "out-of-vocabulary": "no tag of the classifier comes near it",
    "negated": "the sentence says that it is not there",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a phrase: a headline of a few words, and a sentence that explains it."""

    headline: str
    explanation: str


def verdict(grounded: GroundedPhrase, min_presence: float, calibrated: bool) -> Verdict:
    """Say what became of a phrase.

    Args:
        min_presence: below which a phrase is absent.
        calibrated: whether presence is a probability; without, no word is made of its number.
    """
    presence, best = grounded.presence, grounded.best
    if grounded.phrase.negated:
        seen = presence is not None and calibrated and presence >= PRESENCE[1][0]
        yet = f" The classifier thinks otherwise: {presence_words(presence)}." if presence is not None and seen else ""
        return Verdict("said not to be there", f"The sentence says that it is not there, so no box is drawn.{yet}")
    if grounded.status == "out-of-vocabulary":
        return Verdict(
            "unknown word, box is a guess", "The classifier has no tag for any of its words: no map, no box."
        )
    if grounded.status == "absent":
        number = "" if presence is None else f" {presence:.2f}"
        explanation = f"Its presence{number} is below the minimum of {min_presence:.2f}."
        dashed = " The dashed box is where it would be." if best else ""
        return Verdict("called absent", explanation + dashed)
    if grounded.status == "empty-map":
        return Verdict("no evidence", "The classifier found nothing in this picture that speaks for it.")
    if grounded.status == "no-proposals" or best is None:
        return Verdict("no box", "This picture has no room for a box.")
    if not calibrated or presence is None:
        number = "" if presence is None else f"Presence {presence:.2f}, score {best.score:.2f}: "
        return Verdict("found, how surely is not known", f"{number}these of this classifier are not calibrated.")
    box, share = next((words, share) for least, words, share in BOX if best.score >= least)
    numbers = f"Presence {presence:.2f}, score {best.score:.2f}"
    return Verdict(f"{presence_words(presence)}, {box}", f"{numbers}: {share}.")


def presence_words(presence: float) -> str:
    """A calibrated presence in words."""
    return next(words for least, words in PRESENCE if presence >= least)


def word_reasons(words: Sequence[Match]) -> list[str]:
    """Why the words of a phrase are looked for by which tags: a sentence for those that are tags, and one each."""
    known = [f"“{match.word}”" for match in words if match.reason == "exact"]
    which = "this word" if len(known) == 1 else "these words"
    said = [f"{_listed(known)}: the classifier knows {which}."] if known else []
    return said + [_reason(match) for match in words if match.reason != "exact"]


def _reason(match: Match) -> str:
    why = REASONS[match.reason]
    if not match.tags or match.reason == "text":
        return f"“{match.word}”: {why}."
    return f"“{match.word}” is looked for as “{match.tag}”: {why}."


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
