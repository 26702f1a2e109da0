"""What the site needs beyond MkDocs: pages from files outside docs/, notebooks, formulas, and the help of the commands.

Documents link to files of the repository as they lie in a checkout. Here each file that is linked becomes a page of the
site: Markdown and notebooks are rendered, with the outputs that a notebook holds; all else is shown as it is.
"""

import argparse
import base64
import html
import importlib
import json
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
WIDTH = "88"  # of the help texts, wherever the site is built
_PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".js": "javascript"}
_CODE = r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[`~]*$|(?P<tick>`+)[^`].*?(?<!`)(?P=tick)(?!`)"
_LINK = r'(?:(?<=\]\()|(?<=src="))(?![a-z]+:)(?P<target>[^)#"\s]+)(?P<anchor>#[^)"\s]*)?'
_LINKS = re.compile(f"{_CODE}|{_LINK}", re.MULTILINE | re.DOTALL)
_LISTS = re.compile(rf"{_CODE}|^(?P<before>(?!\s|[-*|>#] |\d+\. )[^\n]+\n)(?=[-*] |1\. )", re.MULTILINE | re.DOTALL)
_HELP = re.compile(r"^<!-- help: ([\w.]+) -->$", re.MULTILINE)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_NAMES = re.compile(r"<code>(grounding\.[\w.]+)</code>(?!</a>)")  # where the reference has them
_WIDE = re.compile(r'<table>.*?</table>|<math [^>]*display="block">.*?</math>', re.DOTALL)
_places: dict[str, str] = {}  # of the pages that come from outside docs/: their paths in the repository


def site_path(place: str) -> str:
    """Where a file or folder of the repository has its page, as a path below docs/."""
    path = PurePosixPath(place)
    if (ROOT / place).is_dir():
        path /= "README.md"
    if path.parts[0] == "docs":
        return str(path.relative_to("docs"))
    if path.parts[0] == "notebooks":
        return str(path.with_suffix(".md") if path.suffix == ".ipynb" else path)
    if path.name == "README.md":
        path = path.with_name("contents.md")  # MkDocs would make the page of a section of the navigation of it
    return f"repository/{path}" + ("" if path.suffix in (".md", ".jpg", ".png", ".svg") else ".md")


def _resolved(place: str, target: str) -> str | None:
    """What a link of the document at `place` names: a path in the repository, or None where nothing is there."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def linked(place: str, text: str) -> list[str]:
    """The files and folders of the repository that a document links to."""
    paths = [_resolved(place, link["target"]) for link in _LINKS.finditer(text) if link["target"]]
    return [path for path in paths if path]


def as_page(place: str, text: str) -> str:
    """A document as MkDocs wants it: links lead to pages, and a blank line is before each list, unlike on GitHub."""
    here = posixpath.dirname(site_path(place)) or "."

    def to_page(link: re.Match[str]) -> str:
        target = link["target"] and _resolved(place, link["target"])
        if not target:
            return link[0]  # code, or a file that does not exist, of which MkDocs will warn
        anchor = link["anchor"] or ""
        return posixpath.relpath(site_path(target), here) + (anchor.lower() if target.endswith(".ipynb") else anchor)

    text = _LISTS.sub(lambda found: f"{found[0]}\n" if found["before"] else found[0], text)
    return _LINKS.sub(to_page, text)


def page_of(place: str) -> tuple[str, dict[str, bytes]]:
    """The Markdown of the page that shows a file or folder of the repository, and the pictures beside it, by name."""
    path = ROOT / place
    if path.is_dir():
        names = sorted(each.name + "/" * each.is_dir() for each in path.iterdir())
        kept = [name for name in names if name[0] != "." and name != "__pycache__/"]
        return f"# `{place}/`\n\n" + "\n".join(f"- `{name}`" for name in kept), {}
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return text, {}
    if path.suffix == ".ipynb":
        return notebook_page(path.stem, json.loads(text))
    shown = _fenced(_LANGUAGES.get(path.suffix, "text"), text.rstrip())
    return f"---\nhide: [navigation, toc]\nsearch: {{exclude: true}}\n---\n# `{place}`\n\n{shown}\n", {}


def notebook_page(name: str, notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures; of each output the picture is shown, else the table, else the text."""
    parts, pictures = [], {}
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\]\(#.*?\)", lambda link: link[0].lower(), source))  # anchors as on the site
        elif source:
            parts.append(_fenced("python", source))
        for output in cell.get("outputs", []):
            data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
            if kinds := [kind for kind in _PICTURES if kind in data]:
                file, text = f"{name}-{number}-{len(pictures)}.{_PICTURES[kinds[0]]}", data[kinds[0]]
                pictures[file] = text.encode() if file.endswith(".svg") else base64.b64decode(text)
                parts.append(f"![what the code above draws]({file})")
            elif "text/html" in data:
                table = re.sub("<style.*?</style>|(?<=<table)[^>]*", "", data["text/html"], flags=re.DOTALL).split("\n")
                parts.append("\n".join(["<div>", *filter(str.strip, table), "</div>"]))
            elif text := data.get("text/plain", "".join(output.get("text", ""))).rstrip():
                parts.append(_fenced("{ .text .output }", text))
    return "\n\n".join(parts), pictures


def _fenced(kind: str, text: str) -> str:
    return f"````````{kind}\n{text}\n````````"


def help_texts(module: str) -> str:
    """The help of all parsers of a module and of their subcommands, `build_parser` first: headings and texts."""
    names = [name for name in vars(importlib.import_module(module)) if re.fullmatch(r"build_(\w+_)?parser", name)]
    parsers = [getattr(importlib.import_module(module), name)() for name in sorted(names, key="build_parser".__ne__)]
    with mock.patch.dict(os.environ, COLUMNS=WIDTH, NO_COLOR="1", PYTHON_COLORS="0"):
        told = [(each.prog, each.format_help()) for parser in parsers for each in _with_subcommands(parser)]
    parts = [f"## {name}\n\n{_fenced('text', text)}" for name, text in told]
    return "\n\n".join(parts).replace("## python -m grounding.", "## grounding ")


def _with_subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                if each.add_help:  # the others are doors of their own
                    yield from _with_subcommands(each)


def on_config(config: MkDocsConfig) -> None:
    """In the navigation, `../file` is a file outside docs/, and `folder/*.md` stands for all others of that form."""
    _places.clear()
    config.nav = _expanded(config.nav, json.dumps(config.nav))


def _expanded(entry: Any, named: str) -> Any:
    if isinstance(entry, str):
        return _pages(entry, named)[0]
    if isinstance(entry, dict):
        return {title: _expanded(each, named) for title, each in entry.items()}
    return [page for one in entry for page in (_pages(one, named) if isinstance(one, str) else [_expanded(one, named)])]


def _pages(entry: str, named: str) -> list[str]:
    names = [posixpath.normpath(f"docs/{entry}")]
    if "*" in entry:
        found = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(names[0]))
        names = [name for name in found if f'"{name.removeprefix("docs/")}"' not in named]
    _places.update({site_path(name): name for name in names if name[:5] != "docs/" and (ROOT / name).exists()})
    return [site_path(name) for name in names]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add every file outside docs/ that the navigation or a document names, and what these name."""
    in_navigation = set(_places.values())
    asked = list(in_navigation)
    for file in list(files.documentation_pages()):
        asked += linked(f"docs/{file.src_uri}", file.content_string)
    while asked:
        place = asked.pop()
        page = site_path(place)
        if place.startswith("docs/") or page in files.src_uris:
            continue
        if not page.endswith(".md"):
            files.append(File.generated(config, page, abs_src_path=str(ROOT / place)))
            continue
        text, pictures = page_of(place)
        level = InclusionLevel.INCLUDED if place in in_navigation else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, page, content=text, inclusion=level))
        _places[page] = place
        for name, content in pictures.items():
            files.append(File.generated(config, f"{posixpath.dirname(page)}/{name}", content=content))
        if place.endswith((".md", ".ipynb")):
            asked += linked(place, text)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to pages, and put in the help texts."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    if page.file.src_uri.startswith("repository/"):  # found, but behind what answers a question
        page.meta.setdefault("search", {"boost": 0.3})
    markdown = as_page(_places.get(page.file.src_uri, f"docs/{page.file.src_uri}"), markdown)
    return _HELP.sub(lambda marker: help_texts(marker[1]), markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write formulas as MathML, which needs no script, and let wide tables and formulas scroll, also by keys."""
    forms = {"span": "inline", "div": "block"}
    content = _FORMULA.sub(lambda found: convert(html.unescape(found[2]), display=forms[found[1]]), content)
    content = _NAMES.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', content)
    return _WIDE.sub(r'<div class="scrolling" tabindex="0">\g<0></div>', content)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Give the theme's search dialogue a name, for screen readers."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"', 1)
