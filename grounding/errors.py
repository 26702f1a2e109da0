"""The errors a caller can mend. Each message is one line: what was given, what was expected, what to do."""


class GroundingError(ValueError):
    """Bad input: a file, an option, a caption or a configuration. Command lines print it and exit with status 2."""


class UnsupportedOperationError(GroundingError):
    """The forward pass ran an operation that has no Excitation Backprop rule."""
