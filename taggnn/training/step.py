"""One step of the optimiser: the mean gradient over the clips of its batches, of all processes, clipped and scaled."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from taggnn.model import Recogniser
from taggnn.runtime import distributed
from taggnn.training import optim, parallel
from taggnn.training.ema import Average
from taggnn.training.options import Optimisation

# Steps in a row that a scaler may leave out: by then its scale has become 2**40 times smaller.
OVERFLOWS = 40
_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Step:
    """Optimiser, gradient scaler and averaged weights of a model.

    Args:
        model: the recogniser, sharded already where it is to be.
        optimisation: how it is trained.
        precision: "32-true", "bf16-mixed" or "16-mixed".
    """

    def __init__(self, model: Recogniser, optimisation: Optimisation, precision: str) -> None:
        self.model, self.clip, self.device = model, optimisation.gradient_clip, next(model.parameters()).device
        self.dtype = _DTYPES.get(precision)
        self.optimiser = optim.optimiser(model, optimisation)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "16-mixed")
        self.ema = None if optimisation.ema is None else Average(model, optimisation.ema)
        # Of the last step, before it was clipped.
        self.gradient_norm: Tensor | None = None
        # Steps that an overflowing gradient left out, of the run and among the last ones in a row.
        self.left_out = self.overflows = 0
        # Of the running step: its clips, and those of its first batch.
        self._clips, self._unit = 0.0, 0.0

    @property
    def rate(self) -> float:
        """The learning rate of the head."""
        return self.optimiser.param_groups[-1]["lr"]

    def set_rate(self, share: float) -> None:
        """Sets the learning rate of every group to a share of its peak."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * share

    def autocast(self) -> AbstractContextManager:
        """In which numbers the model computes."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor | None, here: int, clips: float) -> None:
        """Adds the gradient of a batch.

        Batches count by their clips, in units of the first of the step, and gradients are averaged over processes; ``take``
        makes the mean over the clips of the step of that.

        Args:
            loss: the mean over the clips of this process; None where no process has one.
            here: how many those are.
            clips: those of all processes.
        """
        self._unit, self._clips = self._unit or clips, self._clips + clips
        if loss is not None:
            self.scaler.scale(loss * (here * distributed.world_size() / self._unit if clips else 0.0)).backward()

    def take(self) -> bool:
        """Takes the step and says whether it changed the weights: not where a scaled gradient overflowed.

        Weights do not even decay where none of its batches had a clip.
        """
        taken = True
        if self._clips:
            self.scaler.unscale_(self.optimiser)
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            if self._unit != self._clips:
                torch._foreach_mul_(gradients, self._unit / self._clips)
            norm = nn.utils.get_total_norm(gradients)
            # Of weights that are shared out, each process has a part.
            self.gradient_norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
            if self.clip:
                nn.utils.clip_grads_with_norm_(self.model.parameters(), self.clip, norm)
            scale = self.scaler.get_scale()
            self.scaler.step(self.optimiser)
            self.scaler.update()
            # The scaler leaves out a step whose gradient is inf or nan, and then makes its scale smaller.
            taken = self.scaler.get_scale() >= scale
        self.optimiser.zero_grad()
        self._clips, self._unit = 0.0, 0.0
        self.left_out, self.overflows = self.left_out + (not taken), 0 if taken else self.overflows + 1
        if taken:
            for part in self.model.modules():
                if after_step := getattr(part, "after_step", None):
                    after_step()
            if self.ema:
                self.ema.update()
        return taken

    def state_dict(self) -> dict[str, Any]:
        """Weights and all that continues them, whole; every process must call it."""
        model, optimiser = parallel.whole(self.model.state_dict()), parallel.whole(self.optimiser.state_dict())
        weights = self.ema.state(model) if self.ema else {"model": model}
        counts = {"left_out": self.left_out, "overflows": self.overflows}
        return {**weights, "optimiser": optimiser, "scaler": self.scaler.state_dict(), "steps": counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from ``state_dict``, of any number of processes."""
        parallel.load_model(self.model, state["model"])
        if self.ema:
            self.ema.load(state)
        parallel.load_optimiser(self.optimiser, state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.left_out, self.overflows = state["steps"]["left_out"], state["steps"]["overflows"]


def diverged(epoch: int, batch: int, found: str) -> ValueError:
    """The error that ends a run whose loss or gradient is no number; epoch and batch are counted from 0."""
    return ValueError(
        f"epoch {epoch + 1}, batch {batch + 1}: {found}: training has diverged. A smaller optim.lr, optim.warmup_epochs or "
        "optim.gradient_clip help most often; precision 32-true has the largest range"
    )
