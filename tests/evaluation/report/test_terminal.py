"""Tables for a terminal of any width: no name is cut, and every number is there once."""

import numpy as np
import pytest
from rich.console import Console

from grounding.datasets.flickr30k import TYPES, Flickr30kEntities, boxed_phrases
from grounding.evaluation.predictions.prediction import Prediction, phrase_key
from grounding.evaluation.protocols.measure import measure
from grounding.evaluation.protocols.protocol import HEADLINE
from grounding.evaluation.protocols.raking import cells
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


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Three of five images; animals and vehicles are in the others only."""
    whole = list(Flickr30kEntities(write_entities(tmp_path_factory.mktemp("data") / "entities")).read("val"))
    images = [whole[0], whole[2], whole[3]]
    predictions = {
        phrase_key(image, phrase): Prediction(image.boxes[phrase.chain][:1]) for image, phrase in boxed_phrases(images)
    }
    selection = Selection("val", 5, images, missing=("1002", "1005"), whole=cells(whole).total())
    settings = {"config": {"context": "caption"}}
    return score(selection, "embedded", settings, predictions, measure(images, predictions))


def screen(monkeypatch, columns):
    """A terminal of so many columns; None is no terminal."""
    options = {"force_terminal": columns is not None, "color_system": None}
    monkeypatch.setattr(terminal, "Console", lambda **given: Console(**{"width": columns, **options, **given}))
    return columns or 160


@pytest.fixture(params=WIDTHS)
def width(request, monkeypatch):
    return screen(monkeypatch, request.param)


def cells_of(line):
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


def test_the_numbers_of_a_run_have_whole_names(runs, width):
    text = terminal.metrics_table(runs[0].metrics)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for protocol in HEADLINE:
        assert f"│ {protocol.name} " in text
    for word in (*TYPES, "centre", "point", "Gaussian", "whole", "image", "blind", "boxes", "protocol", "phrases"):
        assert word in text
    rows = [cells_of(line) for line in text.splitlines() if line.startswith("│ recall@1/any-box ")]
    shown = [cell for row in rows for cell in row[1:]]
    summaries = [runs[0].metrics["run"], *runs[0].metrics["baselines"].values()]
    assert len(shown) == 1 + len(summaries) + len(TYPES)
    value = runs[0].metrics["run"]["recall@1/any-box"]
    assert f"{value['value']:.1f} [{value['low']:.1f}, {value['high']:.1f}]" in shown


def test_a_part_is_shown_standardised(part, width):
    text = terminal.metrics_table(part)
    assert max(map(len, text.splitlines())) <= width
    number = part["standardised"]["run"]["recall@1/any-box"]
    shown = [cell for line in text.splitlines() if line.startswith("│ recall@1/any-box ") for cell in cells_of(line)]
    assert f"{number['value']:.1f} [{number['low']:.1f}, {number['high']:.1f}]" in shown
    assert f"{part['standardised']['baselines']['whole image']['recall@1/any-box']['value']:.1f}" in shown
    words = " ".join(text.split())
    effective = part["standardised"]["effective_phrases"]
    assert f"standardised to all 20 phrases with a box of val, from 13 that count like {effective:.0f}" in words
    assert "13 phrases with a box, context caption; percent" in words
    assert "entity type: no phrase here stands for animals (2.5%), vehicles (10.0%) of the split" in words
    assert "extent of all phrases, 13: the median best box covers" in words
    assert "which of two" not in words  # no two people


def test_baselines_of_a_part_are_shown_standardised(part, width):
    metrics = {**part, "run": None, "extent": None, "which_of_two": None}
    metrics["standardised"] = {**part["standardised"], "run": None}
    text = terminal.metrics_table(metrics)
    rows = [cells_of(line) for line in text.splitlines() if line.startswith("│ pointing/phrase ")]
    expected = [f"{part['standardised']['baselines']['centre point']['pointing/phrase']['value']:.1f}"]
    assert expected[0] in [cell for row in rows for cell in row]
    assert "standardised to all" in " ".join(text.split())


def test_a_run_of_an_earlier_version_is_shown(runs):
    new = ("standardised", "extent", "which_of_two", "context")
    text = terminal.metrics_table({name: value for name, value in runs[0].metrics.items() if name not in new})
    assert "standardised" not in text
    assert "extent" not in text


def test_a_difference_has_whole_names(runs, width):
    summary = compare(runs[0], runs[1])[0]
    text = terminal.difference_table(summary)
    assert "…" not in text
    assert max(len(line) for line in text.splitlines() if "│" in line or "┃" in line) <= width
    for name in summary["differences"]:
        assert f"│ {name} " in text
    headers = [cells_of(line) for line in text.splitlines() if "┃" in line and "━" not in line]
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
