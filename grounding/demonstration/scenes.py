"""Pictures that have been encoded, the latest few: asking again about one costs no forward pass."""

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Final

from grounding.errors import GroundingError
from grounding.images import read_image
from grounding.pipeline import Localizer, Scene

MOST: Final = 8  # scenes
MOST_BYTES: Final = 256 << 20  # of their pixels; the latest is kept whatever it has


class Scenes:
    """Encodes picture files, and keeps the scenes of the latest by the digest of their bytes.

    Not for several threads at once.
    """

    def __init__(self, localizer: Localizer, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._localizer, self._most, self._most_bytes = localizer, most, most_bytes
        self._scenes: OrderedDict[str, Scene] = OrderedDict()
        self.encoded = 0  # forward passes

    def __len__(self) -> int:
        """How many scenes are kept."""
        return len(self._scenes)

    def of_file(self, path: Path) -> tuple[str, Scene]:
        """The digest of a picture file and its scene, encoded where it is not among the latest.

        Raises:
            GroundingError: the file is gone, or is no picture.
        """
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise GroundingError("the picture is no longer here: give it again") from error
        if digest not in self._scenes:
            self._keep(digest, self._localizer.encode(read_image(path, name=path.name)))
        return digest, self.known(digest)

    def known(self, digest: str) -> Scene:
        """The scene of a picture that is among the latest.

        Raises:
            GroundingError: it is not.
        """
        if digest not in self._scenes:
            raise GroundingError("the picture is no longer here: light the sentence up again")
        self._scenes.move_to_end(digest)
        return self._scenes[digest]

    def _keep(self, digest: str, scene: Scene) -> None:
        self.encoded += 1
        self._scenes[digest] = scene
        while len(self._scenes) > 1 and (len(self._scenes) > self._most or self._bytes() > self._most_bytes):
            self._scenes.popitem(last=False)

    def _bytes(self) -> int:
        return sum(scene.image.nbytes for scene in self._scenes.values())
