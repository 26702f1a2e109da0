"""Published numbers stand beside a run's only where protocol and whole split are the same."""

import pytest

from grounding.evaluation.protocols.protocol import HEADLINE
from grounding.evaluation.report.page import render_report
from grounding.evaluation.report.published import comparable, published, published_lines, same_split
from grounding.evaluation.runs.scoring import Run
from helpers.html import Page
from helpers.reports import entity_image, make_run, photograph, predict

ROWS = [row for group in published().values() for row in group]
VAL = {"split": "val", "images_evaluated": 1000, "images_in_split": 1000, "phrases": 14_433}
TEST = {"split": "test", "images_evaluated": 1000, "images_in_split": 1000, "phrases": 14_481}
WHOLE = {"coverage": "all 1,000 images"}
PART = {"images_evaluated": 247, "phrases": 3239, "coverage": "247 of 1,000 images present"}


@pytest.fixture(scope="module")
def run():
    images = [entity_image(1, [("people", [[0, 0, 20, 20]]), ("scene", [[0, 0, 100, 50]])])]
    return make_run(images, predict(images))


def about(run, **dataset):
    """The run as if it were about these images."""
    return Run(run.metrics | {"dataset": run.metrics["dataset"] | dataset}, run.images, run.predictions, run.columns)


def test_each_has_a_source_and_says_how_its_protocol_differs():
    names = {protocol.name for protocol in HEADLINE}
    assert len(ROWS) > 30
    for row in ROWS:
        assert set(row) == {"method", "training", "split", "metric", "value", "nearest", "differs", "source"}
        assert all(isinstance(row[key], str) and row[key] for key in ("method", "training", "metric", "source"))
        assert row["split"] in ("val", "test")
        assert row["nearest"] in names
        assert 0 < row["value"] < 100
        assert row["differs"] is None or (isinstance(row["differs"], str) and row["differs"])
    assert "memory" not in str(ROWS)
    assert "NOT FOUND" not in str(ROWS)


@pytest.mark.parametrize(
    ("dataset", "splits"),
    [
        (VAL | {"images_evaluated": 0, "phrases": 0}, set()),
        (VAL | {"images_evaluated": 999}, set()),  # one photograph is missing
        (VAL | {"phrases": 14_432}, set()),  # other annotations
        (VAL | {"split": "train"}, set()),
        (TEST | {"images_in_split": 247, "images_evaluated": 247}, set()),  # all of a list that was cut
        (VAL, {"val"}),
        (TEST, {"test"}),
    ],
)
def test_only_the_whole_split_compares(dataset, splits):
    assert {row["split"] for row in ROWS if same_split(row, dataset)} == splits
    beside = [row for row in ROWS if comparable(row, dataset)]
    assert {row["split"] for row in beside} == splits
    assert all(row["differs"] is None for row in beside)
    if splits:
        assert len(beside) == sum(row["split"] in splits and row["differs"] is None for row in ROWS) > 1


@pytest.mark.parametrize("dataset", [VAL | PART, VAL | WHOLE, TEST | PART, TEST | WHOLE])
def test_the_table_marks_every_number_that_does_not_compare(run, dataset):
    run = about(run, **dataset)
    page = Page(render_report(run, photograph))
    table = [[" ".join(cell.split()) for cell in row] for row in page.rows]
    for row in ROWS:
        same = same_split(row, dataset)
        note = f"protocol differs: {row['differs']}" if row["differs"] else "same protocol"
        if row["split"] != dataset["split"]:
            note += "; another split"
        elif not same:
            note += "; a part of the split"
        number = run.metrics["run"][row["nearest"]]
        ours = "–"
        if number["count"]:
            ours = f"{number['value']:.1f} [{number['low']:.1f}, {number['high']:.1f}]"
            ours = ours if same and row["differs"] is None else f"≠ {ours}"
            ours += "" if same else f" {dataset['split']}, {dataset['images_evaluated']:,} of 1,000"
        cells = [row["method"], row["training"], f"{row['split']} all 1,000 pictures", row["metric"], str(row["value"])]
        assert [*cells, f"{row['nearest']} {note}", ours, row["source"]] in table
    others = [split for split in ("test", "val") if split != dataset["split"] or dataset["images_evaluated"] < 1000]
    where = " or ".join(f"the full {split} split of 1,000 pictures" for split in others)
    assert f"published on {where}; this run: {dataset['split']}, {dataset['coverage']}." in page.text


def test_the_text_output_says_the_same(run):
    part = " ".join(published_lines(about(run, **VAL | PART).metrics).split())
    assert part == (
        f"{len(ROWS)} published numbers not comparable: published on the full test split of 1,000 pictures or the full "
        "val split of 1,000 pictures; this run: val, 247 of 1,000 images present"
    )
    whole = published_lines(about(run, **VAL, **WHOLE).metrics)
    assert "published on the full val split of 1,000 pictures, the same protocol" in whole
    assert "│ MDETR-R101" in whole
    assert "83.4" not in whole  # of test
    others = sum(row["split"] == "test" for row in ROWS)
    assert f"{others} published numbers not comparable: published on the full test split" in whole
    whole = published_lines(about(run, **TEST, **WHOLE).metrics)
    assert "83.4" in whole
    differing = sum(row["split"] == "test" and row["differs"] is not None for row in ROWS)
    assert f"{differing} published numbers of another protocol" in whole
    assert published_lines(run.metrics | {"run": None}) == ""
