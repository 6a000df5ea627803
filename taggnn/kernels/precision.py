"""Arithmetic that autocast does not round."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def unrounded(x: Tensor) -> AbstractContextManager:
    """Switches autocast off on the device of x: scores and sums stay in the precision of their inputs."""
    # Tensors without data have no autocast, and nothing to round. An exported program stays one graph where possible.
    kind = x.device.type
    if kind == "meta" or (torch.compiler.is_exporting() and not torch.is_autocast_enabled(kind)):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def wide(x: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is in that."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
