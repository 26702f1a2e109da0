"""What every page that is written as a file must be in a browser: whole without a network, readable, and reachable."""

from helpers.browser import screenshots, serious_faults

NARROW = {"width": 390, "height": 844}
_FOCUS = """() => {
  const here = document.activeElement, style = getComputedStyle(here);
  return [here.tagName.toLowerCase(), here.getAttribute("href") || here.getAttribute("aria-label") || here.textContent,
          style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0];
}"""
_CELLS = """table => [...table.querySelectorAll("td")].filter(cell => cell.getClientRects().length).map(cell => {
  const box = cell.getBoundingClientRect(), before = getComputedStyle(cell, "::before").content;
  return {label: before, text: cell.innerText.replace(/\\s+/g, " ").trim(), left: box.left, right: box.right,
          cut: cell.scrollWidth > cell.clientWidth + 1};
})"""


def open_file(open_page, path, name, faults=True, **context):
    """Open a file without a network, and look at it wide and narrow, light and dark.

    Args:
        name: of the screenshots.
        faults: whether to look for those that axe knows, which takes seconds on a long page.
    """
    page = open_page(path.resolve().as_uri(), offline=True, **context)
    loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [address for address in loaded if not address.startswith("data:")] == []
    for size, scheme in ((page.viewport_size, "light"), (NARROW, "dark"), (NARROW, "light")):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        ink, paper = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).background]"
        )
        assert (brightness(ink) < brightness(paper)) == (scheme == "light")
        if faults and (size, scheme) != (NARROW, "light"):
            assert serious_faults(page) == []
    screenshots(page, name)
    return page


def brightness(colour):
    """The sum of red, green and blue of `rgb(1, 2, 3) ...`."""
    return sum(int(part) for part in colour[colour.index("(") + 1 : colour.index(")")].split(",")[:3])


def tabbed(page, count):
    """What the tab key reaches: tag, address or text; each must show that it has the focus."""
    reached = []
    for _ in range(count):
        page.keyboard.press("Tab")
        tag, text, seen = page.evaluate(_FOCUS)
        assert seen, f"no focus is seen on <{tag}> {text}"
        reached.append((tag, text.strip()))
    return reached


def stacked_cells(page, table):
    """The cells of a table that are shown on a narrow screen, each below its row's name: label and text.

    None reaches out of the screen, and no text is cut.
    """
    cells = page.locator(table).first.evaluate(_CELLS)
    for cell in cells:
        assert cell["left"] >= 0, cell
        assert cell["right"] <= page.viewport_size["width"], cell
        assert not cell["cut"], cell
    return [(cell["label"].strip('"'), cell["text"]) for cell in cells]
