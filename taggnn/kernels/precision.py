"""Arithmetic that autocast does not round."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def unrounded(x: Tensor) -> AbstractContextManager:
    """Switches autocast off on the device of x: scores and sums stay in the precision of what they are made of."""
    # Tensors without data have no autocast, and nothing to round.
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)
