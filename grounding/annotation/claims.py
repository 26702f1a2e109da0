"""Who has which picture open, so that two people get different ones."""

import time
from collections.abc import Callable, Iterable
from typing import Final

SECONDS: Final = 120.0  # without a sign of life, after which a picture is free again


class Claims:
    """The picture that each person has open, in memory only.

    Args:
        clock: gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._claims: dict[int, tuple[str, float]] = {}  # by picture: who, and when last

    def touch(self, person: str, picture: int) -> None:
        """Note that a person has a picture open, unless another one has; what else this person had is free."""
        if self._is_free(picture, person):
            self._claims = {each: claim for each, claim in self._claims.items() if claim[0] != person}
            self._claims[picture] = person, self._clock()

    def first_free(self, person: str, pictures: Iterable[int]) -> int | None:
        """The first picture that no other person has open; it is this person's now."""
        for picture in pictures:
            if self._is_free(picture, person):
                self.touch(person, picture)
                return picture
        return None

    def _is_free(self, picture: int, person: str) -> bool:
        who, when = self._claims.get(picture, (person, 0.0))
        return who == person or self._clock() - when >= SECONDS
