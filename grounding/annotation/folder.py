"""An annotation folder is begun here, or gone on with: which files it has, and whether they are of the same drafts."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from grounding.annotation.drafted import DRAFTS, SETTINGS, Settings, read_settings, write_settings
from grounding.annotation.pictures import Asked
from grounding.appended import AppendedLines, damaged
from grounding.errors import GroundingError
from grounding.folders import foreign_names, writing
from grounding.resumable import difference

LOG: Final = "log.jsonl"
EXPORTS: Final = "exports"
_OURS: Final = (SETTINGS, DRAFTS, LOG, EXPORTS, f".{SETTINGS}-*")
_WEIGHTS: Final = "weights"  # the key of `Settings.drafting` that is known once a classifier is loaded


def fingerprint(asked: Sequence[Asked]) -> str:
    """Of the names of the pictures, and all that is asked for in them."""
    said = [(one.name, one.captions, one.labels) for one in asked]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def begin(folder: Path, settings: Settings) -> AppendedLines:
    """Open `drafts.jsonl` of a new folder, or of one that was begun with equal settings.

    Raises:
        GroundingError: the folder is of something else, a file in it is damaged, or another program drafts in it.
    """
    with writing(f"output folder {folder}"):
        if folder.exists() and not folder.is_dir():
            raise GroundingError(f"--output {folder} is a file: expected a folder to write to")
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SETTINGS).exists():
            _go_on(folder, settings)
        elif foreign := [*foreign_names(folder, _OURS), *foreign_names(folder, (f".{SETTINGS}-*",))]:
            raise GroundingError(f"--output {folder} holds other things, such as {foreign[0]}: choose another")
        else:
            write_settings(folder, settings)
    lines = AppendedLines(folder / DRAFTS)
    for number, line in enumerate(lines.found, start=1):
        if line.get("id") != number - 1 or number > settings.pictures:
            lines.close()
            raise damaged(folder / DRAFTS, number, f"its id is {line.get('id')}: expected {number - 1}")
    return lines


def _go_on(folder: Path, settings: Settings) -> None:
    """Check that the folder is of this, and note where its pictures are now."""
    recorded = read_settings(folder)
    ours, theirs = dict(settings.drafting), dict(recorded.drafting)
    theirs.pop(_WEIGHTS, None)
    changed = difference({"pictures": settings.pictures, **ours}, {"pictures": recorded.pictures, **theirs})
    if changed:
        changed = "names, captions or labels of the pictures" if changed.startswith("asked ") else changed
        raise GroundingError(
            f"{folder} holds an annotation with other {changed}: choose another --output, or leave out --images and "
            "all that goes with it to open what is there"
        )
    if recorded.images != settings.images:
        write_settings(folder, dataclasses.replace(recorded, images=settings.images))


def note_weights(folder: Path, weights: str, first: bool) -> None:
    """Write down the classifier's weights with the first draft; later ones must be of the same.

    Raises:
        GroundingError: they are of others.
    """
    recorded = read_settings(folder)
    before = recorded.drafting.get(_WEIGHTS, weights)
    if before != weights and not first:
        raise GroundingError(
            f"the boxes in {folder} were drafted with other weights of the classifier: choose another --output"
        )
    write_settings(folder, dataclasses.replace(recorded, drafting={**recorded.drafting, _WEIGHTS: weights}))
