"""What the page asks over HTTP, and what is refused there."""

import io
import json
import math
import threading
import zipfile

import pytest
from PIL import Image
from starlette.testclient import TestClient

from grounding.annotation.page import application
from grounding.annotation.project import LOG, Project
from grounding.annotation.records import Drafted
from grounding.appended import read_lines
from helpers.annotation import PICTURES, annotation_folder

HERE = "http://127.0.0.1:7870"


@pytest.fixture
def folder(tmp_path):
    return annotation_folder(tmp_path)


@pytest.fixture
def client(folder):
    with Project.open(folder) as project:
        yield TestClient(application(project), base_url=HERE)


def decision(action="done", picture=0, version=0, **more):
    return {"person": "ann", "picture": picture, "version": version, "action": action, **more}


def refused(answer, status, line):
    assert answer.status_code == status, answer.text
    assert answer.json().keys() >= {"error"}
    assert line in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert len(answer.content) < 2000


def test_the_project(client):
    told = client.get("/api/project").json()
    assert told["labels"] == ["man", "hat"]
    assert told["colours"].keys() == {"man", "hat"}
    assert told["pictures"] == [
        {"id": 1, "name": "birds/b.png", "state": "open", "uncertainty": 1.0, "boxes": 0},
        {"id": 2, "name": "birds/c.jpg", "state": "open", "uncertainty": 0.5, "boxes": 1},
        {"id": 0, "name": "a.jpg", "state": "open", "uncertainty": 0.25, "boxes": 2},
    ]
    assert told["report"] == client.get("/api/report").json()
    assert client.get("/").headers["content-type"].startswith("text/html")


def test_a_picture_and_what_is_decided_about_it(client, folder):
    assert client.get("/api/next?person=ann").json() == {"id": 1}
    assert client.get("/api/next?person=bob").json() == {"id": 2}
    first = client.get("/api/pictures/0?person=ann").json()
    box = {"id": 0, "label": "man", "x0": 10, "y0": 20, "x1": 60, "y1": 90, "score": 0.75, "origin": "draft"}
    assert first["boxes"][0] == {**box, "state": "open", "moved": False, "relabelled": False}
    assert {key: first[key] for key in first if key != "boxes"} == {
        "id": 0,
        "name": "a.jpg",
        "width": 100,
        "height": 100,
        "caption": "A man in a hat",
        "state": "open",
        "version": 0,
    }
    drawn = decision("draw", label="dog", x0=-3, y0=5, x1=20.5, y1=400, time_s=2.5, actions=4)
    answer = client.post("/api/decisions", json=drawn)
    assert answer.status_code == 200
    assert answer.json() == client.get("/api/pictures/0").json()
    assert answer.json()["boxes"][2] == {
        "id": 2,
        "label": "dog",
        "x0": 0,
        "y0": 5,
        "x1": 20.5,
        "y1": 100,
        "score": None,
        "origin": "person",
        "state": "accepted",
        "moved": False,
        "relabelled": False,
    }
    (line,) = read_lines(folder / LOG)[0]
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "n": 0,
        "person": "ann",
        "picture": 0,
        "action": "draw",
        "label": "dog",
        "x0": 0,
        "y0": 5,
        "x1": 20.5,
        "y1": 100,
        "time_s": 2.5,
        "actions": 4,
    }
    stale = client.post("/api/decisions", json=drawn)
    refused(stale, 409, "has changed since it was shown")
    assert stale.json()["picture"] == answer.json()
    assert client.post("/api/undo", json={"person": "ann"}).json() == {"picture": {**first, "version": 2}}
    assert client.post("/api/undo", json={"person": "ann"}).json() == {"picture": None}
    assert len(read_lines(folder / LOG)[0]) == 2


def test_a_picture_is_sent_upright_and_no_larger_than_a_screen(tmp_path):
    folder = annotation_folder(tmp_path, [Drafted(0, "a.jpg", 900, 2000, "", 1.0, ())])
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    with Image.open(tmp_path / "pictures" / "a.jpg") as image:
        image.rotate(90, expand=True).save(tmp_path / "pictures" / "a.jpg", exif=exif)
    with Project.open(folder) as project:
        answer = TestClient(application(project), base_url=HERE).get("/api/pictures/0/image")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (720, 1600)
        assert not image.getexif()


def test_a_picture_is_sent_again_only_when_it_is_another_one(client, tmp_path):
    first = client.get("/api/pictures/0/image")
    tag = {"if-none-match": first.headers["etag"]}
    again = client.get("/api/pictures/0/image", headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/api/pictures/1/image", headers=tag).status_code == 200
    Image.new("RGB", (100, 100), "white").save(tmp_path / "pictures" / "a.jpg")
    changed = client.get("/api/pictures/0/image", headers=tag)
    assert changed.status_code == 200
    assert changed.content != first.content


@pytest.mark.parametrize(
    ("address", "status", "line"),
    [
        ("/api/pictures/3", 404, "there is no picture 3"),
        ("/api/pictures/3/image", 404, "there is no picture 3"),
        ("/api/pictures/-1", 404, "there is no picture '-1'"),
        ("/api/pictures/1.0", 404, "there is no picture '1.0'"),
        ("/api/pictures/" + "9" * 5000, 404, "there is no picture '999"),
        ("/api/pictures/٣", 404, "there is no picture"),
        ("/api/pictures/..%2f..%2fproject.json/image", 404, ""),
        ("/api/pictures/%2e%2e/image", 404, ""),
        ("/api/pictures/a.jpg/image", 404, "there is no picture 'a.jpg'"),
        ("/static/%2e%2e/page.py", 404, ""),
        ("/static/..%2fpage.py", 404, ""),
        ("/project.json", 404, ""),
        ("/api/next", 400, "person is missing"),
        ("/api/next?person=%3Cscript%3E", 400, "person is '<script>'"),
        ("/api/pictures/0?person=a%20b", 400, "person is 'a b'"),
        ("/api/export/exe", 400, "there is no export 'exe'"),
        ("/api/export/..%2fcoco", 404, ""),
        ("/api/decisions", 405, ""),
    ],
)
def test_addresses_that_there_are_not(client, address, status, line):
    refused(client.get(address), status, line)


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"", 400, "is not JSON"),
        (b"\xff\xfe", 400, "is not JSON"),
        (b"[" * 100_000, 400, "is not JSON"),
        (b'{"picture": ' + b"9" * 5000 + b"}", 400, "is not JSON"),
        (b"[]", 400, "expected a JSON object"),
        (b"{}", 400, "picture is missing"),
        (decision(picture="../a.jpg"), 400, "picture is '../a.jpg'"),
        (decision(picture=7), 404, "there is no picture 7"),
        (decision(version=None), 400, "version is missing"),
        (decision(version=True), 400, "version is True"),
        (decision(version=1), 409, "has changed"),
        (decision("eval"), 400, "action is 'eval'"),
        (decision("undo"), 400, "action is 'undo'"),
        (decision("accept", box=9), 400, "has no box 9"),
        (decision("move", box=0, x0=math.nan, y0=0, x1=9, y1=9), 400, "x0 is nan"),
        (decision("move", box=0, x0=9, y0=0, x1=3, y1=9), 400, "expected x0 < x1"),
        (decision("move", box=0, x0=-9, y0=-9, x1=-3, y1=-3), 400, "less than 1 px"),
        (decision("draw", label="a\0", x0=1, y0=1, x1=9, y1=9), 400, "a text that can be seen"),
        (decision("draw", label="a" * 500_000, x0=1, y0=1, x1=9, y1=9), 400, "label has 500,000 characters"),
        (decision("draw", label="a" * 10_000_000, x0=1, y0=1, x1=9, y1=9), 413, "larger than 1 MiB"),
        (decision(person=["ann"]), 400, "person is"),
    ],
)
def test_what_is_no_decision_is_refused_and_not_written(client, folder, body, status, line):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    refused(client.post("/api/decisions", content=content), status, line)
    assert read_lines(folder / LOG)[0] == []
    assert sorted(path.name for path in folder.iterdir()) == ["drafts.jsonl", "log.jsonl", "project.json"]


@pytest.mark.parametrize("body", [{}, {"person": ""}, {"person": "ann", "time_s": "x"}])
def test_who_takes_something_back_says_who_they_are(client, body):
    refused(client.post("/api/undo", json=body), 400, "expected")


def test_other_sites_are_kept_out(client, folder):
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}, {"sec-fetch-site": "cross-site"}):
        refused(client.post("/api/decisions", json=decision(), headers=headers), 403, "")
    assert read_lines(folder / LOG)[0] == []


def test_a_picture_that_became_a_link_to_elsewhere_is_not_sent(client, folder, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.jpg")
    picture = tmp_path / "pictures" / "a.jpg"
    picture.unlink()
    refused(client.get("/api/pictures/0/image"), 400, "cannot be read")
    picture.symlink_to(tmp_path / "secret.jpg")
    refused(client.get("/api/pictures/0/image"), 400, "not in the folder of the pictures any more")


@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "label-studio", "cvat", "csv"])
def test_exports_come_as_a_zip_and_leave_nothing_behind(client, folder, name):
    client.post("/api/decisions", json=decision())
    answer = client.get(f"/api/export/{name}")
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        texts = {each: archive.read(each).decode() for each in archive.namelist()}
    assert any("man" in text for text in texts.values())
    drafts = client.get(f"/api/export/{name}?include=drafts")
    with zipfile.ZipFile(io.BytesIO(drafts.content)) as archive:
        assert {each: archive.read(each).decode() for each in archive.namelist()} != texts
    assert sorted(path.name for path in folder.iterdir()) == ["drafts.jsonl", "log.jsonl", "project.json"]


@pytest.mark.slow
def test_eight_at_once_decide_without_losing_anything(client, folder):
    failed, answers = [], []

    def work(person):
        for _ in range(50):
            picture = client.get("/api/pictures/0").json()
            box = len(answers) % 2
            body = {**decision("accept", version=picture["version"], box=box), "person": person, "time_s": 1}
            answer = client.post("/api/decisions", json=body)
            (answers if answer.status_code == 200 else failed).append(answer.status_code)

    threads = [threading.Thread(target=work, args=(f"person-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(failed) <= {409}
    assert len(answers) + len(failed) == 400
    assert [line["n"] for line in read_lines(folder / LOG)[0]] == list(range(len(answers)))


def test_names_and_captions_with_html_are_data(tmp_path):
    name, caption = '<img src=x onerror="stolen()">.png', "</script><script>stolen()</script>"
    folder = annotation_folder(tmp_path, [Drafted(0, name, 30, 20, caption, 1.0, ()), *PICTURES[1:]])
    with Project.open(folder) as project:
        client = TestClient(application(project), base_url=HERE)
        told = client.get("/api/pictures/0")
        assert (told.json()["name"], told.json()["caption"]) == (name, caption)
        assert told.headers["content-type"] == "application/json"
        assert told.headers["x-content-type-options"] == "nosniff"
        assert client.get("/api/pictures/0/image").status_code == 200
