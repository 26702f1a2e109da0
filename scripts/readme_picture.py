"""The picture at the top of the README: a real result on the sample scene. python scripts/readme_picture.py."""

from pathlib import Path

from PIL import Image

import grounding
from grounding.drawing import map_picture, phrase_colour

CAPTION = "a man in a red hat"
GAP_PX = 8


def main() -> None:
    """Write docs/sample-scene.png: the overlay and each phrase's map, side by side."""
    scene = grounding.Localizer.from_pretrained().encode(grounding.sample_scene())
    result = scene.ground(CAPTION)
    panels = [result.overlay()]
    panels += [map_picture(scene.image, grounded, phrase_colour(index)) for index, grounded in enumerate(result)]
    width, height = panels[0].size
    picture = Image.new("RGB", (len(panels) * (width + GAP_PX) - GAP_PX, height), "white")
    for index, panel in enumerate(panels):
        picture.paste(panel, (index * (width + GAP_PX), 0))
    picture.save(Path(__file__).parents[1] / "docs" / "sample-scene.png", optimize=True)


if __name__ == "__main__":
    main()
