"""Who hears whom, as the kernels are told it, and what every launch has in common.

Axes: B clips, T frames, P places of a frame, N nodes, M = B*N rows, A attention heads, D channels of a head.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime import JITFunction


class Neighbours(NamedTuple):
    """The neighbours of every node.

    Args:
        frames: T.
        places: P.
        clique: the nodes of a frame hear each other.
        reach: how many frames the chain reaches, at most T - 1, 0 for none.
    """

    frames: int
    places: int
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
    kernel: Any, near: Neighbours, block: int, like: Tensor, *arguments: Any, loops: bool, **constants: Any
) -> None:
    """Starts a kernel with one program for each frame and block of its places, head, and block of a head's channels.

    Args:
        kernel: the kernel.
        near: who hears whom.
        block: places of a program.
        like: (M, A, D); its type is that of the dots, and decides in which one sums are kept.
        arguments: what the kernel takes before the constants.
        loops: a node hears itself.
        constants: constants of this kernel alone, and ``num_warps``, ``num_stages``.
    """
    count, heads, channels = like.shape
    programs = (
        count // near.places * triton.cdiv(near.places, block),
        heads,
        triton.cdiv(channels, constants["BLOCK_D"]),
    )
    floating = tl.float64 if like.dtype == torch.float64 else tl.float32
    # The interpreter's dot takes the bits of bfloat16 for whole numbers.
    narrow = getattr(tl, str(like.dtype).removeprefix("torch.")) if isinstance(kernel, JITFunction) else floating
    kernel[programs](
        *arguments,
        FRAMES=near.frames,
        PLACES=near.places,
        HEADS=heads,
        CHANNELS=channels,
        CLIQUE=near.clique,
        LOOPS=loops,
        REACH=near.reach,
        TYPE=narrow,
        FLOAT=floating,
        PRECISION="tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee",
        **constants,
    )
