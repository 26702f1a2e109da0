"""How notebooks are stored: what stays out, how small pictures become, and when a fresh run is another one."""

import base64
import copy
import io

import nbformat
import numpy as np
import pytest
from jupyter_client import KernelManager
from PIL import Image, ImageDraw

from helpers.paths import load_script

STREAM, SHOWN, ERROR = "stream", "display_data", "error"


@pytest.fixture(scope="module")
def script():
    return load_script("run_notebooks")


def noise(width=300, height=200, seed=0):
    """What no PNG makes small."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def drawing(width=300, height=200, mode="RGB"):
    """What no JPEG makes small."""
    picture = Image.new(mode, (width, height), "white" if mode == "RGB" else (0, 0, 0, 0))
    ImageDraw.Draw(picture).rectangle((10, 10, 40, 40), fill="black")
    return picture


def saved(picture, kind="PNG"):
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def coded(picture, kind="PNG"):
    return base64.b64encode(saved(picture, kind)).decode()


def shown(picture, **texts):
    data = {"image/png": coded(picture), **{kind.replace("_", "/"): text for kind, text in texts.items()}}
    return nbformat.v4.new_output(SHOWN, data)


def printed(text, name="stdout"):
    return nbformat.v4.new_output(STREAM, name=name, text=text)


def notebook_of(*outputs, source="1", script=None):
    """A notebook of one cell with these outputs; tidy if a script is given."""
    cell = nbformat.v4.new_code_cell(source, outputs=copy.deepcopy(list(outputs)))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    return script.tidied(notebook) if script else notebook


def test_nothing_of_the_machine_is_stored(script, tmp_path):
    result = nbformat.v4.new_output("execute_result", {"text/plain": f"'{tmp_path}/a'"}, execution_count=3)
    two = shown(drawing())
    two.data["image/jpeg"], two.metadata = coded(drawing(), "JPEG"), {"width": 4}
    notebook = notebook_of(
        printed("a\n"), printed("hm", "stderr"), printed(f"{tmp_path}/b\n"), result, printed("c"), two
    )
    notebook.metadata = {"kernelspec": {"name": "mine"}, "language_info": {"version": "3.99"}}
    notebook.cells[0].metadata = {"execution": {"iopub.status.busy": "2020-01-01"}, "tags": ["varies"]}
    notebook.cells[0].execution_count = 3
    before = copy.deepcopy(notebook)
    tidy = script.tidied(notebook, tmp_path)
    assert notebook == before
    (cell,) = tidy.cells
    assert tidy.metadata == script.METADATA
    assert (cell.execution_count, cell.metadata, cell.id) == (None, {"tags": ["varies"]}, "cell-0")
    first, second, third, fourth = cell.outputs
    assert first.text == "a\n./b\n"  # as it was printed, however it arrived
    assert (second.data, second.execution_count) == ({"text/plain": "'./a'"}, None)
    assert third.text == "c"
    assert (set(fourth.data), fourth.metadata) == ({"image/png"}, {})
    assert script.faults(tidy) == []


@pytest.mark.parametrize(
    ("picture", "kind", "size"),
    [
        (noise(), "image/jpeg", (300, 200)),
        (drawing(), "image/png", (300, 200)),
        (drawing(1800, 500), "image/png", (900, 250)),
        (drawing(mode="RGBA"), "image/png", (300, 200)),
    ],
)
def test_pictures_become_small(script, picture, kind, size):
    found, content = script.encoded(saved(picture))
    small = Image.open(io.BytesIO(content))
    assert (found, small.size, small.mode) == (kind, size, "RGB")
    assert small.getpixel((size[0] - 1, size[1] - 1)) == (255, 255, 255) or kind == "image/jpeg"
    assert len(content) <= script.PICTURE_BYTES


def test_a_notebook_is_within_bounds(script, monkeypatch):
    monkeypatch.setattr(script, "NOTEBOOK_BYTES", 60_000)
    notebook = notebook_of(*(shown(noise(200, 200, seed)) for seed in range(3)), script=script)
    assert len(script.faults(notebook)) == 1 + 3  # the notebook, and each picture
    small = script.fitted(notebook)
    assert script.faults(small) == []
    assert len(nbformat.writes(small)) > 0.7 * script.NOTEBOOK_BYTES  # and no smaller than it has to be
    assert script.differences(notebook, small) == []


def counted():
    output = nbformat.v4.new_output("execute_result", {"text/plain": "1"}, execution_count=1)
    return notebook_of(shown(drawing()), output)


@pytest.mark.parametrize(
    ("notebook", "fault"),
    [
        (notebook_of(printed("a")), "no picture is stored"),
        (notebook_of(shown(drawing(901))), "a picture 901 px wide, more than 900"),
        (notebook_of(shown(noise())), "bytes of image/png, more than 60000"),
        (notebook_of(shown(drawing(), image_jpeg=coded(drawing(), "JPEG"))), "one picture in several encodings"),
        (notebook_of(shown(drawing()), printed("a", "stderr")), "stderr"),
        (notebook_of(shown(drawing()), nbformat.v4.new_output(ERROR, ename="KeyError")), "an error, KeyError"),
        (counted(), "an execution count"),
        (notebook_of(shown(drawing(), text_plain="in /home/me/a.jpg")), "an absolute path: '/home/me/a.jpg'"),
        (notebook_of(shown(drawing()), source="read('/tmp/a')"), 'an absolute path: "/tmp/a\')"'),
        (notebook_of(shown(drawing()), printed("<a.B object at 0x7f3a9c0d1e80>")), "an address in memory"),
        (nbformat.v4.new_notebook(metadata={"a": 1}), "metadata {'a': 1}"),
    ],
)
def test_what_forbids_to_store(script, notebook, fault):
    assert any(fault in line for line in script.faults(notebook))


def test_the_name_of_the_machine(script, monkeypatch):
    notebook = notebook_of(shown(drawing()), printed("on vm-4711 or build"), script=script)
    for name, faults in (("vm-4711", ["cell 0: the name of the machine"]), ("build", []), ("vm-471", [])):
        monkeypatch.setattr("socket.gethostname", lambda name=name: name)
        assert script.faults(notebook) == faults


def test_addresses_and_relative_paths_are_no_faults(script):
    text = "see https://example.org/home/x, ../docs/home/a.md and runs/tmp/b"
    assert script.faults(notebook_of(shown(drawing()), printed(text), source="1 / 2", script=script)) == []


@pytest.mark.parametrize(
    ("stored", "fresh", "said"),
    [
        ("", "", ""),
        ("a  b\n", "a b", ""),  # columns are as wide as their numbers
        ("0.5013 of 7", "0.5014 of 7", ""),
        ("77.2 [75.0, 79.5]", "77.3 [74.9, 79.5]", ""),
        ("1.2e-08", "-9.7e-09", ""),
        ("-0.0", "0.0", ""),
        ("3 phrases", "4 phrases", "stored 3, now 4"),
        ("0.5", "0.8", "stored 0.5, now 0.8"),
        ("12.31", "12.61", "stored 12.31, now 12.61"),
        ("relu7: 0.5", "relu8: 0.5", "stored 'relu7: #', now 'relu8: #'"),
        ("a hat", "a cat", "stored 'hat', now 'cat'"),
        ("a", "a b", "stored '', now 'b'"),
    ],
)
def test_words_are_equal_and_numbers_alike(script, stored, fresh, said):
    assert script.unlike_texts(stored, fresh) == said
    assert [script.differences(*(notebook_of(printed(text)) for text in (stored, fresh)))] == [
        [f"cell 0: {said}"] if said else []
    ]


@pytest.mark.parametrize(
    ("stored", "fresh", "said"),
    [
        (notebook_of(shown(drawing())), notebook_of(shown(drawing())), []),
        (notebook_of(), notebook_of(printed("a")), ["cell 0: stored [], now [('stream', 'stdout')]"]),
        (
            notebook_of(shown(drawing())),
            notebook_of(printed("a")),
            ["cell 0: stored [('display_data', '', 'picture')], now [('stream', 'stdout')]"],
        ),
        (
            notebook_of(shown(drawing())),
            notebook_of(shown(Image.new("RGB", (300, 200)))),
            ["cell 0: another picture: thumbnails differ by 251 of 255 on average"],
        ),
        (notebook_of(source="1"), notebook_of(source="2"), ["cell 0: another source"]),
        (
            notebook_of(shown(drawing(), text_html="<td>1.0</td>", text_plain="1.0 \\")),
            notebook_of(shown(drawing(), text_html="<td>1.0</td>", text_plain="\\ 1.0")),
            [],
        ),
        (
            notebook_of(shown(drawing(), text_html="<td>one</td>")),
            notebook_of(shown(drawing(), text_html="<td>two</td>")),
            ["cell 0: stored '<td>one</td>', now '<td>two</td>'"],
        ),
    ],
)
def test_what_a_fresh_run_may_not_change(script, stored, fresh, said):
    assert script.differences(stored, fresh) == said


def test_what_varies_has_the_same_kinds_alone(script):
    stored, fresh = notebook_of(printed("3 s")), notebook_of(printed("5 s"))
    stored.cells[0].metadata["tags"] = ["varies"]
    assert script.differences(stored, fresh) == []
    assert script.differences(stored, notebook_of()) != []


SOURCE = """\
import sys
from pathlib import Path
from PIL import Image
assert not list(Path().iterdir())
Path("here").write_text("")
print(Path("here").resolve(), "on stderr", file=sys.stderr)
print(Path("here").resolve(), 0.25)
Image.new("RGB", (1000, 10), "red")"""


@pytest.mark.slow
def test_a_notebook_is_stored_and_checked(script, tmp_path):
    path, kernel = tmp_path / "a.ipynb", KernelManager()
    nbformat.write(notebook_of(source=SOURCE, script=script), path)
    kernel.start_kernel()
    try:
        assert script.stored_or_checked(path, True, kernel)[0] == "no picture is stored"
        assert script.stored_or_checked(path, False, kernel) == []
        stored = nbformat.read(path, 4)
        assert [set(output.get("data", {"text": 1})) for output in stored.cells[0].outputs] == [
            {"text"},
            {"text/plain", "image/png"},
        ]
        assert stored.cells[0].outputs[0].text == "./here 0.25\n"
        assert script.stored_or_checked(path, True, kernel) == []
        stored.cells[0].outputs[0].text = "./here 0.75\n"
        nbformat.write(stored, path)
        assert script.stored_or_checked(path, True, kernel) == ["cell 0: stored 0.75, now 0.25"]
        for source, said in (
            ("1 / 0", "a cell fails: ZeroDivisionError: "),
            ("import warnings\nwarnings.warn('x')", ""),
        ):
            nbformat.write(notebook_of(source=source, script=script), path)
            before = path.read_bytes()
            (first, *_) = script.stored_or_checked(path, False, kernel)
            assert said in first if said else first.endswith("UserWarning: x")
            assert path.read_bytes() == before
    finally:
        kernel.shutdown_kernel(now=True)


@pytest.mark.parametrize("content", [None, "", '{"cells": [', "{}"])
def test_what_is_no_notebook(script, tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "a.ipynb").write_text(content)
    assert script.main([str(tmp_path / "a.ipynb")]) == 1
    assert "a.ipynb: no\n  it is no notebook that can be read" in capsys.readouterr().out


def test_the_command_line(script, tmp_path, monkeypatch, capsys):
    asked = []

    def done(path, check):
        asked.append((path.name, check))
        return ["a fault"] if path.name == "b.ipynb" else []

    monkeypatch.setattr(script, "stored_or_checked", done)
    paths = [tmp_path / name for name in ("a.ipynb", "b.ipynb")]
    for path in paths:
        path.write_text("x" * 2000)
    assert script.main([str(paths[0])]) == 0
    assert script.main(["--check", *map(str, paths)]) == 1
    assert asked == [("a.ipynb", False), ("a.ipynb", True), ("b.ipynb", True)]
    assert capsys.readouterr().out == ("a.ipynb: stored, 2 kB\na.ipynb: as stored, 2 kB\nb.ipynb: no\n  a fault\n")
    asked.clear()
    assert script.main(["--check"]) == 0
    assert "tour.ipynb" in [name for name, _ in asked]
