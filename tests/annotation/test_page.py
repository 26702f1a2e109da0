"""The page in a real browser, by mouse and by finger: what is on disk is what the person did."""

import io
import zipfile

import pytest
from playwright.sync_api import expect

from helpers.annotation_page import Hand, annotating, decisions, drafts, edges, go_to, lines, ready
from helpers.browser import screenshots, serious_faults

pytestmark = pytest.mark.slow

HANDLES = {  # by how much each edge moves when its handle is pulled by (-6, -4)
    "nw": (-6, -4, 0, 0),
    "n": (0, -4, 0, 0),
    "ne": (0, -4, -6, 0),
    "e": (0, 0, -6, 0),
    "se": (0, 0, -6, -4),
    "s": (0, 0, 0, -4),
    "sw": (-6, 0, 0, -4),
    "w": (-6, 0, 0, 0),
}


def test_the_drafts_lie_where_they_should(opened):
    page, folder = opened
    picture = drafts(folder)["scene.png"]
    assert picture["boxes"]
    hand = Hand(page, picture)
    shown = page.locator(".box .edge")
    expect(shown).to_have_count(len(picture["boxes"]))
    for place, box in enumerate(picture["boxes"]):
        on_screen = shown.nth(place).bounding_box()
        (x0, y0), (x1, y1) = hand.at(box["x0"], box["y0"]), hand.at(box["x1"], box["y1"])
        found = on_screen["x"], on_screen["y"], on_screen["width"], on_screen["height"]
        assert found == pytest.approx((x0, y0, x1 - x0, y1 - y0), abs=6)  # with half of the line round it
        said = f"Box {place + 1}: {box['label']}, {box['score']:.0%} sure".replace("%", " %")
        expect(page.locator(".box").nth(place)).to_have_attribute("aria-label", said)
        expect(page.locator("#list .name").nth(place)).to_have_attribute("aria-label", said)
    expect(page.locator("#caption")).to_have_text("A man in a red hat")
    expect(page.locator("#count")).to_have_text("0 of 4 done")
    assert {each.inner_text() for each in page.locator(".word").all()} == {box["label"] for box in picture["boxes"]}
    assert lines(folder) == []


def test_accept_reject_and_take_up_again_by_the_list(opened):
    page, folder = opened
    rows = page.locator("#list li")
    rows.nth(0).locator(".accept").click()
    ready(page)
    expect(page.locator(".box.accepted")).to_have_count(1)
    rows.nth(1).locator(".reject").click()
    ready(page)
    expect(page.locator(".box")).to_have_count(rows.count() - 1)
    rows.nth(1).locator(".accept").click()
    ready(page)
    assert [(each["action"], each["box"]) for each in decisions(folder)] == [
        ("accept", 0),
        ("reject", 1),
        ("accept", 1),
    ]
    assert [each["actions"] for each in lines(folder)] == [1, 1, 1]


def test_a_box_is_dragged_and_pulled_by_each_handle(opened):
    page, folder = opened
    hand = Hand(page, drafts(folder)["scene.png"])
    hand.drag((100, 100), (220, 200), key="Shift")
    hand.drag((150, 150), (141, 157))
    assert edges(decisions(folder)[-1]) == pytest.approx([91, 107, 211, 207], abs=1)
    for handle, by in HANDLES.items():
        expected = [a + b for a, b in zip(edges(decisions(folder)[-1]), by, strict=True)]
        hand.pull(handle, -6, -4)
        assert edges(decisions(folder)[-1]) == pytest.approx(expected, abs=1.1), handle
    assert [each["action"] for each in decisions(folder)] == ["draw"] + ["move"] * 9
    assert [each["actions"] for each in lines(folder)[1:]] == [1] * 9  # a drag is one action
    expect(page.locator("#list .fate").last).to_have_text("drawn")


def test_a_draft_that_is_pulled_is_corrected(opened):
    page, folder = opened
    page.locator("#list .name").first.click()
    Hand(page, drafts(folder)["scene.png"]).pull("se", -30, -30)
    first, move = drafts(folder)["scene.png"]["boxes"][0], decisions(folder)[0]
    assert move["box"] == 0
    assert edges(move)[:2] == edges(first)[:2]
    assert edges(move)[2:] == pytest.approx([first["x1"] - 30, first["y1"] - 30], abs=1.1)
    expect(page.locator("#list .fate").first).to_have_text("corrected")
    expect(page.locator(".box.accepted")).to_have_count(1)


def test_a_handle_pulled_over_the_other_edge_turns_the_box_over(opened):
    page, folder = opened
    hand = Hand(page, drafts(folder)["scene.png"])
    hand.drag((100, 100), (200, 180), key="Shift")
    hand.pull("e", -160, 0)
    assert edges(decisions(folder)[-1]) == pytest.approx([40, 100, 100, 180], abs=1.5)


@pytest.mark.parametrize("how", ["the button", "the Shift key"])
def test_a_box_is_drawn_over_another_one(opened, how):
    page, folder = opened
    hand, label = Hand(page, drafts(folder)["scene.png"]), page.locator("#labels .chip").nth(1)
    page.keyboard.press("Escape")
    label.click()
    if how == "the button":
        page.locator("#draw").click()
        expect(page.locator("#draw")).to_have_attribute("aria-pressed", "true")
    hand.drag((300, 200), (200, 260), key="Shift" if how == "the Shift key" else None)
    (drawn,) = decisions(folder)
    assert (drawn["action"], drawn["label"]) == ("draw", label.locator("span").nth(1).inner_text())
    assert edges(drawn) == pytest.approx([200, 200, 300, 260], abs=1)
    expect(page.locator("#draw")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#list li.selected .fate")).to_have_text("drawn")


def test_a_drag_beyond_the_picture_stays_inside(opened):
    page, folder = opened
    hand = Hand(page, drafts(folder)["scene.png"])
    hand.drag((400, 400), (900, 900), key="Shift")
    hand.drag((450, 450), (900, 470))
    assert edges(decisions(folder)[0]) == pytest.approx([400, 400, 512, 512], abs=1)
    assert len(decisions(folder)) == 1 or edges(decisions(folder)[1])[2] == 512


def test_a_click_goes_through_the_boxes_that_lie_there(opened):
    page, folder = opened
    hand = Hand(page, drafts(folder)["scene.png"])
    for size in (150, 60, 30):  # drawn after the drafts, one in the other
        hand.drag((250 - size, 300 - size), (250 + size, 300 + size), key="Shift")
    count = page.locator("#list li").count()
    page.keyboard.press("Escape")
    chosen = []
    for _ in range(3):
        hand.click(250, 300)
        chosen.append(page.locator("#list li.selected .swatch").inner_text())
    assert chosen == [str(count), str(count - 1), str(count - 2)]
    page.locator("#stage").click(position={"x": 3, "y": 3})
    expect(page.locator("#list li.selected")).to_have_count(0)
    assert len(decisions(folder)) == 3


def test_labels_are_changed_found_and_added(opened):
    page, folder = opened
    page.locator("#list .name").first.click()
    own = page.locator("#labels .chip[aria-pressed=true]").locator("span").nth(1).inner_text()
    other = page.locator("#labels .chip[aria-pressed=false]").first
    name = other.locator("span").nth(1).inner_text()
    other.click()
    ready(page)
    page.locator("#find").fill(own[:-1])
    page.locator("#find").press("Enter")
    ready(page)
    page.locator("#find").fill("  camera   man ")
    expect(page.locator("#labels .chip")).to_have_text(["Add “camera man”"])
    page.locator("#find").press("Enter")
    ready(page)
    labels = [(each["action"], each["box"], each["label"]) for each in decisions(folder)]
    assert labels == [("relabel", 0, name), ("relabel", 0, own), ("relabel", 0, "camera man")]
    expect(page.locator("#labels .chip", has_text="camera man")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#list .fate").first).to_have_text("corrected")


def test_done_and_skip_go_on_and_the_numbers_follow(opened):
    page, folder = opened
    seen = [page.locator("#name").inner_text()]
    boxes = len(drafts(folder)[seen[0]]["boxes"])
    page.locator("#done").click()
    expect(page.locator("#count")).to_have_text("1 of 4 done")
    ready(page)
    expect(page.locator(".box").first).to_be_focused()  # Enter is not Done again
    expect(page.locator("#report")).to_contain_text("100 %")
    expect(page.locator("#report dd").last).to_have_text(str(boxes))
    for _ in range(3):
        seen.append(page.locator("#name").inner_text())
        page.locator("#skip").click()
        page.wait_for_function(
            "name => document.querySelector('#name').textContent !== name || !document.querySelector('#end').hidden",
            arg=seen[-1],
        )
        ready(page)
    assert len(set(seen)) == 4
    assert [each["action"] for each in decisions(folder)] == ["done", "skip", "skip", "skip"]
    expect(page.locator("#end-title")).to_have_text("Every picture is done or skipped")
    expect(page.locator("#count")).to_have_text("1 of 4 done, 3 skipped")
    screenshots(page, "end")
    assert serious_faults(page) == []


def test_pictures_are_chosen_from_the_list_and_opened_again(opened):
    page, folder = opened
    page.locator("#skip").click()
    ready(page)
    page.locator("#pictures-part summary").click()
    expect(page.locator("#pictures button")).to_have_count(4)
    page.locator("#pictures button", has_text="scene.png").click()
    ready(page, "scene.png")
    expect(page.locator("#state")).to_have_text("skipped")
    page.locator("#reopen").click()
    ready(page)
    expect(page.locator("#state")).to_have_text("")
    assert [each["action"] for each in decisions(folder)] == ["skip", "reopen"]
    page.go_back()
    expect(page.locator("#name")).not_to_have_text("scene.png")


def test_each_export_is_downloaded(opened):
    page, folder = opened
    label = drafts(folder)["scene.png"]["boxes"][0]["label"]
    page.locator("#done").click()
    expect(page.locator("#count")).to_have_text("1 of 4 done")
    page.get_by_text("Download", exact=True).click()
    for format_ in ("coco", "voc", "yolo", "label-studio", "cvat", "csv"):
        with page.expect_download() as download:
            page.locator(f"#exports a[href$='/{format_}']").click()
        archive = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
        assert archive.testzip() is None
        text = "".join(archive.read(name).decode() for name in archive.namelist() if not name.endswith(".png"))
        assert label in text, format_
        assert "scene" in text + " ".join(archive.namelist()), format_
        assert "coffee" not in text, format_  # nobody has decided about it


def test_a_finger_chooses_moves_and_draws(drafted, tmp_path, open_page):
    with annotating(open_page, drafted, tmp_path) as visit:
        page = visit(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
        ready(page)
        picture = drafts(tmp_path)["scene.png"]
        go_to(page, picture)
        hand, touch = Hand(page, picture), page.context.new_cdp_session(page)

        def swipe(start, end):
            for kind, point in (("touchStart", start), ("touchMove", end), ("touchMove", end), ("touchEnd", None)):
                at = [dict(zip("xy", hand.at(*point), strict=True))] if point else []
                touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
            ready(page)

        page.locator("#draw").tap()
        swipe((60, 60), (220, 200))
        swipe((140, 130), (180, 140))
        first, second = decisions(tmp_path)
        assert (first["action"], second["action"]) == ("draw", "move")
        assert edges(first) == pytest.approx([60, 60, 220, 200], abs=2)
        assert edges(second) == pytest.approx([100, 70, 260, 210], abs=3)
        page.locator("#done").tap()
        expect(page.locator("#count")).to_have_text("1 of 4 done")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_looks_well_and_axe_finds_no_serious_fault(opened):
    page, _ = opened
    hand = Hand(page, {"width": 512, "height": 512})
    page.keyboard.press("a")
    hand.drag((20, 20), (90, 130), key="Shift")
    screenshots(page, "work")
    assert serious_faults(page) == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 800})
    for part in page.locator("details").all():
        part.evaluate("part => { part.open = true; }")
    screenshots(page, "work-all")
    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
