"""The colours of phrases and labels: the same position has the same one everywhere."""

import colorsys
from typing import Final

# blue, orange, green, pink, yellow, sky, violet, red: told apart by most eyes, on dark and on light pictures
_COLOURS: Final = ("#2f7ff5", "#ff8c1a", "#1fb866", "#f25cb0", "#e6c700", "#35c3e8", "#9b6bf2", "#e8403a")


def phrase_colour(index: int) -> str:
    """Return the colour of the phrase at this position, as `#rrggbb`."""
    if index < len(_COLOURS):
        return _COLOURS[index]
    red, green, blue = colorsys.hsv_to_rgb(index * 0.61803 % 1, 0.75, 0.95)
    return f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"
