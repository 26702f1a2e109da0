"""The documentation site: built strictly, complete, with links that lead somewhere, and nothing loaded from elsewhere.

The site is built once, in this process: `scripts/check.py` runs these tests beside the others, not among them.
"""

import argparse
import importlib
import json
import posixpath
import re
import types
from pathlib import Path
from urllib.parse import unquote

import griffe
import pytest
from interrogate.config import InterrogateConfig
from interrogate.coverage import InterrogateCoverage
from mkdocs.commands.build import build
from mkdocs.config import load_config

import grounding
from helpers.browser import browser_path, screenshots, serious_faults
from helpers.paths import ROOT, load_script

DOORS = sorted(path for path in (ROOT / "grounding").glob("*.py") if '__name__ == "__main__"' in path.read_text())
QUESTIONS = {  # what people ask, in words that one section of the site must all have
    "which box belongs to which phrase": "phrase box span",
    "whether adding a phrase changes the others": "phrase others change",
    "many texts for one picture": "encode once many captions",
    "one format of results": "json keys result",
    "vision transformers and CLIP without reshape_transform": "reshape_transform transformer",
    "memory that grows in loops": "memory loop",
    "ReLU in place": "in-place relu",
    "operations that are not supported": "operation rule error names",
    "CPU and MPS": "cpu mps",
    "what a metric counts": "recall any-box merged-box iou",
    "all noun phrases of a sentence": "noun phrases caption",
}


@pytest.fixture(scope="module")
def hook():
    return load_script("site_hook")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; a warning of MkDocs, of mkdocstrings or of griffe ends the build."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}


@pytest.fixture(scope="module")
def sections(site):
    return json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]


def test_every_link_and_picture_leads_somewhere(site, pages):
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in pages.items()}
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    broken = set()
    for name, text in pages.items():
        if name == "404.html":  # its addresses begin with that of the site
            continue
        for address in set(re.findall(r'(?:href|src)="([^"]+)"', text)):
            if re.match(r"[a-z]+:", address):
                continue
            path, _, anchor = unquote(address).partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            target = target if target in files else posixpath.join(target, "index.html")
            if target not in files or (anchor and target in anchors and anchor not in anchors[target]):
                broken.add((name, address))
    assert len(pages) > 100
    assert not broken


def test_pages_load_nothing_from_elsewhere(site, pages):
    loaded = re.compile(
        r'<(?:script|img|iframe|source|link rel="(?:stylesheet|preconnect|icon)")[^>]*(?:src|href)="(?:https?:)?//'
    )
    assert not [name for name, text in pages.items() if loaded.search(text)]
    styles = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert len(styles) > 2
    assert not any(re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", text) for text in styles)


def test_the_home_names_every_page(hook):
    """Those of the navigation; of notebooks, results, contributing, decisions and Python the first page is enough."""
    config = load_config(str(ROOT / "mkdocs.yml"))
    hook.on_config(config)
    named = set(hook.linked("docs/README.md", (ROOT / "docs" / "README.md").read_text("utf-8")))
    pages = re.findall(r"[\w./-]+\.md", json.dumps(config.nav))
    listed = re.compile(r"README|notebooks/|results/|contributing/|decisions/|reference/api/")
    assert {page for page in pages if not listed.match(page)} <= {hook.site_path(name) for name in named}


@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.stem)
def test_every_option_of_every_command_is_in_the_reference(door, pages):
    module = importlib.import_module(f"grounding.{door.stem}")
    parsers = [make() for name, make in vars(module).items() if re.fullmatch(r"build_\w*parser", name)]
    assert parsers
    page = pages["reference/commands.html"]
    while parsers:
        parser = parsers.pop()
        assert f'id="{parser.prog.replace("python -m grounding.", "grounding ").replace(" ", "-")}"' in page
        for action in parser._actions:
            assert all(option in page for option in action.option_strings), (parser.prog, action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                parsers += [each for each in action.choices.values() if each.add_help]


def test_help_is_as_wide_everywhere_and_has_subcommands(hook, monkeypatch):
    def build_parser():
        parser = argparse.ArgumentParser(prog="python -m grounding.door")
        deep = parser.add_subparsers().add_parser("deep")
        deep.add_argument("--new", help="word " * 40)
        return parser

    monkeypatch.setitem(__import__("sys").modules, "door", types.SimpleNamespace(build_parser=build_parser))
    monkeypatch.setenv("COLUMNS", "40")
    text = hook.help_texts("door")
    assert re.findall("^## (.*)", text, re.MULTILINE) == ["grounding door", "grounding door deep"]
    assert 80 < max(map(len, text.splitlines())) <= int(hook.WIDTH)


@pytest.mark.parametrize("words", QUESTIONS.values(), ids=QUESTIONS)
def test_the_search_finds_what_people_ask(words, sections):
    def has(section):
        said = (section["title"] + " " + section["text"]).lower()
        return all(word in said for word in words.split())

    assert any(map(has, sections))


def test_the_search_leaves_out_listings(sections, pages):
    assert "repository/grounding/methods.py.html" in pages
    assert not [each["location"] for each in sections if ".py.html" in each["location"]]
    assert any(each["location"].startswith("reference/api/localizer.html#grounding.Localizer") for each in sections)


def test_the_public_names_are_in_the_reference(pages):
    from grounding import attention, baselines

    api = "".join(text for name, text in pages.items() if name.startswith("reference/api/"))
    anchors = set(re.findall(r'id="(grounding\.[\w.]+)"', api))
    of_attention = {f"grounding.attention.{name}" for name in attention.__all__} - {"grounding.attention.explain"}
    of_package = {f"grounding.{name}" for name in grounding.__all__} - {"grounding.__version__"}
    methods = {f"{method.__module__}.{method.__name__}" for method in baselines.METHODS.values()}
    assert of_attention | of_package | methods | {"grounding.explain.explain"} <= anchors


def test_public_names_have_docstrings():
    """Also special methods, but for those that are not called by name: how a thing is made, shown and copied."""
    ours = [
        re.compile(r"__(repr|post_init|dir|setstate|torch_dispatch)__"),
        re.compile("alone|refused|failed|download$"),
    ]
    kept = InterrogateConfig(
        ignore_semiprivate=True, ignore_private=True, ignore_nested_functions=True, ignore_overloaded_functions=True,
        ignore_regex=ours, docstring_style="google",
    )  # fmt: skip
    found = InterrogateCoverage(paths=[str(ROOT / "grounding")], conf=kept).get_coverage()
    missed = [
        f"{file.filename}:{node.lineno} {node.name}"
        for file in found.file_results
        for node in file.nodes
        if not node.covered
    ]
    assert not missed
    assert found.total > 1500


def test_docstrings_name_the_real_arguments(caplog):
    """griffe warns of an argument that is not in the signature, and of sections that it cannot read."""
    package = griffe.load("grounding", search_paths=[str(ROOT)], docstring_parser="google", resolve_aliases=False)
    read = 0
    waiting = [package]
    while waiting:
        name = waiting.pop()
        if name.is_alias:
            continue
        read += len(name.docstring.parsed) if name.docstring else 0
        waiting += name.members.values()
    assert read > 2000
    assert not caplog.messages


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Title\n", "see [it](../docs/README.md)"]},
        {"cell_type": "code", "source": "print(1)\n1", "outputs": [
            {"output_type": "stream", "text": ["1\n", "2\n"]},
            {"output_type": "execute_result", "data": {"text/plain": "<Figure>", "image/png": "AAEC\n"}},
        ]},
        {"cell_type": "code", "source": "", "outputs": []},
        {"cell_type": "code", "source": "frame", "outputs": [
            {"output_type": "display_data", "data": {
                "text/plain": "a  b", "text/html": "<style>x\n</style>\n<table class='d'>\n\n<tr></tr></table>"}},
            {"output_type": "display_data", "data": {"image/svg+xml": ["<svg", "/>"]}},
        ]},
    ]
}  # fmt: skip


def test_a_notebook_is_a_page_with_its_outputs(hook):
    text, pictures = hook.notebook_page("tour", NOTEBOOK)
    fence = "````````"
    assert text.split("\n\n") == [
        "# Title\nsee [it](../docs/README.md)",
        f"{fence}python\nprint(1)\n1\n{fence}",
        f"{fence}{{ .text .output }}\n1\n2\n{fence}",
        "![what the code above draws](tour-1-0.png)",
        f"{fence}python\nframe\n{fence}",
        "<div>\n<table>\n<tr></tr></table>\n</div>",
        "![what the code above draws](tour-3-1.svg)",
    ]
    assert pictures == {"tour-1-0.png": bytes([0, 1, 2]), "tour-3-1.svg": b"<svg/>"}


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("docs/README.md", "", ""),
        ("docs/README.md", "[a](guides/demo.md)", "[a](guides/demo.md)"),
        ("docs/guides/demo.md", "[a](../../configs/voc07.yaml)", "[a](../repository/configs/voc07.yaml.md)"),
        ("docs/guides/demo.md", "[`a`](../../SECURITY.md#what)", "[`a`](../repository/SECURITY.md#what)"),
        ("docs/guides/demo.md", "[a](../../notebooks/tour.ipynb)", "[a](../notebooks/tour.md)"),
        ("docs/guides/demo.md", "[a](../../grounding/scale/)", "[a](../repository/grounding/scale/contents.md)"),
        ("docs/guides/demo.md", "[a](../../data/README.md)", "[a](../repository/data/contents.md)"),
        ("docs/guides/demo.md", "[a](../results/)", "[a](../results/README.md)"),
        ("docs/guides/demo.md", "[a](gone.md) [b](../../../etc)", "[a](gone.md) [b](../../../etc)"),
        ("docs/guides/demo.md", "[a](https://x.org/y) [b](#c)", "[a](https://x.org/y) [b](#c)"),
        ("CONTRIBUTING.md", "[a](docs/guides/demo.md)", "[a](../guides/demo.md)"),
        ("CONTRIBUTING.md", "[a](scripts/check.py)", "[a](scripts/check.py.md)"),
        ("notebooks/tour.ipynb", "[a](evidence.ipynb)", "[a](evidence.md)"),
        ("README.md", '<img src="docs/images/residual.jpg">', '<img src="../images/residual.jpg">'),
        ("README.md", "`[a](LICENSE)` ``[`](LICENSE)``", "`[a](LICENSE)` ``[`](LICENSE)``"),
        ("README.md", "```\n[a](LICENSE)\n- b\n```\n[a](LICENSE)", "```\n[a](LICENSE)\n- b\n```\n[a](LICENSE.md)"),
        ("README.md", "**Text**\n- a\n- b\n  c\n- d", "**Text**\n\n- a\n- b\n  c\n- d"),
        ("README.md", "Text\n1. a\n2. b\n\n- c", "Text\n\n1. a\n2. b\n\n- c"),
        ("README.md", "in the year\n1912. It\n-1 is\n# T\n- a", "in the year\n1912. It\n-1 is\n# T\n- a"),
    ],
)
def test_links_lead_to_pages(hook, place, text, expected):
    assert hook.as_page(place, text) == expected


def test_a_folder_is_listed_and_a_file_is_shown(hook):
    assert "- `scale_out.py`\n" not in hook.page_of("scripts")[0]
    assert "\n- `site_hook.py`" in hook.page_of("scripts")[0]
    page, _ = hook.page_of("configs/voc07.yaml")
    assert (ROOT / "configs" / "voc07.yaml").read_text().rstrip() in page
    assert "````````yaml\n" in page


def test_formulas_need_no_script(hook):
    page = hook.on_page_content(r'<p><span class="arithmatex">\(x_i &lt; 2\)</span></p>', None, None, None)
    assert page.startswith('<p><math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">')
    assert "<msub><mi>x</mi><mi>i</mi></msub>" in page


@pytest.mark.slow
def test_pages_are_usable_opened_as_files_in_any_scheme_and_width(site, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path())
        page = browser.new_page()
        said = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda request: said.append(request.url) if request.url[:5] not in ("file:", "data:") else None
        )
        for name, width, scheme in (
            ("index", 390, "dark"), ("reference/api/localizer", 1280, "light"), ("notebooks/tour", 390, "light"),
        ):  # fmt: skip
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.goto(f"file://{site}/{name}.html")
            said += [f"{name}: {fault}" for fault in serious_faults(page)]
            said += [f"{name} is wider"] if page.evaluate("document.documentElement.scrollWidth") > width else []
            screenshots(page, f"site-{Path(name).name}")
        page.locator("label[for=__search]").first.click()
        page.locator("input.md-search__input").press_sequentially("contrastive_mwp")
        page.locator(".md-search-result__item a").first.wait_for()
        browser.close()
    assert not said
