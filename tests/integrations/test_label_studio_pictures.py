import asyncio
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from grounding.errors import GroundingError
from grounding.images import sample_scene
from grounding.integrations.label_studio.pictures import Pictures
from helpers.browser import serving
from helpers.errors import facts

SCENE = sample_scene()
LEGACY, PERSONAL = "0123456789abcdef", "head.body.sign"


def png():
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, "PNG")
    return file.getvalue()


CONTENT = png()
DATA = "data:image/png;base64," + base64.b64encode(CONTENT).decode()


class LabelStudio:
    """Serves a picture to whoever has a key, and remembers what was asked of it."""

    def __init__(self, allowed):
        self.asked = []
        self.allowed = allowed
        routes = [
            Route("/data/upload/1/a b.png", self.picture),
            Route("/data/local-files/", self.picture),
            Route("/data/moved", self.moved),
            Route("/data/large", self.large),
            Route("/data/text", self.text),
            Route("/api/token/refresh/", self.refresh, methods=["POST"]),
        ]
        self.app = Starlette(routes=[*routes, Mount("/studio", routes=routes)])

    def _told(self, request):
        self.asked.append((request.url.path, request.url.query, request.headers.get("authorization")))

    async def picture(self, request):
        self._told(request)
        return Response(CONTENT if request.headers.get("authorization") in self.allowed else b"", 200)

    async def moved(self, request):
        self._told(request)
        return RedirectResponse("http://169.254.169.254/latest/meta-data")

    async def large(self, request):
        async def slow():
            for _ in range(100):
                yield b"x" * (1 << 18)
                await asyncio.sleep(0.02)

        return StreamingResponse(slow())

    async def text(self, request):
        return Response("<html>secret</html>")

    async def refresh(self, request):
        self._told(request)
        given = json.loads(await request.body())["refresh"]
        return JSONResponse({"access": f"short for {given}"} if given == PERSONAL else {"detail": "no"})


@pytest.fixture(scope="module")
def studio():
    kept = LabelStudio(allowed=(None, f"Token {LEGACY}", f"Bearer short for {PERSONAL}"))
    with serving(kept.app) as address:
        kept.address = address.rstrip("/")
        yield kept


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "photos"
    (inside / "deep").mkdir(parents=True)
    for path in (inside / "a.png", inside / "deep" / "ü b.png", tmp_path / "secret.png"):
        path.write_bytes(CONTENT)
    (inside / "out.png").symlink_to(tmp_path / "secret.png")
    (inside / "ring.png").symlink_to(inside / "ring.png")
    (inside / "note.txt").write_text("not a picture")
    return inside


def test_a_picture_in_its_address():
    assert (Pictures().read(DATA) == SCENE).all()


@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=a.png",
        "/data/local-files/?d=/a.png",
        "/data/local-files/?d=deep/%C3%BC%20b.png",
        "/data/local-files/?d=deep/../a.png",
        "http://localhost:8080/data/local-files/?d=a.png",
    ],
)
def test_files_below_the_folder(folder, address):
    assert (Pictures("http://localhost:8080", files=folder).read(address) == SCENE).all()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("/data/local-files/?d=", facts("not below")),
        ("/data/local-files/", facts("not below")),
        ("/data/local-files/?d=../secret.png", facts("secret.png", "not below")),
        ("/data/local-files/?d=deep/../../secret.png", facts("not below")),
        ("/data/local-files/?d=%2e%2e%2fsecret.png", facts("not below")),
        ("/data/local-files/?d=//etc/passwd", facts("cannot be read")),
        ("/data/local-files/?d=out.png", facts("not below")),
        ("/data/local-files/?d=ring.png", facts("cannot be read")),
        ("/data/local-files/?d=a.png%00.txt", facts("cannot be read")),
        ("/data/local-files/?d=note.txt", facts("no picture")),
        ("/data/local-files/?d=deep", facts("folder")),
        ("/data/local-files/?d=gone.png", facts("gone.png", "No such file")),
        ("/data/upload/1/a.png", facts("--label-studio-url")),
        ("https://evil.example/data/local-files/?d=a.png", facts("--label-studio-url")),
    ],
)
def test_nothing_else_of_this_machine_is_read(folder, address, says):
    with pytest.raises(GroundingError, match=says):
        Pictures(files=folder).read(address)


@pytest.mark.parametrize("base", ["", "/studio", "/studio/"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("key", "sent"), [(None, None), (LEGACY, f"Token {LEGACY}"), (PERSONAL, f"Bearer short for {PERSONAL}")]
)
def test_pictures_that_label_studio_holds(studio, base, whole, key, sent):
    pictures = Pictures(studio.address + base, key)
    address = "/data/upload/1/a%20b.png?x=1"
    studio.asked.clear()
    for _ in range(2):
        given = studio.address + base.rstrip("/") + address if whole else address
        assert (pictures.read(given) == SCENE).all()
    asked = [(path, query, key) for path, query, key in studio.asked if "token" not in path]
    assert asked == [(f"{base.rstrip('/')}/data/upload/1/a b.png", "x=1", sent)] * 2
    assert len(studio.asked) - len(asked) == (key == PERSONAL)  # a short token is kept


def test_local_files_are_asked_of_label_studio_without_a_folder(studio):
    studio.asked.clear()
    assert (Pictures(studio.address).read("/data/local-files/?d=a.png") == SCENE).all()
    assert studio.asked == [("/data/local-files/", "d=a.png", None)]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://169.254.169.254/data/latest", facts("another host")),
        ("http://localhost/data/a.png", facts("another host")),
        ("//evil.example/data/a.png", facts("another host")),
        ("{studio}@evil.example/data/a.png", facts("another host")),
        ("http://evil.example#{studio}/data/a.png", facts("another host")),
        ("{studio}.evil.example/data/a.png", facts("another host")),
        ("http://127.0.0.1:0x1f/data/a.png", facts("another host")),
        ("http://[::1/data/a.png", facts("no valid address")),
        ("https{rest}/data/a.png", facts("another host")),
        ("ftp{rest}/data/a.png", facts("another host")),
        ("file:///etc/passwd", facts("another host")),
        ("/etc/passwd", facts("expected an address below /data/")),
        ("a.png", facts("expected an address below /data/")),
        ("", facts("expected an address below /data/")),
        ("/api/users", facts("expected an address below /data/")),
        ("{studio}/api/users", facts("expected an address below /data/")),
        ("/data/../api/users", facts("expected an address below /data/")),
        ("/data/%2e%2e/api/users", facts("expected an address below /data/")),
        ("/data/%252e%252e/api/users", facts("expected an address below /data/")),
        ("/data/a\r\nX-Evil: 1", facts("answers 404")),
        ("/data/moved", facts("307", "not followed")),
        ("/data/gone.png", facts("answers 404")),
        ("/data/text", facts("no picture")),
        (3, facts("int")),
        (None, facts("NoneType")),
        ("data:image/png;base64,AAAA", facts("no picture")),
        ("data:text/html,<script>", facts("base64")),
    ],
)
def test_foreign_hosts_and_other_paths_are_refused(studio, address, says):
    if isinstance(address, str):
        rest = studio.address.removeprefix("http")
        address = address.replace("{studio}", studio.address).replace("{rest}", rest)
    with pytest.raises(GroundingError, match=says) as error:
        Pictures(studio.address, LEGACY).read(address)
    assert LEGACY not in str(error.value)
    assert "secret" not in str(error.value)


def test_an_endless_answer_ends(studio, monkeypatch):
    monkeypatch.setattr("grounding.integrations.fetching.MOST_BYTES", 1 << 20)
    with pytest.raises(GroundingError, match=facts("over 1 MiB")):
        Pictures(studio.address).read("/data/large")


def test_a_slow_answer_ends(studio, monkeypatch):
    monkeypatch.setattr("grounding.integrations.label_studio.pictures.TIMEOUT_S", 0.2)
    with pytest.raises(GroundingError, match=facts("in time")):
        Pictures(studio.address).read("/data/large")


def test_a_wrong_personal_token_is_said(studio):
    with pytest.raises(GroundingError, match=facts("LABEL_STUDIO_API_KEY")):
        Pictures(studio.address, "not.the.one").read("/data/text")


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://localhost", "http://", "http://a:b@c", "http://a:99999"])
def test_an_address_of_label_studio_that_is_none(url):
    with pytest.raises(GroundingError, match=facts("--label-studio-url", "http://localhost:8080")):
        Pictures(url)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(GroundingError, match=facts("--files", "folder")):
        Pictures(files=tmp_path / "gone")


def test_the_scene_is_the_one_that_was_written():
    assert np.asarray(Image.open(io.BytesIO(CONTENT))).shape == SCENE.shape
