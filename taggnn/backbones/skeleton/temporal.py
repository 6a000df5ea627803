"""Temporal convolutions of one scale, with BatchNorm.

Axes: B clips, M persons, C channels, T frames, V joints.
"""

from torch import Tensor, nn

from taggnn.backbones.skeleton import initial


class TemporalConvolution(nn.Module):
    """A convolution over frames and BatchNorm.

    Args:
        channels, out: of input and output.
        kernel: frames that it sees, an odd number.
        stride: in frames.
        dilation: distance of those frames.
        norm: whether BatchNorm follows.

    **Shapes:** (B*M, C, T, V) -> (B*M, C', ceil(T / stride), V)
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, dilation: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(channels, out, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
        if norm:
            self.bn = nn.BatchNorm2d(out)
        initial.all_of(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.bn(x) if hasattr(self, "bn") else x


def shortcut(channels: int, out: int, stride: int, first: bool) -> nn.Module | None:
    """The shortcut around a block: none around the first, x itself, or a 1x1 convolution and BatchNorm where sizes change."""
    if first:
        return None
    return nn.Identity() if channels == out and stride == 1 else TemporalConvolution(channels, out, 1, stride)
