"""What a report says of a part of a split standardised to the whole, of extent, and of two people in one caption."""

from collections.abc import Iterator, Mapping
from typing import Any

from grounding.evaluation.protocols.extent import SMALL, WHOLE
from grounding.evaluation.protocols.protocol import HEADLINE, Protocol
from grounding.evaluation.protocols.which_of_two import SAME
from grounding.evaluation.report.charts import Summary, describe
from grounding.wording import counted


def heading(metrics: Mapping[str, Any]) -> str:
    """What the standardised numbers stand for; empty without any."""
    standard = metrics.get("standardised")
    if not standard:
        return ""
    data = metrics["dataset"]
    return (
        f"standardised to all {standard['phrases_in_split']:,} phrases with a box of {data['split']}, from "
        f"{data['phrases']:,} that count like {standard['effective_phrases']:,.0f} of equal weight"
    )


def names(metrics: Mapping[str, Any]) -> list[str]:
    """The columns of `rows`: the run, if there is one, and each baseline."""
    standard = metrics["standardised"]
    return [*([metrics["name"]] if standard["run"] is not None else []), *standard["baselines"]]


def rows(metrics: Mapping[str, Any]) -> list[tuple[Protocol, list[Summary]]]:
    """Each headline protocol that was measured, with its standardised numbers; nothing without any."""
    standard = metrics.get("standardised")
    if not standard:
        return []
    answers = [*([standard["run"]] if standard["run"] is not None else []), *standard["baselines"].values()]
    table = [(protocol, [answer[protocol.name] for answer in answers]) for protocol in HEADLINE]
    return [(protocol, numbers) for protocol, numbers in table if any(number["count"] for number in numbers)]


def sentences(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Lines on extent and on two people in one caption, where they were measured."""
    extent, two = metrics.get("extent"), metrics.get("which_of_two")
    for group, what in (("all", "all phrases"), ("small", f"things under {100 * SMALL:g}% of the picture")):
        if extent and (count := extent[group]["best_box"]["count"]):
            best, true, whole = (describe(extent[group][name]) for name in ("best_box", "true_box", "whole_picture"))
            yield (
                f"extent of {what}, {count:,}: the median best box covers {best}% of the picture, "
                f"the median true merged box {true}%; {whole}% of best boxes cover at least {100 * WHOLE:g}%"
            )
    if two and (count := two["best_boxes"]["count"]):
        yield (
            f"which of two: {describe(two['best_boxes'])}% of {counted(count, 'pair')} of people in one caption have "
            f"the same best box (IoU > {SAME:g}), {describe(two['true_boxes'])}% the same true box"
        )
