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

# Skipped steps in a row after which a run ends: the scale has become 2**40 times smaller by then.
OVERFLOWS = 40
_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Step:
    """Optimiser, gradient scaler and averaged weights of a model.

    Args:
        model: the recogniser, sharded already for FSDP.
        optimisation: how it is trained.
        precision: "32-true", "bf16-mixed" or "16-mixed".
    """

    def __init__(self, model: Recogniser, optimisation: Optimisation, precision: str) -> None:
        self.model, self.clip, self.device = model, optimisation.gradient_clip, next(model.parameters()).device
        self.dtype = _DTYPES.get(precision)
        self.optimiser = optim.optimiser(model, optimisation)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "16-mixed")
        self.ema = None if optimisation.ema is None else Average(model, optimisation.ema)
        # Of the last step, before clipping.
        self.gradient_norm: Tensor | None = None
        # Steps skipped because a gradient overflowed: in the whole run, and in a row until now.
        self.skipped = self.overflows = 0
        # Clips of the running step, and of its first batch.
        self._clips, self._unit = 0.0, 0.0

    @property
    def rate(self) -> float:
        """The learning rate of the head."""
        return self.optimiser.param_groups[-1]["lr"]

    @property
    def begun(self) -> bool:
        """Whether gradients were added that no step has taken yet."""
        return self._clips > 0

    def set_rate(self, share: float) -> None:
        """Sets the learning rate of every group to a share of its peak."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * share

    def autocast(self) -> AbstractContextManager:
        """The precision of the forward pass."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor | None, here: int, clips: float) -> None:
        """Adds the gradient of a batch.

        A batch counts by its clips, in units of the first batch of the step, and gradients are averaged over processes;
        ``take`` divides by the clips of the step.

        Args:
            loss: the mean over the clips of this process; None if no process has a clip.
            here: clips of this process.
            clips: clips of all processes.
        """
        self._unit, self._clips = self._unit or clips, self._clips + clips
        if loss is not None:
            self.scaler.scale(loss * (here * distributed.world_size() / self._unit if clips else 0.0)).backward()

    def take(self) -> bool:
        """Takes the step; returns whether it changed the weights, which a step with an overflowing scaled gradient does not.

        Without a clip in any of its batches not even weight decay is applied.
        """
        some, taken = self._clips > 0, True
        if some:
            self.scaler.unscale_(self.optimiser)
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            if self._unit != self._clips:
                torch._foreach_mul_(gradients, self._unit / self._clips)
            norm = nn.utils.get_total_norm(gradients)
            # With FSDP each process has a shard.
            self.gradient_norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
            if self.clip:
                nn.utils.clip_grads_with_norm_(self.model.parameters(), self.clip, norm)
            scale = self.scaler.get_scale()
            self.scaler.step(self.optimiser)
            self.scaler.update()
            # The scaler skips a step whose gradient is inf or nan, and then reduces its scale.
            taken = self.scaler.get_scale() >= scale
        self.optimiser.zero_grad()
        self._clips, self._unit = 0.0, 0.0
        self.skipped, self.overflows = self.skipped + (not taken), 0 if taken else self.overflows + 1
        if some and taken:
            for part in self.model.modules():
                if after_step := getattr(part, "after_step", None):
                    after_step()
            if self.ema:
                self.ema.update()
        return taken

    def state_dict(self) -> dict[str, Any]:
        """Weights and everything that is needed to resume, unsharded; every process must call it."""
        model, optimiser = parallel.unsharded(self.model.state_dict()), parallel.unsharded(self.optimiser.state_dict())
        weights = self.ema.state(model) if self.ema else {"model": model}
        counts = {"left_out": self.skipped, "overflows": self.overflows}
        return {**weights, "optimiser": optimiser, "scaler": self.scaler.state_dict(), "steps": counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resumes from the ``state_dict`` of any number of processes."""
        parallel.load_model(self.model, state["model"])
        if self.ema:
            self.ema.load(state)
        parallel.load_optimiser(self.optimiser, state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.skipped, self.overflows = state["steps"]["left_out"], state["steps"]["overflows"]


def diverged(epoch: int, batch: int, found: str) -> ValueError:
    """The error for a loss or gradient that is not a number; epoch and batch are counted from 0."""
    return ValueError(
        f"epoch {epoch + 1}, batch {batch + 1}: {found}: training has diverged. A smaller optim.lr, optim.warmup_epochs or "
        "optim.gradient_clip help most often; precision 32-true has the largest range"
    )
