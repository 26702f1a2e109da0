"""Which phrases the galleries of a run show: hits that tell something, the typical, near misses, honest failures."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from grounding.boxes import Values
from grounding.evaluation.protocols.extent import SMALL
from grounding.evaluation.protocols.measure import point_of
from grounding.evaluation.report import galleries
from grounding.evaluation.report.galleries import CARDS, TRIVIAL_SHARE, Album, Card, Gallery, Part, SentenceCard
from grounding.evaluation.report.sections import FIRST, POINT, Measured
from grounding.wording import counted

_HIT: Final = 0.5  # IoU, of `FIRST`


def run_galleries(measured: Measured, album: Album) -> Iterator[Gallery]:
    """The galleries of a run. Hits of `Measured.trivial` are in none of them."""
    overlap, statuses, scores, told = measured.overlap, measured.statuses, measured.scores, ~measured.trivial
    localized = (statuses == "localized") & told
    small = localized & (overlap >= _HIT) & (measured.columns["merged_share"].to_numpy() < SMALL)
    near = localized & (overlap > 0) & (overlap < _HIT)
    title = "Hits: small targets"
    text = f"The first box hits a target that covers under {100 * SMALL:g}% of the picture; the highest IoU first."
    yield _gallery(title, text, measured, highest(overlap, small), album)
    yield _sentences(measured, album)
    text = "The IoU of the first box nearest to the median of the localized phrases."
    yield _gallery("Typical", text, measured, typical(overlap, localized), album)
    text = f"The IoU of the first box is below {_HIT:g}, but nearest to it."
    yield _gallery("Near misses", text, measured, highest(overlap, near), album)
    text = "The lowest IoU of the first box, and of these the highest scores."
    yield _gallery("Worst", text, measured, worst(overlap, scores, localized), album)
    for status in sorted(set(statuses.tolist()) - {"localized"}):
        order = np.flatnonzero((statuses == status) & told).tolist()
        yield _gallery(
            f"Status: {status}", "Phrases with this status, in the order of the split.", measured, order, album
        )


def trivial_hits(measured: Measured) -> str:
    """What is said of the hits that the galleries leave out."""
    hits, trivial = counted(int((measured.values(FIRST) == 1).sum()), "hit"), int(measured.trivial.sum())
    return (
        f"A hit says little where the target and the first box each cover at least {100 * TRIVIAL_SHARE:g}% of the "
        f"picture. {trivial:,} of {hits} are such whole-picture hits: left out here, counted in every number"
    )


def highest(overlap: Values, rows: Values) -> list[int]:
    """Those of the (P,) rows, the highest of the (P,) IoU first; what is equal stays in order."""
    here = np.flatnonzero(rows)
    order: list[int] = here[np.argsort(-overlap[here], kind="stable")].tolist()
    return order


def typical(overlap: Values, rows: Values) -> list[int]:
    """Those of the (P,) rows, the IoU nearest to the median first; what is equal stays in order."""
    here = np.flatnonzero(rows)
    if not len(here):
        return []
    away = abs(overlap[here] - np.median(overlap[here]))
    order: list[int] = here[np.argsort(away, kind="stable")].tolist()
    return order


def worst(overlap: Values, score: Values, rows: Values) -> list[int]:
    """Those of the (P,) rows, the lowest IoU first, among equals the highest score; what is still equal stays in order.

    Args:
        score: (P,) of the first box, NaN where there is none.
    """
    here = np.flatnonzero(rows)
    trust = np.nan_to_num(score[here], nan=-np.inf)
    order: list[int] = here[np.lexsort([-trust, overlap[here]])].tolist()
    return order


def whole_sentences(measured: Measured) -> list[list[int]]:
    """The rows of each sentence whose phrases are all hit, in two places or more and none of them trivially.

    The most chains first, among equals the highest mean IoU.
    """
    sentences: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for row, (image, phrase) in enumerate(measured.phrases):
        sentences[image.id, phrase.sentence].append(row)
    good = (measured.overlap >= _HIT) & (measured.statuses == "localized") & ~measured.trivial
    chains = {key: len({measured.phrases[row][1].chain for row in rows}) for key, rows in sentences.items()}
    found = [(key, rows) for key, rows in sentences.items() if chains[key] > 1 and good[rows].all()]
    found.sort(key=lambda pair: (-chains[pair[0]], -measured.overlap[pair[1]].mean()))
    return [rows for _, rows in found]


def _gallery(title: str, text: str, measured: Measured, order: Sequence[int], album: Album) -> Gallery:
    return Gallery(title, text, _cards(measured, order, album), len(order))


def _sentences(measured: Measured, album: Album) -> Gallery:
    """One card a photograph."""
    found, cards = whole_sentences(measured), dict[str, SentenceCard]()
    for rows in found:
        image, first = measured.phrases[rows[0]]
        if image.id in cards or len(cards) == CARDS:
            continue
        parts = [
            Part(measured.phrases[row][1], tuple(measured.predictions[row].boxes[0].tolist()), measured.overlap[row])
            for row in rows
        ]
        cards[image.id] = SentenceCard(image, first.sentence, tuple(parts), album.place(image))
    text = "The first box of every phrase hits: each in its colour, the merged box in dashes. The most phrases first."
    return Gallery("Hits: several phrases of one sentence", text, list(cards.values()), len(found), "sentence")


def _cards(measured: Measured, order: Sequence[int], album: Album) -> list[Card]:
    overlap, first_hits, pointed = measured.overlap, measured.values(FIRST), measured.values(POINT)
    cards = []
    for row in galleries.choose(order, measured.phrases):
        (image, phrase), prediction, score = measured.phrases[row], measured.predictions[row], measured.scores[row]
        facts = [galleries.overlap_fact(overlap[row]) if len(prediction.boxes) else "no box"]
        facts += [f"score {score:#.3g}"] if np.isfinite(score) else []
        facts += [f"point {'on' if pointed[row] else 'off'} target"] if point_of(prediction) else ["no point"]
        shown = galleries.answer("", prediction, facts, first_hits[row] == 1)
        cards.append(Card(image, phrase, (shown,), album.place(image), galleries.map_uri(prediction.map)))
    return cards
