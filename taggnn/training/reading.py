"""Losses on their way from the device to the program, which does not wait for them until it needs them."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Reading:
    """Copies numbers to the host behind what the device was given so far; what is given to it later does not delay them.

    A program that reads a loss right after the forward pass lets a GPU run dry: the backward pass is queued only then. Begun
    before the backward pass and waited for after the optimiser step, the copy costs no time.

    Args:
        numbers: scalars.
        device: where the step is computed.
    """

    def __init__(self, numbers: Sequence[Tensor], device: torch.device) -> None:
        self._copied: torch.cuda.Event | None = None
        self._numbers: Tensor | None = None
        if numbers:
            together = torch.stack([number.detach().to(device) for number in numbers])
            # Into page-locked memory, which PyTorch takes for it.
            self._numbers = together.to("cpu", non_blocking=True) if device.type == "cuda" else together
            if device.type == "cuda":
                self._copied = torch.cuda.Event()
                self._copied.record(torch.cuda.current_stream(device))

    def wait(self) -> list[float]:
        """The numbers, in their order; empty if there are none."""
        if self._copied is not None:
            self._copied.synchronize()
        return [] if self._numbers is None else self._numbers.tolist()
