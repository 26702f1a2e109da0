"""What a page reads from a request, and how it answers what is wrong with one."""

import json
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from grounding.errors import GroundingError

T = TypeVar("T")
_AT_WORK: Final = threading.Lock()


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object of a request's body.

    Raises:
        GroundingError: it is not JSON, or no object.
    """
    try:
        value = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise GroundingError("the request is not JSON: expected a JSON object") from error
    if not isinstance(value, dict):
        raise GroundingError(f"the request is a {type(value).__name__}: expected a JSON object")
    return value


async def in_turn(work: Callable[..., T], *arguments: Any) -> T:
    """Run what computes long in a thread of its own, one at a time, so that the page stays awake."""

    def alone() -> T:
        with _AT_WORK:
            return work(*arguments)

    return await run_in_threadpool(alone)


def answer_errors(app: Starlette) -> None:
    """Let what is wrong be an answer of one line, `{"error": ...}`: status 400 for a `GroundingError` of any route."""

    async def refused(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    async def failed(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code)

    app.add_exception_handler(GroundingError, refused)
    app.add_exception_handler(HTTPException, failed)
