"""A small video network meant for CPU: training from scratch on short, small clips in minutes."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.names import unknown


class Small(nn.Module):
    """Three stages of factorised (2+1)D residual blocks after a strided stem, wide in time and narrow in channels.

    Source: [ours], from the factorised convolutions of R(2+1)D (https://arxiv.org/abs/1711.11248) and the shortcut that
    averages before it projects (https://arxiv.org/abs/1812.01187). A block is one convolution over space and one over
    time. Time keeps its resolution by default: the order of the frames is what fine-grained classes differ in.

    Formula::

        d_t    = v_t - v_{t-1}, d_0 = 0                                            with input "difference" or "both"
        x0     = relu(BN(conv_1x5x5(v, d, or both)))                               stride 2 in space
        x_i    = relu(BN(conv_3x1x1(relu(BN(conv_1x3x3(x_{i-1}))))) + shortcut)    stride 2 in space at each stage
        (B, 3, T, H, W) -> (B, 8*width, ceil(T / time_stride), ceil(H / space_stride), ceil(W / space_stride))

    Parameters and, for a clip of 12 x 40 x 64 and of 16 x 112 x 112, millions of multiply-adds: 390,936, 127 and 784 with
    the default width, 174,608, 60 and 368 with width 16 [ours].

    Args:
        width: channels after the stem; the stages have 2, 4 and 8 times as many (default 24).
        depth: blocks of a stage (default 1).
        time_stride: 1 (default) keeps every frame; 2 halves the frames at the last stage, 4 at the last two.
        space_stride: 16 (default); 8 keeps the resolution at the last stage, for a finer grid and 1.8 times the work.
        drop: probability of dropping whole channels of a clip after each stage, in training (default 0).
        input: what the stem sees: "rgb", the frames (default); "difference", what changed since the frame before, which leaves
            out what stands still, such as a face or a background (the RGB difference of https://arxiv.org/abs/1608.00859); or
            "both".

    **Shapes:** (B, 3, T, H, W) -> (B, 8*width, T', H', W') as in the formula; any T, H, W from 1 on.

    Raises:
        ValueError: an option out of range.
    """

    def __init__(
        self,
        width: int = 24,
        depth: int = 1,
        time_stride: int = 1,
        space_stride: int = 16,
        drop: float = 0.0,
        input: Literal["rgb", "difference", "both"] = "rgb",
    ) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise ValueError(f"backbone small: width={width} and depth={depth} must be 1 or more")
        if time_stride not in (1, 2, 4):
            raise ValueError(f"backbone small: time_stride={time_stride}; possible are 1, 2 and 4")
        if space_stride not in (8, 16):
            raise ValueError(f"backbone small: space_stride={space_stride}; possible are 8 and 16")
        if input not in ("rgb", "difference", "both"):
            raise unknown("input", input, ["rgb", "difference", "both"])
        self.input = input
        strides = {1: (1, 1, 1), 2: (1, 1, 2), 4: (1, 2, 2)}[time_stride]
        shrinks = (2, 2, space_stride // 8)
        self.stem = nn.Sequential(
            nn.Conv3d(6 if input == "both" else 3, width, (1, 5, 5), (1, 2, 2), (0, 2, 2), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(True),
        )
        stages, channels = [], width
        for stride, shrink in zip(strides, shrinks, strict=True):
            blocks = [_Block(channels, 2 * channels, stride, shrink)]
            channels *= 2
            blocks += [_Block(channels, channels, 1, 1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks, nn.Dropout3d(drop)))
        self.stages = nn.Sequential(*stages)
        self.channels = channels

    def forward(self, clip: Tensor) -> Tensor:
        return self.stages(self.stem(self._seen(clip)))

    def _seen(self, clip: Tensor) -> Tensor:
        """**Shapes:** (B, 3, T, H, W) -> (B, 3 or 6, T, H, W)"""
        if self.input == "rgb":
            return clip
        change = clip - torch.cat([clip[:, :, :1], clip[:, :, :-1]], 2)
        return change if self.input == "difference" else torch.cat([clip, change], 1)


class _Block(nn.Module):
    """Space, then time, and a shortcut. **Shapes:** (B, C, T, H, W) -> (B, C', T/stride, H/shrink, W/shrink), rounded up"""

    def __init__(self, channels: int, out: int, stride: int, shrink: int) -> None:
        super().__init__()
        self.space = nn.Conv3d(channels, out, (1, 3, 3), (1, shrink, shrink), (0, 1, 1), bias=False)
        self.space_norm = nn.BatchNorm3d(out)
        self.time = nn.Conv3d(out, out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)
        self.time_norm = nn.BatchNorm3d(out)
        self.act = nn.ReLU(True)
        self.shortcut: nn.Module = nn.Identity()
        if channels != out:
            self.shortcut = nn.Sequential(
                _Shrink(stride, shrink, shrink), nn.Conv3d(channels, out, 1, bias=False), nn.BatchNorm3d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.space_norm(self.space(x)))
        return self.act(self.time_norm(self.time(y)) + self.shortcut(x))


class _Shrink(nn.Module):
    """Average over boxes of ``step`` elements, smaller ones at the far edges. **Shapes:** (B, C, *) -> (B, C, */step), up"""

    def __init__(self, *step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        # A box larger than the clip, as for a single frame, is refused by torch.
        box = [min(step, size) for step, size in zip(self.step, x.shape[2:], strict=True)]
        return F.avg_pool3d(x, box, self.step, ceil_mode=True, count_include_pad=False)
