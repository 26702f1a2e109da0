"""What a report says of presence and of scores: sentences, and reliability plots."""

from collections.abc import Mapping
from typing import Any

from grounding.evaluation.report import charts
from grounding.evaluation.report.charts import Series


def sentences(metrics: Mapping[str, Any]) -> list[str]:
    """A line on presence and one on scores, where they were measured."""
    lines = []
    presence, scores = metrics.get("presence"), metrics.get("scores")
    if presence and presence["count"]:
        lines.append(
            f"presence: {_quality(presence)}; below {presence['threshold']:.2f}, called absent, are "
            f"{presence['shown_called_absent']:.1f}% of {presence['shown']:,} phrases shown and "
            f"{presence['of_others_called_absent']:.1f}% of {presence['of_others']:,} phrases of another image"
        )
    if scores and scores["count"]:
        lines.append(f"scores of {scores['count']:,} first boxes: {_quality(scores)}")
    return lines


def _quality(measured: Mapping[str, Any]) -> str:
    area, error = ({name: f"{value:.3f}" for name, value in measured[key].items()} for key in ("auc", "ece"))
    return (
        f"AUC {area['value']} [{area['low']}, {area['high']}], "
        f"calibration error {error['value']} [{error['low']}, {error['high']}]"
    )


def presence_plot(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The share of phrases that are shown in groups of equal weight by presence; None where it was not measured."""
    presence = metrics.get("presence")
    if not presence or not presence["count"]:
        return None
    points = {group["mean"]: group for group in presence["groups"]}
    series = [Series("phrases shown", points, 0)]
    label = "Share of phrases that are shown against their presence"
    chart = charts.lines(series, label, "mean presence of the group", "shown, %", intervals="whisker", diagonal=True)
    return {"chart": chart, "series": series, "description": presence["description"], "count": presence["count"]}
