"""The temporal shift: a part of the channels comes from the frame before, and as many from the frame after.

Source: TSM, Lin et al., https://arxiv.org/abs/1811.08383: no parameters and no multiply-adds, so weights of images fit.

Axes: B clips, C channels, T frames, H W of a map.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Class of a residual block -> the first layer of its residual branch, of which a block has one: of timm, and of our own.
FIRST: dict[str, tuple[str, ...]] = {
    "BasicBlock": ("conv1", "conv1_kxk"),
    "Bottleneck": ("conv1",),
    "BottleneckBlock": ("conv1_1x1",),
    "PreActBasic": ("conv1",),
    "PreActBottleneck": ("conv1",),
    "Bottle2neck": ("conv1",),
    "InvertedResidual": ("conv_pw",),
    "EdgeResidual": ("conv_exp",),
    "DepthwiseSeparableConv": ("conv_dw",),
    "ConvNeXtBlock": ("conv_dw",),
    "NormFreeBlock": ("conv1",),
    "MBConvBlock": ("_expand_conv", "_depthwise_conv"),
}
_KNOWN = (
    "ResNet, ResNeXt, Res2Net, RegNet, ResNetV2, NFNet, ConvNeXt, MobileNet, EfficientNet and others of their blocks"
)


class TemporalShift:
    """A hook that shifts what a layer takes.

    Args:
        share: of the channels that are taken from other frames, half of it from each side.

    Attributes:
        frames: T of the clips, whose frames lie next to each other in the batch.
    """

    def __init__(self, share: float) -> None:
        self.share, self.frames = share, 1

    def __call__(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return shifted(inputs[0], self.frames, self.share), *inputs[1:]


def shifted(x: Tensor, frames: int, share: float) -> Tensor:
    """Takes channels from the neighbouring frames, and zeros at the ends of the clip.

    Formula, with n = floor(share C / 2)::

        y[t, c] = x[t + 1, c]  for c < n,  x[t - 1, c]  for n <= c < 2 n,  x[t, c]  for the others

    Args:
        x: maps, the frames of a clip next to each other.
        frames: T.
        share: of the channels, 0 to 1.

    **Shapes:** (B*T, C, H, W) -> (B*T, C, H, W)
    """
    count = int(share * x.shape[1] / 2)
    if count == 0:
        return x
    clips = x.unflatten(0, (-1, frames))
    after, before, same = clips[:, :, :count], clips[:, :, count : 2 * count], clips[:, :, 2 * count :]
    after = F.pad(after[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
    before = F.pad(before[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat([after, before, same], 2).flatten(0, 1)


def insert(network: nn.Module, share: float) -> list[TemporalShift]:
    """Shifts what the residual branch of every block takes; the shortcut keeps the frame as it is.

    As in TSM, the inverted bottlenecks of MobileNet and EfficientNet that have no shortcut are left out. Its authors' code leaves
    out every second block of a ResNet-101 too; here all have it [ours].

    Args:
        network: of images; its blocks get hooks.
        share: of the channels, 0 to 1: 0 for none; TSM takes 0.25, an eighth of the channels from each side.

    Returns:
        The hooks, whose ``frames`` have to be set before every run.

    Raises:
        ValueError: a share out of range, or no residual block that is known here.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"temporal_shift must be a share of the channels, 0 to 1, got {share!r}")
    if share == 0:
        return []
    shifts = []
    for block in network.modules():
        if not getattr(block, "has_skip", True):
            continue
        names = [
            name for name in FIRST.get(type(block).__name__, ()) if isinstance(getattr(block, name, None), nn.Module)
        ]
        for name in names[:1]:
            shifts.append(TemporalShift(share))
            block.get_submodule(name).register_forward_pre_hook(shifts[-1])
    if not shifts:
        raise ValueError(
            f"temporal_shift={share}: this network has no residual blocks of convolutions that could take it; possible for "
            f"{_KNOWN}; leave it out for this one"
        )
    return shifts
