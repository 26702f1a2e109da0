"""Keeps what a game gives up to date while it is played."""

import threading
from pathlib import Path
from typing import Final

from grounding.game.log import LOG
from grounding.game.maps import CLICKS, MAPS, TABLE, write_clicks, write_maps, write_table
from grounding.game.play import Game

FILES: Final = (LOG, CLICKS, MAPS, TABLE, f".{CLICKS}-*", f".{TABLE}-*", f".{MAPS}-*")  # and what a killed game left


class Collecting:
    """Writes the maps of a game into its folder, from any thread, the latest state last."""

    def __init__(self, game: Game, folder: Path) -> None:
        self._game, self._folder = game, folder
        self._turn = threading.Lock()
        write_table((each for each in game.pictures if not each.boxes), folder)
        self.clicks()

    def clicks(self) -> None:
        """Write `clicks.csv`; a `GroundingError` where the disk is full."""
        with self._turn:
            write_clicks(self._game.rounds(), self._folder)

    def everything(self) -> None:
        """Write `clicks.csv` and the folder of maps."""
        self.clicks()
        with self._turn:
            write_maps(self._game.rounds(), self._folder)
