"""An annotation folder is begun, gone on with, and refused to what does not belong to it."""

import json

import pytest
from PIL import Image

from grounding.annotation.drafted import DRAFTS, SETTINGS, read_drafts, read_settings
from grounding.annotation.drafting import Drafting
from grounding.annotation.plan import draft, plan
from grounding.annotation.project import Project
from grounding.config import LocalizerConfig
from grounding.datasets.columns import TableOptions
from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.pipeline import Localizer

NAMES = {"classifier": "embedded", "config": {"regions": {"turns": (0.0, 0.3)}}}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(sample_scene()).resize((200, 200)).save(folder / "man.png")
    Image.new("RGB", (64, 48), "white").save(folder / "white.png")
    (folder / "broken.jpg").write_bytes(b"")
    return folder


class Stopped(Exception):
    pass


def run(images, labels=("man", "xyzzy"), load=None, stop_after=99, how=None, names=NAMES):
    """Drafts `annotation` beside the pictures; returns what was said, and how many pictures are left out."""
    said, output = [], images.parent / "annotation"

    def progress(lines, done, total):
        assert total == 3
        for number, line in enumerate(lines, start=1):
            yield line
            if number == stop_after:
                raise Stopped

    planned = plan(
        images, output, None, TableOptions(), "", labels, how or Drafting(everywhere=True), names, said.append
    )
    return said, draft(planned, output, load, progress, said.append)


def nothing():
    raise AssertionError("a classifier was loaded")


def test_pictures_are_drafted_once(images, localizer):
    said, left_out = run(images, load=lambda: localizer)
    assert left_out == 1
    assert said == [
        "1 label to draw by hand, which the classifier does not know: xyzzy",
        "left out: image broken.jpg is empty: expected a picture file such as JPEG or PNG",
    ]
    folder = images.parent / "annotation"
    before = (folder / DRAFTS).read_bytes()
    assert run(images, load=nothing) == ([], 1)
    assert (folder / DRAFTS).read_bytes() == before
    with Project.open(folder) as project:
        assert [each.name for each in project.history.pictures.values()] == ["man.png", "white.png"]
        assert project.history.labels == ["man", "xyzzy"]
        assert project.picture(1)["boxes"][0]["label"] == "man"


@pytest.mark.parametrize("cut", [b"", b'{"id": 1, "ima'])
def test_what_was_interrupted_is_gone_on_with(images, localizer, cut):
    folder = images.parent / "annotation"
    with pytest.raises(Stopped):
        run(images, load=lambda: localizer, stop_after=1)
    with (folder / DRAFTS).open("ab") as file:
        file.write(cut)
    with pytest.raises(GroundingError, match=r"has 1 of 3 pictures: run the command that began it again"):
        Project.open(folder)
    assert run(images, load=lambda: localizer)[1] == 1
    interrupted = (folder / DRAFTS).read_bytes()
    folder.rename(images.parent / "other")
    run(images, load=lambda: localizer)
    assert (folder / DRAFTS).read_bytes() == interrupted
    assert len(read_drafts(folder / DRAFTS, 3)) == 2


def test_words_for_a_label_that_nobody_asks_for_are_refused(images):
    how = Drafting(asked_as=(("man", "boy"), ("mann", "boy")), everywhere=True)
    with pytest.raises(GroundingError, match=r"--ask names the label 'mann', .* did you mean 'man'\?$"):
        run(images, load=nothing, how=how)


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"labels": ("man", "dog")}, "other names, captions or labels of the pictures"),
        ({"how": Drafting(boxes_per_label=2, everywhere=True)}, r"other boxes_per_label \(2, was 1\)"),
        ({"how": Drafting(min_presence=0.5, everywhere=True)}, r"other min_presence \(0.5, was None\)"),
        ({"how": Drafting(asked_as=(("man", "boy"),), everywhere=True)}, r"other asked_as"),
        (
            {"names": {**NAMES, "classifier": "torchvision:resnet50"}},
            r"other classifier \(torchvision:resnet50, was emb",
        ),
        ({"names": {**NAMES, "config": {"regions": {"turns": (0.0,)}}}}, r"other config.regions.turns"),
    ],
)
def test_other_settings_are_refused_in_one_line(images, localizer, other, line):
    run(images, load=lambda: localizer)
    folder = images.parent / "annotation"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(GroundingError, match=line):
        run(images, load=nothing, **other)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_another_picture_is_another_annotation_but_another_place_is_not(images, localizer):
    run(images, load=lambda: localizer)
    moved = images.rename(images.parent / "moved")
    assert run(moved, load=nothing) == ([], 1)
    assert read_settings(images.parent / "annotation").images == str(moved)
    Image.new("RGB", (9, 9)).save(moved / "new.png")
    said = []
    planned = plan(moved, moved.parent / "annotation", None, TableOptions(), "", (), Drafting(), NAMES, said.append)
    with pytest.raises(GroundingError, match=r"other pictures \(4, was 3\)"):
        draft(planned, moved.parent / "annotation", nothing, lambda lines, *_: lines, said.append)


def test_other_weights_do_not_go_on_with_drafts(images, localizer):
    with pytest.raises(Stopped):
        run(images, load=lambda: localizer, stop_after=1)
    path = images.parent / "annotation" / SETTINGS
    values = json.loads(path.read_text())
    values["drafting"]["weights"] = "other"
    path.write_text(json.dumps(values))
    with pytest.raises(GroundingError, match="with other weights of the classifier"):
        run(images, load=lambda: localizer)
    assert isinstance(localizer, Localizer)
    assert isinstance(localizer.config, LocalizerConfig)


def test_a_folder_of_something_else_is_not_touched(images):
    folder = images.parent / "annotation"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(GroundingError, match=r"holds other things, such as thesis\.tex: choose another"):
        run(images, load=nothing)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]
    folder.rename(images.parent / "x")
    folder.write_text("a file")
    with pytest.raises(GroundingError, match="is a file: expected a folder"):
        run(images, load=nothing)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"schema_version": 1}', "is damaged"),
        ('{"schema_version": 1, "images": "a", "labels": ["\\u0000"], "pictures": 1, "drafting": {}}', "is damaged"),
        (
            '{"schema_version": 2, "images": "a", "labels": [], "pictures": 1, "drafting": {}}',
            "expected 1; is grounding",
        ),
    ],
)
def test_settings_that_cannot_be_read_are_said(tmp_path, content, line):
    (tmp_path / SETTINGS).write_text(content)
    with pytest.raises(GroundingError, match=line):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"id": 0, "image": "a.jpg", "width": 9, "height": 9, "caption": "", "uncertainty": 1, "boxes": [{}]}',
        '{"id": "0", "image": "a.jpg", "width": 9, "height": 9, "caption": "", "uncertainty": 1, "boxes": []}',
        '{"id": 0, "image": "a.jpg", "width": 9, "height": 9, "caption": 1, "uncertainty": 1, "boxes": []}',
        '{"id": 0, "image": "a.jpg", "width": 9, "height": 9, "caption": "", "uncertainty": 1, "boxes": '
        '[{"label": "a", "x0": 3, "y0": 0, "x1": 1, "y1": 1, "score": 1}]}',
    ],
)
def test_a_damaged_draft_is_named(tmp_path, line):
    (tmp_path / DRAFTS).write_text(line + "\n")
    with pytest.raises(GroundingError, match=r"drafts\.jsonl, line 1 is damaged"):
        read_drafts(tmp_path / DRAFTS, 1)
