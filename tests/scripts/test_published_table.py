"""The page of results holds what others report, as the package has it."""

import pytest

from helpers.paths import load_script


@pytest.fixture
def script():
    return load_script("published_table")


def test_the_page_holds_the_published_numbers_and_ours(script):
    page = script.PAGE.read_text()
    assert script.with_table(page) == page, "run scripts/published_table.py"
    assert page.count(script.BEGIN) == page.count(script.END) == 1


def test_a_row_has_their_protocol_and_ours(script):
    row = {"method": "M", "training": "COCO", "split": "test", "metric": "pointing", "value": 47.40}
    row |= {"nearest": "pointing/phrase", "differs": "filter not stated", "source": "README"}
    assert list(script.lines({"no boxes": [row], "boxes": []}, {"pointing/phrase": "76.4"}))[:4] == [
        "\n### No boxes\n",
        f"| {' | '.join(script.COLUMNS)} |",
        f"|{'---|' * len(script.COLUMNS)}",
        "| M | COCO | test | pointing | 47.4 | `pointing/phrase` | filter not stated | 76.4 | README |",
    ]
    same = list(script.lines({"boxes": [row | {"differs": None}]}, {"pointing/phrase": "1.0"}))
    assert "| same protocol | 1.0 |" in same[3]


def test_our_values_are_read_from_the_measured_table(script):
    page = "| protocol | counted | x |\n|---|---|---|\n| `a/b` | 3,239 | **76.4** [74.2, 78.8] |\n| `a/b` | 82.5 |\n"
    assert script.measured(page) == {"a/b": "76.4"}
