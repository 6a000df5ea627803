"""The backbones that load PyTorchVideo's published weights, as a table: structure, clip, features, figures, file."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

from torch import nn

from taggnn.backbones.download import Published
from taggnn.backbones.imagenet import IMAGENET
from taggnn.backbones.tokens import Grid
from taggnn.backbones.video.resnet3d import DESIGNS, resnet3d
from taggnn.backbones.video.slowfast import SlowFast
from taggnn.backbones.video.x3d import x3d

FILES = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"
ZOO = "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md"
X3D_ZOO = "https://github.com/facebookresearch/SlowFast/blob/main/MODEL_ZOO.md"
_SLOWFAST, _X3D = "https://arxiv.org/abs/1812.03982", "https://arxiv.org/abs/2004.04730"
_NONLOCAL = "https://arxiv.org/abs/1711.07971"


@dataclass(frozen=True)
class Zoo:
    """One of them, trained on Kinetics-400.

    Attributes:
        builder: makes the feature module.
        paper: link.
        frames, stride, side: the clip: its number of frames, their stride at 30 fps; height and width in pixels.
        channels, grid: C and (T', H', W') of the features.
        head: names of the modules in a file that are left out.
        parameters, gmacs: as published, in millions and thousands of millions.
        figures: where these come from.
        counted: side of the clip that ``gmacs`` counts.
        file: name of the weights below ``FILES``; empty: none are published.
        images: whether weights of an image ResNet can be inflated to it.
    """

    builder: Callable[..., nn.Module]
    paper: str
    frames: int
    stride: int
    side: int
    channels: int
    grid: Grid
    head: tuple[str, ...]
    parameters: float | None
    gmacs: float | None
    file: str
    _: KW_ONLY
    figures: str = ZOO
    counted: int = 256
    images: bool = False

    @property
    def published(self) -> Published | None:
        """The file of the weights, if there is one."""
        return Published(f"{FILES}/{self.file}") if self.file else None

    @property
    def weights(self) -> str:
        """What can be loaded, in words."""
        if self.published is None:
            return "random, or a local file"
        images = f"imagenet ({IMAGENET.url}), " if self.images else ""
        return f"default ({self.published.url}), {images}or a local file"


# ``published`` of the three: parameters, gmacs and file.
def _resnet(design: str, paper: str, frames: int, stride: int, grid: Grid, *published: Any, depth: int = 50) -> Zoo:
    head = ("blocks.6" if DESIGNS[design].halved else "blocks.5",)
    images = DESIGNS[design].middle == "plane"
    builder = partial(resnet3d, design, depth=depth)
    return Zoo(builder, paper, frames, stride, 224, 2048, grid, head, *published, images=images)


def _slowfast(depth: int, alpha: int, kernel: int, frames: int, *published: Any, **options: int) -> Zoo:
    builder = partial(SlowFast, depth=depth, alpha=alpha, kernel=kernel, **options)
    grid = (frames // alpha, 7, 7)
    return Zoo(builder, _SLOWFAST, frames, 2, 224, 2304, grid, ("blocks.6",), *published)


def _x3d(depth: float, frames: int, stride: int, side: int, cells: int, *published: Any) -> Zoo:
    head = ("blocks.5.pool.post_conv", "blocks.5.proj")
    grid = (frames, cells, cells)
    builder = partial(x3d, depth=depth)
    return Zoo(builder, _X3D, frames, stride, side, 432, grid, head, *published, figures=X3D_ZOO, counted=side)


TABLE = {
    "slow_r50_4x16": _resnet("slow", _SLOWFAST, 4, 16, (4, 7, 7), 32.45, 27.55, "SLOW_4x16_R50.pyth"),
    "slow_r50_8x8": _resnet("slow", _SLOWFAST, 8, 8, (8, 7, 7), 32.45, 54.52, "SLOW_8x8_R50.pyth"),
    "i3d_r50_8x8": _resnet("i3d", _NONLOCAL, 8, 8, (4, 7, 7), 28.04, 37.53, "I3D_8x8_R50.pyth"),
    "c2d_r50_8x8": _resnet("c2d", _NONLOCAL, 8, 8, (4, 7, 7), 24.33, 25.89, "C2D_8x8_R50.pyth"),
    "r2plus1d_r50_16x4": _resnet(
        "r2plus1d", "https://arxiv.org/abs/1711.11248", 16, 4, (4, 7, 7), 28.11, 76.45, "R2PLUS1D_16x4_R50.pyth"
    ),
    "csn_r101_32x2": _resnet(
        "csn", "https://arxiv.org/abs/1904.02811", 32, 2, (4, 7, 7), 22.21, 75.62, "CSN_32x2_R101.pyth", depth=101
    ),
    "slowfast_r50_4x16": _slowfast(50, 8, 5, 32, 34.48, 36.69, "SLOWFAST_4x16_R50.pyth"),
    "slowfast_r50_8x8": _slowfast(50, 4, 7, 32, 34.57, 65.71, "SLOWFAST_8x8_R50.pyth"),
    "slowfast_r101_4x16": _slowfast(101, 8, 5, 32, None, None, ""),
    "slowfast_r101_8x8": _slowfast(101, 4, 5, 32, 62.83, 127.20, "SLOWFAST_8x8_R101.pyth"),
    "slowfast_r101_16x8": _slowfast(101, 4, 5, 64, 53.77, 215.61, "SLOWFAST_16x8_R101_50_50.pyth", timed=6),
    "x3d_xs": _x3d(2.2, 4, 12, 160, 5, 3.8, 0.60, "X3D_XS.pyth"),
    "x3d_s": _x3d(2.2, 13, 6, 160, 5, 3.8, 1.96, "X3D_S.pyth"),
    "x3d_m": _x3d(2.2, 16, 5, 224, 7, 3.8, 4.73, "X3D_M.pyth"),
    "x3d_l": _x3d(5.0, 16, 5, 312, 10, 6.2, 18.37, "X3D_L.pyth"),
}
