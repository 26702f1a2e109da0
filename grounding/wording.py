"""Counts and long texts in lines for people."""


def counted(count: int, thing: str, things: str = "") -> str:
    """The number of things in words: `1 picture`, `1,200 pictures`.

    Args:
        things: the plural, where it is not the singular with an s.
    """
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def shortened(text: str, most: int = 40) -> str:
    """A text on one line, cut to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
