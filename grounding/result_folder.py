"""The folder of one picture's result."""

from pathlib import Path

from grounding.drawing import map_picture, phrase_colour
from grounding.folders import unused_folder, whole_folder
from grounding.results import Grounding, to_json

FILES = ("overlay.png", "map-*.png", "result.json", "results.jsonl", "settings.json")  # of a manifest too


def new_folder(path: str | None) -> Path:
    """Choose a folder in `localized/`, named after a picture, that does not exist yet; None is the sample scene."""
    name = {None: "sample-scene", "-": "standard-input"}.get(path) or Path(path or "").stem
    return unused_folder(Path("localized") / name)


def write_result(result: Grounding, path: str | None, folder: Path, overwrite: bool = False, top_k: int = 1) -> None:
    """Write the overlay, one map picture a phrase, and result.json; whole or not at all.

    Args:
        path: of the picture, for result.json.
        top_k: how many boxes of each phrase the overlay shows.

    Raises:
        GroundingError: the folder has content, and is not to be overwritten or holds other files; or it cannot be
            written.
    """
    with whole_folder(folder, overwrite, FILES) as partial:
        result.overlay(top_k).save(partial / "overlay.png")
        for index, grounded in enumerate(result):
            name = "".join(c if c.isalnum() else "-" for c in grounded.phrase.text.lower())[:40].strip("-")
            picture = map_picture(result.image, grounded, phrase_colour(index))
            picture.save(partial / f"map-{index + 1}-{name}.png")
        (partial / "result.json").write_text(to_json(result.to_dict(path), indent=2) + "\n", encoding="utf-8")
