"""The neighbours of every node, as a kernel gets them, and what all launches share.

Axes: B clips, T frames, P positions of a frame, N nodes, M = B*N rows, A attention heads, D channels of a head.
"""

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime import JITFunction

from taggnn.kernels.triton.blocks import Blocks


class Neighbours(NamedTuple):
    """The neighbours of every node.

    Args:
        frames: T.
        positions: P.
        clique: every two nodes of a frame are neighbours.
        reach: how many frames the chain reaches, at most T - 1, 0 for none.
    """

    frames: int
    positions: int
    clique: bool
    reach: int


def rows(x: Tensor) -> Tensor:
    """Returns (B, N, ...) as (M, ...) with each row in one piece: a view but for layouts that no convolution makes."""
    x = x.flatten(0, 1)
    return x if x[:1].is_contiguous() else x.contiguous()


def check(x: Tensor, dropout: float, kernel: Any) -> None:
    """Refuses what the kernels cannot do.

    Raises:
        ValueError: dropout, or a tensor that Triton cannot reach.
    """
    if dropout > 0:
        raise ValueError(f"impl triton drops no weights, given dropout={dropout}; use structured or pyg")
    if isinstance(kernel, JITFunction) and x.device.type != "cuda":
        raise ValueError(f"impl triton needs a CUDA device, x is on {x.device.type}")


def launch(
    kernel: Any,
    near: Neighbours,
    size: Blocks,
    like: Tensor,
    arguments: tuple[Any, ...],
    loops: bool,
    sources: bool = False,
    **constants: Any,
) -> None:
    """Starts a kernel with one program for each frame and block of its positions, head, and block of a head's channels.

    Args:
        kernel: the kernel.
        near: the neighbours of every node.
        size: of the tiles.
        like: (M, A, D); dots take its type, which also decides the type of the sums.
        arguments: what the kernel takes before its constants.
        loops: every node gets a self-loop.
        sources: the program's own positions are sources instead of targets.
        constants: constants of this kernel alone.
    """
    count, heads, channels = like.shape
    positions = count // near.positions * triton.cdiv(near.positions, size.own)
    sums = tl.float64 if like.dtype == torch.float64 else tl.float32
    # The interpreter's dot takes the bits of bfloat16 for whole numbers.
    dots = getattr(tl, str(like.dtype).removeprefix("torch.")) if isinstance(kernel, JITFunction) else sums
    # Triton starts kernels on the current device, whatever device the tensors are on.
    with torch.cuda.device(like.device) if like.is_cuda else nullcontext():
        kernel[positions, heads, triton.cdiv(channels, size.channels)](
            *arguments,
            FRAMES=near.frames,
            POSITIONS=near.positions,
            HEADS=heads,
            CHANNELS=channels,
            CLIQUE=near.clique,
            LOOPS=loops,
            REACH=near.reach,
            TYPE=dots,
            FLOAT=sums,
            PRECISION="tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee",
            **constants,
            **size.constants(sources),
        )
