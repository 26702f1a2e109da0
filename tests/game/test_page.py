"""The game in a real browser: what people see, and what is on the disk afterwards."""

import contextlib
import csv
import json

import numpy as np
import pytest

from grounding.datasets.human_maps import Spread, read_human_maps
from grounding.game.agreement import half_agreement
from grounding.game.collecting import Collecting
from grounding.game.maps import by_picture
from grounding.game.page import application
from grounding.game.report import report
from grounding.game.rounds import RADIUS
from helpers.browser import screenshots, serious_faults, serving
from helpers.clickme import game_in, write_pictures
from helpers.training import log_rows

pytestmark = pytest.mark.slow


@pytest.fixture
def playing(localizer, tmp_path):
    """Gives a function that serves a game: its address, its folder and the game."""
    with contextlib.ExitStack() as stack:

        def serve(categories=("cat", "cup", "man"), seconds=30.0, **options):
            images = tmp_path / "pictures"
            if not images.exists():
                write_pictures(images, categories)
            game = stack.enter_context(game_in(images, tmp_path / "game", localizer.classifier, seconds, **options))
            collecting = Collecting(game, tmp_path / "game")
            return stack.enter_context(serving(application(game, collecting.clicks))), tmp_path / "game", game

        yield serve


def log_of(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def paint(page, *path, steps=6):
    """Press the mouse at the first place of the picture and move it to the others; places are shares of its sides."""
    box = page.locator("#canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in path]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=steps)
    page.mouse.up()


def begun(page):
    page.locator("#round").wait_for()
    page.locator("#verdict").wait_for(state="hidden")
    return page.locator("#category").inner_text()


ZIGZAG = [(0.3, 0.2), (0.75, 0.3), (0.3, 0.45), (0.75, 0.6), (0.3, 0.75), (0.75, 0.9)]
TRAINING = """
output: {folder}/../run
inference_size_px: 64
image_size_px: 64
epochs: 2
batch_size: 4
learning_rate: 5e-3
data: {{sources: [{folder}/table.jsonl], label_column: labels, cache_size_px: 64}}
network: {{channels: [8, 16, 16], strides: [2, 2, 2]}}
gala: {{enabled: true, layers: [relu2, relu3]}}
human_maps: {{source: [{folder}/clicks.csv], spread: discs, spread_size: 0.082}}
"""


def test_the_way_through_the_game_looks_right(playing, open_page):
    address, folder, _ = playing()
    page = open_page(address)
    assert serious_faults(page) == []
    screenshots(page, "welcome")
    page.get_by_role("button", name="Play", exact=True).click()
    begun(page)
    paint(page, (0.4, 0.3), (0.6, 0.4))
    page.locator("#guesses li").first.wait_for()
    assert serious_faults(page) == []
    screenshots(page, "round")
    page.get_by_role("button", name="Skip this picture").click()
    page.get_by_text("Skipped", exact=True).wait_for()
    assert page.evaluate("document.activeElement.id") == "next"
    assert serious_faults(page) == []
    screenshots(page, "skipped")
    page.get_by_role("button", name="Next picture").click()
    begun(page)
    page.get_by_role("button", name="Stop playing").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert "You showed 1 picture; the computer recognised 0." in page.locator("#reached").inner_text()
    assert serious_faults(page) == []
    screenshots(page, "thanks")
    (line,) = log_of(folder)
    assert line["outcome"] == "skipped"
    assert len(line["bubbles"]) >= 3
    assert (folder / "clicks.csv").read_text() == "image_path,clicks,user_id\n"  # what is skipped is no map


def test_ten_rounds_are_maps_that_a_network_is_trained_on(playing, open_page, train):
    """Two people play five pictures each."""
    categories = ("cat", "cup", "man", "rocket", "woman")
    address, folder, game = playing(categories, seconds=1.5, catch_share=0.0)
    regions, seen = {}, []
    for player in range(2):
        page = open_page(address)
        page.get_by_role("button", name="Play", exact=True).click()
        for number in range(5):
            category = begun(page)
            seen.append(category)
            left = 0.1 + 0.08 * categories.index(category)
            regions[category] = (left, left + 0.5)
            paint(page, *[(left + 0.5 * (place % 2), 0.2 + 0.1 * place) for place in range(7)], steps=4)
            page.locator("#verdict").wait_for()
            if not player and not number:
                screenshots(page, "over")
            assert len(log_of(folder)) == 5 * player + number + 1  # on the disk when it is said
            page.get_by_role("button", name="Next picture").click()
        page.get_by_role("heading", name="Thank you").wait_for()
        assert page.locator("#left").inner_text() == "You have seen every picture there is."
    assert sorted(seen[:5]) == sorted(seen[5:]) == sorted(categories)
    lines = log_of(folder)
    assert len({line["player"] for line in lines}) == 2
    assert {line["outcome"] for line in lines} <= {"recognised", "time"}
    maps = read_human_maps(folder / "clicks.csv", [p.name for p in game.pictures], sizes(game), Spread("none")).maps
    assert len(maps) == 5
    for picture in game.pictures:  # what was painted is where it was painted, in px of the picture
        first, last = regions[picture.category]
        across = np.flatnonzero(maps[picture.name].sum(0))
        assert across.min() >= 64 * first - 2
        assert across.max() <= 64 * last + 2
        down = np.flatnonzero(maps[picture.name].sum(1))
        assert down.min() == pytest.approx(64 * 0.2, abs=2)
        assert down.max() <= 64 * 0.8 + 2
        assert down.max() > 20  # of 64: several strokes
    Collecting(game, folder).everything()
    text = "\n".join(report(game.rounds()))
    assert "10 rounds of 2 players" in text
    assert "5 pictures with a map, of 10 rounds" in text
    agreement = half_agreement(by_picture(game.rounds()), 0)
    assert agreement.same > max(0.5, agreement.different)  # both painted alike
    config = folder.parent / "config.yaml"
    config.write_text(TRAINING.format(folder=folder))
    status, _, said = train(config)
    assert status == 0, said
    assert any(line.startswith("5 of 5 pictures have a human map") for line in said)
    assert all(0 < float(row["human_maps"]) <= 1 for row in log_rows(folder.parent / "run"))


def test_the_computer_recognises_a_cat(playing, open_page):
    address, folder, _ = playing(("cat", "cup", "man"), seconds=120)
    page = open_page(address, reduced_motion="reduce")
    page.get_by_role("button", name="Play", exact=True).click()
    while begun(page) != "cat":
        page.get_by_role("button", name="Skip this picture").click()
        page.get_by_role("button", name="Next picture").click()
    for row in range(9):  # until it knows
        if page.locator("#verdict").is_visible():
            break
        paint(page, (0.25, 0.1 + 0.1 * row), (0.85, 0.1 + 0.1 * row), steps=8)
    page.get_by_text("It knows: cat!").wait_for()
    assert page.evaluate("getComputedStyle(document.querySelector('#guesses .bar')).transitionDuration") == "0s"
    assert page.locator("#said").inner_text().startswith("It knows: cat. ")
    line = log_of(folder)[-1]
    assert (line["category"], line["outcome"]) == ("cat", "recognised")
    assert len(line["bubbles"]) > 10
    assert page.locator("#points").inner_text() == f"{line['points']} points"
    assert page.locator("#score").inner_text() == str(line["points"])
    assert page.locator("#streak").inner_text() == "1"
    assert serious_faults(page) == []
    screenshots(page, "recognised")


def sizes(game):
    return lambda name: next((p.width, p.height) for p in game.pictures if p.name == name)


def test_by_keyboard_alone(playing, open_page):
    address, folder, game = playing(("cat",), seconds=2)
    page = open_page(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "play"
    page.keyboard.press("Enter")
    begun(page)
    assert page.evaluate("document.activeElement.id") == "canvas"
    page.keyboard.press("Shift+ArrowLeft")  # three steps
    page.keyboard.press("ArrowUp")
    assert page.locator("#brush").is_visible()
    page.keyboard.down(" ")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.keyboard.up(" ")
    page.keyboard.press("ArrowDown")  # not painted
    page.locator("#verdict").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Thank you").wait_for()
    (line,) = log_of(folder)
    (picture,) = game.pictures
    radius = RADIUS * picture.height
    assert line["pointer"] == "keyboard"
    xs, ys = np.array(line["bubbles"])[:, :2].T
    assert xs[0] == pytest.approx(picture.width / 2 - 3 * 0.6 * radius, abs=1)
    assert ys == pytest.approx(picture.height / 2 - 0.6 * radius, abs=1)
    assert xs[-1] == pytest.approx(xs[0] + 12 * 0.6 * radius, abs=radius + 1)


def test_by_finger_on_a_phone(playing, open_page):
    address, folder, game = playing(("cat",), seconds=1)
    page = open_page(address, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page.get_by_role("button", name="Play", exact=True).tap()
    begun(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator("#canvas").bounding_box()
    finger = page.context.new_cdp_session(page)
    at = [{"x": box["x"] + 0.25 * box["width"] + 6 * step, "y": box["y"] + box["height"] / 2} for step in range(30)]
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": at[:1]})
    for place in at[1:]:
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [place]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.locator("#verdict").wait_for()
    assert page.evaluate("scrollY") == 0  # the finger painted and did not scroll
    (line,) = log_of(folder)
    assert line["pointer"] == "touch"
    xs, ys = np.array(line["bubbles"])[:, :2].T
    (picture,) = game.pictures
    assert len(xs) > 10
    assert xs[0] == pytest.approx(picture.width / 4, abs=2)
    assert xs[-1] > 0.4 * picture.width
    assert ys == pytest.approx(picture.height / 2, abs=2)


def test_two_people_at_once_and_a_page_that_is_loaded_again(playing, open_page):
    address, folder, _ = playing(("cat", "cup"), seconds=60)
    pages = [open_page(address) for _ in range(2)]
    for page in pages:
        page.get_by_role("button", name="Play", exact=True).click()
    first, second = map(begun, pages)
    assert {first, second} == {"cat", "cup"}
    paint(pages[0], (0.3, 0.3), (0.4, 0.4))
    pages[0].reload()  # the round is begun again, with the same picture
    pages[0].get_by_role("button", name="Play", exact=True).click()
    assert begun(pages[0]) == first
    paint(pages[0], (0.2, 0.2), (0.3, 0.2))
    paint(pages[1], (0.8, 0.8), (0.7, 0.8))
    for page in pages:
        page.get_by_role("button", name="Skip this picture").click()
        page.locator("#verdict").wait_for()
    lines = {line["category"]: line for line in log_of(folder)}
    assert len({line["player"] for line in lines.values()}) == 2
    for category, low, high in ((first, 0.1, 0.35), (second, 0.65, 0.9)):
        xs = [x / lines[category]["width"] for x, *_ in lines[category]["bubbles"]]
        assert low < min(xs) <= max(xs) < high
    pages[0].get_by_role("button", name="Next picture").click()
    assert begun(pages[0]) == second  # what the other one had
    assert pages[0].locator("#count").inner_text() == "1"


def test_names_are_text(playing, open_page, tmp_path):
    evil = "cat <img src=x onerror=window.stolen=1>"
    write_pictures(tmp_path / "pictures", ["cat"])
    (tmp_path / "pictures" / "cat").rename(tmp_path / "pictures" / evil)
    chelsea = tmp_path / "pictures" / evil / "chelsea.jpg"
    chelsea.rename(chelsea.with_name("<script>alert(1)<!-- ' \n.jpg"))
    address, folder, game = playing((), seconds=1)
    page = open_page(address)
    page.get_by_role("button", name="Play", exact=True).click()
    assert begun(page) == evil
    paint(page, *ZIGZAG)
    page.locator("#verdict").wait_for()
    assert page.locator("#points").inner_text() == f"It was looking for: {evil}"
    assert page.locator("main img").count() == 0
    assert page.evaluate("window.stolen") is None
    (picture,) = game.pictures
    with (folder / "clicks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image_path"] for row in rows] == [picture.name]


def test_a_game_that_was_started_again_goes_on(playing, open_page, localizer, tmp_path):
    """A page that is open while the game ends and begins again plays on, and keeps its player."""
    address, folder, game = playing(("cat", "cup"), seconds=30)
    page = open_page(address)
    page.get_by_role("button", name="Play", exact=True).click()
    begun(page)
    game._open.clear()  # what a game that was started again knows of it
    paint(page, (0.4, 0.3), (0.6, 0.4))
    page.get_by_role("alert").get_by_text("This round was lost.").wait_for()
    page.get_by_role("button", name="Try again").click()
    begun(page)
    page.get_by_role("button", name="Skip this picture").click()
    page.locator("#verdict").wait_for()
    assert len(log_of(folder)) == 1
    assert all("404" in each for each in page.told.errors)
    page.told.errors.clear()
