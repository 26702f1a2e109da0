"""The page and the table of a finished benchmark, and what stands in them."""

import csv
import json
from dataclasses import replace

import pandas as pd
import pytest

from grounding.benchmarks.compare import comparison_table, write_comparison
from grounding.benchmarks.data import Source
from grounding.benchmarks.measurer import Measurer
from grounding.benchmarks.metrics import to_table
from grounding.benchmarks.page import FIGURE_ROWS, _galleries, _trivial, chosen, metrics_table, score_names, shown
from grounding.benchmarks.published import PICTURES as IN_SPLIT
from grounding.benchmarks.published import _all, apart, published, published_line
from grounding.benchmarks.run import Finished, read_rows
from grounding.benchmarks.tasks import TASKS
from helpers.benchmarks import PICTURES, job, run, write_cub, write_folder
from helpers.html import Page
from helpers.pages import open_file, stacked_cells

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


@pytest.fixture(scope="module")
def birds(classifier, tmp_path_factory):
    """A localization on three pictures in the layout of CUB, and the same with smoothed maps."""
    folder = tmp_path_factory.mktemp("birds")
    write_cub(folder / "cub", {"one.png": False, "two.png": False, "three.png": False, "six.png": True})
    asked = job(folder / "cub", classifier, "localization", ("cam", "center"))
    asked = replace(asked, source=Source("cub", folder / "cub"))
    run(asked, folder / "sharp")
    run(replace(asked, makers=tuple(replace(maker, smoothing=0.1) for maker in asked.makers)), folder / "smooth")
    return folder


def test_published_numbers_are_marked_where_the_pictures_are_not_all(birds):
    metrics = json.loads((birds / "sharp" / "metrics.json").read_text())
    why = "published on the full CUB test split of 5,794 pictures; this run: CUB test, 3 pictures"
    assert published_line(metrics) == f"27 published numbers in the report, not comparable: {why}\n"
    page = Page((birds / "sharp" / "report.html").read_text())
    assert f"These numbers do not compare with this run, marked ≠: {why}." in page.text
    own = metrics["methods"]["center"]["MaxBoxAccV2"]
    [row] = [row for row in page.rows if row and row[0].strip() == "center" and "all 5,794 pictures" in row[2]]
    assert row[5].split() == f"≠ {own['value']:.1f} [{own['low']:.1f}, {own['high']:.1f}] 3 pictures".split()
    methods = [row for row in page.rows if row and row[0].strip() == "center" and len(row) == 8]
    assert "≠" not in "".join(methods[0])


@pytest.mark.parametrize(
    ("change", "apart_"),
    [
        ({}, False),
        ({"images": 5793, "left_out": {"pictures without objects": 1}}, False),
        ({"images": 5793}, True),
        ({"images": 5794, "limit": 5794}, False),
        ({"images": 0}, True),
        ({"name": "CUB train"}, True),
        ({"failed": {"x": "broken"}}, True),
        ({"rows_without_tag": 1}, True),
    ],
)
def test_only_a_whole_split_compares(change, apart_):
    dataset = {"name": "CUB test", "images": 5794, "limit": None, "left_out": {}, "failed": {}, "rows_without_tag": 0}
    rows = published("cub", "localization")
    assert {bool(apart(row, dataset | change)) for row in rows} == {apart_}
    metrics = {"settings": {"dataset": "cub"}, "task": "localization", "dataset": dataset | change}
    assert ("not comparable" in published_line(metrics)) == apart_
    assert published_line(metrics | {"settings": {"dataset": "folder"}}) == ""


def test_every_split_of_a_published_number_has_its_pictures():
    assert {row["split"] for row in _all()} == set(IN_SPLIT)


@pytest.mark.slow
def test_the_pages_in_a_browser(birds, named, open_page, tmp_path):
    page = open_file(open_page, birds / "sharp" / "report.html", "benchmark")
    methods = stacked_cells(page, "table.methods")
    metrics = json.loads((birds / "sharp" / "metrics.json").read_text())
    for number in metrics["methods"].values():
        for name, one in number.items():
            assert (name, f"{one['value']:.1f} [{one['low']:.1f}, {one['high']:.1f}]") in methods
    assert ("colours", "≠ 22.2 [0.0, 33.3] 3 pictures") in stacked_cells(page, "table.published")

    (tmp_path / "named.html").write_text(named[1])
    page = open_file(open_page, tmp_path / "named.html", "benchmark-names", faults=False)
    assert page.locator("table.classes").get_by_text("<b>", exact=True).count() > 0
    assert page.locator("b").count() == 0

    path, summary = write_comparison(birds / "sharp", birds / "smooth", tmp_path / "c", False)
    assert [summary[side]["column"] for side in "ab"] == ["smoothing=null", "smoothing=0.1"]
    assert [summary[side]["name"] for side in "ab"] == ["colours (smoothing=null)", "colours (smoothing=0.1)"]
    page = open_file(open_page, path, "benchmarks")
    assert {label for label, _ in stacked_cells(page, "table.differences")} == {
        "a: smoothing=null",
        "b: smoothing=0.1",
        "difference",
    }
    with (tmp_path / "c" / "comparison.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:5] == ["method", "number", "a: smoothing=null", "b: smoothing=0.1", "difference"]
    assert len(rows) == 1 + sum(len(own["scores"]) for own in summary["methods"].values())
    scores = summary["methods"]["cam"]["scores"]["GT-known"]
    [row] = [row for row in rows if row[:2] == ["cam", "GT-known"]]
    assert [float(value) for value in row[2:5]] == [scores[side]["value"] for side in ("a", "b", "difference")]
    assert "a: smoothing=null" in comparison_table(summary)


@pytest.mark.parametrize(("share", "left_out"), [(0.79, False), (0.8, True), (1.0, True)])
def test_galleries_leave_out_targets_that_are_nearly_the_whole_picture(classifier, tmp_path, share, left_out):
    """Only the centre misses green in `five.png`: a lead of the other method."""
    pictures = {"five.png": PICTURES["five.png"], "one.png": ((100, 100), [("red", (0, 0, 100, round(100 * share)))])}
    write_folder(tmp_path / "data", pictures=pictures)
    asked = job(tmp_path / "data", classifier, "pointing", ("contrastive-mwp", "center"))
    run(asked, tmp_path / "out")
    done = finished(tmp_path / "out", asked)
    own = done.table[done.table["method"] == "contrastive-mwp"]
    whole = [f"{done.measurer.data.classes[row['class']]}" for _, row in own[_trivial(done, own)].iterrows()]
    assert whole == (["red"] if left_out else [])
    done.table.loc[(done.table["method"] == "center"), "hit"] = 0  # so that both lead
    one, worse = _galleries(done)
    captions = [caption for caption, _ in one.strips]
    assert ("red in one.png" in captions) == (not left_out)
    assert "green in five.png" in captions or "red in five.png" in captions
    assert ("Left out: 1 target that covers at least 80% of the picture." in one.text) == left_out
    assert (list(worse.strips), "Left out" in worse.text) == ([], False)
