"""The commands and examples of the documentation, and the notebooks do what they say."""

import ast
import csv
import importlib
import re
import shlex
import shutil
import subprocess
import sys

import nbformat
import pytest
from jupyter_client import KernelManager
from PIL import Image

from grounding.config import LocalizerConfig, given, load
from grounding.images import sample_scene
from grounding.training.clip.config import ClipConfig
from grounding.training.config import TrainConfig
from helpers.entities import write_entities
from helpers.paths import ROOT, load_script

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("grounding/**/*.md"), *ROOT.glob("*/*.md")]
DOCUMENTS = sorted({path for path in DOCUMENTS if not path.parent.name.startswith(".")})
README = ROOT / "README.md"
OTHERS = ("captions", "labels", "human-maps", "presence")  # what `train` does besides training


def fences(path, kind):
    """The text of the fenced blocks of this kind."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == kind]


def commands(pattern, paths=DOCUMENTS):
    """What the documents say after such a beginning, to the end of the line or of the code; without abridged ones."""
    texts = [re.sub(r"\\\n\s*", "", path.read_text()) for path in paths]
    found = {command.strip() for text in texts for command in re.findall(pattern + r" ([^\n`|&#]+)", text)}
    return sorted(command for command in found if "…" not in command and "..." not in command)


def named(path):
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """A folder with what the examples speak of: a photograph, and a run that scored somebody's predictions."""
    from grounding.evaluate import main

    folder = tmp_path_factory.mktemp("workplace")
    Image.fromarray(sample_scene()).save(folder / "photo.jpg")
    theirs, entities = folder / "theirs.jsonl", write_entities(folder / "entities")
    theirs.write_text('{"image": "3001", "sentence": 0, "phrase": 0, "boxes": [[0, 0, 9, 9]]}\n')
    arguments = ["flickr30k", "--predictions", theirs, "--annotations", entities, "--split", "test"]
    assert main([str(argument) for argument in (*arguments, "--output", folder / "runs" / "theirs")]) == 0
    return folder


@pytest.fixture
def workplace(furnished, tmp_path):
    return shutil.copytree(furnished, tmp_path, dirs_exist_ok=True)


def test_the_readme_begins_with_the_two_commands():
    first, second = fences(README, "bash")[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert 'python -m grounding.localize --caption "a man in a red hat"' in first
    assert "scripts/check.py" in second


@pytest.mark.slow
def test_the_first_command_runs_on_its_own(tmp_path):
    (command,) = re.findall(r"python (-m grounding\.localize .*)", fences(README, "bash")[0])
    arguments = [sys.executable, "-X", "importtime", *shlex.split(command)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert all(line.startswith("import time:") for line in done.stderr.splitlines())
    assert done.returncode == 0
    assert done.stdout
    assert "torch" in imported
    assert not imported & {"torch._dynamo", "torchvision"}  # each would take longer than all the rest


@pytest.mark.parametrize("command", commands(r"python -m grounding\.localize", [README]))
def test_readme_commands(command, workplace, run):
    status, out, err = run(*shlex.split(command.replace("runs/web-alt-text/classifier", "embedded")))
    assert (status, err) == (0, "")
    assert out


@pytest.mark.parametrize("door", ["localize", "evaluate", "train", "export", "annotate", "clickme", "demo", "serve"])
def test_documented_commands_have_these_options(door):
    module = importlib.import_module(f"grounding.{door}")
    documented = commands(rf"(?:python -m grounding\.|(?<=\n)grounding ){door}")
    assert documented
    for command in documented:
        name, *arguments = shlex.split(command)
        if not arguments and (door == "evaluate" or name in OTHERS):  # a command's name alone
            continue
        if name in OTHERS:
            getattr(module, f"build_{name.replace('-', '_')}_parser")().parse_args(arguments)
            continue
        options = module.build_parser().parse_args([name, *arguments])
        if door == "train":
            path = ROOT / options.config
            kind = ClipConfig if given(path).get("model") == "clip" else TrainConfig
            load(kind, path, options.overrides)
        else:
            load(LocalizerConfig, None, getattr(options, "set", []))


def test_documented_scripts_have_these_options():
    documented = commands(r"python(?= (?:scripts|tools)/\w+\.py)")
    assert documented
    for command in documented:
        script, *arguments = shlex.split(command)
        source = (ROOT / script).read_text()
        for option in arguments:
            assert not option.startswith("--") or f'"{option}"' in source or "parse_known_args" in source, command


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in DOCUMENTS if fences(path, "python")], ids=named)
def test_examples_run(path, workplace, monkeypatch):
    """The blocks of a page one after another, as a reader would type them."""
    monkeypatch.chdir(workplace)
    names = {}
    for block in fences(path, "python"):
        exec(compile(block, path.name, "exec"), names)


@pytest.fixture(scope="module")
def kernel():
    """One for all notebooks: its start and its imports take longer than most of them."""
    manager = KernelManager()
    manager.start_kernel()
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks(path, tmp_path, kernel):
    """Each begins without names, in a folder of its own, and is stored with the outputs that it gives."""
    script, stored = load_script("run_notebooks"), nbformat.read(path, as_version=4)
    fresh = script.executed(stored, tmp_path, kernel)
    assert script.warnings_of(fresh) == []
    assert script.faults(stored) == []
    assert script.differences(stored, script.tidied(fresh, tmp_path)) == []


def assigned(notebook, name):
    """The value that a notebook writes out for a name."""
    cells = nbformat.read(ROOT / "notebooks" / notebook, as_version=4).cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, ast.Assign)]
    (value,) = [node.value for node in nodes if getattr(node.targets[0], "id", "") == name]
    return ast.literal_eval(value)


def test_notebooks_quote_the_results():
    """Notebooks run in an empty folder, so they repeat what they draw from docs/results."""
    results = ROOT / "docs" / "results"
    page = (results / "attention.md").read_text().split("Less *none*")[1].split("\n\n")[1]
    for way, pairs in assigned("attending.ipynb", "LESS_NONE").items():
        (row,) = [line.split(" | ") for line in page.splitlines() if line.startswith(f"| {way} |")]
        for (value, low, high), cell, digits in zip(pairs, (row[6], row[8]), (1, 3), strict=True):
            assert cell == f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]", way
    table = (results / "flickr30k-val.md").read_text()
    for name, values in assigned("flickr30k.ipynb", "QUOTED").items():
        assert f"| `{name.replace(' ', '-')}/merged-box` | {' | '.join(map(str, values))} |" in table
    with (results / "own-words.csv").open(newline="") as file:
        birds = [row for row in csv.DictReader(file) if row["data"] == "birds"]
    drawn = assigned("your-words.ipynb", "POINTING") | {0: (assigned("your-words.ipynb", "NOTHING_LEARNT"),)}
    measured = {int(row["pictures"]): () for row in birds}
    for row in birds:
        measured[int(row["pictures"])] += (float(row["pointing_of_four"]),)
    assert drawn == measured


def test_the_documented_configuration_is_the_default():
    documented, default = load(LocalizerConfig, ROOT / "configs" / "localizer.yaml"), LocalizerConfig()
    assert documented.regions == default.regions
    assert documented.maps == default.maps


def test_documents_are_finished_and_their_links_lead_somewhere():
    for path in DOCUMENTS:
        text = path.read_text()
        assert not re.search(r"@[A-Z]+@", text), path
        for link in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (path.parent / link).exists(), (path, link)
