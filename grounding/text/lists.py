"""Prompts that are lists, as users of open-vocabulary detectors write them: 'cat . dog . remote control .'"""

import re

_LONGEST = 6  # words of an item
_ITEM_END = re.compile(
    r"""
    [;|\n\u3002\u3001]
    | ,(?!\d)
    | (?<=\s)[/\u2022\u00b7](?=\s)
    | \s(?=\#[^\W\d_])                         # '#cat #dog'
    | (?<=\s)\.+(?=\s|$|[^\W\d_]{2})         # 'cat . dog .', 'cat .dog'
    | (?<=[^\W_]{2})\.+(?=\s|$|[^\W\d_]{2})   # 'cat. dog.', not 'the U.S. Army' or '2.5'
    """,
    re.VERBOSE,
)
_TITLES = re.compile(r"\b(?:mr|mrs|ms|dr|st|jr|sr|vs|no|mt|inc|corp|etc)$", re.IGNORECASE)
_ITEM = re.compile(
    r"(?:\s|[-*\u2022#]\s|\#(?=[^\W\d_])|\d+[.)]\s|(?:and|or)\s)*(?P<item>.*?)\s*$", re.IGNORECASE | re.DOTALL
)


def list_items(text: str) -> list[tuple[int, int]]:
    """The spans of the items of a text, between full stops, commas, semicolons, bars, bullets, line breaks or
    hashtags.

    Bullets, numbers and 'and' before an item are left out. Empty where the text has no two items, or where one of them
    has more words than an item of a list has.
    """
    items = []
    begin = 0
    for end, following in [*(match.span() for match in _ITEM_END.finditer(text)), (len(text), len(text))]:
        if end < len(text) and text[end] == "." and _TITLES.search(text, begin, end):
            continue
        match = _ITEM.match(text, begin, end)
        assert match
        if match["item"]:
            items.append(match.span("item"))
        begin = following
    short = all(len(text[start:end].split()) <= _LONGEST for start, end in items)
    return items if len(items) > 1 and short else []
