"""What the parts of a report say: tables and charts from metrics.json and from the measured rows."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grounding.boxes import Values
from grounding.datasets.flickr30k import boxed_phrases
from grounding.evaluation.predictions.prediction import MISSING
from grounding.evaluation.protocols.extent import share_of_picture
from grounding.evaluation.protocols.protocol import HEADLINE, POINTING, TARGETS, TOP, Protocol, Target, recall
from grounding.evaluation.protocols.summary import Rows, image_of_phrase, interval, resample
from grounding.evaluation.report import charts
from grounding.evaluation.report.charts import Series, Summary
from grounding.evaluation.report.galleries import TRIVIAL_SHARE
from grounding.evaluation.runs.scoring import Run

POINT, FIRST = POINTING[0], recall(1, "merged-box")
AREA_EDGES: Final = (0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1)  # shares of the image
SCORE_GROUPS: Final = 10
_TILES: Final = ("pointing/phrase", "pointing/phrase-5%", "recall@1/merged-box", "recall@10/merged-box")
_HEADINGS: Final = {  # how the names of its protocols begin and end
    "Pointing game": (("pointing/",), ""),
    "Recall, merged-box": (("recall@", "upper-bound/"), "merged-box"),
    "Recall, any-box": (("recall@", "upper-bound/"), "any-box"),
    "Phrase map": (("attention-correctness/",), ""),
    "Mean IoU": (("mean-iou/",), ""),
}
_REACHES: Final = (*TOP, None)
_REACH_TEXT: Final = "Recall at IoU 0.5 when the first k boxes count; all is the upper bound."
_IOU_TEXT: Final = (
    "The IoU with the target that makes a box a hit; recall@k counts the first k boxes, the upper bound every proposal."
)
_NOTHING: Final[Summary] = {"count": 0}


class Measured:
    """The phrases with a box, their predictions and what was measured, one row each.

    Attributes:
        phrases, predictions, columns: (P,) in the order of `boxed_phrases`.
        statuses: (P,) of text.
        scores: (P,) of the first box, NaN where it has none.
        overlap: (P,) the IoU of the first box with the merged box.
        trivial: (P,) bool: hits where merged box and first box each cover at least `TRIVIAL_SHARE` of the picture.
    """

    def __init__(self, run: Run) -> None:
        self.phrases, self.columns = boxed_phrases(run.images), run.columns
        self.predictions = [run.predictions.get(key, MISSING) for key in run.columns.index]
        self.statuses = np.array([prediction.status for prediction in self.predictions], object)
        ranked = [np.empty(0) if prediction.scores is None else prediction.scores for prediction in self.predictions]
        self.scores = np.array([scores[0] if len(scores) else np.nan for scores in ranked], np.float64)
        self.overlap = run.columns[FIRST.column].to_numpy()
        covered = [
            share_of_picture(found.boxes, image)
            for (image, _), found in zip(self.phrases, self.predictions, strict=True)
        ]
        whole = (np.array(covered) >= TRIVIAL_SHARE) & (self.columns["merged_share"].to_numpy() >= TRIVIAL_SHARE)
        self.trivial = whole & (self.values(FIRST) == 1)
        self._cluster = image_of_phrase(run.images)
        self._weights = resample(len(run.images), run.metrics["bootstrap"]["seed"])

    def values(self, protocol: Protocol) -> Values:
        """(P,) of a protocol."""
        return protocol.values(self.columns)

    def summary(self, protocol: Protocol, rows: Rows) -> Summary:
        """The number of these rows, with its interval."""
        return interval(self.values(protocol)[rows], self._cluster[rows], self._weights)


def grouped(names: Mapping[str, Any]) -> dict[str, list[Protocol]]:
    """The headline protocols among these names, by the heading they stand under."""
    groups = {
        heading: [p for p in HEADLINE if p.name in names and p.name.startswith(begins) and p.name.endswith(end)]
        for heading, (begins, end) in _HEADINGS.items()
    }
    return {heading: protocols for heading, protocols in groups.items() if protocols}


def compared(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """The run, if there is one, and each baseline: name, summaries, style."""
    if metrics["run"] is not None:
        yield metrics["name"], metrics["run"], 0
    for style, (name, summaries) in enumerate(metrics["baselines"].items(), start=1):
        yield name, summaries, style


def headline(metrics: Mapping[str, Any]) -> dict[str, list[tuple[Protocol, int, list[Summary]]]]:
    """For each heading its protocols, each with its count and the numbers of the run and of the baselines."""

    def row(protocol: Protocol) -> tuple[Protocol, int, list[Summary]]:
        numbers = [summaries.get(protocol.name, _NOTHING) for _, summaries, _ in compared(metrics)]
        return protocol, next((number["count"] for number in numbers if number["count"]), 0), numbers

    return {heading: [row(each) for each in protocols] for heading, protocols in grouped(metrics["protocols"]).items()}


def tiles(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The run's first numbers, each with the best baseline."""
    run = metrics["run"] or {}
    for name in _TILES:
        if run.get(name, _NOTHING)["count"]:
            numbers = [(summaries.get(name, _NOTHING), title) for title, summaries in metrics["baselines"].items()]
            floors = [(number["value"], title) for number, title in numbers if number["count"]]
            yield {"name": name, "number": run[name], "best": max(floors, default=None)}


def type_bars(metrics: Mapping[str, Any], protocol: Protocol) -> dict[str, Any]:
    """Bars of all phrases and of each type that occurs, of the run and of each baseline that was measured."""
    series = []
    for name, summaries, style in compared(metrics):
        summary = summaries.get(protocol.name, _NOTHING)
        if summary["count"]:
            series.append(Series(name, {"all": summary, **summary["types"]}, style))
    types = metrics["dataset"]["types"]
    groups = [("all", metrics["dataset"]["phrases"])]
    groups += [(kind, types[kind]) for kind in sorted(types, key=lambda kind: -types[kind]) if types[kind]]
    chart = charts.bars(series, groups, f"{protocol.name} in percent, for all phrases and by entity type")
    return {"protocol": protocol, "series": series, "groups": groups, "chart": chart}


def recall_curves(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Recall against the IoU that a hit needs, for either target, and against the number of boxes that count."""
    run, blind = metrics["run"] or {}, metrics["baselines"].get("blind boxes", {})
    figures: list[dict[str, Any]] = []
    for target in reversed(TARGETS):
        names = [f"k = {k}" for k in TOP] + ["upper bound"]
        series = [Series(names[style], _by_iou(run, k, target), style) for style, k in enumerate(_REACHES)]
        series.append(Series("blind boxes, k = 1", _by_iou(blind, 1, target), 4, dashed=True))
        places = [(tenths / 10, f"{tenths / 10:g}") for tenths in range(1, 10)]
        label = f"Recall against the IoU that makes a hit, {target}"
        chart = charts.lines(series, label, "IoU that makes a hit", "recall, %", places)
        figures.append({"title": f"Recall against IoU, {target}", "text": _IOU_TEXT, "chart": chart, "series": series})
    series = [
        Series("merged-box", _by_reach(run, "merged-box"), 0),
        Series("any-box", _by_reach(run, "any-box"), 1),
        Series("blind boxes, merged-box", _by_reach(blind, "merged-box"), 4, dashed=True),
    ]
    places = [(float(place), "all" if k is None else str(k)) for place, k in enumerate(_REACHES)]
    label = "Recall against k at IoU 0.5"
    chart = charts.lines(series, label, "boxes that count", "recall, %", places, intervals="whisker")
    figures.append({"title": "Recall against k", "text": _REACH_TEXT, "chart": chart, "series": series})
    return [figure for figure in figures if any(series.measured() for series in figure["series"])]


def _by_iou(summaries: Mapping[str, Any], k: int | None, target: Target) -> dict[float, Summary]:
    names = {tenths / 10: recall(k, target, tenths / 10).name for tenths in range(1, 10)}
    return {threshold: summaries.get(name, _NOTHING) for threshold, name in names.items()}


def _by_reach(summaries: Mapping[str, Any], target: Target) -> dict[float, Summary]:
    return {float(place): summaries.get(recall(k, target).name, _NOTHING) for place, k in enumerate(_REACHES)}


def score_groups(scores: Values) -> list[npt.NDArray[np.intp]]:
    """The rows with a score, lowest first, in at most `SCORE_GROUPS` groups whose sizes differ by one at most."""
    order = np.argsort(scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    return [group for group in np.array_split(order, SCORE_GROUPS) if len(group)]


def reliability(measured: Measured) -> dict[str, Any] | None:
    """The share of hits in groups of equal size by score; None where no first box has a score."""
    groups = score_groups(measured.scores)
    if not groups:
        return None
    means = [float(measured.scores[group].mean()) for group in groups]
    series = []
    for style, protocol in enumerate((FIRST, POINT)):
        numbers = [measured.summary(protocol, group) for group in groups]
        series.append(Series(protocol.name, dict(zip(means, numbers, strict=True)), style))
    scores = measured.scores[np.concatenate(groups)]
    is_share = bool(scores.min() >= 0 and scores.max() <= 1)
    label = "Share of hits against the score of the first box"
    chart = charts.lines(series, label, "mean score of the group", "hits, %", intervals="whisker", diagonal=is_share)
    return {"chart": chart, "series": series, "count": len(scores), "groups": len(groups), "is_share": is_share}


def sizes(measured: Measured) -> dict[str, Any]:
    """Hits and misses by the share of the image that the merged box covers."""
    hits, last = measured.values(FIRST), len(AREA_EDGES) - 1
    place = np.searchsorted(AREA_EDGES, measured.columns["merged_share"].to_numpy(), side="right").clip(1, last) - 1
    texts = [f"{100 * edge:g}" for edge in AREA_EDGES]
    bins = [
        (texts[number], int((hits[place == number] == 1).sum()), int((hits[place == number] == 0).sum()))
        for number in range(last)
    ]
    label = f"Phrases by the share of the image that the merged box covers, hits and misses of {FIRST.name}"
    return {"bins": bins, "chart": charts.stacked(bins, texts[-1], label, "merged box, % of the image", "phrases")}


def statuses(metrics: Mapping[str, Any], measured: Measured) -> list[tuple[str, int, list[Summary]]]:
    """Each status with its count, pointing and recall@1."""
    return [
        (name, count, [measured.summary(protocol, measured.statuses == name) for protocol in (POINT, FIRST)])
        for name, count in metrics["statuses"].items()
    ]
