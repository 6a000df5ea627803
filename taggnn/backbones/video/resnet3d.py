"""Bottleneck ResNets over space and time in PyTorchVideo's parameter names: Slow, I3D, C2D, R(2+1)D and CSN.

Axes: B clips, C channels, T frames, H W token grid or, for clips, pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from torch import Tensor, nn

from taggnn.names import unknown

# Blocks of the four stages by the name's number of layers.
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
Strides = tuple[int, int, int, int]
# A network that ``initialised`` returns.
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Design:
    """What differs between these networks; the defaults are the most common choices.

    Attributes:
        first: frames of the kernel of each stage's first convolutions, one tuple a stage, repeated block by block.
        middle: the block's second convolution: "plane" 1 x 3 x 3; "depthwise" 3 x 3 x 3, one filter a channel;
            "factorised" 3 x 1 x 1, BatchNorm, ReLU, 1 x 3 x 3.
        stem_frames: frames of the stem's kernel, which is 7 x 7 wide.
        pooled: whether the stem ends in a 3 x 3 max pool of stride 2.
        halved: whether the first stage ends in a max pool over pairs of frames.
        space, time: strides of the stages' first blocks.
        width: channels after the stem.
    """

    first: tuple[tuple[int, ...], ...] = ((1,), (1,), (1,), (1,))
    middle: str = "plane"
    stem_frames: int = 1
    pooled: bool = True
    halved: bool = False
    space: Strides = (1, 2, 2, 2)
    time: Strides = (1, 1, 1, 1)
    width: int = 64


DESIGNS: Mapping[str, Design] = MappingProxyType(
    {
        "slow": Design(first=((1,), (1,), (3,), (3,))),
        "i3d": Design(first=((3,), (3, 1), (3, 1), (1, 3)), stem_frames=5, halved=True),
        "c2d": Design(halved=True),
        "r2plus1d": Design(middle="factorised", pooled=False, space=(2, 2, 2, 2), time=(1, 1, 2, 2)),
        "csn": Design(middle="depthwise", stem_frames=3, time=(1, 2, 2, 2)),
    }
)


class Blocks(nn.Module):
    """Stem and stages one after the other, below the name ``blocks``; pool and projection, the last block, are left out.

    Args:
        blocks: in the order and with the gaps of the published list.

    Attributes:
        description: what was left out, one entry a module.

    **Shapes:** (B, 3, T, H, W) -> (B, C, T', H', W')
    """

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.description = [f"blocks.{len(blocks)} (pool and projection)"]

    def forward(self, clip: Tensor) -> Tensor:
        return self.blocks(clip)


class Stem(nn.Module):
    """Convolution, BatchNorm, ReLU and an optional max pool. **Shapes:** (B, C, T, H, W) -> (B, C', T, H', W')"""

    def __init__(self, conv: nn.Module, channels: int, pooled: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm3d(channels)
        self.activation = nn.ReLU(True)
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if pooled else nn.Identity()

    def forward(self, clip: Tensor) -> Tensor:
        return self.pool(self.activation(self.norm(self.conv(clip))))


class Factorised(nn.Module):
    """Two convolutions one after the other, with or without BatchNorm and ReLU between.

    **Shapes:** (B, C, T, H, W) -> (B, C', T', H', W')
    """

    def __init__(self, conv_t: nn.Conv3d, conv_xy: nn.Conv3d, norm: bool) -> None:
        super().__init__()
        self.conv_t = conv_t
        self.norm = nn.BatchNorm3d(conv_t.out_channels) if norm else nn.Identity()
        self.activation = nn.ReLU(True) if norm else nn.Identity()
        self.conv_xy = conv_xy

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_xy(self.activation(self.norm(self.conv_t(x))))


class Bottleneck(nn.Module):
    """Reduce, convolve, widen. **Shapes:** (B, C, T, H, W) -> (B, C', T', H', W')

    Args:
        channels, inner, out: C of the input, between the convolutions, of the output.
        conv_b: the convolution in the middle.
        frames: of the kernel of the first convolution.
        norm_b, act_b: what follows the middle convolution; BatchNorm and ReLU where not given.
    """

    def __init__(
        self,
        channels: int,
        inner: int,
        out: int,
        conv_b: nn.Module,
        frames: int = 1,
        norm_b: nn.Module | None = None,
        act_b: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(channels, inner, (frames, 1, 1), padding=(frames // 2, 0, 0), bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.act_a = nn.ReLU(True)
        self.conv_b = conv_b
        self.norm_b = norm_b or nn.BatchNorm3d(inner)
        self.act_b = act_b or nn.ReLU(True)
        self.conv_c = nn.Conv3d(inner, out, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act_a(self.norm_a(self.conv_a(x)))
        x = self.act_b(self.norm_b(self.conv_b(x)))
        return self.norm_c(self.conv_c(x))


class Block(nn.Module):
    """A bottleneck and its shortcut. **Shapes:** (B, C, T, H, W) -> (B, C', T', H', W')

    Args:
        branch2: the bottleneck.
        shortcut: (C, C', stride) of the convolution on the shortcut; None where the input is added as it is.
        norm: whether a BatchNorm follows that convolution.
    """

    def __init__(self, branch2: nn.Module, shortcut: tuple | None = None, norm: bool = True) -> None:
        super().__init__()
        self.branch1_conv: nn.Module = nn.Identity()
        self.branch1_norm: nn.Module = self.branch1_conv
        if shortcut is not None:
            channels, out, stride = shortcut
            self.branch1_conv = nn.Conv3d(channels, out, 1, stride, bias=False)
            self.branch1_norm = nn.BatchNorm3d(out) if norm else nn.Identity()
        self.branch2 = branch2
        self.activation = nn.ReLU(True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.branch1_norm(self.branch1_conv(x)) + self.branch2(x))


class Stage(nn.Module):
    """Blocks one after the other, below the name ``res_blocks``. **Shapes:** (B, C, T, H, W) -> (B, C', T', H', W')"""

    def __init__(self, *blocks: Block) -> None:
        super().__init__()
        self.res_blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.res_blocks(x)


def resnet3d(design: str, depth: int = 50) -> Blocks:
    """Builds one of ``DESIGNS`` without pool and projection, random weights.

    Source: Slow: Feichtenhofer et al., https://arxiv.org/abs/1812.03982; I3D and C2D: Wang et al.,
    https://arxiv.org/abs/1711.07971; R(2+1)D: Tran et al., https://arxiv.org/abs/1711.11248; CSN (interaction-reduced):
    Tran et al., https://arxiv.org/abs/1904.02811; names: https://github.com/facebookresearch/pytorchvideo

    Args:
        design: a key of ``DESIGNS``.
        depth: layers by name, 50 or 101.

    **Shapes:** (B, 3, T, H, W) -> (B, 2048, T', H/32, W/32), rounded up; T' = T (slow), T/2 rounded down (i3d, c2d), T/4
    (r2plus1d) or T/8 (csn), rounded up

    Raises:
        ValueError: an unknown design or depth.
    """
    if design not in DESIGNS:
        raise unknown("3D ResNet", design, DESIGNS)
    form, depths = DESIGNS[design], depths_of(depth)
    blocks: list[nn.Module] = [stem(form)]
    channels = form.width
    for index in range(4):
        blocks.append(stage(form, index, depths[index], channels))
        channels = 4 * form.width * 2**index
        if index == 0 and form.halved:
            blocks.append(nn.MaxPool3d((2, 1, 1)))
    return initialised(Blocks(*blocks))


def depths_of(depth: int) -> tuple[int, ...]:
    """Blocks of the four stages; raises ValueError for a number of layers that has none."""
    if depth not in DEPTHS:
        raise ValueError(f"depth={depth}; possible are {', '.join(map(str, DEPTHS))}")
    return DEPTHS[depth]


def stem(design: Design) -> Stem:
    """The stem of a design. **Shapes:** (B, 3, T, H, W) -> (B, width, T, H/4, W/4), or H/2, W/2 without its pool"""
    frames = design.stem_frames
    conv = nn.Conv3d(3, design.width, (frames, 7, 7), (1, 2, 2), (frames // 2, 3, 3), bias=False)
    return Stem(conv, design.width, design.pooled)


def stage(design: Design, index: int, depth: int, channels: int) -> Stage:
    """A stage of a design.

    Args:
        design: the network.
        index: 0 to 3.
        depth: how many blocks.
        channels: C of what comes in.

    **Shapes:** (B, channels, T, H, W) -> (B, 4 * width * 2^index, T', H', W')
    """
    inner = design.width * 2**index
    out, kernels = 4 * inner, design.first[index]
    blocks = []
    for number in range(depth):
        stride = (design.time[index], design.space[index], design.space[index]) if number == 0 else (1, 1, 1)
        branch = Bottleneck(channels, inner, out, _middle(design.middle, inner, stride), kernels[number % len(kernels)])
        changed = channels != out or stride != (1, 1, 1)
        blocks.append(Block(branch, (channels, out, stride) if changed else None))
        channels = out
    return Stage(*blocks)


def initialised(module: Net) -> Net:
    """Random weights, in place: He's normal draw over the outputs, and blocks that start as their shortcuts.

    Source: He et al., https://arxiv.org/abs/1502.01852; the last BatchNorm of a block starts at 0: Goyal et al.,
    https://arxiv.org/abs/1706.02677, as the SlowFast and X3D papers train.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, Bottleneck):
            nn.init.zeros_(part.norm_c.weight)
    return module


def _middle(kind: str, channels: int, stride: tuple[int, int, int]) -> nn.Module:
    time, height, width = stride
    if kind == "factorised":
        return Factorised(
            nn.Conv3d(channels, channels, (3, 1, 1), (time, 1, 1), (1, 0, 0), bias=False),
            nn.Conv3d(channels, channels, (1, 3, 3), (1, height, width), (0, 1, 1), bias=False),
            norm=True,
        )
    frames, groups = (3, channels) if kind == "depthwise" else (1, 1)
    return nn.Conv3d(channels, channels, (frames, 3, 3), stride, (frames // 2, 1, 1), groups=groups, bias=False)
