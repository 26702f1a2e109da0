"""The page and the table of a finished benchmark, and what stands in them."""

import json

import pandas as pd
import pytest

from grounding.benchmarks.measurer import Measurer
from grounding.benchmarks.metrics import to_table
from grounding.benchmarks.page import FIGURE_ROWS, chosen, metrics_table, score_names, shown
from grounding.benchmarks.published import _all, published
from grounding.benchmarks.run import Finished, read_rows
from grounding.benchmarks.tasks import TASKS
from helpers.benchmarks import job, run, write_folder
from helpers.html import Page

LONG = "a class of many words " * 12
NAMES = {"red": "<b>", "green": 'salt, pepper, and "oil"', "blue": LONG}
TAGS = {"<b>": ["red"], NAMES["green"]: ["green"], LONG.strip(): ["blue"]}


@pytest.fixture(scope="module")
def named(classifier, tmp_path_factory):
    """A pointing game over classes with awkward names."""
    folder = tmp_path_factory.mktemp("named")
    write_folder(folder / "data", NAMES)
    asked = job(folder / "data", classifier, "pointing", ("contrastive-mwp", "center"), given=TAGS)
    metrics = run(asked, folder / "out")
    return metrics, (folder / "out" / "report.html").read_text()


def finished(folder, asked):
    measurer = Measurer(asked)
    metrics = json.loads((folder / "metrics.json").read_text())
    return Finished(metrics, to_table(read_rows(folder), measurer.data.classes), measurer)


def test_the_page_is_whole_and_alone(whole):
    text = (whole / "report.html").read_text()
    page = Page(text)
    metrics = json.loads((whole / "metrics.json").read_text())
    for method in metrics["methods"]:
        [row] = [row for row in page.rows if row and row[0].strip() == method and len(row) == 2 + 6]  # numbers, cost
        assert row[1].split()[0] == f"{metrics['methods'][method]['MaxBoxAcc']['value']:.1f}"
    assert [found["src"][:22] for found in page.all("img")] == ["data:image/jpeg;base64"] * len(page.all("img"))
    for tag in ("script", "iframe", "object"):
        assert not page.all(tag)
    assert [found["href"] for found in page.all("link")] == ["data:,"]  # that no icon is asked for
    assert "url(" not in text.replace("url(#", "").replace("url(data:", "")
    assert "http" not in "".join(str(attributes) for _, attributes in page.tags)
    assert "The classifier's first class is right for 100.0% of the pictures." in page.text
    assert "center" in page.text
    assert page.all("td", "clear")  # the difference to the centre


def test_the_table_names_every_method_and_number(whole):
    metrics = json.loads((whole / "metrics.json").read_text())
    text = " ".join(metrics_table(metrics).split())
    for word in (*metrics["methods"], *("MaxBoxAcc", "MaxBoxAccV2", "GT-known", "top-1", "realistic")):
        assert word in text
    assert "contrastive-mwp less each other method" in text
    assert "colours, 6 pictures, 8 classes in pictures" in text
    assert "the classifier's first class is right for 100.0% of pictures" in text


def test_awkward_names_are_text(named):
    metrics, text = named
    page = Page(text)
    assert not page.all("b")
    classes = {row[0].strip(): row for row in page.rows if row}
    for name, tags in TAGS.items():
        assert [cell.strip() for cell in classes[" ".join(name.split())][2:4]] == [*tags, "given"]
    assert metrics["by_class"]["<b>"]["contrastive-mwp"] == 100.0
    assert [found["alt"] for found in page.all("img")][1:] == ['salt, pepper, and "oil" in five.png']  # nothing else
    assert page.text.count("There is no such picture.") == 1  # where it is worse


def test_rows_of_the_figure_are_of_different_pictures(pointed, colours, classifier):
    """Difficult rows come first, one a picture: of four and five; then others of pictures that are not there yet."""
    asked = job(colours, classifier, "pointing", ("contrastive-mwp", "gradient", "center"))
    items = chosen(finished(pointed, asked))
    assert len(items) == FIGURE_ROWS == 6
    assert {image for image, _ in items[:2]} == {"four.png", "five.png"}
    assert len({image for image, _ in items}) == 6
    assert items == chosen(finished(pointed, asked))


def test_colours_of_points(pointed, colours, classifier):
    from grounding.benchmarks.page import _verdict

    verdict = _verdict(finished(pointed, job(colours, classifier, "pointing")))
    assert verdict("five.png", "green", "center") is False
    assert verdict("five.png", "green", "gradient") is True
    assert verdict("five.png", "green", "rise") is None
    assert verdict("five.png", "blue", "center") is None


def test_galleries_begin_with_what_the_first_method_wins(pointed):
    """Only the centre misses, and only green in `five.png`."""
    page = Page((pointed / "report.html").read_text())
    captions = [found["alt"] for found in page.all("img")][1:]
    assert captions[0] == "green in five.png"
    assert "green in five.png" not in captions[6:7]
    assert page.text.index("Where contrastive-mwp is better") < page.text.index("Where contrastive-mwp is worse")


@pytest.mark.parametrize(
    ("task", "number", "sign", "text"),
    [
        ("pointing", {"value": 12.345, "low": 1.0, "high": 20.06, "count": 3}, "", "12.3 [1.0, 20.1]"),
        ("localization", {"value": 2.0, "low": -1.0, "high": 5.0, "count": 3}, "+", "+2.0 [-1.0, +5.0]"),
        ("agreement", {"value": 0.1234, "low": 0.1, "high": 0.2, "count": 3}, "", "0.123 [0.100, 0.200]"),
        ("pointing", {"count": 0}, "", "-"),
        ("pointing", {}, "", "-"),
        ("pointing", None, "+", "-"),
    ],
)
def test_numbers_as_shown(task, number, sign, text):
    assert shown({"task": task}, number, sign) == text


def test_names_of_numbers_are_of_all_methods():
    methods = {"a": {"x": {}, "y": {}}, "b": {"z": {}, "x": {}}}
    assert score_names({"methods": methods}) == ["x", "y", "z"]


def test_published_numbers_are_whole():
    """Every row names a method, a number and a source of its own, and its number is one of ours."""
    names = {
        "pointing": {"all", "difficult", "all, pooled", "difficult, pooled"},
        "localization": {"MaxBoxAcc", "MaxBoxAccV2", "GT-known", "top-1", "PxAP", "realistic"},
    }
    names["localization"].add("box above a multiple of the mean")
    assert _all()
    for row in _all():
        assert set(row) == {*("dataset", "task", "split", "method", "network", "score", "value", "differs", "source")}
        assert row["task"] in TASKS
        assert row["score"] in names[row["task"]], row
        assert 0 < row["value"] < 100
    assert {row["dataset"] for row in published("voc07", "pointing")} == {"voc07"}
    assert published("folder", "localization") == []
    assert published("voc07", "localization") == []


def test_to_table():
    records = [
        {"image": "a", "predicted": "y", "rows": {"x": {"m": {"hit": 1}, "n": {"hit": 0}}, "y": {}}},
        {"image": "b", "error": "broken"},
        {"image": "c", "predicted": None, "rows": {"y": {"m": {"hit": 0}}}},
    ]
    table = to_table(records, ["x", "y"])
    expected = pd.DataFrame({"image": [0, 0, 2], "class": [0, 0, 1], "method": ["m", "n", "m"], "hit": [1, 0, 0]})
    pd.testing.assert_frame_equal(table.drop(columns="predicted"), expected, check_dtype=False)
    assert table["predicted"].tolist()[:2] == [1, 1]
    assert pd.isna(table["predicted"].iloc[2])
