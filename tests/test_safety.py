"""What the package never does: unpickle, run what it reads, unpack archives, ask the clock, or reach the network."""

import ast
import json
import socket
from pathlib import Path

import pytest
import yaml
from PIL import EpsImagePlugin

import grounding
from grounding.config_values import Texts
from grounding.errors import GroundingError
from grounding.images import read_image
from helpers.malformed.pictures import EPS

PACKAGE = Path(grounding.__file__).parent
NEVER = (
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "time.time",
    "extractall",
    "extract",
    "unpack_archive",
)
SAID = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False", "np.save": "allow_pickle=False"}
YAML = ("yaml.load", "yaml.unsafe_load", "yaml.full_load")
WATCHED = (*SAID, *YAML)
MODULES = (
    "pickle",
    "shelve",
    "marshal",
    "subprocess",
    "socket",
    "urllib.request",
    "requests",
    "dill",
    "joblib",
    "telnetlib",
)
REACHES = {  # the two that serve pages, and that read the pictures of addresses which somebody gave
    ("web/server.py", "socket"),
    ("integrations/fetching.py", "urllib.request"),
}


def name_of(function):
    """`a.b.c` of a chain of attributes; of anything else only its last name."""
    parts = []
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    parts.append(function.id if isinstance(function, ast.Name) else "")
    return ".".join(reversed(parts))


def calls_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield name_of(node.func), node


def faults(name, text):
    """What a file of the package does that it may not."""
    tree, found = ast.parse(text), []
    for called, node in calls_of(tree):
        if called in NEVER or called.rpartition(".")[2] in ("extractall", "unpack_archive"):
            found.append(f"{name}:{node.lineno} calls {called}")
        arguments = [ast.unparse(each) for each in [*node.args, *node.keywords]] if called in WATCHED else []
        if called in SAID and SAID[called] not in arguments:
            found.append(f"{name}:{node.lineno} {called} without {SAID[called]}")
        if called in YAML and arguments[-1] != "Texts":
            found.append(f"{name}:{node.lineno} {called}")
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [
            f"{name}:{node.lineno} imports {each}" for each in names if each in MODULES and (name, each) not in REACHES
        ]
    return found


def test_nothing_that_is_read_is_run():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 200
    assert [fault for path in files for fault in faults(path.relative_to(PACKAGE).as_posix(), path.read_text())] == []


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "tar.extractall(folder)",
        "import pickle",
        "from urllib.request import urlopen",
        "start = time.time()",
    ],
)
def test_the_search_sees_what_it_looks_for(line):
    assert faults("made.py", line)


def test_only_two_files_reach_the_network():
    for name, module in REACHES:
        line = f"import {module}"
        assert line in (PACKAGE / name).read_text()
        assert faults(name, line) == []
        assert faults("made.py", line)


def test_configurations_have_texts_lists_and_groups_and_nothing_else():
    assert issubclass(Texts, yaml.SafeLoader)
    assert {tag and tag.rpartition(":")[2] for tag in Texts.yaml_constructors} == {"str", "seq", "map", None}
    assert not Texts.yaml_multi_constructors
    assert yaml.load("a: &a {x: 1, y: no}\nb: {<<: *a, y: 2001-01-01}", Texts) == {
        "a": {"x": "1", "y": "no"},
        "b": {"x": "1", "y": "2001-01-01"},
    }
    assert yaml.safe_load("a: no") == {"a": False}, "the loader of others is as it was"


def test_postscript_is_refused_before_ghostscript_is_asked(tmp_path, monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("Ghostscript was asked")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", never)
    (tmp_path / "a.jpg").write_bytes(EPS)
    with pytest.raises(GroundingError, match="PostScript, which is never run"):
        read_image(tmp_path / "a.jpg")


def test_the_embedded_classifier_needs_no_network(run, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    status, out, err = run("--caption", "a man in a red hat", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["phrases"][0]["status"] == "localized"
