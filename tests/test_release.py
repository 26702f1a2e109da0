"""What a release holds: wheel and sdist as they are built, the metadata, and one version everywhere."""

import email
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling import build

import grounding
from helpers.paths import ROOT, load_script

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = grounding.__version__
LICENCES = {"LICENSE", "NOTICE", "grounding/text/WORDNET-LICENSE.txt"}
BESIDES = {"PKG-INFO", ".gitignore"}  # in the sdist


def files(archive):
    """The files of a wheel, or of an sdist without its top folder."""
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as members:
        return {member.name.partition("/")[2] for member in members}


def tracked():
    """What a release is made from: the files of git, or in an unpacked sdist, all."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return {name for name in listed.splitlines() if (ROOT / name).exists()}
    return None


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist, from the tree."""
    folder, before = tmp_path_factory.mktemp("dist"), Path.cwd()
    os.chdir(ROOT)
    try:
        return [folder / make(str(folder)) for make in (build.build_wheel, build.build_sdist)]
    finally:
        os.chdir(before)


def test_the_wheel_is_the_package_and_nothing_else(built):
    found = files(built[0])
    of_package = {name for name in tracked() or found if name.startswith("grounding/")}
    own = {name for name in found if name.startswith("grounding/")}
    assert of_package <= own  # all of it: a file of data that is left out stops the main command
    assert {Path(name).suffix for name in own - of_package} <= {".py"}  # what is not committed yet
    assert {name.partition("/")[0] for name in found - own} == {f"grounding-{VERSION}.dist-info"}
    assert {name.partition("/licenses/")[2] for name in found if "/licenses/" in name} == LICENCES
    assert not [name for name in own if name.endswith((".jpg", ".png", ".jpeg"))]  # no photograph
    assert built[0].stat().st_size < 12_000_000


def test_the_sdist_is_the_repository(built):
    found = files(built[1])
    assert {"README.md", "pyproject.toml", "CHANGELOG.md", "tests/test_release.py", *LICENCES} <= found
    if (listed := tracked()) is not None:
        assert not listed - found
    assert not [name for name in found if re.search(r"^(\.git/|\.venv|runs/|site/)|__pycache__", name)]
    assert built[1].stat().st_size < 25_000_000


def test_another_folder_and_umask_give_the_same_wheel(built, tmp_path):
    """Built from the sdist, which so holds what the wheel needs."""
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,), out, before, umask = tmp_path.iterdir(), tmp_path / "out", Path.cwd(), os.umask(0o077)
    os.chdir(shutil.move(source, tmp_path / "elsewhere"))
    try:
        again = out / build.build_wheel(str(out))
    finally:
        os.chdir(before)
        os.umask(umask)
    assert again.name == built[0].name
    assert again.read_bytes() == built[0].read_bytes()


def test_the_metadata(built):
    content = zipfile.ZipFile(built[0]).read(f"grounding-{VERSION}.dist-info/METADATA").decode()
    metadata = email.message_from_string(content)
    assert metadata["Version"] == VERSION
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("License-File")) == LICENCES
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload()
    assert "Where in a picture is each phrase" in text
    targets = re.findall(r"\]\(([^)]*)\)|(?:src|href)=\"([^\"]*)\"", text)
    assert not [target for each in targets for target in each if target and not re.match(r"https?:|#", target)]


def test_one_version_everywhere():
    (newest, *_) = re.findall(r"^## \[?v?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest == VERSION
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == VERSION


def test_every_extra_is_documented():
    guide = (ROOT / "docs" / "guides" / "install.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+)` \|", guide, re.MULTILINE)) == set(PROJECT["optional-dependencies"]) - {
        "test"
    }
    tested = [found[1] for each in PROJECT["classifiers"] if (found := re.search(r":: (3\.\d+)$", each))]
    assert tested
    assert all(version in guide for version in tested)


def test_every_extra_has_a_real_call(capsys):
    check, smoke = load_script("check_release"), load_script("release_smoke")
    assert sorted(smoke.CALLS) == check.known_extras()
    assert set(check.WITHOUT) == set(check.known_extras()) - {"docs"}  # no command of ours needs it
    assert check.main(["--list"]) == 0
    assert set(check.STEPS) == {line.split()[0] for line in capsys.readouterr().out.splitlines()}


def test_the_notice_names_every_file_of_data():
    notice = (ROOT / "NOTICE").read_text()
    data = [path for path in (ROOT / "grounding").rglob("*") if re.search(r"\.(npz|gz|xz|safetensors)$", path.name)]
    assert len(data) >= 5
    assert [path.name for path in data if path.name not in notice] == []


def test_the_image_copies_what_the_build_needs():
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    needed = {"pyproject.toml", "README.md", "grounding", *(name for name in LICENCES if "/" not in name)}
    assert {name for each in copied for name in each.split()} == needed
    admitted = re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(admitted) == needed
