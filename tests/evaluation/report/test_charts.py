"""Charts are drawn to scale."""

import re

import pytest

from grounding.evaluation.report import charts
from helpers.html import Page


def summary(value, low, high, count=9):
    return {"value": value, "low": low, "high": high, "count": count}


def test_bars_are_as_long_as_their_numbers():
    series = [
        charts.Series("run", {"all": summary(100, 100, 100), "people": summary(25, 20, 50)}, 0),
        charts.Series("<floor>", {"all": summary(50, 40, 60), "people": {"count": 0}}, 1),
    ]
    drawn = Page(charts.bars(series, [("all", 9), ("people", 1234)], "bars"))
    widths = [float(bar["width"]) for bar in drawn.all("rect", "bar")]
    assert widths == pytest.approx([306, 153, 76.5], abs=0.02)
    assert "1,234" in drawn.text
    assert "<floor>: 50.0 [40.0, 60.0]" in drawn.text
    starts = [re.match(r"M(\S+) \S+H(\S+?)M", whisker["d"]) for whisker in drawn.all("path", "whisker")]
    assert [float(edge) - 104 for edge in starts[2].groups()] == pytest.approx([0.2 * 306, 0.5 * 306], abs=0.02)


def test_lines_go_through_their_numbers():
    line = charts.Series("k = 1", {0.0: summary(0, 0, 10), 1.0: {"count": 0}, 2.0: summary(100, 90, 100)}, 0)
    drawn = Page(charts.lines([line], "label", "x", "y", [(0, "none"), (2, "two")], intervals="band"))
    [path] = drawn.all("path", "line")
    x0, y0, x1, y1 = map(float, re.findall(r"[\d.]+", path["d"]))
    assert (y0, y1) == (256, 12)
    assert x0 < x1
    [band] = drawn.all("polygon", "band")
    assert [float(pair.split(",")[1]) for pair in band["points"].split()] == pytest.approx([231.6, 12, 36.4, 256])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (3, 3, [3]), (0.13, 0.42, [0.2, 0.3, 0.4]), (0, 820, [0, 200, 400, 600, 800])],
)
def test_ticks_are_round_numbers_inside(low, high, expected):
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_stacked_bars_are_as_high_as_their_counts():
    drawn = Page(charts.stacked([("0", 30, 10), ("1", 0, 0), ("2", 0, 20)], "4", "label", "x", "y"))
    hits, misses = ([float(bar["height"]) for bar in drawn.all("rect", kind)] for kind in ("hits", "misses"))
    unit = hits[0] / 30
    assert misses == pytest.approx([10 * unit, 20 * unit], abs=0.02)
    assert hits[1] == 0
    assert "75%" in drawn.text
    assert "0%" in drawn.text.split()
