"""A finished benchmark for people: a table for the terminal, figure.png and report.html."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from grounding.benchmarks.figure import Drawn, Item, Verdict, drawn, figure, strip
from grounding.benchmarks.published import PICTURES, apart, published, reasons
from grounding.benchmarks.run import FIGURE, REPORT, Finished
from grounding.boxes import area, enclosing
from grounding.evaluation.report.galleries import TRIVIAL_SHARE
from grounding.evaluation.report.page import render
from grounding.evaluation.report.terminal import text_table
from grounding.templating import data_uri
from grounding.wording import counted

FIGURE_ROWS: Final = 6
_SEED: Final = 0
_CARDS: Final = 6  # of a gallery


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Strips under a heading: the picture, then the map of each method.

    Attributes:
        strips: what a strip shows, and its data URI.
    """

    title: str
    text: str
    strips: Sequence[tuple[str, str]]


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """The methods under every number, with what they cost, and the first method less the others."""
    data, names = metrics["dataset"], score_names(metrics)
    asked = counted(data["rows"], "class in a picture", "classes in pictures")
    tagged = f", each with a tag in {metrics['name']}" if data["rows_without_tag"] else ""
    title = f"{data['name']}, {counted(data['images'], 'picture')}, {asked}{tagged} [95% interval over pictures]"
    rows = [
        [method, *(shown(metrics, numbers.get(name)) for name in names), _cost(metrics, method)]
        for method, numbers in metrics["methods"].items()
    ]
    text = text_table(title, ["method", *names, "forward passes"], rows)
    for title, part, sign in (
        (f"{metrics['differences']['of']} less each other method", metrics["differences"]["less"], "+"),
        (f"and with {data['rows_without_tag']:,} more without a tag as misses", metrics["untagged_as_misses"], ""),
    ):
        rows = [[method, *(shown(metrics, own.get(name), sign) for name in names)] for method, own in part.items()]
        text += text_table(title, ["", *names], rows) if rows else ""
    if metrics["task"] == "localization":
        text += f"the classifier's first class is right for {metrics['classifier_top_1']:.1f}% of pictures\n"
    return text


def score_names(metrics: Mapping[str, Any]) -> list[str]:
    """All numbers of a run, in order."""
    return list(dict.fromkeys(name for numbers in metrics["methods"].values() for name in numbers))


def shown(metrics: Mapping[str, Any], number: Mapping[str, Any] | None, sign: str = "") -> str:
    """A number with its interval: percent with one decimal, correlations with three; differences with their `+`."""
    if not number or not number["count"]:
        return "-"
    form = f"{sign}.{3 if metrics['task'] == 'agreement' else 1}f"
    value, low, high = (format(number[key], form) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _cost(metrics: Mapping[str, Any], method: str) -> str:
    cost = metrics["costs"].get(method)
    return f"{cost['one_class']:,.1f}" if cost else "-"


def draw(finished: Finished, folder: Path) -> None:
    """Write figure.png and report.html into a folder."""
    rows = list(drawn(finished.measurer, chosen(finished), _verdict(finished)))
    methods = [maker.name for maker in finished.measurer.job.makers]
    picture = figure(rows, methods) if rows else None
    if picture is not None:
        picture.save(folder / FIGURE)
    metrics = finished.metrics
    rows_of_others = published(finished.measurer.job.source.kind, metrics["task"])
    text = render(
        "benchmark.html.jinja",
        metrics=metrics,
        names=score_names(metrics),
        shown=lambda number, sign="": shown(metrics, number, sign),
        hit=finished.measurer.task.hit,
        figure=picture and _uri(picture),
        galleries=list(_galleries(finished)),
        published=rows_of_others,
        apart=lambda row: apart(row, metrics["dataset"]),
        reasons=reasons(rows_of_others, metrics["dataset"]),
        pictures=PICTURES,
        photographs=[],
    )
    (folder / REPORT).write_text(text, encoding="utf-8")


def chosen(finished: Finished) -> list[Item]:
    """The rows of the figure: drawn by chance, but the same every time, each of another picture and class.

    Where pictures show several classes, difficult rows are taken first.
    """
    table = _first_method(finished)
    order = list(range(len(table)))
    random.Random(_SEED).shuffle(order)
    if "difficult" in table:
        order.sort(key=lambda row: -int(table["difficult"].iloc[row]))
    return _apart(finished, table, order, FIGURE_ROWS)


def _apart(finished: Finished, table: pd.DataFrame, order: Sequence[int], most: int) -> list[Item]:
    """The first rows of an order, one a picture and, as far as there are classes, one a class."""
    data, names = finished.measurer.data, list(finished.measurer.images)
    items: list[Item] = []
    for again in (False, True):
        for row in order:
            item = names[table["image"].iloc[row]], data.classes[table["class"].iloc[row]]
            new = all(item[0] != image and (again or item[1] != name) for image, name in items)
            if len(items) < most and new:
                items.append(item)
    return items


def _first_method(finished: Finished) -> pd.DataFrame:
    table: pd.DataFrame = finished.table[finished.table["method"] == finished.metrics["differences"]["of"]]
    return table


def _verdict(finished: Finished) -> Verdict:
    """Whether a method hits a class of a picture, for the colour of its point."""
    if finished.metrics["task"] == "agreement":
        return lambda image, name, method: None
    places = {image: place for place, image in enumerate(finished.measurer.images)}
    classes = {name: place for place, name in enumerate(finished.measurer.data.classes)}
    found: dict[tuple[int, int, str], bool] = {}
    for method, rows in finished.table.groupby("method"):
        hits = finished.measurer.task.hits(rows)
        keys = zip(rows["image"].tolist(), rows["class"].tolist(), hits.tolist(), strict=True)
        found |= {(image, name, str(method)): hit == 1 for image, name, hit in keys}
    return lambda image, name, method: found.get((places[image], classes[name], method))


def _galleries(finished: Finished) -> Iterator[Gallery]:
    """What the first method does better and worse than the mean of the others."""
    task, table, first = finished.measurer.task, finished.table, finished.metrics["differences"]["of"]
    methods = [maker.name for maker in finished.measurer.job.makers]
    hits = {method: task.hits(table[table["method"] == method]) for method in methods}
    own = _first_method(finished)
    others = np.mean([hits[method] for method in methods if method != first] or [np.zeros(len(own))], axis=0)
    gain = np.nan_to_num(hits[first] - others)
    trivial = _trivial(finished, own)
    for title, text, lead in (
        (f"Where {first} is better", "Its lead over the mean of the other methods is largest.", gain),
        (f"Where {first} is worse", "Its lag behind the mean of the other methods is largest.", -gain),
    ):
        order = np.argsort(-lead, kind="stable")
        telling = order[(lead[order] > 0) & ~trivial[order]].tolist()
        if left_out := int(((lead > 0) & trivial).sum()):
            things = counted(left_out, "target that covers", "targets that cover")
            text = f"{text} Left out: {things} at least {100 * TRIVIAL_SHARE:g}% of the picture."
        rows = drawn(finished.measurer, _apart(finished, own, telling, _CARDS), _verdict(finished))
        yield Gallery(title, text, [(_caption(row), _uri(strip(row))) for row in rows])


def _trivial(finished: Finished, own: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """(R,) which rows ask for what is nearly the whole picture: any point and any large box hits it."""
    images, classes = list(finished.measurer.images.values()), finished.measurer.data.classes
    shares = []
    for place, name in zip(own["image"], own["class"], strict=True):
        image = images[place]
        [region] = [region for region in image.regions if region.name == classes[name]]
        shares.append(float(area(enclosing(region.boxes))[0]) / (image.width * image.height))
    return np.array(shares) >= TRIVIAL_SHARE


def _caption(row: Drawn) -> str:
    image, name = row.item
    return f"{name} in {image}"


def _uri(picture: Image.Image) -> str:
    return data_uri(picture, "JPEG", quality=85)
