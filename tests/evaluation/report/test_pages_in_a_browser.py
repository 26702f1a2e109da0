"""The pages of real runs in a real browser, from the disk, without a network."""

import csv
import json
import shutil

import pytest

from grounding.evaluate import main
from grounding.evaluation.report.page import render_report
from helpers.entities import write_entities
from helpers.pages import NARROW, open_file, stacked_cells, tabbed
from helpers.reports import HOSTILE, entity_image, make_run, photograph, predict

HEADERS = ["protocol", "a: context=caption", "b: context=none", "difference", "low", "high", "gained", "lost", "count"]

_NUMBER_HEIGHTS = """cells => cells.filter(cell => cell.getClientRects().length).map(cell => {
  const range = document.createRange();
  range.selectNode(cell.firstChild);
  return range.getBoundingClientRect().height;
})"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of the embedded classifier on three of five photographs, its like in another context, and both compared."""
    folder = tmp_path_factory.mktemp("runs")
    entities = write_entities(folder / "entities", photographs=True)
    data = ["--annotations", entities, "--images", entities / "photographs", "--limit", "3"]
    assert main([str(argument) for argument in ("flickr30k", *data, "--output", folder / "a")]) == 0
    shutil.copytree(folder / "a", folder / "b")
    metrics = json.loads((folder / "a" / "metrics.json").read_text())
    metrics["settings"]["config"]["context"] = "none"
    (folder / "b" / "metrics.json").write_text(json.dumps(metrics))
    assert main(["compare", str(folder / "a"), str(folder / "b"), "--output", str(folder / "ab")]) == 0
    return folder


@pytest.mark.slow
def test_the_page_of_a_run(runs, open_page):
    metrics = json.loads((runs / "a" / "metrics.json").read_text())
    page = open_file(open_page, runs / "a" / "report.html", "report")
    assert page.viewport_size == NARROW
    cells = stacked_cells(page, "table.headline")
    for protocol in metrics["protocols"]:
        row = page.locator(f'table.headline tr[data-protocol="{protocol}"]')
        if not row.count():
            continue  # of the curves
        assert row.locator("th").is_visible()
        for name, numbers in (("embedded", metrics["run"]), *metrics["baselines"].items()):
            if protocol in numbers and numbers[protocol]["count"]:
                number = numbers[protocol]
                assert (name, f"{number['value']:.1f} [{number['low']:.1f}, {number['high']:.1f}]") in cells
    assert {label for label, _ in cells} == {"embedded", *metrics["baselines"], "counted"}
    published = stacked_cells(page, "table.published")
    ours = [text for label, text in published if label == "embedded"]
    assert len(ours) > 30
    assert all(text.startswith("≠") and text.endswith("val, 3 of 5") for text in ours)
    assert "this run: val, the first 3 of 5 images" in page.locator("table.published caption").inner_text()


@pytest.mark.slow
def test_the_page_by_keyboard(runs, open_page):
    page = open_page((runs / "a" / "report.html").resolve().as_uri())
    links = page.locator("nav a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert tabbed(page, len(links)) == [("a", link) for link in links]
    page.keyboard.press("Enter")
    assert page.url.endswith("#settings")
    assert tabbed(page, 1) == [("summary", "Configuration")]
    assert not page.get_by_text("context: caption").is_visible()
    page.keyboard.press("Enter")
    assert page.get_by_text("context: caption").is_visible()


@pytest.mark.slow
def test_the_page_of_a_comparison_names_its_columns_by_what_differs(runs, open_page):
    summary = json.loads((runs / "ab" / "comparison.json").read_text())
    assert [summary[side]["column"] for side in "ab"] == ["context=caption", "context=none"]
    with (runs / "ab" / "comparison.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == HEADERS
    assert [row[0] for row in rows[1:]] == list(summary["differences"])
    assert [float(row[1]) for row in rows[1:]] == [row["a"] for row in summary["differences"].values()]
    page = open_file(open_page, runs / "ab" / "comparison.html", "comparison", viewport={"width": 1300, "height": 900})
    cells = stacked_cells(page, "table.differences")
    one = summary["differences"]["recall@1/any-box"]
    for side, name in (("a", "context=caption"), ("b", "context=none")):
        assert (f"{side}: {name}", f"{one[side]:.1f}") in cells
        assert page.locator("h1").inner_text().count(f"embedded ({name})") == 1
    page.set_viewport_size({"width": 1300, "height": 900})
    headers = page.locator("table.differences th.side").all_inner_texts()
    assert [" ".join(header.split()) for header in headers] == ["a context=caption", "b context=none"]


@pytest.mark.slow
def test_names_and_captions_with_html_do_nothing(open_page, tmp_path):
    images = [entity_image(1, [("people", [[0, 0, 20, 20]])], HOSTILE)]
    run = make_run(images, predict(images), HOSTILE, failed={HOSTILE: HOSTILE})
    run.metrics["settings"]["note"] = HOSTILE
    (tmp_path / "<i>&.html").write_text(render_report(run, photograph))
    page = open_file(open_page, tmp_path / "<i>&.html", "hostile", faults=False)
    assert page.locator("script, b, i").count() == 0
    heights = page.locator("table.headline td.run").evaluate_all(_NUMBER_HEIGHTS)
    assert heights
    assert max(heights) < 30  # a long name beside it breaks no number
    assert page.locator("h1").inner_text() == " ".join(HOSTILE.split())
    assert HOSTILE.split("<script>")[1] in page.locator(".caption").first.inner_text()
    assert page.evaluate("document.title").startswith(HOSTILE)
