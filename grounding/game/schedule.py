"""Which picture a player gets next."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from grounding.game.pictures import Picture
from grounding.game.rounds import Catch, Round

_BETWEEN = 3  # rounds at least, before a picture is shown again


@dataclass(frozen=True, slots=True)
class Choice:
    """A picture, and how it tests the player, if it does."""

    picture: Picture
    catch: Catch | None = None


def choose(
    pictures: Sequence[Picture],
    rounds: Sequence[Round],
    player: str,
    busy: Sequence[str],
    broken: Collection[str],
    catch_share: float,
    seed: int,
) -> Choice | None:
    """The next picture of a player: one that the fewest have played; now and then a catch trial.

    Pictures that the player has had are not chosen again, but for a catch trial where no picture has boxes. Equals
    follow each other as `seed` says, the same for all players.

    Args:
        rounds: of everybody, in their order.
        busy: names of the pictures that others are playing.
        broken: names of pictures that cannot be read.
        catch_share: of the rounds.

    Returns:
        None where nothing is left for the player.
    """
    theirs = [each for each in rounds if each.player == player]
    if len(theirs) >= _BETWEEN and _chance(seed, player, len(theirs)) < catch_share:
        caught = _catch(pictures, theirs, broken)
        if caught is not None:
            return caught
    had = {each.picture for each in theirs} | set(broken)
    counts = Counter(each.picture for each in rounds if each.catch is None and each.outcome != "skipped")
    counts.update(busy)
    left = [each for each in pictures if not each.boxes and each.name not in had]
    if not left:
        return None
    return Choice(min(left, key=lambda each: (counts[each.name], _chance(seed, each.name))))


def _catch(pictures: Sequence[Picture], theirs: Sequence[Round], broken: Collection[str]) -> Choice | None:
    """A picture with boxes that the player has not had; where none has any, an early picture once more."""
    had = Counter(each.picture for each in theirs)
    usable = {each.name: each for each in pictures if each.name not in broken}
    if any(each.boxes for each in pictures):
        new = [each for each in usable.values() if each.boxes and not had[each.name]]
        return Choice(new[0], "box") if new else None
    early = theirs[: 1 - _BETWEEN]
    again = [each for each in early if had[each.picture] == 1 and each.bubbles and each.outcome != "skipped"]
    return Choice(usable[again[0].picture], "repeat") if again and again[0].picture in usable else None


def _chance(*parts: object) -> float:
    """From 0 to 1, the same for the same parts."""
    digest = hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
