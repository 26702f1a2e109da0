"""Pages for people who come with a habit or a question name what there is; their examples run in test_repository."""

import ast
import importlib
import re

import pytest

from helpers.paths import ROOT

GUIDES = ("first-picture", "measure", "your-network", "questions")
PAGES = [*sorted((ROOT / "docs" / "coming-from").glob("*.md")), *(ROOT / "docs" / "guides" / f"{n}.md" for n in GUIDES)]
NAMES = {"attention": "grounding.attention", "baselines": "grounding.baselines", "grounding": "grounding"}


def by_name(path):
    return path.name


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_what_pages_tell_to_call_is_there(path):
    text = path.read_text()
    named = set(re.findall(r"(?<![\w./-])(attention|baselines|grounding)\.([a-zA-Z_]\w*)(?=[(`,)\s])", text))
    for module, name in named:
        found = importlib.import_module(NAMES[module])
        assert hasattr(found, name) or importlib.import_module(f"{NAMES[module]}.{name}"), f"{module}.{name}"


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_blocks_that_cannot_run_here_are_python(path):
    for block in re.findall(r"^```py\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        ast.parse(block)
