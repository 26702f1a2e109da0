"""Tables for a terminal of any width: no name is cut, and every number is there once."""

import numpy as np
import pytest
from rich.console import Console

from grounding.datasets.flickr30k import TYPES, Flickr30kEntities, boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction, phrase_key
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE
from grounding.evaluation.report import terminal
from grounding.evaluation.runs.comparison import compare
from grounding.evaluation.runs.scoring import Run, Selection, score
from helpers.entities import write_entities

WIDTHS = [60, 80, 100, 120, 200, None]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    images = list(Flickr30kEntities(write_entities(tmp_path_factory.mktemp("data") / "entities")).read("val"))

    def run(name, right, settings):
        predictions = {
            phrase_key(image, phrase): Prediction(image.boxes[phrase.chain][:1] if right(number) else np.zeros((0, 4)))
            for number, (image, phrase) in enumerate(boxed_phrases(images))
        }
        columns = measure(images, predictions)
        metrics = score(Selection("val", 5, images), name, settings, predictions, columns)
        return Run(metrics, images, predictions, columns, f"runs/{name}")

    long = "a method with a_very_long_word_that_no_column_has_room_for in its name"
    return (
        run("embedded", lambda number: number % 2, {"config": {"regions": {"gamma": 0.3}}}),
        run(long, lambda number: number % 3, {"config": {"regions": {"gamma": 0.35}}}),
        run("embedded", lambda number: number % 3, {"config": {"regions": {"gamma": 0.35}}}),
    )


def screen(monkeypatch, columns):
    """A terminal of so many columns; None is no terminal."""
    options = {"force_terminal": columns is not None, "color_system": None}
    monkeypatch.setattr(terminal, "Console", lambda **given: Console(**{"width": columns, **options, **given}))
    return columns or 160


@pytest.fixture(params=WIDTHS)
def width(request, monkeypatch):
    return screen(monkeypatch, request.param)


def cells(line):
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


def test_the_numbers_of_a_run_have_whole_names(runs, width):
    text = terminal.metrics_table(runs[0].metrics)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for protocol in HEADLINE:
        assert f"│ {protocol.name} " in text
    for word in (*TYPES, "centre", "point", "Gaussian", "whole", "image", "blind", "boxes", "protocol", "phrases"):
        assert word in text
    rows = [cells(line) for line in text.splitlines() if line.startswith("│ recall@1/any-box ")]
    shown = [cell for row in rows for cell in row[1:]]
    summaries = [runs[0].metrics["run"], *runs[0].metrics["baselines"].values()]
    assert len(shown) == 1 + len(summaries) + len(TYPES)
    value = runs[0].metrics["run"]["recall@1/any-box"]
    assert f"{value['value']:.1f} [{value['low']:.1f}, {value['high']:.1f}]" in shown


def test_a_difference_has_whole_names(runs, width):
    summary = compare(runs[0], runs[1])[0]
    text = terminal.difference_table(summary)
    assert "…" not in text
    assert max(len(line) for line in text.splitlines() if "│" in line or "┃" in line) <= width
    for name in summary["differences"]:
        assert f"│ {name} " in text
    headers = [cells(line) for line in text.splitlines() if "┃" in line and "━" not in line]
    joined = "".join("".join(column) for column in zip(*headers, strict=False)).replace(" ", "") if width > 150 else ""
    assert not joined or "amethodwitha_very_long_word_that_no_column_has_room_forinitsname" in joined
    assert "[95% interval]" in text or ("[95%" in text and "interval]" in text)


@pytest.mark.parametrize("columns", [20, 40])
def test_a_terminal_that_is_too_narrow_cuts_nothing_either(runs, monkeypatch, columns):
    screen(monkeypatch, columns)
    text = terminal.metrics_table(runs[0].metrics)
    assert "…" not in text
    for protocol in HEADLINE:
        assert all(f"{part} " in text or f"{part}/ " in text for part in protocol.name.split("/"))


def test_names_are_no_markup(runs):
    metrics = {**runs[0].metrics, "name": "[red]a[/red]"}
    assert "[red]a[/red]" in terminal.metrics_table(metrics)


def test_runs_of_one_name_are_told_apart(runs):
    text = terminal.difference_table(compare(runs[0], runs[2])[0])
    words = text.replace("┃", " ").split()
    for side in ("a:", "b:", "(regions.gamma=0"):
        assert any(word.startswith(side[:9]) for word in words)
    names = [compare(runs[0], runs[2])[0][side]["name"] for side in ("a", "b")]
    assert names == ["embedded (regions.gamma=0.3)", "embedded (regions.gamma=0.35)"]
