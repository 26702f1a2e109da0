"""Two finished benchmarks side by side."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from grounding.benchmarks.compare import compare, comparison_table, is_benchmark, write_comparison
from grounding.benchmarks.run import read_rows
from grounding.errors import GroundingError
from grounding.evaluate import main
from helpers.benchmarks import job, run, write_classifier
from helpers.errors import facts
from helpers.html import Page

METHODS = ("contrastive-mwp", "gradient", "center")
FILES = ["comparison.csv", "comparison.html", "comparison.json"]


@pytest.fixture(scope="module")
def wrong(colours, tmp_path_factory):
    """The pointing game of a classifier that is told to look for green where blue is asked for."""
    folder = tmp_path_factory.mktemp("wrong")
    theirs = write_classifier(folder / "theirs")
    run(job(colours, theirs, "pointing", METHODS[::2], given={"blue": ["green"]}), folder / "wrong")
    return folder / "wrong"


def changed(run_, folder, change):
    """A copy of a run whose rows and metrics are changed."""
    shutil.copytree(run_, folder)
    rows, metrics = read_rows(folder), json.loads((folder / "metrics.json").read_text())
    change(rows, metrics)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_paired_by_hand(pointed, wrong):
    """Blue is in three, four and six; with green in its place nothing is found: 3 of 8 rows are lost, all of one class.

    The centre points alike.
    """
    summary = compare(pointed, wrong)
    assert list(summary["methods"]) == ["contrastive-mwp", "center"]  # what both have
    mine, centre = summary["methods"].values()
    assert (mine["rows"], mine["gained"], mine["lost"]) == (8, 0, 3)
    pooled, by_class = mine["scores"]["all, pooled"], mine["scores"]["all"]
    assert [pooled[key]["value"] for key in ("a", "b", "difference")] == [100.0, 62.5, -37.5]
    assert [by_class[key]["value"] for key in ("a", "b", "difference")] == pytest.approx(
        [100.0, 200 / 3, -100 / 3], abs=1e-5
    )
    assert pooled["difference"]["low"] < -37.5 < pooled["difference"]["high"] <= 0
    assert (centre["gained"], centre["lost"]) == (0, 0)
    for number in centre["scores"].values():
        assert number["a"] == number["b"]
        assert number["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "count": number["a"]["count"]}
    assert (summary["task"], summary["images"], summary["warnings"]) == ("pointing", 6, [])
    back = compare(wrong, pointed)["methods"]["contrastive-mwp"]
    assert (back["gained"], back["lost"], back["scores"]["all, pooled"]["difference"]["value"]) == (3, 0, 37.5)


def test_only_rows_of_both_are_compared(pointed, tmp_path):
    """A class that one run was not asked for, and a picture that it could not read, stay out of either."""

    def lose(rows, metrics):
        rows[1] = {"image": rows[1]["image"], "error": "broken"}
        rows[3]["rows"]["blue"] = {}

    fewer = changed(pointed, tmp_path / "fewer", lose)
    summary = compare(pointed, fewer)
    assert (summary["images"], summary["methods"]["center"]["rows"]) == (5, 6)
    assert summary["warnings"] == [
        "a has 6 pictures: compared on the 5 of both",
        "b has 6 pictures: compared on the 5 of both",
    ]
    back = compare(fewer, pointed)["methods"]["center"]["scores"]["all, pooled"]
    assert [back[side]["count"] for side in "ab"] == [6, 6]
    difference = summary["methods"]["gradient"]["scores"]["difficult"]["difference"]
    assert difference == {"value": 0.0, "low": 0.0, "high": 0.0, "count": 3}


def test_other_files_of_one_name_are_no_pair(pointed, tmp_path):
    other = changed(pointed, tmp_path / "other", lambda rows, metrics: rows[0].update(sha256="0"))
    assert compare(pointed, other)["images"] == 5


def test_localization_is_compared_on_its_own_numbers(whole):
    summary = compare(whole, whole)
    for own in summary["methods"].values():
        assert (own["gained"], own["lost"]) == (0, 0)
        assert {number["difference"]["value"] for number in own["scores"].values()} == {0.0}
    assert "realistic" in summary["methods"]["cam"]["scores"]


def test_changed_annotations_are_warned_of(pointed, colours, classifier, tmp_path):
    copy = Path(shutil.copytree(colours, tmp_path / "moved"))
    labels = copy / "labels.csv"
    labels.write_text(labels.read_text().replace("4,4,24,20", "4,4,24,44"))
    run(job(copy, classifier, "pointing", METHODS), tmp_path / "out")
    assert compare(pointed, tmp_path / "out")["warnings"] == [
        "the data are called colours and moved",
        "the same pictures were scored with other annotations",
    ]


def test_a_part_is_compared_on_its_pictures(pointed, colours, classifier, tmp_path):
    run(job(colours, classifier, "pointing", METHODS, limit=3), tmp_path / "part")
    summary = compare(pointed, tmp_path / "part")
    assert (summary["images"], summary["warnings"]) == (3, ["a has 6 pictures: compared on the 3 of both"])


def _other_classes(rows, metrics):
    metrics["classes"]["pink"] = {}


def _other_pictures(rows, metrics):
    for row in rows:
        row["image"] = "their-" + row["image"]


def _other_methods(rows, metrics):
    metrics["methods"] = {"lime": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_pictures, "no picture in common: were they run on different data"),
        (_other_classes, "have other classes"),
        (_other_methods, "no method or no class of a picture in common"),
        (lambda rows, metrics: metrics.update(task="agreement"), "pointing and .* about agreement: expected two runs"),
        (lambda rows, metrics: metrics.update(benchmark_version=9), "is not a benchmark of version 1"),
    ],
    ids=["pictures", "classes", "methods", "task", "version"],
)
def test_what_cannot_be_compared(pointed, tmp_path, change, message):
    other = changed(pointed, tmp_path / "other", change)
    with pytest.raises(GroundingError, match=message):
        compare(pointed, other)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", None, facts("metrics.json cannot be read", "expected the --output of a finished benchmark")),
        ("metrics.json", "{", "metrics.json is not JSON"),
        ("metrics.json", "[]", "not a benchmark of version 1"),
        ("metrics.json", "3", "not a benchmark of version 1"),
        ("rows.jsonl", None, "rows.jsonl cannot be read"),
        ("rows.jsonl", "{\n", "rows.jsonl cannot be read"),
    ],
)
def test_damaged_runs(pointed, in_empty_folder, name, content, message):
    import re

    shutil.copytree(pointed, "damaged")
    Path("damaged", name).unlink()
    if content is not None:
        Path("damaged", name).write_text(content)
    status, _, err = in_empty_folder(main, "compare", pointed, "damaged")
    assert (status, err.count("\n")) == (2, 1)
    assert re.search(message, err)
    assert is_benchmark(Path("damaged")) == (name != "metrics.json")


def test_the_command_writes_beside_b(pointed, wrong, in_empty_folder):
    shutil.copytree(pointed, "a")
    shutil.copytree(wrong, "b")
    for name in ("a-vs-b", "a-vs-b-2"):
        status, out, err = in_empty_folder(main, "compare", "a", "b")
        assert (status, err) == (0, "")
        assert sorted(path.name for path in Path(name).iterdir()) == FILES
        assert f"{name}/comparison.html" in out
    assert in_empty_folder(main, "compare", "a", "b", "--overwrite")[0] == 0
    assert not Path("a-vs-b-3").exists()
    status, _, err = in_empty_folder(main, "compare", "a", "b", "--output", "b", "--overwrite")
    assert (status, "holds the input b" in err) == (2, True)
    assert json.loads(Path("a-vs-b/comparison.json").read_text())["methods"]["center"]["lost"] == 0
    text = comparison_table(compare(Path("a"), Path("b")))
    for word in ("pointing, 6 pictures in both", "contrastive-mwp", "100.0 [100.0, 100.0]", "-37.5 ["):
        assert word in text
    assert out.startswith(text[:20])


def test_a_benchmark_and_another_run(pointed, in_empty_folder):
    Path("flickr").mkdir()
    Path("flickr/metrics.json").write_text('{"schema_version": 1}')
    for pair in ((pointed, "flickr"), ("flickr", pointed)):
        status, _, err = in_empty_folder(main, "compare", *pair)
        assert (status, "flickr/metrics.json is not a benchmark of version 1" in err) == (2, True)


def test_the_page(pointed, wrong, tmp_path):
    page, summary = write_comparison(pointed, wrong, tmp_path / "c", False)
    html = Page(page.read_text())
    assert "pointing on colours, two runs" in html.text
    for name in ("contrastive-mwp", "center"):
        assert name in html.text
    assert summary["methods"]["center"]["rows"] == 8
    [row] = [row for row in html.rows if row and row[0].strip() == "all, pooled" and "37.5" in row[3]]
    assert [cell.split()[0] for cell in row[1:]] == ["100.0", "62.5", "-37.5"]
    assert html.all("td", "clear")
    assert not [found for tag in ("img", "script", "link") for found in html.all(tag) if "http" in str(found)]


def test_names_are_text_on_the_page(pointed, tmp_path):
    def rename(rows, metrics):
        metrics["name"] = "<b>bold</b>"
        metrics["dataset"]["name"] = "<script>x"

    other = changed(pointed, tmp_path / "<i>", rename)
    page, _ = write_comparison(pointed, other, tmp_path / "c", False)
    html = Page(page.read_text())
    assert "<b>bold</b>" in html.text
    assert "the data are called colours and <script>x" in html.text
    assert not html.all("b")
    assert not html.all("i")


def test_agreement_has_three_decimals(colours, classifier, tmp_path):
    (tmp_path / "gaze.csv").write_text("0,one.png,64,48,10,10,200\n0,six.png,64,64,30,30,100\n")
    theirs = job(colours, classifier, "agreement", ("cam", "center"), gaze=tmp_path / "gaze.csv")
    run(theirs, tmp_path / "a")
    run(replace(theirs, makers=theirs.makers[1:]), tmp_path / "b")
    summary = compare(tmp_path / "a", tmp_path / "b")
    assert list(summary["methods"]) == ["center", "true box", "people, split half"]
    assert "+0.000 [+0.000, +0.000]" in comparison_table(summary)
    assert summary["methods"]["people, split half"]["scores"]["NSS"]["difference"] == {"count": 0}
