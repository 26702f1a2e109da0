"""Where the taps of a convolution's kernel read its input."""


def met(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[slice, slice]]:
    """For each tap of a kernel along one side, the outputs that it leads to, and the places of x that they read."""
    found = []
    for tap in range(kernel):
        start = tap * dilation - padding  # what output 0 reads
        first = max(0, -(start // stride))  # the first output that reads no padding
        end = max(first, min(outputs, (size - 1 - start) // stride + 1))
        at = start + first * stride
        found.append((slice(first, end), slice(at, at + (end - first - 1) * stride + 1 if end > first else at, stride)))
    return found
