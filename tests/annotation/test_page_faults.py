"""The page when things go wrong: the server dies, somebody else was faster, names and captions are hostile."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from PIL import Image
from playwright.sync_api import expect

from grounding.annotate import main
from helpers.annotation_page import Hand, annotating, decisions, drafts, edges, go_to, lines, ready
from helpers.browser import screenshots, serious_faults

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=document.title='hacked'>"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def door(folder, port):
    """The real command as a process of its own."""
    command = [sys.executable, "-m", "grounding.annotate", "--output", folder, "--port", port, "--no-browser"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert "http://" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_server_is_killed_and_started_anew(drafted, tmp_path, open_page):
    folder = shutil.copytree(drafted, tmp_path / "annotation")
    port = free_port()
    with door(folder, port) as process:
        page = open_page(f"http://127.0.0.1:{port}/")
        ready(page)
        go_to(page, drafts(folder)["scene.png"])
        page.keyboard.press("a")
        ready(page)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        page.keyboard.press("x")
        expect(page.locator("#gone")).to_contain_text("The server does not answer. 1 step not saved yet.")
        expect(page.locator("#saved")).to_have_text("Not saved")
        expect(page.locator("#list li").nth(1)).to_have_class(re.compile("pending"))
        expect(page.locator("#list .fate").nth(1)).to_have_text("not saved yet")
        page.keyboard.press("d")  # nothing is decided as long as nobody answers
        screenshots(page, "gone")
        assert serious_faults(page) == []
        assert len(lines(folder)) == 1
    with door(folder, port):
        page.locator("#retry").click()
        expect(page.locator("#gone")).to_be_hidden()
        ready(page, "scene.png")
        page.keyboard.press("n")
        ready(page)
    assert [each["action"] for each in decisions(folder)] == ["accept", "reject", "draw"]
    assert page.told.errors
    assert all("ERR_CONNECTION_REFUSED" in error for error in page.told.errors)
    page.told.errors.clear()


def test_an_answer_that_is_lost_is_not_decided_twice(drafted, tmp_path, open_page):
    with annotating(open_page, drafted, tmp_path) as visit:
        page = visit()
        ready(page)
        go_to(page, drafts(tmp_path)["scene.png"])

        def lose(route):
            route.fetch()  # it is decided
            route.abort()

        page.route("**/api/decisions", lose, times=1)
        page.keyboard.press("n")
        page.locator("#retry").click()
        expect(page.locator("#line")).to_contain_text("This picture changed meanwhile.")
        page.set_viewport_size({"width": 390, "height": 800})
        screenshots(page, "stale")
        ready(page)
        assert [each["action"] for each in decisions(tmp_path)] == ["draw"]
        expect(page.locator("#list .fate").last).to_have_text("drawn")
    assert any("ERR_FAILED" in error for error in page.told.errors)
    page.told.errors.clear()


def test_a_step_back_whose_answer_is_lost_is_not_taken_twice(drafted, tmp_path, open_page):
    with annotating(open_page, drafted, tmp_path) as visit:
        page = visit()
        ready(page)
        page.keyboard.press("n")
        ready(page)
        page.keyboard.press("n")
        ready(page)

        def lose(route):
            route.fetch()
            route.abort()

        page.route("**/api/undo", lose, times=1)
        page.keyboard.press("u")
        expect(page.locator("#line")).to_have_text("The server was away. Here it is as it stands now.")
        ready(page)
        assert [each["action"] for each in decisions(tmp_path)] == ["draw", "draw", "undo"]
        expect(page.locator("#list .fate", has_text="drawn")).to_have_count(1)
    page.told.errors.clear()


def test_somebody_else_was_faster(drafted, tmp_path, open_page):
    with annotating(open_page, drafted, tmp_path) as visit:
        picture = drafts(tmp_path)["scene.png"]
        pages = [visit(f"#{picture['id']}") for _ in range(2)]
        for page in pages:
            ready(page, "scene.png")
        pages[0].keyboard.press("n")
        ready(pages[0])
        pages[1].keyboard.press("x")
        expect(pages[1].locator("#line")).to_contain_text("This picture changed meanwhile.")
        ready(pages[1])
        expect(pages[1].locator("#list .fate").last).to_have_text("drawn")
        expect(pages[1].locator("#list li.rejected")).to_have_count(0)
        pages[1].keyboard.press("x")
        ready(pages[1])
        assert [each["action"] for each in decisions(tmp_path)] == ["draw", "reject"]
        pages[0].keyboard.press("u")
        expect(pages[0].locator("#line")).to_contain_text("somebody else has changed scene.png since")
        assert lines(tmp_path)[-1]["actions"] == 2  # the press that came to nothing was work too
    for page in pages:
        assert all("409" in error or "400" in error for error in page.told.errors)
        page.told.errors.clear()


def test_two_people_at_once_do_not_disturb_each_other(drafted, tmp_path, open_page):
    with annotating(open_page, drafted, tmp_path) as visit:
        pages = [visit() for _ in range(2)]
        for turn in range(2):
            for page in pages:
                ready(page)
            names = [page.locator("#name").inner_text() for page in pages]
            assert len(set(names)) == 2
            for page in pages:
                page.keyboard.press("n")
            for page in pages:
                ready(page)
            pages[0].keyboard.press("u")
            expect(pages[0].locator("#line")).to_have_text("Taken back.")
            for page, name in zip(pages, names, strict=True):
                ready(page, name)
                page.keyboard.press("d")
                shown, text = page.locator("#name" if turn == 0 else "#end-title"), re.compile("The rest|Every")
                expect(shown).not_to_have_text(name) if turn == 0 else expect(shown).to_have_text(text)
        pages[0].locator("#look").click()
        for page in pages:
            expect(page.locator("#end-title")).to_have_text("Every picture is done or skipped")
            expect(page.locator("#count")).to_have_text("4 of 4 done")
    by_person = {}
    for line in lines(tmp_path):
        by_person.setdefault(line["person"], []).append(line["action"])
    assert sorted(by_person.values()) == [["draw", "done"] * 2, ["draw", "undo", "done"] * 2]


def test_the_rest_is_in_other_hands(drafted, tmp_path, open_page):
    with annotating(open_page, drafted, tmp_path) as visit:
        first, second = visit(), visit()
        ready(second)
        for skipped in range(1, 4):
            second.keyboard.press("s")
            expect(second.locator("#count")).to_have_text(f"0 of 4 done, {skipped} skipped")
            expect(second.locator("#main")).to_be_visible()
            second.wait_for_function("() => document.querySelector('#work').getAttribute('aria-busy') === 'false'")
        expect(second.locator("#end-title")).to_have_text("The rest is in other hands")
        expect(second.locator("#end-text")).to_contain_text("1 picture is open at somebody else's page")
        ready(first)
        first.keyboard.press("s")
        expect(first.locator("#end-title")).to_have_text("Every picture is done or skipped")
        second.locator("#look").click()
        expect(second.locator("#end-title")).to_have_text("Every picture is done or skipped")


def test_what_the_server_refuses_is_said_and_nothing_is_pretended(drafted, tmp_path, open_page):
    with annotating(open_page, drafted, tmp_path) as visit:
        page = visit()
        ready(page)
        page.locator("#find").fill("x" * 101)
        page.locator("#find").press("Enter")
        expect(page.locator("#line")).to_contain_text("label has 101 characters: expected at most 100")
        ready(page)
        assert lines(tmp_path) == []
        expect(page.locator("#list .fate").first).to_contain_text("sure")
    assert all("400" in error for error in page.told.errors)
    page.told.errors.clear()


def test_hostile_names_and_captions_are_harmless(tmp_path, open_page, capsys):
    images, folder = tmp_path / "pictures", tmp_path / "annotation"
    images.mkdir()
    Image.new("RGB", (120, 90), (90, 120, 60)).save(images / f"{HOSTILE.replace('/', '')}.png")
    caption = f"a man {HOSTILE} <script>document.title='hacked'</script>"
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), (f"{HOSTILE}.png", caption)])
    given = "--images", images, "--captions", tmp_path / "captions.csv", "--output", folder, "--headless"
    assert main([str(each) for each in given]) == 0
    with annotating(open_page, folder, folder) as visit:
        page = visit()
        ready(page, f"{HOSTILE}.png")
        Hand(page, {"width": 120}).drag((10, 10), (70, 60), key="Shift")
        page.locator("#find").fill(HOSTILE)
        page.locator("#find").press("Enter")
        ready(page)
        expect(page.locator("#caption")).to_have_text(caption)
        expect(page.locator("#list b").last).to_have_text(HOSTILE)
        expect(page.locator(".tag").last).to_contain_text(HOSTILE)
        page.locator("#pictures-part summary").click()
        expect(page.locator("#pictures .name")).to_have_text(f"{HOSTILE}.png")
        assert page.title() == f"{HOSTILE}.png – Annotate"
        assert page.locator("img").count() == 1
        assert page.locator("script").count() == 1
        assert serious_faults(page) == []
    assert decisions(folder)[-1]["label"] == HOSTILE
    assert edges(decisions(folder)[0]) == pytest.approx([10, 10, 70, 60], abs=1)
    assert json.loads((folder / "drafts.jsonl").read_text())["caption"] == caption


def test_there_is_no_picture(drafted, tmp_path, open_page):
    folder = shutil.copytree(drafted, tmp_path / "annotation")
    settings = json.loads((folder / "project.json").read_text())
    (folder / "project.json").write_text(json.dumps({**settings, "pictures": 0}))
    (folder / "drafts.jsonl").write_text("")
    with annotating(open_page, folder, folder) as visit:
        page = visit("#7")
        expect(page.locator("#end-title")).to_have_text("There is no picture")
        for key in ("a", "n", "d", ".", "ArrowRight", "+", "1", "u"):
            page.keyboard.press(key)
        expect(page.locator("#line")).to_have_text("There is nothing to take back.")
        assert serious_faults(page) == []
    assert lines(folder) == []


def test_a_picture_that_cannot_be_shown(drafted, tmp_path, open_page):
    folder = shutil.copytree(drafted, tmp_path / "annotation")
    settings = json.loads((folder / "project.json").read_text())
    images = shutil.copytree(settings["images"], tmp_path / "pictures")
    (folder / "project.json").write_text(json.dumps({**settings, "images": str(images)}))
    (images / "scene.png").unlink()
    with annotating(open_page, folder, folder) as visit:
        page = visit()
        ready(page)
        go_to(page, drafts(folder)["scene.png"])
        expect(page.locator("#line")).to_have_text("This picture cannot be shown.")
        page.keyboard.press("s")
        expect(page.locator("#count")).to_have_text("0 of 4 done, 1 skipped")
        ready(page)
    assert [each["action"] for each in decisions(folder)] == ["skip"]
    assert all("400" in error for error in page.told.errors)
    page.told.errors.clear()
