"""The main job through its command line."""

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from grounding.config import LocalizerConfig, RegionConfig
from grounding.images import sample_scene
from grounding.pipeline import Localizer
from grounding.regions.power import closeness
from grounding.regions.scoring import best_boxes, box_masses, in_turns, score_boxes

NUMBER = {"type": "number"}


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
    phrases={
        "type": "array",
        "items": record(
            text={"type": "string"},
            start={"type": ["integer", "null"]},
            end={"type": ["integer", "null"]},
            head={"type": "string"},
            status={"enum": ["localized", "out-of-vocabulary", "empty-map", "no-proposals"]},
            words={
                "type": "array",
                "items": record(
                    word={"type": "string"},
                    tag={"type": ["string", "null"]},
                    reason={"enum": ["exact", "stem", "neighbour", "out-of-vocabulary"]},
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
@pytest.mark.parametrize("arguments", [("--json",), ()])
@pytest.mark.parametrize(("sink", "status", "lines"), [("/dev/full", 2, 1), ("head", 0, 0)])
def test_standard_output_that_takes_nothing(tmp_path, arguments, sink, status, lines):
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


def test_the_library_refuses_what_makes_no_sense(scene):
    from grounding.errors import GroundingError

    for call, message in (
        (lambda: scene.ground("the man", phrases="man"), "expected a list"),
        (lambda: scene.ground(""), "caption is empty"),
        (lambda: scene.ground("a man", top_k=0), "at least 1"),
        (lambda: scene.tags(0), "at least 1"),
    ):
        with pytest.raises(GroundingError, match=message):
            call()
    result = scene.ground("a man in a red hat")
    assert result == result  # compared by identity: maps are arrays
    assert [found.phrase.text for found in result[0:1]] == ["a man"]


def test_text_of_any_kind(run):
    for caption in ("TWO MEN IN A RED HAT!!!", "👩‍🚒 saves a 🐈", "一个戴红帽子的男人", "\udcff a man", "man " * 2500):
        status, out, err = run("--caption", caption, "--json")
        assert (status, err) == (0, "")
        jsonschema.validate(json.loads(out), SCHEMA)


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_manifest_results_equal_single_ones_and_bad_pictures_are_reported(run, photograph, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    rows = [
        ["image", "caption", "phrases"],
        ["p.png", "a man with a camera", ""],
        ["broken.jpg", "a dog", ""],
        ["p.png", "a man with a camera", "camera|a man"],
    ]
    write_csv(tmp_path / "m.csv", rows)
    status, out, err = run("--manifest", "m.csv")
    results = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert "1 of 3 rows failed" in err
    assert "no picture" in results[1]["error"]
    assert results[1]["phrases"] == []
    _, alone, _ = run("--caption", "a man with a camera", "--image", "p.png", "--json")
    assert results[0] == json.loads(alone)
    assert [phrase["text"] for phrase in results[2]["phrases"]] == ["camera", "a man"]
    assert results[2]["phrases"][1]["regions"] == results[0]["phrases"][0]["regions"]


def test_manifest_with_output_continues_after_an_interruption(run, photograph, tmp_path, monkeypatch):
    rows = [("none.png", "a cat"), ("p.png", "a man"), ("p.png", "a hat"), ("p.png", "grass"), ("p.png", "a camera")]
    lines = [json.dumps({"image": image, "caption": caption}) for image, caption in rows]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    assert run("--manifest", "m.jsonl", "--output", "whole")[0] == 1
    import grounding.pipeline

    ground, calls = grounding.pipeline.Scene.ground, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ground(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(grounding.pipeline.Scene, "ground", interrupted)
        status, _, err = run("--manifest", "m.jsonl", "--output", "out")
    assert status == 130
    assert "run the same command again" in err
    partial = tmp_path / "out.partial" / "results.jsonl"
    assert len(partial.read_text().splitlines()) == 3
    with partial.open("a") as file:
        file.write('{"cut sho')
    status, _, err = run("--manifest", "m.jsonl", "--output", "out", "--top-k", "3")
    assert (status, "another, interrupted run, with another top_k (3, was 5)" in err) == (2, True)
    status, _, err = run("--manifest", "m.jsonl", "--output", "out")
    assert (status, "1 of 5 rows failed" in err) == (1, True)  # the one that failed before the interruption counts
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.jsonl"]
    assert (tmp_path / "out" / "results.jsonl").read_text() == (tmp_path / "whole" / "results.jsonl").read_text()
    assert not partial.parent.exists()
    assert run("--manifest", "m.jsonl", "--output", "out")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no caption"),
        (["--caption", "  "], "caption is empty"),
        (["--caption", "a man", "--image", "none.jpg"], "none.jpg cannot be read"),
        (["--caption", "a man", "--top-k", "0"], "--top-k is 0"),
        (["--caption", "a man", "--top-k", "1.5"], "invalid int value"),
        (["--caption", "a man", "--device", "meta"], "device 'meta' cannot be used"),
        (["--caption", "a man", "--output", "x" * 300], "name too long"),
        (["--caption", "a man", "--image", "a\nb.jpg"], "cannot be read"),
        (["--caption", "a man", "--classifier", "embeded"], "did you mean 'embedded'"),
        (["--caption", "a man", "--classifier", "torchvision:resnet51"], "did you mean 'torchvision:resnet50'"),
        (["--caption", "a man", "--set", "regions.gama=0.3"], "did you mean 'regions.gamma'"),
        (["--caption", "a man", "--set", "regions.proposals=all"], "expected one of windows"),
        (["--caption", "a man", "--config", "none.yaml"], "none.yaml cannot be read"),
        (["--caption", "a man", "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
        (["--caption", "a man", "--output", "/proc/none/out"], "cannot be written"),
        (["--phrases", " "], "is blank"),
        (["--manifest", "none.csv"], "none.csv cannot be read"),
        (["--manifest", "none.txt"], "expected .csv or .jsonl"),
        (["--manifest", "none.csv", "--image", "p.png"], "leave out the other options"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, arguments, message, tmp_path):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "", "no rows"),
        ("m.csv", "image,caption\n", "no rows"),
        ("m.csv", "picture,caption\np.png,a man\n", "no column 'image'; its columns are picture, caption"),
        ("m.csv", 'image,caption\na.jpg,"a man\nb.jpg,a dog\n', "unexpected end of data"),
        ("m.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("m.csv", "image,caption\np.png,\n", "line 2 has no caption"),
        ("m.jsonl", '{"image": "p.png", "caption": "a man"}\n{"image"\n', "line 2 is not JSON"),
        ("m.jsonl", '["p.png"]\n', "line 1 is no object"),
        ("m.jsonl", '{"image": "p.png", "caption": "a man", "phrases": "a man"}\n', "expected a list of texts"),
    ],
)
def test_bad_manifests(run, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    status, out, err = run("--manifest", name)
    assert (status, out) == (2, "")
    assert message in err


def test_help_imports_nothing_heavy():
    code = "import sys, grounding.localize as l\ntry: l.main(['--help'])\nexcept SystemExit: pass\n"
    heavy = "print(sorted({'torch', 'numpy', 'PIL', 'nltk', 'cv2'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--caption" in done.stdout


def test_asking_changes_nothing(scene):
    first = scene.ground("a man in a red hat")
    scene.ground("green grass under a tall building", top_k=1)
    assert scene.ground("a man in a red hat").to_dict() == first.to_dict()


def test_phrases_do_not_change_each_other(scene):
    alone = scene.ground("a man")["a man"]
    among = scene.ground("a man in a red hat with a camera on green grass under a blue sky")["a man"]
    assert alone.status == among.status
    np.testing.assert_allclose(alone.grid_map, among.grid_map, rtol=1e-4, atol=1e-8)
    assert [region.box for region in alone.regions] == [region.box for region in among.regions]


def test_the_tour(localizer, tmp_path):
    import grounding

    path = tmp_path / "photo.png"
    path.write_bytes(png(sample_scene()))
    scene = localizer.encode(grounding.read_image(path))
    assert [round(p, 6) for _, p in scene.tags(top=5)] == sorted((round(p, 6) for _, p in scene.tags(5)), reverse=True)
    result = scene.ground("a man in a red hat")
    assert [found.phrase.text for found in result] == ["a man", "a red hat"]
    phrase_map = result["a red hat"].phrase_map
    assert phrase_map.shape == (512, 512)
    assert phrase_map.dtype == np.float32
    assert phrase_map.min() >= 0
    assert phrase_map.sum() == pytest.approx(1, abs=1e-3)
    assert result.overlay().size == (512, 512)
    with pytest.raises(KeyError, match="a red hat"):
        result["a blue hat"]


def test_boxes_follow_the_spread_of_the_map_and_come_in_turns(localizer, scene):
    config, (height, width) = localizer.config.regions, scene.image.shape[:2]
    close = closeness({tag: math.log(p / (1 - p)) for tag, p in scene.tags(len(localizer.classifier.tags))})
    for found in scene.ground("a man in a red hat on grass", top_k=8):
        cells = found.grid_map[None].astype(np.float64)
        power = config.gamma - config.spread_gamma * np.log(cells.sum() ** 2 / (cells.size * (cells**2).sum()))
        if found.phrase.head == "man":
            power -= config.closeness_gamma * (close - config.usual_closeness)
        rankings = []
        for turn in config.turns:
            scores = score_boxes(found.grid_map[None], scene.proposals, height, width, max(0.0, power + turn))[0]
            rankings.append(best_boxes(scores, scene.proposals, len(scores), config.nms_iou))
        expected = scene.proposals[in_turns(rankings, scene.proposals, 8, config.nms_iou)]
        np.testing.assert_array_equal([region.box for region in found.regions], expected)
        shown = [region.score for region in found.regions]
        assert shown == sorted(shown, reverse=True)
        first = score_boxes(found.grid_map[None], scene.proposals, height, width, max(0.0, power + config.turns[0]))[0]
        assert shown[0] == pytest.approx(first.max(), rel=1e-5)
        fewer = scene.ground(found.phrase.text, [found.phrase.text], top_k=3)[0].regions
        assert [region.box for region in fewer] == [region.box for region in found.regions[:3]]


def test_the_point_is_the_maximum_of_the_point_map(scene):
    height, width = scene.image.shape[:2]
    for found in scene.ground("a man in a red hat"):
        assert found.point_map.sum() == pytest.approx(1, abs=1e-5)
        row, column = divmod(int(found.point_map.argmax()), found.point_map.shape[1])
        side = len(found.point_map)
        assert found.point == pytest.approx(((column + 0.5) * width / side, (row + 0.5) * height / side))


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


def test_no_box_is_scored_by_a_power_below_0(localizer):
    regions = RegionConfig(spread_gamma=0.0, turns=(-1.0,))
    found = Localizer(localizer.classifier, LocalizerConfig(regions=regions)).encode(sample_scene()).ground("a man")[0]
    boxes = np.array([region.box for region in found.regions], np.float32)
    masses = box_masses(found.grid_map[None], boxes, *found.image_size)[0]
    np.testing.assert_allclose([region.score for region in found.regions], masses, rtol=1e-4)
