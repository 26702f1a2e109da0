"""What an error says, without its exact words."""


def facts(*patterns: str) -> str:
    """A pattern for `match=` that wants each of these, in any order: the value given, what is expected, the advice."""
    return "(?s)" + "".join(f"(?=.*(?:{pattern}))" for pattern in patterns)
