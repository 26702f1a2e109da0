"""The package's imports go one way; and the script that draws them, on small packages."""

import pytest

from helpers.paths import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("imports")


@pytest.fixture
def package(tmp_path):
    """Write a package of these files, and give its folder."""

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / "p" / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "p"

    return write


def test_no_circle_of_files_anywhere_in_the_package(script):
    assert script.circles(script.graph()) == []


def test_imports_count_wherever_they_stand(script, package):
    folder = package(
        __init__="from p.a import x\n",
        a="import os, p.b.c\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import d\n",
        d="def f():\n    from .b import c, other\n    from . import b\n    from elsewhere import a\n",
        b__in____init__="from ..e import x\nfrom .c import y\n",
        b__in__c="",
        e="",
    )
    arrows = script.graph(folder)
    assert arrows == {
        "__init__.py": {"a.py"},
        "a.py": {"b/c.py", "d.py"},
        "b/__init__.py": {"e.py", "b/c.py"},
        "b/c.py": set(),
        "d.py": {"b/c.py", "b/__init__.py"},
        "e.py": set(),
    }
    assert script.circles(arrows) == []
    assert script.floors(arrows) == 5  # __init__, a, d, b, and e or c
    assert script.within(arrows, "b/") == {"b/__init__.py": {"b/c.py"}, "b/c.py": set()}


def test_a_circle_is_seen_through_other_files_and_is_one_floor(script):
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert script.circles(arrows) == [["a", "b", "c"], ["d", "e"]]
    assert script.floors(arrows) == 3
    assert script.floors({}) == 0
