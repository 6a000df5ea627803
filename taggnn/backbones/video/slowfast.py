"""SlowFast in PyTorchVideo's parameter names: two pathways, one clip in, one grid of tokens out.

Axes: B clips, C channels, T frames of the clip, T' frames of the slow pathway, H W token grid or, for clips, pixels.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from taggnn.backbones.outputs import shrunk
from taggnn.backbones.video.resnet3d import DESIGNS, Design, depths_of, initialised, stage, stem

# The fast pathway has an eighth of the channels, and twice as many reach the slow one.
THIN, FUSED = 8, 2
SLOW = DESIGNS["slow"]
FAST = Design(first=((3,), (3,), (3,), (3,)), stem_frames=5, width=SLOW.width // THIN)


class Pathways(nn.Module):
    """One block of both pathways; the output of the fast one is then fused into the slow one.

    **Shapes:** slow (B, C, T', H, W) and fast (B, C/8, T, H, W) -> the same pair after the block, slow with C/4 more
    """

    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: nn.Module | None) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = fusion

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        slow, fast = self.multipathway_blocks[0](slow), self.multipathway_blocks[1](fast)
        if self.multipathway_fusion is not None:
            slow = torch.cat([slow, self.multipathway_fusion(fast)], 1)
        return slow, fast


class Fusion(nn.Module):
    """A strided convolution over time, BatchNorm, ReLU. **Shapes:** (B, C, T, H, W) -> (B, 2C, T/alpha, H, W), up"""

    def __init__(self, channels: int, kernel: int, alpha: int) -> None:
        super().__init__()
        out = FUSED * channels
        self.conv_fast_to_slow = nn.Conv3d(
            channels, out, (kernel, 1, 1), (alpha, 1, 1), (kernel // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(out)
        self.activation = nn.ReLU(True)

    def forward(self, fast: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv_fast_to_slow(fast)))


class SlowFast(nn.Module):
    """SlowFast without pool and projection; both pathways in one grid.

    Source: Feichtenhofer et al., "SlowFast Networks for Video Recognition", https://arxiv.org/abs/1812.03982; names and
    choice of frames: https://github.com/facebookresearch/pytorchvideo. The fast pathway is averaged over time to the slow
    one's frames and concatenated after its channels [ours], as the paper's own classifier does after averaging over all of time.

    Formula::

        slow_i = frame floor(i (T - 1) / (T' - 1)) of the clip, i = 0 .. T' - 1, T' = ceil(T / alpha)
        tokens = concat(slow pathway, mean over its share of time of the fast pathway)    2048 + 256 channels

    Args:
        depth: layers by name, 50 (default) or 101.
        alpha: frames of the clip for one of the slow pathway (default 4).
        kernel: frames of the convolutions from fast to slow, odd (default 7).
        timed: how many blocks of the third stage have kernels over time; None (default) for all.

    Attributes:
        first: names of the convolutions whose input is the clip.
        description: what was left out, one entry a module.

    **Shapes:** (B, 3, T, H, W) -> (B, 2304, T', H/32, W/32), rounded up; any T from 1 on

    Raises:
        ValueError: an option out of range.
    """

    first = ("blocks.0.multipathway_blocks.0.conv", "blocks.0.multipathway_blocks.1.conv")

    def __init__(self, depth: int = 50, alpha: int = 4, kernel: int = 7, timed: int | None = None) -> None:
        super().__init__()
        depths = depths_of(depth)
        for name, value in {"alpha": alpha, "kernel": kernel, "timed": 0 if timed is None else timed}.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"{name}={value!r} must be a whole number")
        if alpha < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"alpha={alpha} must be 1 or more, kernel={kernel} odd")
        if timed is not None and not 0 <= timed <= depths[2]:
            raise ValueError(f"timed={timed}; the third stage has {depths[2]} blocks")
        self.alpha = alpha
        pathways = [SLOW, FAST]
        if timed is not None:
            third = (3,) * timed + (1,) * (depths[2] - timed)
            pathways = [replace(way, first=(*way.first[:2], third, way.first[3])) for way in pathways]
        slow, fast = SLOW.width, FAST.width
        blocks = [Pathways(stem(pathways[0]), stem(pathways[1]), Fusion(fast, kernel, alpha))]
        for index in range(4):
            pair = [
                stage(way, index, depths[index], channels)
                for way, channels in zip(pathways, (slow + FUSED * fast, fast), strict=True)
            ]
            slow, fast = (4 * way.width * 2**index for way in pathways)
            blocks.append(Pathways(pair[0], pair[1], Fusion(fast, kernel, alpha) if index < 3 else None))
        self.blocks = nn.ModuleList(blocks)
        self.description = ["blocks.5 (pool)", "blocks.6 (projection)"]
        initialised(self)

    def forward(self, clip: Tensor) -> Tensor:
        slow, fast = clip[:, :, slow_frames(clip.shape[2], self.alpha)], clip
        for block in self.blocks:
            slow, fast = block(slow, fast)
        return torch.cat([slow, shrunk(fast, slow.shape[2:])], 1)


def slow_frames(frames: int, alpha: int) -> list[int]:
    """Frames of the clip for the slow pathway: evenly spread, the first and the last among them.

    The published weights were trained with this choice, not with every alpha-th frame from the first on.

    Args:
        frames: T of the clip.
        alpha: frames of the clip for one of them.
    """
    count = -(-frames // alpha)
    return [index * (frames - 1) // max(count - 1, 1) for index in range(count)]
