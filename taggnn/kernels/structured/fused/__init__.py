"""Fused C++ loops for attention over frames and chains on CPUs, compiled once for a machine; forward and backward.

Where there is no compiler, and for what the loops do not compute, the blocks of ``taggnn.kernels.structured`` stay, with the
same result.
"""

import torch
from torch import Tensor

from taggnn.kernels.structured.fused import library

# Smaller frames are no faster, and the trial of a layer with four nodes compiles nothing.
_FEWEST_POSITIONS = 3
# Channels of a head are filled up with zeros to a multiple of it.
WIDTH = 16


def takes(x: Tensor, positions: int, dropout: float) -> bool:
    """Whether the loops compute this: float32 on a CPU, and they are, or can be, compiled. The first time, it compiles them.

    Args:
        x: what is computed on.
        positions: of a frame.
        dropout: probability that a weight is dropped.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or positions < _FEWEST_POSITIONS or dropout >= 1:
        return False
    # An exported program must run without this package.
    return not torch.compiler.is_exporting() and _compiled()


def _compiled() -> bool:
    return library.load() is not None


# What torch.compiler.assume_constant_result sets, which would import all of torch.compile: that takes the answer as it is.
setattr(_compiled, "_dynamo_marked_constant", True)  # noqa: B010


def how(positions: int) -> str:
    """One phrase on how float32 is computed on a CPU, with the reason where it is not by the loops."""
    if positions < _FEWEST_POSITIONS:
        return f"in blocks: frames of fewer than {_FEWEST_POSITIONS} positions"
    return library.describe()


def seed_of(dropout: float) -> Tensor | None:
    """A number for the hash that draws dropped weights, of PyTorch's own generator; None without dropout."""
    return torch.randint(2**62, (1,), device="cpu") if dropout else None


def padded(x: Tensor) -> Tensor:
    """Channels filled up with zeros. **Shapes:** (..., D) -> (..., D rounded up)"""
    missing = -x.shape[-1] % WIDTH
    return torch.nn.functional.pad(x, (0, missing)) if missing else x
