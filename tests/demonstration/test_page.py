"""The page in a real browser."""

import csv
import io
import json
import re
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from grounding.colours import phrase_colour
from grounding.images import sample_scene
from helpers.browser import screenshots, serious_faults

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]


expect.set_options(timeout=20_000)


def rgb(colour):
    return "rgb({}, {}, {})".format(*(int(colour[at : at + 2], 16) for at in (1, 3, 5)))


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """A picture file of one's own, with a name that is HTML."""
    path = tmp_path_factory.mktemp("mine") / "<img src=x onerror=alert(1)>.png"
    Image.fromarray(sample_scene()[::2, ::2]).save(path)
    return path


@pytest.fixture
def opened(page, open_page):
    """A person in front of the page; no request may leave this machine."""

    def open_(**context):
        found = open_page("about:blank", **context)
        found.asked = []
        found.on("request", lambda request: found.asked.append(request.url))
        found.on("dialog", lambda dialog: found.told.errors.append(dialog.message))
        found.goto(page.address)
        expect(found.get_by_role("button", name="Light up the sentence")).to_be_visible()
        seen.append(found)
        return found

    seen = []
    yield open_
    for each in seen:
        away = [url for url in each.asked if not url.startswith((page.address, "data:", "blob:"))]
        assert away == []


def phrases(person):
    return person.locator(".sentence button.phrase")


def light(person, sentence):
    person.get_by_label("Sentence").fill(sentence)
    person.get_by_label("Sentence").press("Enter")
    asked = re.compile(re.escape(urlencode({"caption": sentence})))
    expect(person.locator('a[download="result.json"]')).to_have_attribute("href", asked)


def upload(person, path):
    if person.get_by_role("button", name="Remove Image").count():
        person.get_by_role("button", name="Remove Image").click()
    person.locator("input[type=file]").set_input_files(path)
    expect(person.locator('[data-testid="image"] img, .image-frame img').first).to_be_visible()


def test_it_begins_with_an_answer_and_phrases_light_up(opened):
    person = opened()
    expect(phrases(person)).to_have_text([re.compile("^a man"), re.compile("^a red hat")])
    hat, maps, boxes = phrases(person).nth(1), person.locator(".answer > .stage .map"), person.locator(".answer .box")
    assert hat.evaluate("each => getComputedStyle(each).borderBottomColor") == rgb(phrase_colour(1))
    expect(maps.nth(1)).to_have_css("opacity", "0")
    hat.hover()
    expect(maps.nth(1)).to_have_css("opacity", "1")
    expect(maps.nth(0)).to_have_css("opacity", "0")
    chosen, other = (person.locator(f'.answer .box[data-of="{number}"]') for number in (1, 0))
    expect(chosen).to_have_css("border-left-color", rgb(phrase_colour(1)))
    expect(other).to_have_css("opacity", "0")
    person.mouse.move(5, 5)
    expect(maps.nth(1)).to_have_css("opacity", "0")
    assert boxes.count() == 2
    assert serious_faults(person) == []


def test_by_keyboard(opened):
    person = opened()
    first, second = phrases(person).nth(0), phrases(person).nth(1)
    first.focus()
    person.keyboard.press("Tab")
    expect(second).to_be_focused()
    expect(person.locator(".answer > .stage .map").nth(1)).to_have_css("opacity", "1")
    assert second.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    person.keyboard.press("Enter")
    expect(second).to_have_attribute("aria-pressed", "true")
    person.keyboard.press("Shift+Tab")
    expect(person.locator(".answer > .stage .map").nth(0)).to_have_css("opacity", "1")
    person.keyboard.press("Escape")
    expect(second).to_have_attribute("aria-pressed", "false")
    expect(person.locator(".answer")).not_to_have_class(re.compile("choosing"))


def test_a_picture_and_a_sentence_of_ones_own(opened, photograph, tmp_path):
    person = opened()
    upload(person, photograph)
    sentence = "A <b>MAN</b> in a hat & no dog, ${alert(3)}"
    light(person, sentence)
    expect(phrases(person).first).to_contain_text("A <b>MAN")
    assert person.locator(".sentence b").count() == 0
    assert "said not to be there" in person.locator(".answer .phrases").inner_text()
    files = {}
    for name in ("overlay.png", "result.json", "result.csv"):
        with person.expect_download() as started:
            person.locator(f'a[download="{name}"]').click()
        files[name] = tmp_path / name
        started.value.save_as(files[name])
    found = json.loads(files["result.json"].read_text())
    assert (found["caption"], found["image"]["width"]) == (sentence, 256)
    rows = list(csv.DictReader(io.StringIO(files["result.csv"].read_text())))
    assert [row["phrase"] for row in rows] == [phrase["text"] for phrase in found["phrases"]]
    with Image.open(files["overlay.png"]) as overlay:
        assert min(overlay.size) >= 256


def test_settings_show_more_and_keep_the_pressed_phrase(opened):
    person = opened()
    phrases(person).nth(1).click()
    box = person.locator('.answer .box[data-of="1"]')
    assert box.count() == 1
    person.get_by_role("slider", name=re.compile("Boxes a phrase")).fill("3")
    expect(box).to_have_count(3)
    expect(phrases(person).nth(1)).to_have_attribute("aria-pressed", "true")
    expect(box.first).to_have_class(re.compile("chosen"))
    before = person.locator(".answer > .stage .map").nth(1).get_attribute("src")
    person.get_by_role("slider", name=re.compile("Depth")).fill("1")
    expect(person.locator(".answer > .stage .map").nth(1)).not_to_have_attribute("src", before)
    person.get_by_role("slider", name=re.compile("Minimum presence")).fill("0.99")
    expect(phrases(person).nth(0)).to_have_class(re.compile("absent"))
    expect(person.locator(".answer .phrases")).to_contain_text("is below the minimum of 0.99")


def test_methods_stand_side_by_side(opened):
    person = opened()
    figures = person.locator(".methods figure")
    expect(figures.locator("figcaption")).to_have_text(["contrastive MWP", "MWP", "CAM"])
    phrases(person).nth(1).hover()
    expect(person.locator(".methods h2")).to_contain_text("a red hat")
    maps = [figures.nth(each).locator('.map[data-of="1"]') for each in range(3)]
    for each in maps:
        expect(each).to_have_css("opacity", "1")
    assert len({each.get_attribute("src") for each in maps}) == 3
    person.get_by_label("Compare three methods").uncheck()
    expect(figures).to_have_count(0)


def test_examples_and_an_honest_failure(opened):
    person = opened()
    for name, words in (("An astronaut", "suit"), ("A rocket", "horse"), ("A failure", "a dog")):
        person.get_by_role("button", name=name).click()
        expect(person.locator(".sentence")).to_contain_text(words)
        screenshots(person, f"demo-{name.split()[-1]}")
    expect(person.locator(".answer .problem")).to_contain_text("There is no dog")
    assert person.get_by_label("Sentence").input_value() == "a cat and a dog"
    assert "dog" in person.locator(".answer .tags").inner_text()
    assert serious_faults(person) == []


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [("notes.png", b"these are notes", "no picture that Pillow can read"), ("cut.png", None, "damaged or cut short")],
)
def test_what_is_no_picture(opened, tmp_path, name, content, line):
    person, path = opened(), tmp_path / name
    Image.fromarray(sample_scene()).save(path)
    path.write_bytes(content or path.read_bytes()[:3000])
    person.get_by_role("button", name="Remove Image").click()
    expect(person.locator(".answer .problem")).to_contain_text("there is no picture yet")
    person.locator("input[type=file]").set_input_files(path)
    expect(person.locator(".answer .problem")).to_contain_text(line)
    expect(phrases(person)).to_have_count(0)


def test_no_sentence_and_a_long_one(opened):
    person = opened()
    field, problem = person.get_by_label("Sentence"), person.locator(".answer .problem")
    field.fill("")
    field.press("Enter")
    expect(problem).to_contain_text("there is no sentence yet")
    field.fill("a dog " * 2_000_000)  # 12 MB
    person.get_by_role("button", name="Light up the sentence").click()
    expect(problem).to_contain_text("has 100,000 characters: expected at most 500")


def test_two_people_at_once(opened, tmp_path):
    first, second = opened(), opened()
    for person, shade in ((first, 60), (second, 200)):
        path = tmp_path / f"{shade}.png"
        Image.fromarray(np.full((90, shade, 3), shade, np.uint8)).save(path)
        upload(person, path)
    light(first, "a man in a hat")
    light(second, "two dogs on a red sofa")
    expect(phrases(first).first).to_have_text(re.compile("a man"))
    expect(phrases(second).first).to_have_text(re.compile("two dogs"))
    first.get_by_role("slider", name=re.compile("Boxes a phrase")).fill("2")
    expect(first.locator('.answer .box[data-of="0"]')).to_have_count(2)
    assert second.locator('.answer .box[data-of="0"]').count() <= 1
    for person, shade in ((first, 60), (second, 200)):
        width, height = person.locator(".answer > .stage .photo").evaluate(
            "each => [each.naturalWidth, each.naturalHeight]"
        )
        assert (width, height) == (shade, 90)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(opened, scheme):
    person = opened(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme)
    assert person.evaluate("document.documentElement.scrollWidth") <= 390
    answer, settings = (person.locator(each).bounding_box()["y"] for each in (".answer", ".settings"))
    assert answer < settings
    phrases(person).nth(0).tap()
    expect(person.locator(".answer > .stage .map").nth(0)).to_have_css("opacity", "1")
    phrases(person).nth(1).tap()
    expect(person.locator(".answer > .stage .map").nth(1)).to_have_css("opacity", "1")
    expect(phrases(person).nth(0)).to_have_attribute("aria-pressed", "false")
    assert serious_faults(person) == []
