"""A result as text for a terminal."""

from dataclasses import replace

from grounding.terminal import result_table
from grounding.text.phrases import Phrase
from grounding.text.vocabulary import Match
from helpers.results import grounded, grounding_of


def test_the_best_region_and_the_reason_of_each_word_are_shown():
    table = result_table(grounding_of(grounded()), "p.jpg", 1.234)
    for fact in ("p.jpg (640 x 400 px)", "a hat", "localized", "hat -> hat (exact)", "40 40 120 100", "1.250"):
        assert fact in table
    assert table.splitlines()[-1] == "classifier embedded; 1.23 s for the picture and 1 phrases"
    assert "guess" not in table


def test_a_guess_and_a_phrase_without_a_region_are_said_to_be():
    words = (Match("qwrtz", None, "out-of-vocabulary", 0.0),)
    guess = replace(grounded("a qwrtz", "out-of-vocabulary"), words=words)
    table = result_table(grounding_of(guess, grounded("a dog", "no-proposals", box=None)), None, 0.0)
    assert "sample scene" in table
    assert "40 40 120 100 (a guess)" in table
    assert "qwrtz (out-of-vocabulary)" in table
    assert "no-proposals" in table


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
