"""The README's commands, the notebooks and the wheel do what they say."""

import re
import shlex
import subprocess
import sys
import zipfile

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from grounding.config import LocalizerConfig, load
from grounding.evaluation.options import build_parser
from grounding.images import sample_scene
from helpers.paths import ROOT

FENCES = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        command
        for kind, text in FENCES
        if kind == "bash"
        for command in re.findall(r"python -m grounding\.localize[^\n&|#]*", text)
    }
)


EVALUATIONS = sorted(
    {
        command
        for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
        for command in re.findall(r"python -m grounding\.evaluate ((?:\\\n|[^\n`|])+)", path.read_text())
    }
)


@pytest.fixture
def photograph(tmp_path):
    Image.fromarray(sample_scene()).save(tmp_path / "photo.jpg")
    return tmp_path


def test_the_readme_begins_with_the_two_commands():
    first, second = [text for kind, text in FENCES if kind == "bash"][:2]
    assert first.count("\n") == second.count("\n") == 1
    assert 'python -m grounding.localize --caption "a man in a red hat"' in first
    assert "scripts/check.py" in second
    assert len(COMMANDS) >= 2
    assert len(EVALUATIONS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_commands(command, photograph):
    arguments = shlex.split(command)[1:]
    done = subprocess.run([sys.executable, *arguments], cwd=photograph, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("command", EVALUATIONS)
def test_documented_evaluations_have_these_options(command):
    if "…" not in command:
        assert build_parser().parse_args(shlex.split(command))


def test_readme_python(photograph, monkeypatch):
    monkeypatch.chdir(photograph)
    blocks = [text for kind, text in FENCES if kind == "python"]
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "notebooks are stored without outputs"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


def test_the_documented_configuration_is_the_default():
    documented, default = load(LocalizerConfig, ROOT / "configs" / "localizer.yaml"), LocalizerConfig()
    assert documented.regions == default.regions
    assert documented.maps == default.maps


def test_documents_are_finished_and_their_links_lead_somewhere():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("grounding/**/*.md"), *ROOT.glob("*/*.md")]:
        text = path.read_text()
        assert not re.search(r"@[A-Z]+@", text), path
        for link in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (path.parent / link).exists(), (path, link)


def test_the_wheel_carries_weights_and_text_data(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "grounding/tagging/embedded/model.safetensors",
        "grounding/tagging/embedded/config.json",
        "grounding/text/chunker.json.gz",
        "grounding/text/vectors.npz",
        "grounding/evaluation/protocols/blind_boxes.json",
        "grounding/evaluation/report/published.yaml",
        "grounding/evaluation/report/templates/report.html.jinja",
        "grounding/py.typed",
    ):
        assert wanted in names
    assert not any(name.startswith(("tests/", "scripts/", "tools/")) for name in names)
    assert wheel.stat().st_size < 20_000_000
