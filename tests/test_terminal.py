"""A result as text for a terminal."""

from dataclasses import replace

import pytest
from rich.console import Console

from grounding import terminal
from grounding.grounded import Region
from grounding.terminal import result_table
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match
from helpers.results import grounded, grounding_of


def test_the_best_region_and_the_reason_of_each_word_are_shown():
    table = result_table(grounding_of(grounded()), "p.jpg", 1.234)
    for fact in ("p.jpg (640 x 400 px)", "a hat", "localized", "hat -> hat (exact)", "40 40 120 100", "1.250"):
        assert fact in table
    assert table.splitlines()[-1] == "classifier embedded, context none; 1.23 s for the picture and 1 phrase"
    assert "guess" not in table


def test_a_guess_and_a_phrase_without_a_region_are_said_to_be():
    words = (Match("qwrtz", (), "out-of-vocabulary", 0.0),)
    guess = replace(grounded("a qwrtz", "out-of-vocabulary"), words=words)
    table = result_table(grounding_of(guess, grounded("a dog", "no-proposals", box=None)), None, 0.0)
    assert "sample scene" in table
    assert "40 40 120 100 (a guess)" in table
    assert "qwrtz (out-of-vocabulary)" in table
    assert "no-proposals" in table


RANKED = replace(grounded(), regions=tuple(Region(10.0 * n, 0.0, 50.0, 60.0, 0.9 - 0.2 * n) for n in range(3)))


def cells(table):
    return [
        [cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines() if line.startswith("│")
    ]


def test_a_row_for_each_region_that_is_asked_for():
    table = result_table(grounding_of(RANKED, grounded("a dog", "no-proposals", box=None)), "p.jpg", 0.0, top_k=3)
    first, second, third, dog = cells(table)
    assert "rank" in table
    assert [row[4:] for row in (first, second, third)] == [
        ["1", "0 0 50 60", "0.900"],
        ["2", "10 0 50 60", "0.700"],
        ["3", "20 0 50 60", "0.500"],
    ]
    assert first[0] == "a hat"
    assert second[:4] == third[:4] == [""] * 4
    assert dog[4:] == ["-", "-", "-"]
    alone = result_table(grounding_of(RANKED), "p.jpg", 0.0)
    assert len(cells(alone)) == 1
    assert "rank" not in alone
    assert len(cells(result_table(grounding_of(RANKED), "p.jpg", 0.0, top_k=2))) == 2


def test_presence_has_a_column():
    absent = replace(grounded("a dog", "absent"), presence=0.034)
    unknown = replace(grounded("a qwrtz", "out-of-vocabulary"), presence=None)
    table = result_table(grounding_of(absent, unknown), "p.jpg", 0.0)
    assert "presence" in table
    assert [row[1:3] for row in cells(table)] == [["absent", "0.03"], ["out-of-vocabulary", "-"]]


def test_a_phrase_is_one_line_in_a_wide_terminal():
    phrase = Phrase("a red\n\that", 0, 9, "hat")
    assert cells(result_table(grounding_of(replace(grounded(), phrase=phrase)), "p.jpg", 0.0))[0][0] == "a red hat"


@pytest.mark.parametrize("columns", [60, 80, 120, 200, 30])
def test_nothing_is_cut_whatever_the_width(monkeypatch, columns):
    options = {"force_terminal": True, "width": columns, "color_system": None}
    monkeypatch.setattr(terminal, "Console", lambda **given: Console(**options | given))
    words = (Match("brown-haired", ("hair",), "neighbour", 0.5), Match("skateboarders", ("skateboarder",), "stem", 1.0))
    long = replace(grounded("two brown-haired skateboarders", "out-of-vocabulary"), words=words)
    wide = replace(long, regions=(Region(1000, 1001, 2002, 2003, 0.5), Region(1, 2, 3, 4, 0.25)))
    table = result_table(grounding_of(wide, RANKED), "p.jpg", 0.0, top_k=2)
    assert "…" not in table
    assert max(len(line) for line in table.splitlines() if "│" in line) <= max(60, columns)
    for word in ("out-of-vocabulary", "localized", "presence", "0.500", "0.250"):
        assert word in table
    joined = ["".join(column).replace(" ", "") for column in zip(*cells(table), strict=True)]
    assert joined[0].startswith("twobrown-hairedskateboarders")
    assert "skateboarders->skateboarder(stem)" in joined[3 if columns >= 100 else 0]
    assert joined[-2].startswith("1000100120022003(aguess)")
    if columns >= 80:
        assert "skateboarders" in table


def test_nothing_to_look_for():
    assert "no noun phrase" in result_table(grounding_of(), "p.jpg", 0.0)


def test_a_terminal_obeys_no_text():
    phrase = Phrase("a\x1b[31mhat", 0, 10, "hat")
    table = result_table(grounding_of(replace(grounded(), phrase=phrase)), "\x07.jpg", 0.0)
    assert "\x1b" not in table
    assert "\x07" not in table
    assert "a\N{REPLACEMENT CHARACTER}[31mhat" in table


def test_notes_have_lines_of_their_own():
    table = result_table(replace(grounding_of(grounded()), notes=("captions are read as English",)), "p.jpg", 0.0)
    assert "note: captions are read as English" in table.splitlines()
