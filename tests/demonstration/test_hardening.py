"""Strangers, odd files and odd sentences, over HTTP: refused in one line, or rendered harmless."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from grounding.images import sample_scene

PNG = b"\x89PNG\r\n\x1a\n"
FILES = ("overlay.png", "result.json", "result.csv")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def png(array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb():
    """A PNG of 200 million black pixels, in a few kilobytes."""
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 1, 0, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000 * 2501), 9)) + chunk(b"IEND", b"")


def said(html):
    """The line of a fragment that says what is wrong."""
    _, _, rest = html.partition('role="alert">')
    assert rest, html[:500]
    return rest.partition("</p>")[0]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("empty.png", b"", "is empty"),
        ("text.png", b"this is text", "no picture that Pillow can read"),
        ("page.html", b"<script>alert(1)</script>", "no picture that Pillow can read"),
        ("drawing.svg", SVG, "no picture that Pillow can read"),
        ("print.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n", "PostScript"),
        ("cut.png", png(sample_scene())[:2000], "damaged or cut short"),
        ("bomb.png", bomb(), "million pixels: make it smaller"),
        ("<img src=x onerror=alert(1)>.png", b"x", "no picture"),
        ("../../../etc/passwd", b"root", "no picture"),
    ],
)
def test_files_that_are_no_pictures(page, caller, name, content, line):
    path = caller.upload(content, name)
    assert path.startswith(str(page.folder))
    assert line in said(caller.ask(path, "a dog"))


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "array",
    [
        np.full((60, 80), 127, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 300, 3), np.uint8),
        np.full((40, 40, 4), 200, np.uint8),
        np.full((40, 40), 60_000, np.uint16),
    ],
    ids=["grey", "one pixel", "a line", "transparent", "16 bits"],
)
def test_odd_pictures_are_answered(caller, array):
    assert 'class="sentence"' in caller.ask(caller.upload(png(array)), "a man in a hat")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("", "there is no sentence yet"),
        ("A MAN IN A RED HAT", 'class="phrase localized"'),
        ("a qwrtz", "unknown word"),
        ("<script>alert(1)</script> a <b>dog</b>", "&lt;"),
        ("a dog" * 101, "has 505 characters: expected at most 500"),
        ("ein Hund und eine Katze auf dem Sofa", "captions are read as English"),
        ("\u202e\u0000\U0001f600", ""),
    ],
)
def test_odd_sentences(caller, caption, expected):
    html = caller.ask(caller.upload(png(sample_scene()[::4, ::4])), caption)
    assert expected in html
    assert "<script" not in html


@pytest.mark.usefixtures("quiet")
def test_no_picture(caller):
    assert said(caller.ask(None, "a dog")).startswith("there is no picture yet")


@pytest.mark.usefixtures("quiet")
def test_a_sentence_of_ten_megabytes_is_refused(caller):
    answer = caller.join([None, "a" * (10 << 20), 1, 6, 0.15, True])
    assert (answer.status_code, list(answer.json())) == (413, ["error"])


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:1/a.png", "../../etc/passwd", ""])
def test_only_pictures_that_were_uploaded_are_read(caller, path):
    answer = caller.join([{"path": path, "meta": {"_type": "gradio.FileData"}}, "a dog", 1, 6, 0.15, True])
    assert (answer.status_code, answer.json()) == (400, {"error": "value 1 of the call is none that the page can send"})


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=https://example.com/a.png",
        "/gradio_api/proxy=https://example.com/",
        "/static/../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/page/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/download/../../etc/passwd",
        f"/download/{'0' * 64}/passwd",
        f"/download/{'0' * 64}/result.json?caption=a+dog",
        f"/download/{'0' * 64}/result.json?caption=a+dog&top_k=many",
    ],
)
def test_no_climbing(caller, path):
    answer = caller.http.get(path)
    assert answer.status_code in (400, 403, 404)
    assert "root:" not in answer.text


def test_climbing_out_of_the_folder_of_uploads(page, caller):
    secret = page.folder / "secret.txt"
    secret.write_text("root: secret")
    (uploads,) = page.folder.glob("grounding-demo-*")
    for path in (secret, f"{uploads}/../secret.txt"):
        answer = caller.http.get(f"/gradio_api/file={path}")
        assert answer.status_code == 403
        assert "secret:" not in answer.text


def test_an_uploaded_page_is_never_shown_as_one(caller):
    for name, content in (("a.svg", SVG), ("a.html", b"<script>alert(1)</script>")):
        answer = caller.http.get(f"/gradio_api/file={caller.upload(content, name)}")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}], ids=str
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/gradio_api/upload"), ("GET", "/config")])
def test_foreigners(caller, method, path, headers):
    assert caller.http.request(method, path, headers=headers).status_code == 403


def test_large_uploads_are_refused(caller):
    assert caller.http.post("/gradio_api/upload", files={"files": ("a.png", bytes(25 << 20))}).status_code == 413
    assert caller.http.post("/gradio_api/upload", content=(bytes(1 << 20) for _ in range(40))).status_code in (400, 413)


def test_the_page_may_stand_in_no_frame_and_fetch_from_no_other_machine(caller):
    headers = caller.http.get("/").headers
    assert headers["x-frame-options"] == "DENY"
    rules = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in rules
    assert "http" not in rules
    assert "*" not in rules


def test_the_files_of_an_answer(page, caller):
    html = caller.ask(caller.upload(png(sample_scene()[::2, ::2])), "a man in a red hat, no dog", [2, 6, 0.15, False])
    paths = {name: html.partition(f'download="{name}"')[0].rpartition('href="')[2].partition('"')[0] for name in FILES}
    found = {name: caller.http.get(path.replace("&amp;", "&")) for name, path in paths.items()}
    assert all(answer.headers["content-disposition"] == f'attachment; filename="{n}"' for n, answer in found.items())
    phrases = json.loads(found["result.json"].content)["phrases"]
    assert [(each["text"], len(each["regions"])) for each in phrases] == [("a man", 2), ("a red hat", 2), ("no dog", 0)]
    assert found["result.csv"].text.count("\n") == 1 + 5
    assert Image.open(io.BytesIO(found["overlay.png"].content)).size == (320, 320)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_many_requests_of_eight_clients(page, bench):
    memory = []
    for number in range(3):  # with eight other pictures each time
        failures, seconds = bench.one_round(
            page.address, clients=8, requests=10, start=8 * number, settings=[1, 6, 0.15, False]
        )
        assert (failures, len(seconds)) == ([], 10)
        memory.append(bench.memory_mib(page.process.pid))
    assert memory[2] - memory[1] < 100, memory
