"""The pages for people: one self-contained HTML file of a run, or of two runs side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from grounding.boxes import enclosing, iou
from grounding.datasets.files import Photographs
from grounding.drawing import phrase_colour
from grounding.evaluation.predictions.prediction import Prediction
from grounding.evaluation.protocols.extent import share_of_picture
from grounding.evaluation.report import calibration, charts, galleries, published, sections, standardised
from grounding.evaluation.report.examples import run_galleries, trivial_hits
from grounding.evaluation.report.galleries import TRIVIAL_SHARE, Album, Answer, Card, Gallery
from grounding.evaluation.report.sections import FIRST, POINT, Measured
from grounding.evaluation.runs.comparison import Changed, compare, comparison_rows
from grounding.evaluation.runs.folder import Photograph, read_run, write_table
from grounding.evaluation.runs.scoring import Run
from grounding.folders import check_output, comparison_folder, whole_folder
from grounding.templating import environment

_COMPARISON, _COMPARISON_TABLE, _COMPARISON_PAGE = _COMPARED = ("comparison.json", "comparison.csv", "comparison.html")


def write_comparison(
    a: Path, b: Path, photographs: Sequence[Path] | None, folder: Path | None, overwrite: bool
) -> tuple[Path, dict[str, Any]]:
    """Compare two finished runs, and write the comparison as JSON, as CSV and as a page.

    Args:
        a: folder of the one.
        b: folder of the other.
        photographs: folders, zips or tars for the pictures; by default those of the runs, if they are still there.
        folder: by default that of `comparison_folder`.

    Returns:
        Where the page is, and what comparison.json says.

    Raises:
        GroundingError: as `check_output`, `read_run` and `compare`.
    """
    folder = folder or comparison_folder(a, b, overwrite)
    check_output(folder, overwrite, _COMPARED, (a, b))
    runs = read_run(a), read_run(b)
    recorded = [[Path(place) for place in run.metrics["dataset"]["photographs"]["paths"]] for run in runs]
    places = photographs or next((paths for paths in recorded if paths and all(p.exists() for p in paths)), ())
    summary, changed = compare(*runs)
    with whole_folder(folder, overwrite, _COMPARED) as partial:
        (partial / _COMPARISON).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        write_table(partial / _COMPARISON_TABLE, *comparison_rows(summary))
        page = render_comparison(summary, changed, Photographs(places).get)
        (partial / _COMPARISON_PAGE).write_text(page, encoding="utf-8")
    return folder / _COMPARISON_PAGE, summary


def render_report(run: Run, photograph: Photograph) -> str:
    """The page of a run: HTML that loads nothing from anywhere.

    Args:
        photograph: where it gives None, or what cannot be read, boxes are drawn on a plain canvas.
    """
    album, metrics = Album(photograph), run.metrics
    measured = Measured(run) if len(run.columns) else None
    return render(
        "report.html.jinja",
        metrics=metrics,
        headline=sections.headline(metrics),
        standardised=standardised,
        tiles=list(sections.tiles(metrics)),
        types=[sections.type_bars(metrics, protocol) for protocol in (POINT, FIRST)],
        curves=sections.recall_curves(metrics),
        sizes=sections.sizes(measured) if measured else None,
        reliability=sections.reliability(measured) if measured else None,
        presence=calibration.presence_plot(metrics),
        calibration=calibration.sentences(metrics),
        statuses=sections.statuses(metrics, measured) if measured else [],
        galleries=list(run_galleries(measured, album)) if measured else [],
        trivial=trivial_hits(measured) if measured else "",
        published=published,
        photographs=album.elements(),
    )


def render_comparison(comparison: Mapping[str, Any], changed: Sequence[Changed], photograph: Photograph) -> str:
    """The page of two runs side by side, as self-contained.

    Args:
        comparison: of `comparison.compare`.
        changed: of `comparison.compare`.
        photograph: as in `render_report`.
    """
    album, differences = Album(photograph), comparison["differences"]
    edges = [abs(entry[end]) for entry in differences.values() if entry["count"] for end in ("low", "high")]
    shown = [
        _changed_gallery([c for c in changed if (c.protocol, c.gained) == (name, gained)], name, gained, album)
        for name in dict.fromkeys((FIRST.name, POINT.name, *(change.protocol for change in changed)))
        for gained in (True, False)
    ]
    return render(
        "comparison.html.jinja",
        comparison=comparison,
        metrics=comparison["b"]["metrics"],
        groups=sections.grouped(differences),
        trivial_share=TRIVIAL_SHARE,
        reach=max(edges, default=0) or 1,
        galleries=shown,
        photographs=album.elements(),
    )


def render(template: str, **content: Any) -> str:
    """A page of `templates`, with its style inside."""
    templates = environment("grounding.evaluation.report")
    templates.globals.update(forest=charts.forest, swatch=charts.swatch, phrase_colour=phrase_colour)
    templates.filters["yaml"] = lambda values: yaml.safe_dump(values, sort_keys=False, allow_unicode=True).strip()
    return templates.get_template(template).render(content)


def _changed_gallery(changed: Sequence[Changed], protocol: str, gained: bool, album: Album) -> Gallery:
    telling = [change for change in changed if not _trivial(change)]
    cards = []
    for row in galleries.choose(range(len(telling)), [(change.image, change.phrase) for change in telling]):
        change = telling[row]
        answers = (_side("a", change.a, change, not gained), _side("b", change.b, change, gained))
        cards.append(Card(change.image, change.phrase, answers, album.place(change.image)))
    text = "b hits and a misses." if gained else "a hits and b misses."
    title, left_out = f"{'Gained' if gained else 'Lost'}: {protocol}", len(changed) - len(telling)
    return Gallery(title, text, cards, len(telling), left_out=left_out)


def _trivial(change: Changed) -> bool:
    """Whether the hit of a changed phrase is of a target that is nearly the whole picture, by a box that is as well."""
    merged = enclosing(change.image.boxes[change.phrase.chain])
    hit = change.b if change.gained else change.a
    shares = [share_of_picture(merged, change.image)]
    if change.protocol != POINT.name:  # anywhere in such a target is a hit of the pointing game
        shares.append(share_of_picture(hit.boxes, change.image))
    return min(shares) >= TRIVIAL_SHARE


def _side(name: str, prediction: Prediction, change: Changed, hit: bool) -> Answer:
    merged = enclosing(change.image.boxes[change.phrase.chain])
    overlaps = iou(prediction.boxes[:1], merged)
    fact = galleries.overlap_fact(overlaps[0, 0]) if len(overlaps) else prediction.status
    return galleries.answer(name, prediction, (fact,), hit)
