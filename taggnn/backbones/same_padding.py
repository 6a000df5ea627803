"""TensorFlow's SAME padding.

Axes: B clips or images, C channels, T frames, H W pixels.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def same_padding(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pads with zeros as TensorFlow's SAME does, so that each axis comes out as its size / stride, rounded up.

    Formula: ``total = max(kernel - (size mod stride or stride), 0)``, half of it before, rounded down, the rest after.

    **Shapes:** (B, C, T, H, W) -> (B, C, T + t, H + h, W + w), of images without T
    """
    edges = []
    for size, wide, step in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(wide - (size % step or step), 0)
        edges += [total // 2, total - total // 2]
    return F.pad(x, edges) if any(edges) else x
