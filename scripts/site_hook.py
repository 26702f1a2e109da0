"""What the site needs beyond MkDocs: pages from files outside docs/, notebooks, formulas, and the help of every command.

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
WIDTH = "100"  # of the help texts, wherever the site is built
_CODE = r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[`~]*$|(?P<tick>`+)[^`].*?(?<!`)(?P=tick)(?!`)"
_LINKS = re.compile(
    rf'{_CODE}|(?:(?<=\]\()|(?<=src="))(?![a-z]+:)(?P<target>[^)#"\s]+)(?P<anchor>#[^)"\s]*)?', re.MULTILINE | re.DOTALL
)
_HELP = re.compile(r"^<!-- help: ([\w.]+) -->$", re.MULTILINE)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".js": "javascript"}
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


def linked(place: str, text: str) -> Iterator[str]:
    """The paths in the repository of the existing files and folders that a document links to."""
    for link in _LINKS.finditer(text):
        if link["target"] and (target := _resolved(place, link["target"])):
            yield target


def relinked(place: str, text: str) -> str:
    """A document whose links lead to the pages of the files that they name."""
    here = posixpath.dirname(site_path(place))

    def to_page(link: re.Match[str]) -> str:
        target = _resolved(place, link["target"]) if link["target"] else None
        if target is None:
            return link[0]  # code, or a file that does not exist, of which MkDocs will warn
        return posixpath.relpath(site_path(target), here or ".") + (link["anchor"] or "")

    return _LINKS.sub(to_page, text)


def _resolved(place: str, target: str) -> str | None:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def page_text(place: str) -> str:
    """The Markdown of the page that shows a file or folder of the repository; its outputs are in `pictures`."""
    path = ROOT / place
    if path.is_dir():
        names = sorted(f"{each.name}/" if each.is_dir() else each.name for each in path.iterdir())
        kept = [name for name in names if not name.startswith((".", "__pycache__"))]
        return f"# `{place}/`\n\n" + "\n".join(f"- `{name}`" for name in kept)
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        return "\n\n".join(_cells(path.stem, json.loads(text)))
    fence = "`" * 8
    shown = f"{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}"
    return f"---\nsearch:\n  exclude: true\n---\n# `{place}`\n\n{shown}\n"


def _cells(name: str, notebook: dict[str, Any]) -> Iterator[str]:
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield source
        elif source:
            yield _fenced("python", source)
            yield from _outputs(f"{name}-{number}", cell.get("outputs", []))


def _outputs(name: str, outputs: list[dict[str, Any]]) -> Iterator[str]:
    """A picture if there is one, else a table, else text, as a notebook would show them."""
    for number, output in enumerate(outputs):
        data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
        if found := [kind for kind in _PICTURES if kind in data]:
            yield f"![what the code above draws]({name}-{number}{_PICTURES[found[0]]})"
        elif "text/html" in data:
            table = re.sub(r"<style.*?</style>|\n\s*\n", "", data["text/html"], flags=re.DOTALL)
            yield f'<div class="output">\n{table}\n</div>'
        elif text := data.get("text/markdown"):
            yield text
        elif text := data.get("text/plain") or "".join(output.get("text", "")):
            yield _fenced("{ .text .output }", text.rstrip())


def pictures(place: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the pictures among the outputs of a notebook."""
    for number, cell in enumerate(json.loads((ROOT / place).read_text("utf-8"))["cells"]):
        for output, shown in enumerate(cell.get("outputs", [])):
            for kind in [kind for kind in _PICTURES if kind in shown.get("data", {})][:1]:
                text = "".join(shown["data"][kind])
                content = text.encode() if kind == "image/svg+xml" else base64.b64decode(text)
                yield f"{PurePosixPath(place).stem}-{number}-{output}{_PICTURES[kind]}", content


_PICTURES = {"image/svg+xml": ".svg", "image/png": ".png", "image/jpeg": ".jpg"}


def _fenced(kind: str, text: str) -> str:
    return f"``````{kind}\n{text}\n``````"


def help_texts(module: str) -> str:
    """The help of all parsers of a module, `build_parser` first, and of their subcommands: a heading and a text each."""
    names = [name for name in vars(importlib.import_module(module)) if re.fullmatch(r"build_(\w+_)?parser", name)]
    parsers = [getattr(importlib.import_module(module), name)() for name in names]
    with mock.patch.dict(os.environ, COLUMNS=WIDTH, NO_COLOR="1", PYTHON_COLORS="0"):
        return "\n\n".join(_described(parser) for first in parsers for parser in _with_subcommands(first))


def _with_subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = [each for each in action.choices.values() if each.add_help]  # the others are doors of their own
            for each in told:
                yield from _with_subcommands(each)


def _described(parser: argparse.ArgumentParser) -> str:
    return f"## {parser.prog.replace('python -m grounding.', 'grounding ')}\n\n{_fenced('text', parser.format_help())}"


def on_config(config: MkDocsConfig) -> None:
    """In the navigation, `../file` is a file outside docs/, and `folder/*.md` stands for all files of that form."""
    _places.clear()
    config.nav = _expanded(config.nav, config)


def _expanded(entry: Any, config: MkDocsConfig) -> Any:
    if isinstance(entry, list):
        return [each for one in entry for each in (_globbed(one) if isinstance(one, str) else [_expanded(one, config)])]
    if isinstance(entry, dict):
        return {title: _expanded(value, config) for title, value in entry.items()}
    return _globbed(entry)[0]


def _globbed(entry: str) -> list[str]:
    """The pages below docs/ that an entry of the navigation names; those outside are noted."""
    names = [posixpath.normpath(f"docs/{entry}")]
    if "*" in entry:
        names = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(names[0]) if path.name != "README.md")
    _places.update({site_path(name): name for name in names if not name.startswith("docs/")})
    return [site_path(name) for name in names]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add every file that the navigation or a document names, and what these name."""
    texts = [(f"docs/{file.src_uri}", file.content_string) for file in files.documentation_pages()]
    asked = list(_places.values())
    in_navigation = set(asked)
    for place, text in texts:  # grows while it is read
        asked += linked(place, text)
        while asked:
            target = asked.pop()
            page = site_path(target)
            if target.startswith("docs/") or page in files.src_uris:
                continue
            if not page.endswith(".md"):
                files.append(File.generated(config, page, abs_src_path=str(ROOT / target)))
                continue
            text = page_text(target)
            level = InclusionLevel.INCLUDED if target in in_navigation else InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, page, content=text, inclusion=level))
            _places[page] = target
            if target.endswith(".ipynb"):
                for name, content in pictures(target):
                    files.append(File.generated(config, f"notebooks/{name}", content=content))
            if target.endswith((".md", ".ipynb")):
                texts.append((target, text))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in the help texts, and let links lead to pages."""
    markdown = relinked(_places.get(page.file.src_uri, f"docs/{page.file.src_uri}"), markdown)
    return _HELP.sub(lambda marker: help_texts(marker[1]), markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write formulas as MathML, which browsers show without a script."""

    def to_mathml(formula: re.Match[str]) -> str:
        return convert(html.unescape(formula[2]), display="inline" if formula[1] == "span" else "block")

    return _FORMULA.sub(to_mathml, content)
