"""X3D in PyTorchVideo's parameter names.

Axes: B clips, C channels, T frames, H W token grid or, for clips, pixels.
"""

import math
from collections import OrderedDict

from torch import Tensor, nn

from taggnn.backbones.video.resnet3d import Block, Blocks, Bottleneck, Factorised, Stage, Stem, initialised

# Channels and blocks of the four stages before the network is made deeper.
STAGES = ((24, 1), (48, 2), (96, 5), (192, 3))


class Excitation(nn.Module):
    """Scales channels by a gate computed from their averages over the clip. **Shapes:** (B, C, T, H, W) -> (B, C, T, H, W)

    Source: Hu et al., "Squeeze-and-Excitation Networks", https://arxiv.org/abs/1709.01507

    Formula: ``y = x sigmoid(W2 relu(W1 mean_{T,H,W}(x) + b1) + b2)``
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(channels, inner, 1), nn.ReLU(True), nn.Conv3d(inner, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.block(x.mean((2, 3, 4), keepdim=True))


class Conv5(nn.Module):
    """The widening before the pool: 1 x 1 x 1, BatchNorm, ReLU. **Shapes:** (B, C, T, H, W) -> (B, C', T, H, W)"""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.pool = nn.Sequential(
            OrderedDict(
                pre_conv=nn.Conv3d(channels, out, 1, bias=False), pre_norm=nn.BatchNorm3d(out), pre_act=nn.ReLU(True)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)


def x3d(depth: float = 2.2) -> Blocks:
    """Builds X3D up to its pool, random weights.

    The published names put the widening to 432 channels into the head (``blocks.5.pool.pre_conv`` and ``pre_norm``). It
    works position by position before the pool, and the paper lists it as the network's conv5: so it stays, and what is removed
    begins with the pool.

    Source: Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition",
    https://arxiv.org/abs/2004.04730; names: https://github.com/facebookresearch/pytorchvideo

    Args:
        depth: how many times deeper than its base (default 2.2, of XS, S and M, which differ in their clips; L has 5.0).

    **Shapes:** (B, 3, T, H, W) -> (B, 432, T, H/32, W/32), rounded up

    Raises:
        ValueError: a depth that is not positive.
    """
    if not depth > 0:
        raise ValueError(f"depth={depth} must be above 0")
    channels = STAGES[0][0]
    plane = nn.Conv3d(3, channels, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
    time = nn.Conv3d(channels, channels, (5, 1, 1), padding=(2, 0, 0), groups=channels, bias=False)
    # The published names call the spatial convolution conv_t and the temporal one conv_xy.
    blocks: list[nn.Module] = [Stem(Factorised(plane, time, norm=False), channels, pooled=False)]
    for out, count in STAGES:
        blocks.append(_stage(channels, out, math.ceil(depth * count)))
        channels = out
    model = Blocks(*blocks, Conv5(channels, channels * 9 // 4))
    model.description = ["blocks.5.pool (pool and projection)", "blocks.5.proj"]
    return initialised(model)


def _stage(channels: int, out: int, depth: int) -> Stage:
    inner, blocks = out * 9 // 4, []
    for number in range(depth):
        stride = (1, 2, 2) if number == 0 else (1, 1, 1)
        conv = nn.Conv3d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        # Every second block weighs its channels.
        excitation = Excitation(inner, _eighths(inner / 16)) if number % 2 == 0 else nn.Identity()
        norm = nn.Sequential(nn.BatchNorm3d(inner), excitation)
        branch = Bottleneck(channels, inner, out, conv, norm_b=norm, act_b=nn.SiLU(True))
        shortcut = (channels, out, stride) if number == 0 else None
        blocks.append(Block(branch, shortcut, norm=channels != out))
        channels = out
    return Stage(*blocks)


def _eighths(width: float) -> int:
    """The nearest multiple of 8, 8 or more, and not less than nine tenths of the width."""
    near = max(8, int(width + 4) // 8 * 8)
    return near if near >= 0.9 * width else near + 8
