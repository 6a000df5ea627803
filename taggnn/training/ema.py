"""An exponential moving average of the weights, which is evaluated, saved and exported instead of the trained weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from taggnn.runtime import distributed

# Statistics of BatchNorm; other buffers stay as they are: a text bank is an average of its own.
_STATISTICS = ("running_mean", "running_var")
# The key of the trained weights in a checkpoint; "model" holds the averaged ones, which are loaded for inference.
TRAINED = "trained_weights"


class Average:
    """Averages the weights after every optimiser step.

    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992; the decay's warm-up as
    TensorFlow's ``ExponentialMovingAverage`` has it. Formula: ``a_n = a_(n-1) + (1 - d_n) (w_n - a_(n-1))`` with
    ``d_n = min(decay, n / (n + 9))``, w_n the weights after step n, and a_0 those before the first.

    Trained parameters and the statistics of BatchNorm are averaged, in float32. ``torch.optim.swa_utils.AveragedModel`` holds
    a second model instead, whose names and buffers checkpoints would have to map.

    Args:
        model: the model; its weights are found by their names in its state dict.
        decay: d, the largest share of the average that a step keeps, from 0 to below 1.

    Raises:
        ValueError: a decay out of range.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"optim.ema {decay}: expected a number from 0 to below 1, such as 0.999")
        self.model, self.decay, self.updates = model, decay, 0
        self._averages = {name: value.to(torch.float32, copy=True) for name, value in self._weights().items()}
        # The trained weights, while the average is in the model.
        self._trained: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """Updates the average; call it after every optimiser step."""
        self.updates += 1
        weight = 1 - min(self.decay, self.updates / (self.updates + 9))
        values = [value.float() for value in self._weights().values()]
        torch._foreach_lerp_(list(self._averages.values()), values, weight)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the average into the model during a ``with`` block; with several processes that of the first."""
        weights = self._weights()
        self._trained = {name: value.clone() for name, value in weights.items()}
        with torch.no_grad():
            for name, value in weights.items():
                if distributed.world_size() > 1 and name.endswith(_STATISTICS):
                    # Processes see different clips; their weights are equal.
                    dist.broadcast(self._averages[name], 0)
                value.copy_(self._averages[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self._weights().items():
                    value.copy_(self._trained[name])
            self._trained = {}

    def state(self, model: Mapping[str, Tensor]) -> dict[str, Any]:
        """Both sets of weights for a checkpoint, from the state dict of the model."""
        trained = {name: self._trained.get(name, model[name]) for name in self._averages}
        return {"model": {**model, **self._averages}, TRAINED: trained, "ema": {"updates": self.updates}}

    @torch.no_grad()
    def load(self, content: Mapping[str, Any]) -> None:
        """Restores both sets of weights, after the model was given the averaged one."""
        self.updates = content["ema"]["updates"]
        for name, value in self._weights().items():
            self._averages[name].copy_(content["model"][name])
            value.copy_(content[TRAINED][name])

    def _weights(self) -> dict[str, Tensor]:
        """The averaged tensors by name: trained parameters and the statistics of BatchNorm."""
        # The state dict has a shared parameter under each of its names.
        named = self.model.named_parameters(remove_duplicate=False)
        trained = {name: value.detach() for name, value in named if value.requires_grad}
        return trained | {name: value for name, value in self.model.named_buffers() if name.endswith(_STATISTICS)}
