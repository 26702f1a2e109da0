"""Excitation Backprop through one convolution, in forward operations: arXiv 1608.00507, equation 10.

P(x) = x * W+^T (P(y) / Z), with Z = W+ x and no bias. Winning probability is carried as a ratio, P = ratio *
activation, because only the ratio depends on the signals.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_ZERO = 1e-30  # a Z below this is 0


class WalkedConvolution(nn.Module):
    """The way down through a convolution of a plain network, from its output behind the ReLU to its input.

    Shapes: the input x is (N, C, h, w), at least 0; the output y is (N, D, h', w'), at least 0; the ratio of y is
    (N, K, D, h', w'), or (N, K, D, 1, 1) where it is the same at all places.

    Args:
        convolution: with weights W (D, C, i, j), without groups and dilation.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.kernel, self.stride = convolution.weight.shape[2:], convolution.stride
        self.padding: tuple[int, ...] = tuple(int(each) for each in convolution.padding)
        self.positive: Tensor  # W+
        self.one_tap: Tensor  # a filter for each position of the kernel, 1 there and else 0: (i * j, 1, i, j)
        weight = convolution.weight.detach()
        self.register_buffer("positive", weight.clamp(min=0))
        self.register_buffer("one_tap", torch.eye(weight[0, 0].numel()).to(weight).reshape(-1, 1, *self.kernel))

    def down(self, x: Tensor, y: Tensor, ratio: Tensor) -> Tensor:
        """The ratio of x, (N, K, C, h, w): W+^T (ratio * y / Z)."""
        z = functional.conv2d(x, self.positive, None, self.stride, self.padding)
        share = ratio * (y * reciprocal(z))[:, None]  # P(y) / Z, (N, K, D, h', w')
        flat = functional.conv_transpose2d(
            share.flatten(0, 1), self.positive, None, self.stride, self.padding, self._skipped(x, y)
        )
        return flat.reshape(*share.shape[:2], *x.shape[1:])

    def down_to_map(self, x: Tensor, y: Tensor, ratio: Tensor) -> Tensor:
        """P(x) summed over channels, (N, K, h, w), without the channels of each signal.

        With U the part of Z that each position of the kernel adds, a tap, the map is the sum over D of ratio * y / Z *
        U, put down at the place that the tap has read. Only this sum is made for each signal; U and Z serve all.
        """
        taps = len(self.one_tap)
        seen = functional.conv2d(x.flatten(0, 1)[:, None], self.one_tap, None, self.stride, self.padding)
        seen = seen.reshape(*x.shape[:2], taps, -1).transpose(1, 2)  # what each tap reads: (N, taps, C, h' * w')
        u = self.positive.permute(2, 3, 0, 1).flatten(0, 1) @ seen  # (N, taps, D, h' * w')
        u = u * (y.flatten(2) * reciprocal(u.sum(1)))[:, None]
        if ratio.shape[3:] == (1, 1):
            mass = ratio[:, None, :, :, 0, 0] @ u  # (N, taps, K, h' * w')
        else:
            mass = (ratio.flatten(3).permute(0, 3, 1, 2) @ u.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
        mass = mass.transpose(1, 2).reshape(-1, taps, *y.shape[2:])  # (N * K, taps, h', w')
        maps = functional.conv_transpose2d(mass, self.one_tap, None, self.stride, self.padding, self._skipped(x, y))
        return maps.reshape(*ratio.shape[:2], *x.shape[2:])

    def _skipped(self, x: Tensor, y: Tensor) -> list[int]:
        """Rows and columns at the far edge of x that the stride leaves out."""
        sides = zip(x.shape[2:], y.shape[2:], self.kernel, self.stride, self.padding, strict=True)
        return [size - ((out - 1) * step - 2 * pad + kernel) for size, out, kernel, step, pad in sides]


def reciprocal(z: Tensor) -> Tensor:
    """1 / Z, and 0 where Z = 0; Z is at least 0."""
    return torch.where(z > _ZERO, z.reciprocal(), 0)
