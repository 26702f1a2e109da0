"""The main job through its command line."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import jsonschema
import numpy as np
import pytest
from PIL import Image

from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.text.vocabulary import Reason

NUMBER = {"type": "number"}
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}


def record(**properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMA = record(
    schema_version={"const": 1},
    image=record(path={"type": ["string", "null"]}, width={"type": "integer"}, height={"type": "integer"}),
    caption={"type": "string"},
    classifier={"type": "string"},
    context={"enum": ["caption", "none"]},
    presence=record(computed_from={"type": "string"}, min_presence=PROBABILITY),
    notes={"type": "array", "items": {"type": "string"}},
    phrases={
        "type": "array",
        "items": record(
            text={"type": "string"},
            start={"type": ["integer", "null"]},
            end={"type": ["integer", "null"]},
            head={"type": "string"},
            status={"enum": ["localized", "absent", "out-of-vocabulary", "empty-map", "no-proposals"]},
            presence={"anyOf": [PROBABILITY, {"type": "null"}]},
            negated={"type": "boolean"},
            words={
                "type": "array",
                "items": record(
                    word={"type": "string"},
                    tag={"type": ["string", "null"]},
                    reason={"enum": list(get_args(Reason))},
                    weight={"type": "number", "minimum": 0, "maximum": 1},
                ),
            },
            point={"anyOf": [record(x=NUMBER, y=NUMBER), {"type": "null"}]},
            regions={
                "type": "array",
                "items": record(score=NUMBER, box=record(xmin=NUMBER, ymin=NUMBER, xmax=NUMBER, ymax=NUMBER)),
            },
        ),
    },
)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(png(sample_scene()[:, :400]))
    return path


def boxes_inside(result):
    width, height = result["image"]["width"], result["image"]["height"]
    for phrase in result["phrases"]:
        for region in phrase["regions"]:
            box = region["box"]
            yield 0 <= box["xmin"] < box["xmax"] <= width and 0 <= box["ymin"] < box["ymax"] <= height


def test_the_sample_scene_shows_a_man_and_his_hat(run, tmp_path):
    status, out, err = run("--caption", "a man in a red hat")
    assert (status, err) == (0, "")
    assert "sample scene" in out
    folder = tmp_path / "localized" / "sample-scene"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["map-1-a-man.png", "map-2-a-red-hat.png", "overlay.png", "result.json"]
    man, hat = json.loads((folder / "result.json").read_text())["phrases"]
    assert (man["text"], hat["text"]) == ("a man", "a red hat")
    for phrase, (x0, y0, x1, y1) in ((man, (0, 22, 330, 512)), (hat, (117, 22, 310, 120))):
        assert phrase["status"] == "localized"
        box = phrase["regions"][0]["box"]
        across = min(x1, box["xmax"]) - max(x0, box["xmin"])
        down = min(y1, box["ymax"]) - max(y0, box["ymin"])
        both = max(0, across) * max(0, down)
        size = (box["xmax"] - box["xmin"]) * (box["ymax"] - box["ymin"])
        assert both / (size + (x1 - x0) * (y1 - y0) - both) >= 0.3, phrase["text"]
        assert x0 <= phrase["point"]["x"] <= x1
        assert y0 <= phrase["point"]["y"] <= y1


def test_json_is_one_object_and_nothing_else(run, photograph, tmp_path):
    caption = "Two men with a camera stand on grass ."
    status, out, err = run("--caption", caption, "--image", photograph, "--json")
    result = json.loads(out)
    jsonschema.validate(result, SCHEMA)
    assert (status, err) == (0, "")
    assert result["image"] == {"path": str(photograph), "width": 400, "height": 512}
    assert [caption[p["start"] : p["end"]] for p in result["phrases"]] == [p["text"] for p in result["phrases"]]
    assert [p["text"] for p in result["phrases"]] == ["Two men", "a camera", "grass"]
    assert all(boxes_inside(result))
    for phrase in result["phrases"]:
        scores = [region["score"] for region in phrase["regions"]]
        assert scores == sorted(scores, reverse=True)
        assert 1 <= len(scores) <= 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.png"]


def test_given_phrases_are_grounded_exactly_as_given(run, photograph):
    texts = ["a red hat", "a MAN", "qwrtzpl", "the camera"]
    _, out, _ = run("--phrases", *texts, "--image", photograph, "--json", "--top-k", "2")
    result = json.loads(out)
    assert [phrase["text"] for phrase in result["phrases"]] == texts
    unknown = result["phrases"][2]
    assert unknown["status"] == "out-of-vocabulary"
    assert unknown["regions"][0]["box"] == {"xmin": 0, "ymin": 0, "xmax": 400, "ymax": 512}  # a guess, said to be one
    assert unknown["point"] == pytest.approx({"x": 200, "y": 256}, abs=6)
    assert result["phrases"][1]["words"][0]["tag"] == "man"
    assert all(len(phrase["regions"]) <= 2 for phrase in result["phrases"])


def test_standard_input_is_a_picture_too(run, photograph):
    _, from_file, _ = run("--caption", "a man", "--image", photograph, "--json")
    status, from_stdin, _ = run("--caption", "a man", "--image", "-", "--json", stdin=photograph.read_bytes())
    assert status == 0
    assert json.loads(from_stdin)["phrases"] == json.loads(from_file)["phrases"]


def test_boxes_lie_in_the_upright_frame(run, tmp_path):
    upright = sample_scene()[:, :400]
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(upright)  # turning it clockwise again gives the upright picture
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(upright).save(tmp_path / "upright.png")
    _, turned, _ = run("--caption", "a man", "--image", tmp_path / "turned.png", "--json")
    _, plain, _ = run("--caption", "a man", "--image", tmp_path / "upright.png", "--json")
    assert json.loads(turned)["image"]["height"] == 512
    assert json.loads(turned)["phrases"] == json.loads(plain)["phrases"]


@pytest.mark.parametrize("shape", [(1, 1, 3), (30, 8000, 3), (2, 3, 3)])
def test_extreme_pictures(run, tmp_path, shape):
    (tmp_path / "x.png").write_bytes(png(np.full(shape, 200, np.uint8)))
    status, out, _ = run("--caption", "a man in a hat", "--image", "x.png", "--json", "--output", "out")
    assert status == 0
    jsonschema.validate(json.loads(out), SCHEMA)
    assert (tmp_path / "out" / "overlay.png").exists()


def test_a_caption_without_phrases_is_an_empty_result(run):
    status, out, err = run("--caption", "running quickly", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["phrases"] == []
    status, out, _ = run("--caption", "running quickly")
    assert status == 0
    assert "no noun phrase" in out


def test_output_is_whole_and_not_overwritten(run, tmp_path):
    assert run("--caption", "a man", "--output", "out")[0] == 0
    status, out, err = run("--caption", "a hat", "--output", "out")
    assert (status, out) == (2, "")
    assert "--overwrite" in err
    assert json.loads((tmp_path / "out" / "result.json").read_text())["caption"] == "a man"
    assert run("--caption", "a hat", "--output", "out", "--overwrite")[0] == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["map-1-a-hat.png", "overlay.png", "result.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # nothing temporary is left


def test_overwrite_never_removes_what_is_not_ours(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    status, _, err = run("--caption", "a man", "--output", "out", "--overwrite")
    assert (status, "thesis.txt" in err) == (2, True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_a_partial_folder_that_is_not_ours_stays(run, photograph, tmp_path):
    (tmp_path / "m.csv").write_text("image,caption\np.png,a man\n")
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("years of work")
    status, _, err = run("--manifest", "m.csv", "--output", "out", "--overwrite")
    assert (status, "not ours" in err) == (2, True)
    assert (tmp_path / "out.partial" / "thesis.txt").exists()


def test_two_runs_at_once_do_not_mix(tmp_path):
    from grounding.errors import GroundingError
    from grounding.resumable import resumable_lines

    with resumable_lines(tmp_path / "out", {"gamma": 1}, False) as lines:
        assert lines.done == []
        lines.write("one")
        with pytest.raises(GroundingError, match="another run"), resumable_lines(tmp_path / "out", {"gamma": 1}, False):
            pass
    assert (tmp_path / "out" / "results.jsonl").read_text() == "one\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sink", "arguments", "status", "lines"), [("/dev/full", ("--json",), 2, 1), ("head", (), 0, 0)]
)
def test_standard_output_that_takes_nothing(tmp_path, sink, arguments, status, lines):
    command = [sys.executable, "-m", "grounding.localize", "--caption", "a man", *arguments]
    if sink == "head":
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        process.wait()
    else:
        with open(sink, "w") as full:  # noqa: PTH123
            process = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        err = process.stderr
    assert process.returncode == status, err
    assert err.count("\n") == lines, err


@pytest.mark.slow
def test_a_method_makes_other_maps_of_the_same_phrases(run):
    by_default, named, cam = (
        json.loads(run("--phrases", "a man", "--json", *method)[1])["phrases"][0]
        for method in ((), ("--method", "contrastive_mwp"), ("--method", "cam"))
    )
    assert by_default == named != cam
    assert by_default["words"] == cam["words"]


@pytest.mark.slow
def test_text_of_any_kind(run):
    for caption in ("TWO MEN IN A RED HAT!!!", "👩‍🚒 saves a 🐈", "一个戴红帽子的男人", "\udcff a man", "man " * 500):
        status, out, err = run("--caption", caption, "--json")
        assert (status, err) == (0, "")
        jsonschema.validate(json.loads(out), SCHEMA)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no caption"),
        (["--caption", "  "], "caption is empty"),
        (["--caption", "a man", "--image", "none.jpg"], "none.jpg cannot be read"),
        (["--caption", "a man", "--image", ""], "no file name was given"),
        (["--caption", "a man", "--image", "."], "is a folder: expected a picture file (many pictures: --manifest"),
        (["--caption", "a man", "--image", "~nobody/p.jpg"], "~nobody/p.jpg cannot be read"),
        (["--caption", "a man", "--output", ""], "argument --output: no name was given"),
        (["--caption", "a man", "--device", "vulkan"], "device 'vulkan' cannot be used here: expected cpu"),
        (["--caption", "a man", "--device", "hpu"], "device 'hpu' cannot be used here"),
        (["--caption", "a man", "--top-k", "0"], "--top-k is 0"),
        (["--caption", "a man", "--method", "grad-cam"], "did you mean 'grad_cam'"),
        (["--caption", "a man", "--top-k", "1.5"], "invalid int value"),
        (["--caption", "a man", "--device", "meta"], "device 'meta' cannot be used"),
        (["--caption", "a man", "--output", "x" * 300], "name too long"),
        (["--caption", "a man", "--image", "a\nb.jpg"], "cannot be read"),
        (
            ["--caption", "a man", "--image", "a.jpg", __file__],
            "takes one picture; name several in a table, --manifest",
        ),
        (["--caption", "a man", "--classifier", "embeded"], "did you mean 'embedded'"),
        (["--caption", "a man", "--classifier", "torchvision:resnet51"], "did you mean 'torchvision:resnet50'"),
        (["--caption", "a man", "--set", "regions.gama=0.3"], "did you mean 'regions.gamma'"),
        (["--caption", "a man", "--set", "regions.proposals=all"], "expected one of windows"),
        (["--caption", "a man", "--config", "none.yaml"], "none.yaml cannot be read"),
        (["--caption", "a man", "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
        (["--caption", "a man", "--output", "/proc/none/out"], "cannot be written"),
        (["--phrases", " "], "is blank"),
        (["--manifest", "none.csv"], "none.csv cannot be read"),
        (["--manifest", "none.xlsx"], "expected a table"),
        (["--manifest", "none.csv", "--image", "p.png"], "leave out the other options"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, arguments, message, tmp_path):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "--device" not in arguments or len(err) < 160
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy():
    code = "import sys, grounding.localize as l\ntry: l.main(['--help'])\nexcept SystemExit: pass\n"
    heavy = "print(sorted({'torch', 'numpy', 'PIL', 'nltk', 'cv2'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--caption" in done.stdout


def test_an_interruption_while_a_folder_takes_its_name_keeps_the_old_one(tmp_path, monkeypatch):
    from grounding.folders import whole_folder

    folder = tmp_path / "out"
    with whole_folder(folder, False, ("result.json",)) as partial:
        (partial / "result.json").write_text("old")
    rename, calls = Path.rename, []

    def interrupted(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(folder, True, ("result.json",)) as partial:
        (partial / "result.json").write_text("new")
    assert (folder / "result.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_tilde_is_the_home_also_between_quotes(run, photograph, tmp_path, monkeypatch, localizer):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    localizer.classifier.save_pretrained("~/c")
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "c").iterdir()}
    classifier = "--image", "~/p.png", "--classifier", "~/c"
    status, _, err = run("--caption", "a man", *classifier, "--output", "~/out")
    assert (status, err) == (0, "")
    assert (tmp_path / "out" / "result.json").is_file()
    assert Localizer.from_pretrained("~/c").classifier.tags == localizer.classifier.tags


@pytest.mark.parametrize("value", ["2", "-0.1", "nan"])
def test_a_presence_that_is_no_probability_is_one_line(run, value):
    status, out, err = run("--caption", "a man", f"--min-presence={value}")
    assert (status, out) == (2, "")
    assert err == f"error: --min-presence is {float(value)}: expected a probability from 0 to 1\n"
