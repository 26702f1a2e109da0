"""The page of a manifest in a real browser: readable, reachable, and harmless whatever is written in the table."""

import csv

import pytest
from PIL import Image

from grounding.images import sample_scene
from helpers.pages import open_file, stacked_cells, tabbed

HOSTILE = 'A <b>man</b> & "his" <img src=x onerror=alert(1)> <script>alert(1)</script> hat'
ROWS = [
    ("<i>scene.png", HOSTILE),
    ("<i>scene.png", "a man and " + "a very long word after word " * 12),
    ("<i>scene.png", "running"),
    ("<i>scene.png", ""),
    ("missing.png", "a cat"),
]


@pytest.mark.slow
def test_the_page_of_a_manifest(run, open_page, tmp_path):
    Image.fromarray(sample_scene()).save(tmp_path / "<i>scene.png")
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *ROWS])
    assert run("--manifest", "table.csv", "--output", "out", "--pictures")[0] == 1  # two rows fail
    results = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    page = open_file(open_page, tmp_path / "out" / "index.html", "manifest")
    assert len(results) == page.locator("article").count() == len(ROWS)
    assert page.locator("script, b, i, article img[src=x]").count() == 0
    captions = page.locator("h2").all_inner_texts()
    assert captions == [" ".join(caption.split()) or "(no caption)" for _, caption in ROWS]
    assert page.get_by_text("missing.png cannot be read").is_visible()
    assert page.locator("#row-3 table").count() == 0
    cells = stacked_cells(page, "#row-1 table")
    assert [label for label, _ in cells[:5]] == ["status", "presence", "tags", "box (px)", "score"]
    assert all(text for _, text in cells)
    shown = page.locator("#row-1 tbody th").all_inner_texts()
    assert "hat" in " ".join(shown)

    overlays = [f"overlay-{number:06d}.jpg" for number in (1, 2, 3)]
    assert tabbed(page, 3) == [("a", name) for name in overlays]
    names = page.locator("a.picture img").evaluate_all("all => all.map(one => one.alt)")
    assert names[0] == f"Picture 1, larger: {HOSTILE}"
    page.keyboard.press("Enter")
    page.wait_for_url("**/overlay-000003.jpg")
    assert (tmp_path / "out" / overlays[2]).is_file()
