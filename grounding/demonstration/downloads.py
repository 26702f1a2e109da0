"""The files of an answer: made when they are fetched, from the question that stands in their address."""

import io

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from grounding.demonstration.fragment import FILES, asked_again
from grounding.demonstration.questions import Demonstration
from grounding.errors import GroundingError
from grounding.results import to_json
from grounding.web.requests import in_turn

_TYPES = {"overlay.png": "image/png", "result.json": "application/json", "result.csv": "text/csv; charset=utf-8"}


def download_route(demonstration: Demonstration) -> Route:
    """`/download/DIGEST/NAME?caption=...`: the overlay, JSON or CSV of a picture that is among the latest."""

    async def download(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            raise GroundingError(f"there is no file of this name: expected {', '.join(FILES)}")
        content = await in_turn(_content, demonstration, request.path_params["digest"], name, request.query_params)
        said = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        return Response(content, media_type=_TYPES[name], headers=said)

    return Route("/download/{digest}/{name}", download)


def _content(demonstration: Demonstration, digest: str, name: str, values: dict[str, str]) -> bytes:
    try:
        question = asked_again(values)
    except ValueError as error:
        raise GroundingError("the address names a setting that is no number") from error
    grounding = demonstration.ask_again(digest, question).grounding
    if name == "overlay.png":
        buffer = io.BytesIO()
        grounding.overlay(question.top_k).save(buffer, "PNG")
        return buffer.getvalue()
    if name == "result.json":
        return (to_json(grounding.to_dict(), indent=2) + "\n").encode()
    return grounding.to_frame().to_csv().encode("utf-8", "backslashreplace")
