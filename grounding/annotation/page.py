"""The page of annotation over HTTP: who asks, what they decide, and pictures and exports to look at."""

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from grounding.annotation.exporting import zipped
from grounding.annotation.pictures import stays_inside
from grounding.annotation.project import Project, StaleVersion, UnknownPicture
from grounding.errors import GroundingError
from grounding.images import read_image
from grounding.web.guard import Guard
from grounding.web.requests import answer_errors, in_turn, json_object

if TYPE_CHECKING:
    from starlette.types import ASGIApp

STATIC: Final = Path(__file__).with_name("static")
_LONGEST_SIDE_PX: Final = 1600  # of a picture as it is sent
_MOST_BYTES: Final = 1 << 20  # of a request: a decision is short
_ID: Final = re.compile(r"[0-9]{1,9}")


def application(project: Project) -> "ASGIApp":
    """The page of an open annotation folder, inside its guard."""
    routes = _Routes(project)
    app = Starlette(
        routes=[
            Route("/", routes.page),
            Route("/api/project", routes.project),
            Route("/api/next", routes.next),
            Route("/api/report", routes.report),
            Route("/api/pictures/{id}", routes.picture),
            Route("/api/pictures/{id}/image", routes.image),
            Route("/api/decisions", routes.decide, methods=["POST"]),
            Route("/api/undo", routes.undo, methods=["POST"]),
            Route("/api/export/{format}", routes.export),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
    )
    answer_errors(app)
    app.add_exception_handler(UnknownPicture, _unknown)
    return Guard(app, most_bytes=_MOST_BYTES)


async def _unknown(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 404)


class _Routes:
    """What each address answers."""

    def __init__(self, project: Project) -> None:
        self._project = project

    async def page(self, _: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def project(self, _: Request) -> Response:
        return await _json(self._project.to_dict)

    async def report(self, _: Request) -> Response:
        return await _json(lambda: self._project.report().to_dict())

    async def next(self, request: Request) -> Response:
        person = request.query_params.get("person")
        return await _json(lambda: {"id": self._project.next(person)})

    async def picture(self, request: Request) -> Response:
        id_, person = _id(request), request.query_params.get("person")
        return await _json(lambda: self._project.picture(id_, person))

    async def image(self, request: Request) -> Response:
        images, name = self._project.images, self._project.picture(_id(request))["name"]
        headers = {"cache-control": "private, no-cache", "etag": _etag(images / name)}  # another folder has a 0 too
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(await in_turn(_shown, images, name), media_type="image/jpeg", headers=headers)

    async def decide(self, request: Request) -> Response:
        given = await json_object(request)
        try:
            return await _json(lambda: self._project.decide(given))
        except StaleVersion as error:
            return JSONResponse({"error": str(error), "picture": self._project.picture(error.picture)}, 409)

    async def undo(self, request: Request) -> Response:
        given = await json_object(request)
        return await _json(lambda: {"picture": self._project.undo(given)})

    async def export(self, request: Request) -> Response:
        name, drafts = request.path_params["format"], request.query_params.get("include") == "drafts"
        content = await in_turn(zipped, self._project.exports(drafts), name, self._project.folder)
        headers = {"content-disposition": f'attachment; filename="{name}.zip"', "cache-control": "no-store"}
        return Response(content, media_type="application/zip", headers=headers)


async def _json(answer: Callable[[], dict[str, Any]]) -> Response:
    """The answer of a function that may wait for the disk."""
    return JSONResponse(await run_in_threadpool(answer), headers={"cache-control": "no-store"})


def _id(request: Request) -> int:
    given = request.path_params["id"]
    if not _ID.fullmatch(given):
        raise HTTPException(404, f"there is no picture {given[:40]!r}")
    return int(given)


def _etag(path: Path) -> str:
    """Another one for another file, and for the same after a change."""
    try:
        facts = path.stat()
        said = str(path), facts.st_mtime_ns, facts.st_size
    except OSError:
        said = str(path), 0, 0
    return f'"{hashlib.sha256(repr(said).encode()).hexdigest()[:32]}"'


def _shown(images: Path, name: str) -> bytes:
    """A picture as JPEG, upright, its longer side no longer than `_LONGEST_SIDE_PX`."""
    if not stays_inside(images, name):
        raise GroundingError(f"{name} is not in the folder of the pictures any more")
    picture = Image.fromarray(read_image(images / name, name))
    picture.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=90)
    return content.getvalue()
