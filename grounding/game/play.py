"""A game that several people play at once: who plays what, what is guessed, and how a round ends."""

import secrets
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from grounding.datasets.clickme_tables import MIN_CLICKS
from grounding.errors import GroundingError
from grounding.game.catch import in_boxes, same_again
from grounding.game.guesser import Guess, Guesser
from grounding.game.log import RoundLog
from grounding.game.pictures import Picture
from grounding.game.rounds import Bubble, Outcome, Pointer, Round
from grounding.game.schedule import Choice, choose

_MOST_OPEN: Final = 1000  # rounds; of more, the oldest are forgotten
_FORGOTTEN_S: Final = 600.0  # after which a picture counts as played by nobody
_LEAST_POINTS: Final = 10


class Standing(NamedTuple):
    """What a player has reached."""

    rounds: int
    recognised: int
    score: int
    streak: int


@dataclass(slots=True)
class Open:
    """A round that is being played."""

    number: int
    player: str
    choice: Choice
    begun_s: float
    over: Round | None = None


class UnknownRound(GroundingError):
    """The round is none that this player is playing: it is over, or the game was started again."""


class Game:
    """The rounds of all players. Its methods may be called from several threads.

    Args:
        log: of the rounds so far, which is written to.
        seconds: that a round lasts at most, from the first bubble on.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        guesser: Guesser,
        log: RoundLog,
        seconds: float,
        catch_share: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.pictures, self.guesser, self.seconds = tuple(pictures), guesser, seconds
        self._places = {picture.name: place for place, picture in enumerate(pictures)}
        self._log, self._catch_share, self._seed = log, catch_share, seed
        self._open: OrderedDict[str, Open] = OrderedDict()  # by player
        self._broken: set[str] = set()
        self._number = 0
        self._lock = threading.RLock()

    def place_of(self, picture: Picture) -> int:
        """What requests call a picture."""
        return self._places[picture.name]

    def start(self, player: str) -> Open | None:
        """Begin a round, with the picture of the round that the player has left open, or another one.

        Returns:
            None where the player has had every picture.
        """
        with self._lock:
            mine = self._open.get(player)
            choice = mine.choice if mine is not None and mine.over is None else self._choose(player)
            while choice is not None:
                try:
                    self.guesser.open(choice.picture)
                    break
                except GroundingError as error:
                    sys.stderr.write(f"left out: {error}\n")
                    self._broken.add(choice.picture.name)
                    choice = self._choose(player)
            self._open.pop(player, None)
            if choice is None:
                return None
            self._number += 1
            self._open[player] = Open(self._number, player, choice, time.monotonic())
            while len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
            return self._open[player]

    def opened(self, player: str, number: int) -> Open:
        """A round that a player is playing, or has just ended; an `UnknownRound` for any other."""
        found = self._open.get(player)
        if found is None or found.number != number:
            raise UnknownRound(f"round {number} is not yours, or over: begin another")
        return found

    def guess(self, playing: Open, bubbles: tuple[Bubble, ...], pointer: Pointer) -> Guess:
        """Let the classifier guess; the round ends where it recognises the picture from more than ten bubbles.

        Raises:
            GroundingError: the round cannot be logged.
        """
        guess = self.guesser.guess(playing.choice.picture, bubbles)
        in_time = bool(bubbles) and bubbles[-1].time_s <= self.seconds
        recognised = guess.recognised and len(bubbles) > MIN_CLICKS and in_time
        if recognised:
            self.end(playing, bubbles, pointer, "recognised")
        return Guess(guess.best, recognised)

    def end(self, playing: Open, bubbles: tuple[Bubble, ...], pointer: Pointer, outcome: Outcome) -> Round:
        """End a round and log it; one that is over stays as it is.

        Raises:
            GroundingError: it cannot be logged.
        """
        with self._lock:
            if playing.over is None:
                played = self._played(playing, bubbles, pointer, outcome)
                self._log.append(played)
                playing.over = played
            return playing.over

    def standing(self, player: str) -> Standing:
        """What a player has reached, in this game and in earlier ones with the same log."""
        with self._lock:
            theirs = [each for each in self._log.rounds if each.player == player]
        streak = 0
        for each in theirs:
            streak = streak + 1 if each.outcome == "recognised" else 0
        recognised = sum(each.outcome == "recognised" for each in theirs)
        return Standing(len(theirs), recognised, sum(each.points for each in theirs), streak)

    def rounds(self) -> list[Round]:
        """All rounds so far."""
        with self._lock:
            return list(self._log.rounds)

    def _choose(self, player: str) -> Choice | None:
        now = time.monotonic()
        busy = [
            each.choice.picture.name
            for each in self._open.values()
            if each.player != player and each.over is None and now - each.begun_s < _FORGOTTEN_S
        ]
        return choose(self.pictures, self._log.rounds, player, busy, self._broken, self._catch_share, self._seed)

    def _played(self, playing: Open, bubbles: tuple[Bubble, ...], pointer: Pointer, outcome: Outcome) -> Round:
        picture, catch = playing.choice.picture, playing.choice.catch
        time_s = bubbles[-1].time_s if bubbles else 0.0
        points = 0
        if outcome == "recognised":
            points = max(_LEAST_POINTS, round(100 * (1 - time_s / self.seconds)))
        elif outcome == "time":
            time_s = self.seconds
        passed = None
        if catch == "box":
            passed = in_boxes(bubbles, picture.boxes)
        elif catch == "repeat":
            passed = self._same_again(playing.player, picture, bubbles)
        size = picture.width, picture.height
        return Round(
            picture.name,
            picture.category,
            *size,
            playing.player,
            outcome,
            time_s,
            points,
            pointer,
            bubbles,
            catch,
            passed,
        )

    def _same_again(self, player: str, picture: Picture, bubbles: Sequence[Bubble]) -> bool:
        theirs = [each for each in self._log.rounds if each.player == player and each.bubbles]
        first = next(each for each in theirs if each.picture == picture.name)
        return same_again(bubbles, first, [each for each in theirs if each.picture != picture.name])


def new_player() -> str:
    """A name that says nothing about who it is."""
    return secrets.token_hex(8)


def check_same_pictures(pictures: Sequence[Picture], rounds: Sequence[Round], output: object) -> None:
    """Make sure that the rounds of an output folder are of these pictures.

    Raises:
        GroundingError: one was played that is not there now, has another size or another category.
    """
    known = {picture.name: picture for picture in pictures}
    for each in rounds:
        picture = known.get(each.picture)
        if picture is None:
            raise GroundingError(
                f"{output} has rounds of '{each.picture}', which is not among --images: choose another output, or give "
                "the folder that was played"
            )
        for what, then, now in (
            ("size", f"{each.width} x {each.height} px", f"{picture.width} x {picture.height} px"),
            ("category", f"'{each.category}'", f"'{picture.category}'"),
        ):
            if then != now:
                raise GroundingError(
                    f"{output} has rounds of '{each.picture}' with the {what} {then}, and now it is {now}: choose "
                    "another output, or give the pictures that were played"
                )
