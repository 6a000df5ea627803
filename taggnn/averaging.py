"""An exponential moving average of the weights, beside those that are trained: measured, kept and exported in their place."""

from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn

from taggnn import processes

# Statistics of BatchNorm; other buffers are tables that no step changes.
_STATISTICS = ("running_mean", "running_var")
# Where a checkpoint keeps the trained weights; the averaged ones stand in "state_dict", as whoever loads it wants.
TRAINED = "trained_weights"


class Averaging(pl.Callback):
    """Averages the weights after every optimiser step; validation and checkpoints see the average.

    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992; the decay's warm-up as
    TensorFlow's ``ExponentialMovingAverage`` has it. Formula: ``a_n = a_(n-1) + (1 - d_n) (w_n - a_(n-1))`` with
    ``d_n = min(decay, n / (n + 9))``, w_n the weights after step n, and a_0 those before the first.

    Parameters that are trained and the statistics of BatchNorm are averaged, in float32; all else is the model's own. A step
    that was left out, since a scaled gradient overflowed, does not count.

    Lightning's ``WeightAveraging`` is not used: it has no warm-up, so that a short run is measured with weights near the random
    ones; it rounds tables that no step changes a little further at each step; the statistics of BatchNorm, and so the scores,
    may differ between processes; and a checkpoint written while it validates has the two sets of weights exchanged.

    Args:
        decay: d, the largest share of the average that stays at a step, from 0 to below 1.

    Raises:
        ValueError: a decay out of range.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"optim.ema {decay}: expected a number from 0 to below 1, such as 0.999")
        self.decay = decay
        self._updates, self._step = 0, 0
        self._averages: dict[str, Tensor] = {}
        # The trained weights, while the average stands in the model.
        self._held: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        averaged = _averaged(pl_module)
        kept = self._averages or averaged
        self._averages = {
            name: kept[name].to(value.device, torch.float32, copy=True) for name, value in averaged.items()
        }

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if not getattr(pl_module, "stepped", True):
            return
        self._updates += 1
        weight = 1 - min(self.decay, self._updates / (self._updates + 9))
        values = [value.float() for value in _averaged(pl_module).values()]
        torch._foreach_lerp_(list(self._averages.values()), values, weight)

    @torch.no_grad()
    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        averaged = _averaged(pl_module)
        self._held = {name: value.clone() for name, value in averaged.items()}
        for name, value in averaged.items():
            if processes.count() > 1 and name.endswith(_STATISTICS):
                # Each process has seen other clips; weights are the same in all of them.
                dist.broadcast(self._averages[name], 0)
            value.copy_(self._averages[name])

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, value in _averaged(pl_module).items():
            value.copy_(self._held[name])
        self._held = {}

    def state_dict(self) -> dict[str, int]:
        return {"updates": self._updates, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._updates, self._step = state_dict["updates"], state_dict["step"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint["state_dict"]
        checkpoint[TRAINED] = {name: self._held.get(name, state[name]) for name in self._averages}
        checkpoint["state_dict"] = {**state, **self._averages}

    @torch.no_grad()
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # The model has the averaged weights by now.
        for name, value in _averaged(pl_module).items():
            self._averages[name] = checkpoint["state_dict"][name]
            value.copy_(checkpoint[TRAINED][name])


def _averaged(module: nn.Module) -> dict[str, Tensor]:
    """What is averaged, by its name in the state dict: the tensors that are trained, and the statistics of BatchNorm."""
    # A parameter of two names stands under both in the state dict.
    named = module.named_parameters(remove_duplicate=False)
    trained = {name: value.detach() for name, value in named if value.requires_grad}
    return trained | {name: value for name, value in module.named_buffers() if name.endswith(_STATISTICS)}
