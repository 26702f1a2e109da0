"""The page of the game and the requests that it makes.

Bodies are JSON. Pictures and rounds are whole numbers; what is wrong is answered by `{"error": line}`.

- `POST /api/players` -> `{"player": "0123456789abcdef"}`
- `POST /api/rounds {player}` -> `{"round": {...}, "standing": {...}}`; the round is null where nothing is left
- `GET /api/pictures/N/image` -> JPEG, upright, its longer side at most 1200 px
- `POST /api/rounds/N/guess {player, pointer, bubbles}` -> `{"guesses": [{"name", "share"}], "over": null or {...}}`
- `POST /api/rounds/N/end {player, pointer, bubbles, outcome}` -> `{"over": {...}}`

Bubbles are `[[x, y, time_s], ...]`, all of the round so far, in px of the upright picture and seconds since the first.
"""

import io
from collections.abc import Callable, Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from grounding.datasets.clickme_tables import MIN_CLICKS
from grounding.errors import GroundingError
from grounding.game.guesser import SHOWN
from grounding.game.play import Game, Open, UnknownRound, new_player
from grounding.game.rounds import (
    MOST_BUBBLES,
    RADIUS,
    Round,
    check_bubbles,
    check_outcome,
    check_player,
    check_pointer,
)
from grounding.images import read_image
from grounding.web.guard import Guard
from grounding.web.requests import answer_errors, in_turn, json_object

_SIDE: Final = 1200  # px of the longer side of what is shown
_MOST_BYTES: Final = 1 << 20  # of a request


def application(game: Game, ended: Callable[[], None] = lambda: None) -> ASGIApp:
    """The page of a game.

    Args:
        ended: is called after each round that is logged, on any thread.
    """
    pages = _Pages(game, ended)
    with as_file(files("grounding.game") / "static") as static:
        folder = Path(static)
    app = Starlette(
        routes=[
            Route("/", _file(folder / "index.html")),
            Route("/api/players", pages.player, methods=["POST"]),
            Route("/api/rounds", pages.start, methods=["POST"]),
            Route("/api/pictures/{picture:int}/image", pages.image),
            Route("/api/rounds/{number:int}/guess", pages.guess, methods=["POST"]),
            Route("/api/rounds/{number:int}/end", pages.end, methods=["POST"]),
            Mount("/static", StaticFiles(directory=folder)),
        ]
    )
    answer_errors(app)
    return Guard(app, most_bytes=_MOST_BYTES)


class _Pages:
    """What answers the requests."""

    def __init__(self, game: Game, ended: Callable[[], None]) -> None:
        self._game, self._ended = game, ended

    async def player(self, _: Request) -> Response:
        return JSONResponse({"player": new_player()})

    async def start(self, request: Request) -> Response:
        player = check_player((await json_object(request)).get("player"))
        begun = await in_turn(self._game.start, player)
        standing = await run_in_threadpool(self._game.standing, player)
        return JSONResponse({"round": begun and self._shown(begun), "standing": standing._asdict()})

    async def image(self, request: Request) -> Response:
        place = request.path_params["picture"]
        if not 0 <= place < len(self._game.pictures):
            raise HTTPException(404, f"there is no picture {str(place)[:20]}")
        content = await run_in_threadpool(_jpeg, self._game.pictures[place].path)
        return Response(content, media_type="image/jpeg", headers={"cache-control": "no-store"})

    async def guess(self, request: Request) -> Response:
        playing, values = await self._playing(request)
        if playing.over is not None:
            return JSONResponse({"guesses": [], "over": await self._over(playing, playing.over)})
        arguments = self._bubbles(playing, values), check_pointer(values.get("pointer"))
        guess = await in_turn(self._game.guess, playing, *arguments)
        if playing.over is not None:
            await run_in_threadpool(self._ended)
        return JSONResponse(
            {
                "guesses": [{"name": name, "share": round(share, 4)} for name, share in guess.best],
                "over": None if playing.over is None else await self._over(playing, playing.over),
            }
        )

    async def end(self, request: Request) -> Response:
        playing, values = await self._playing(request)
        outcome = check_outcome(values.get("outcome"))
        bubbles, pointer = self._bubbles(playing, values), check_pointer(values.get("pointer"))
        over = await run_in_threadpool(self._game.end, playing, bubbles, pointer, outcome)
        await run_in_threadpool(self._ended)
        return JSONResponse({"over": await self._over(playing, over)})

    async def _playing(self, request: Request) -> tuple[Open, Mapping[str, Any]]:
        """The round of a request and its body; 404 where the player is not playing it."""
        values = await json_object(request)
        try:
            return self._game.opened(check_player(values.get("player")), request.path_params["number"]), values
        except UnknownRound as error:
            raise HTTPException(404, str(error)) from error

    def _bubbles(self, playing: Open, values: Mapping[str, Any]) -> Any:
        picture = playing.choice.picture
        return check_bubbles(values.get("bubbles"), picture.width, picture.height, self._game.seconds)

    def _shown(self, begun: Open) -> dict[str, Any]:
        picture = begun.choice.picture
        return {
            "number": begun.number,
            "picture": self._game.place_of(picture),
            "category": picture.category,
            "guesses": min(SHOWN, len(self._game.guesser.categories)),
            "known": picture.category in self._game.guesser.categories,
            "width": picture.width,
            "height": picture.height,
            "seconds": self._game.seconds,
            "radius": RADIUS,
            "least": MIN_CLICKS + 1,
            "most": MOST_BUBBLES,
        }

    async def _over(self, playing: Open, over: Round) -> dict[str, Any]:
        standing = await run_in_threadpool(self._game.standing, playing.player)
        return {"outcome": over.outcome, "points": over.points, "standing": standing._asdict()}


def _file(path: Path) -> Callable[[Request], Response]:
    def answer(_: Request) -> Response:
        return FileResponse(path)

    return answer


def _jpeg(path: Path) -> bytes:
    """The picture as it is shown, without what else its file says."""
    try:
        image = Image.fromarray(read_image(path))
    except GroundingError as error:
        raise GroundingError("this picture cannot be read any more") from error
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=88)
    return written.getvalue()
