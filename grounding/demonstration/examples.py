"""Examples to click: pictures that come with scikit-image and are free of rights, and one on which this fails."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from grounding.images import RgbImage, sample_scene


@dataclass(frozen=True, slots=True)
class Example:
    """A picture with a sentence; `failure` says what goes wrong, empty where nothing does."""

    title: str
    picture: Path
    caption: str
    failure: str = ""


def write_examples(folder: Path) -> list[Example]:
    """Write the pictures into a folder: the sample scene, and photographs that are CC0 or in the public domain."""
    from skimage import data

    made: list[tuple[str, Callable[[], RgbImage], str, str]] = [
        ("A man in a red hat", sample_scene, "a man in a red hat", ""),
        (
            "An astronaut, and no dog",
            data.astronaut,
            "A smiling woman with brown hair in an orange suit in front of a flag, no dog",
            "",
        ),
        ("A rocket: what is not there", data.rocket, "Towers and a horse under a blue sky", ""),
        (
            "A failure: the cat is a dog",
            data.chelsea,
            "a cat and a dog",
            "There is no dog: this classifier takes the cat for one, and says so with confidence.",
        ),
    ]
    examples = []
    for number, (title, picture, caption, failure) in enumerate(made, start=1):
        path = folder / f"example-{number}.jpg"
        Image.fromarray(picture()).save(path, quality=92)
        examples.append(Example(title, path, caption, failure))
    return examples
