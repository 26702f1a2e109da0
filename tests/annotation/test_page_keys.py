"""The page by keys alone, what a visit leaves for the next one, and the step back."""

import pytest
from playwright.sync_api import expect

from helpers.annotation_page import annotating, decisions, drafts, edges, lines, ready
from helpers.browser import screenshots, serious_faults

pytestmark = pytest.mark.slow


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def chosen(page):
    """The label of what has the focus."""
    return page.evaluate("document.activeElement.getAttribute('aria-label')")


BOX = [171, 171, 341, 341]  # that n makes, in a picture of 512 px
MOVES = [  # keys; the edges that the box then has
    (["ArrowUp", "ArrowUp", "ArrowRight"], [172, 169, 342, 339]),
    (["Shift+ArrowDown", "ArrowLeft"], [170, 181, 340, 351]),
    (["Alt+ArrowRight", "Alt+Shift+ArrowUp"], [171, 171, 342, 331]),
    (["[", "{"], [182, 182, 330, 330]),
    (["]", "]", "}"], [159, 159, 353, 353]),
    (["Shift+ArrowLeft"] * 18, [0, 171, 170, 341]),
]


def test_keys_move_and_resize(opened):
    page, folder = opened
    for keys, expected in MOVES:
        done = len(lines(folder))
        press(page, "n")
        ready(page)
        press(page, *keys)
        expect(page.locator("#saved")).not_to_have_text("All saved")
        ready(page)
        drawn, *moves = decisions(folder)[done:]
        assert (drawn["action"], edges(drawn)) == ("draw", BOX)
        assert {each["action"] for each in moves} == {"move"}, keys
        assert edges(moves[-1]) == expected, keys
        assert sum(each["actions"] for each in lines(folder)[done + 1 :]) == len(keys)


def test_a_picture_is_done_by_keys_alone(opened):
    page, folder = opened
    labels = [box["label"] for box in drafts(folder)["scene.png"]["boxes"]]
    assert chosen(page).startswith(f"Box 1: {labels[0]}")
    press(page, "Enter")
    ready(page)
    assert chosen(page).startswith(f"Box 2: {labels[1]}")  # the next one that is open
    press(page, "Shift+Tab", "Tab", "Shift+Tab")
    assert chosen(page).startswith("Box 1")
    press(page, "Tab", "x")
    ready(page)
    press(page, "n", "2", "Shift+ArrowRight", "d")  # what keys moved goes before what comes after
    expect(page.locator("#count")).to_have_text("1 of 4 done")
    ready(page)
    made = decisions(folder)
    assert [each["action"] for each in made] == ["accept", "reject", "draw", "relabel", "move", "done"]
    assert (made[0]["box"], made[1]["box"], made[3]["box"]) == (0, 1, len(labels))
    assert made[3]["label"] == page.locator("#labels .chip").nth(1).locator("span").nth(1).inner_text()
    assert edges(made[4]) == [181, 171, 351, 341]
    assert [each["actions"] for each in lines(folder)][:3] == [1, 5, 1]
    assert sum(each["actions"] for each in lines(folder)) == 10
    assert all(0 <= each["time_s"] < 60 for each in lines(folder))
    press(page, "s")
    expect(page.locator("#count")).to_have_text("1 of 4 done, 1 skipped")


def test_keys_pressed_too_fast_decide_nothing_that_nobody_saw(opened):
    page, folder = opened
    down = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}))"
    page.evaluate(f"() => {{ for (const key of ['d', 'd', 's']) {down}; }}")
    expect(page.locator("#count")).to_have_text("1 of 4 done")
    ready(page)
    assert page.locator("#name").inner_text() != "scene.png"
    assert [each["action"] for each in decisions(folder)] == ["done"]


def test_the_step_back(opened):
    page, folder = opened
    before = page.locator(".box").evaluate_all("boxes => boxes.map(box => box.getAttribute('aria-label'))")
    press(page, "u")
    expect(page.locator("#line")).to_have_text("There is nothing to take back.")
    press(page, "Shift+ArrowRight", "u")  # before it is a decision
    expect(page.locator("#line")).to_have_text("The box is back where it was.")
    assert lines(folder) == []
    press(page, "a")
    ready(page)
    press(page, "x", "d")
    expect(page.locator("#count")).to_have_text("1 of 4 done")
    ready(page)
    for count, actions in ((3, 4), (2, 5), (1, 6)):
        press(page, "Control+z" if count == 2 else "u")
        expect(page.locator("#line")).to_have_text("Taken back.")
        ready(page, "scene.png")
        page.wait_for_function("true")
        assert len(lines(folder)) == actions
    assert page.locator(".box").evaluate_all("boxes => boxes.map(box => box.getAttribute('aria-label'))") == before
    assert [each["action"] for each in decisions(folder)] == ["accept", "reject", "done", "undo", "undo", "undo"]
    assert [each["actions"] for each in lines(folder)[3:]] == [1, 1, 1]
    expect(page.locator("#count")).to_have_text("0 of 4 done")


def test_pictures_and_zoom(opened):
    page, _ = opened
    names = [page.locator("#name").inner_text()]
    for key, by in ((",", -1), (".", 1), ("Escape", 0), ("ArrowRight", 1), ("Escape", 0), ("ArrowLeft", -1)):
        press(page, key)
        ready(page)
        if by:
            names.append(page.locator("#name").inner_text())
    width = page.locator("#canvas").bounding_box()["width"]
    for key, larger in (("+", 1.5), ("+", 2.25), ("-", 1.5), ("0", 1)):
        press(page, key)
        assert page.locator("#canvas").bounding_box()["width"] == pytest.approx(width * larger, rel=0.02)


def test_keys_are_told_and_rest_where_one_types(opened):
    page, folder = opened
    press(page, "?")
    expect(page.locator("#keys")).to_be_visible()
    screenshots(page, "keys")
    assert serious_faults(page) == []
    press(page, "a", "x", "d", "Escape")
    expect(page.locator("#keys")).not_to_be_visible()
    press(page, "l")
    page.keyboard.type("adsxu?n")
    press(page, "Escape")
    assert page.locator("#find").input_value() == ""
    ready(page, "scene.png")
    assert lines(folder) == []
    assert chosen(page).startswith("Box 1")


def test_a_button_under_the_focus_gets_enter(opened):
    page, folder = opened
    page.locator("#zoom-in").focus()
    press(page, "Enter")
    page.locator("#draw").focus()
    press(page, "Enter")  # nobody can drag by keys: a box in the middle
    ready(page)
    assert [each["action"] for each in decisions(folder)] == ["draw"]


def test_reload_and_another_day(drafted, tmp_path, open_page):
    with annotating(open_page, drafted, tmp_path) as visit:
        page = visit()
        ready(page)
        second = page.locator("#name").inner_text()
        press(page, ".")
        expect(page.locator("#name")).not_to_have_text(second)
        ready(page)
        first = page.locator("#name").inner_text()
        press(page, "a")
        ready(page)
        boxes = page.locator(".box").evaluate_all("boxes => boxes.map(box => box.getAttribute('aria-label'))")
        page.reload()
        ready(page, first)
        assert page.locator(".box").evaluate_all("boxes => boxes.map(box => box.getAttribute('aria-label'))") == boxes
        press(page, "d")
        expect(page.locator("#count")).to_have_text("1 of 4 done")
        ready(page, second)
        press(page, "Shift+ArrowRight")
        page.reload()  # what keys moved is not lost with the page
        ready(page)
        assert decisions(tmp_path)[-1]["action"] == "move"
        address = page.url.partition("#")[0]
        page.goto("about:blank")
        page.goto(address)  # the same person, without a bookmark
        ready(page, second)
    with annotating(open_page, tmp_path, tmp_path) as visit:
        page = visit()
        ready(page, second)
        expect(page.locator("#count")).to_have_text("1 of 4 done")
