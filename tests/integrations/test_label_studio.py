"""The whole backend, called as Label Studio calls it, by the documented protocol."""

import base64
import io
import logging
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.integrations.label_studio.backend import application
from grounding.integrations.label_studio.interface import read_interface
from grounding.integrations.label_studio.pictures import Pictures
from grounding.integrations.label_studio.predictions import Drafter
from grounding.serve import main
from helpers.errors import facts

CONFIG = """<View><Image name="image" value="$image"/><Text name="text" value="$caption"/>
<RectangleLabels name="label" toName="image"><Label value="man"/><Label value="xyzzy"/>
<Label value="Headwear" alias="hw" predicted_values="hat,helmet"/></RectangleLabels>{}</View>"""
PLAIN = CONFIG.format("")
BOX = CONFIG.format('<Rectangle name="box" toName="image"/>')
BASE = "http://127.0.0.1:9090"


def address():
    file = io.BytesIO()
    Image.fromarray(sample_scene()[:, :384]).save(file, "PNG")  # not square
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


IMAGE = address()
TASK = {"id": 1, "data": {"image": IMAGE}}


@pytest.fixture(scope="module")
def drafter(localizer):
    return Drafter(localizer, Pictures())


@pytest.fixture(scope="module")
def client(drafter):
    return TestClient(application(drafter), base_url=BASE)


def asked(tasks, config=PLAIN):
    """What Label Studio sends."""
    params = {"login": None, "password": None, "context": None}
    return {"tasks": tasks, "model_version": "x", "project": "1.1700000000", "label_config": config, "params": params}


def corners(region):
    """The box of a region in px of the picture, from percent."""
    value, width, height = region["value"], region["original_width"], region["original_height"]
    x0, y0 = value["x"] * width / 100, value["y"] * height / 100
    return x0, y0, x0 + value["width"] * width / 100, y0 + value["height"] * height / 100


def test_the_protocol_without_a_task(client):
    version = client.get("/health").json()["model_version"]
    assert version.startswith("grounding-")
    for path in ("/", "/health"):
        assert client.get(path).json()["status"] == "UP"
    assert client.get("/versions").json() == {"versions": [version]}
    set_up = {"project": "1.17", "schema": PLAIN, "hostname": "http://evil.example", "access_token": "x"}
    assert client.post("/setup", json=set_up).json() == {"model_version": version}
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
    assert client.post("/predict", json=asked([])).json() == {"results": [], "model_version": version}


def test_one_prediction_a_task_with_all_regions(client, localizer):
    answer = client.post("/predict", json=asked([TASK, {**TASK, "id": 2}]))
    assert answer.status_code == 200
    first, second = answer.json()["results"]
    assert first == second
    regions = first["result"]
    assert [region["value"]["rectanglelabels"] for region in regions] == [["hw"], ["man"]]  # the best score first
    assert first["score"] == pytest.approx(sum(region["score"] for region in regions) / 2)
    assert first["model_version"] == answer.json()["model_version"]
    man, *headwear = localizer(sample_scene()[:, :384], phrases=["man", "hat", "helmet"])
    found = [max(headwear, key=lambda each: each.best.score), man]
    for region, expected in zip(regions, found, strict=True):
        assert corners(region) == pytest.approx(expected.best.box)
        assert region["score"] == pytest.approx(expected.best.score)
        assert (region["original_width"], region["original_height"]) == (384, 512)
        assert (region["from_name"], region["to_name"], region["type"]) == ("label", "image", "rectanglelabels")
        assert (region["image_rotation"], region["value"]["rotation"]) == (0, 0)
        assert all(0 <= region["value"][side] <= 100 for side in ("x", "y", "width", "height"))
    assert len({region["id"] for region in regions}) == len(regions)


def test_a_caption_says_where_its_labels_are(drafter):
    caption = "A man in a red hat takes a picture ."
    task = {"data": {"image": IMAGE, "caption": caption}}
    regions = drafter.predict(task, read_interface(PLAIN))["result"]
    assert [(each["value"]["rectanglelabels"], each["meta"]["text"]) for each in regions] == [
        (["man"], ["A man"]),
        (["hw"], ["a red hat"]),
    ]
    found = drafter.localizer(sample_scene()[:, :384], caption)
    assert [corners(each) for each in regions] == [
        pytest.approx(found[text].best.box) for text in ("A man", "a red hat")
    ]


def test_other_phrases_are_rectangles_where_the_project_has_them(drafter):
    task = {"data": {"image": IMAGE, "caption": "A man with a camera ."}}
    regions = drafter.predict(task, read_interface(BOX))["result"]
    kinds = {(each["type"], each["from_name"], each.get("meta", {}).get("text", [""])[0]) for each in regions}
    assert ("rectangle", "box", "a camera") in kinds
    assert ("rectanglelabels", "label", "A man") in kinds
    for each in regions:
        assert ("rectanglelabels" in each["value"]) == (each["type"] == "rectanglelabels")
    assert not any(each["type"] == "rectangle" for each in drafter.predict(task, read_interface(PLAIN))["result"])


@pytest.mark.parametrize("caption", ["", "  ", None, 3, ["a man"]])
def test_no_caption(drafter, caption):
    task = {"data": {"image": IMAGE, "caption": caption}}
    assert drafter.predict(task, read_interface(PLAIN)) == drafter.predict(TASK, read_interface(PLAIN))


def test_several_pictures_and_tags(drafter):
    config = (
        '<View><Image name="a" value="$first"/><Image name="b" value="$second"/>'
        '<RectangleLabels name="x" toName="a"><Label value="man"/></RectangleLabels>'
        '<RectangleLabels name="y" toName="b"><Label value="hat"/></RectangleLabels>'
        '<RectangleLabels name="z" toName="a"><Label value="hat"/></RectangleLabels></View>'
    )
    data = {"first": IMAGE, "second": IMAGE}
    regions = drafter.predict({"data": data}, read_interface(config))["result"]
    assert [(each["from_name"], each["to_name"], each["value"]["rectanglelabels"][0]) for each in regions] == [
        ("x", "a", "man"),
        ("z", "a", "hat"),
        ("y", "b", "hat"),
    ]
    assert len({each["id"] for each in regions}) == 3


def test_several_boxes_a_label(localizer):
    regions = Drafter(localizer, Pictures(), boxes=3).predict(TASK, read_interface(PLAIN))["result"]
    assert len(regions) == 6


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (None, "no data"),
        ([], "no data"),
        ({}, "no data"),
        ({"data": "x"}, "no data"),
        ({"data": {}}, "NoneType"),
        ({"data": {"image": "http://169.254.169.254/"}}, "--label-studio-url"),
        ({"data": {"image": "/data/local-files/?d=../../etc/passwd"}}, "--label-studio-url"),
        ({"data": {"image": "data:image/png;base64,AAAA"}}, "no picture"),
        ({"data": {"image": IMAGE, "caption": "a man " * 10_000}}, "over 10,000 characters"),
        ({"id": "\x1b[31m<script>", "data": {"image": "\x1b[31m\n<script>"}}, "<script>"),
    ],
)
def test_a_task_that_fails_leaves_the_others_alone(client, task, says, caplog):
    with caplog.at_level(logging.WARNING):
        results = client.post("/predict", json=asked([task, TASK])).json()["results"]
    assert len(results) == 2
    assert (results[0]["result"], results[0]["score"]) == ([], 0.0)
    assert says in results[0]["error"]
    assert len(results[1]["result"]) == 2
    assert says in caplog.text
    assert "\x1b" not in caplog.text


def test_html_in_labels_and_captions_stays_text(client):
    config = PLAIN.replace('value="man"', 'value="&lt;img src=x onerror=alert(1)&gt; man"')
    task = {"id": 1, "data": {"image": IMAGE, "caption": "<script>alert(1)</script> a red hat"}}
    answer = client.post("/predict", json=asked([task], config))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert {each["value"]["rectanglelabels"][0] for each in answer.json()["results"][0]["result"]} <= {
        "<img src=x onerror=alert(1)> man",
        "hw",
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "expected a JSON object"),
        ({}, "tasks are a NoneType"),
        ({"tasks": {"1": TASK}, "label_config": PLAIN}, "tasks are a dict"),
        ({"tasks": [TASK]}, "label_config is a NoneType"),
        ({"tasks": [TASK], "label_config": "<View/>"}, "no labels to draw"),
        ({"tasks": [TASK], "label_config": "x" * (10 << 20)}, "at most 1,048,576"),
        ({"tasks": [], "label_config": "<!DOCTYPE x><View/>"}, "document type"),
    ],
)
def test_a_wrong_request_is_one_line(client, body, says):
    answer = client.post("/predict", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (PLAIN, "xyzzy"),
        ("<View/>", "no labels"),
        ("", "broken XML"),
        (None, "NoneType"),
        ("x" * (10 << 20), "1,048,576"),
    ],
)
def test_set_up_says_what_will_not_work(client, schema, says, caplog):
    with caplog.at_level(logging.WARNING):
        assert client.post("/setup", json={"schema": schema}).status_code == 200
    assert says in caplog.text


def test_foreign_callers_are_refused(drafter):
    app = application(drafter, ["host.docker.internal"])
    for base, status in (("http://host.docker.internal:9090", 200), (BASE, 403), ("http://evil.example", 403)):
        assert TestClient(app, base_url=base).get("/health").status_code == status
    own = TestClient(app, base_url="http://host.docker.internal:9090")
    assert own.post("/predict", json=asked([]), headers={"origin": "http://evil.example"}).status_code == 403
    assert own.get("/nothing").status_code == 404


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 401),
        ({"auth": ("any", "open sesame")}, 200),
        ({"auth": ("any", "open")}, 401),
        ({"auth": ("open sesame", "")}, 401),
        ({"headers": {"authorization": "Basic %%%"}}, 401),
        ({"headers": {"authorization": "Bearer open sesame"}}, 401),
        ({"headers": {"authorization": "Basic " + base64.b64encode(b"open sesame").decode()}}, 401),
    ],
)
def test_the_secret(drafter, given, status):
    client = TestClient(application(drafter, secret="open sesame"), base_url=BASE)
    for answer in (client.get("/health", **given), client.post("/predict", json=asked([]), **given)):
        assert answer.status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "TOOL"),
        (["cvat"], "cvat"),
        (["label-studio", "--host", "0.0.0.0"], "--name"),
        (["label-studio", "--port", "99999"], "65535"),
        (["label-studio", "--label-studio-url", "localhost"], "--label-studio-url"),
        (["label-studio", "--files", "gone"], "--files"),
        (["label-studio", "--min-presence", "2"], "min_presence"),
        (["label-studio", "--boxes", "0"], "boxes"),
        (["label-studio", "--host", "203.0.113.7", "--name", "x"], "203.0.113.7"),
    ],
)
def test_the_command_refuses_in_one_line(in_empty_folder, arguments, says):
    status, out, err = in_empty_folder(main, *arguments)
    assert (status, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_the_command_serves_until_it_is_told_to_stop(tmp_path):
    (tmp_path / "photos").mkdir()
    command = [sys.executable, "-m", "grounding.serve", "label-studio", "--port", "0", "--files", "photos"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert "Label Studio backend: http://127.0.0.1:" in line
        with urllib.request.urlopen(line.split()[3] + "health", timeout=60) as answer:
            assert b'"UP"' in answer.read()
        process.terminate()
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (143, "terminated\n")
    finally:
        process.kill()
        process.communicate()
    assert [path.name for path in Path(tmp_path).iterdir()] == ["photos"]


def test_no_boxes_is_refused(localizer):
    with pytest.raises(GroundingError, match=facts("boxes", "at least 1")):
        Drafter(localizer, Pictures(), boxes=0)
