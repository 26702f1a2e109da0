"""What a game has collected, in lines for people."""

from collections import Counter
from collections.abc import Sequence

from grounding.datasets.clickme_tables import MIN_CLICKS
from grounding.game.agreement import SPLITS, half_agreement
from grounding.game.catch import LEAST_TRIALS, trials_of
from grounding.game.maps import by_picture, counted_rounds
from grounding.game.rounds import Round
from grounding.wording import counted

_NAMED = {"recognised": "recognised", "time": "out of time", "skipped": "skipped"}


def report(rounds: Sequence[Round], seed: int = 0) -> list[str]:
    """Rounds, maps, catch trials and how well the players agree."""
    if not rounds:
        return ["no round has been played yet"]
    outcomes = Counter[str](each.outcome for each in rounds)
    ends = ", ".join(f"{outcomes[name]} {text}" for name, text in _NAMED.items() if outcomes[name])
    players = {each.player for each in rounds}
    lines = [f"{counted(len(rounds), 'round')} of {counted(len(players), 'player')}: {ends}"]
    maps, kept = by_picture(rounds), counted_rounds(rounds)
    used = sum(map(len, maps.values()))
    few = f"; {len(kept) - used} more have at most {MIN_CLICKS} clicks, and are left out" if len(kept) > used else ""
    lines.append(f"{counted(len(maps), 'picture')} with a map, of {counted(used, 'round')}{few}")
    lines.append(_catch_line(rounds, len(players)))
    found = half_agreement(maps, seed)
    if found.same is None:
        lines.append("split-half agreement: needs a picture that two players have painted; there is none yet")
    else:
        chance = "" if found.different is None else f"; {found.different:.2f} between different pictures"
        lines.append(
            f"split-half agreement: Spearman {found.same:.2f} on {counted(found.pictures, 'picture')} of at least two "
            f"players (up to {SPLITS} splits a picture){chance}"
        )
    return lines


def _catch_line(rounds: Sequence[Round], players: int) -> str:
    trials = trials_of(rounds)
    count, failed = sum(each.trials for each in trials.values()), sum(each.failed for each in trials.values())
    if not count:
        return "catch trials: none yet"
    flagged = sorted(player for player, each in trials.items() if each.flagged)
    left_out = f"; left out of the maps: {', '.join(flagged)}, who failed more than half" if flagged else ""
    return (
        f"catch trials: {count}, {failed} failed; {len(flagged)} of {counted(players, 'player')} flagged (from "
        f"{LEAST_TRIALS} trials on){left_out}"
    )
