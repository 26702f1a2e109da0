"""The pictures of the README, real results all: python scripts/readme_picture.py.

docs/images/photographs.jpg shows scikit-image's photographs of people, animals and things at home whose licence is CC0
or public domain: all four of them, whatever comes out. Each caption is the first sentence that we wrote on seeing the
photograph; it was committed before the first result, and not changed since. Missed is what recall@1 calls a miss: the
best box has an IoU below 0.5 with the one that we drew by hand, also before the first result; that one is dashed. Below
each photograph is the map of the last phrase of which the classifier knows a word.

docs/images/sample-scene.jpg is the sample scene of the first command.
"""

from dataclasses import dataclass
from pathlib import Path

from photo_strip import Tile, strip, tile_of, with_map
from PIL import Image
from skimage import data

import grounding
from grounding.drawing import map_picture, phrase_colour
from grounding.pipeline import Localizer

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CAPTION = "a man in a red hat"
GAP_PX = 8


@dataclass(frozen=True)
class Photograph:
    """A photograph of `skimage.data`, its caption, and where each phrase truly is: `x0 y0 x1 y1` in px, by hand."""

    name: str
    caption: str
    truth: dict[str, tuple[float, float, float, float]]


PHOTOGRAPHS = (
    Photograph(
        "astronaut",
        "A woman in an orange space suit in front of an American flag",
        {
            "A woman": (19, 15, 362, 512),
            "an orange space suit": (19, 150, 362, 512),
            "an American flag": (0, 0, 97, 512),
        },
    ),
    Photograph(
        "camera",
        "A man in a black coat looks through a camera on a tripod",
        {
            "A man": (0, 62, 331, 512),
            "a black coat": (0, 105, 304, 410),
            "a camera": (252, 138, 326, 186),
            "a tripod": (230, 186, 405, 512),
        },
    ),
    Photograph(
        "coffee",
        "A cup of coffee on a red saucer with a spoon",
        {
            "A cup of coffee": (173, 18, 409, 310),
            "a red saucer": (77, 68, 480, 389),
            "a spoon": (317, 67, 425, 326),
        },
    ),
    Photograph("cat", "A cat with green eyes", {"A cat": (0, 0, 399, 300), "green eyes": (134, 85, 345, 165)}),
)


def main() -> None:
    """Write both pictures."""
    localizer = Localizer.from_pretrained()
    tiles = [drawn(localizer, photograph) for photograph in PHOTOGRAPHS]
    strip(tiles).save(IMAGES / "photographs.jpg", quality=88, optimize=True, progressive=True)
    sample(localizer).save(IMAGES / "sample-scene.jpg", quality=88, optimize=True, progressive=True)


def drawn(localizer: Localizer, photograph: Photograph) -> Tile:
    """The result on one photograph."""
    picture = getattr(data, photograph.name)()
    return with_map(tile_of(localizer.encode(picture).ground(photograph.caption), photograph.caption, photograph.truth))


def sample(localizer: Localizer) -> Image.Image:
    """The overlay of the sample scene and each phrase's map, side by side."""
    scene = localizer.encode(grounding.sample_scene())
    result = scene.ground(CAPTION)
    panels = [result.overlay()]
    panels += [map_picture(scene.image, grounded, phrase_colour(index)) for index, grounded in enumerate(result)]
    width, height = panels[0].size
    picture = Image.new("RGB", (len(panels) * (width + GAP_PX) - GAP_PX, height), "white")
    for index, panel in enumerate(panels):
        picture.paste(panel, (index * (width + GAP_PX), 0))
    return picture


if __name__ == "__main__":
    main()
