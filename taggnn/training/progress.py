"""The progress of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Progress:
    """The progress of a run: with the weights and the state of the optimiser all that is needed to resume.

    Args:
        epoch: epochs finished.
        position: clips of the running epoch that all processes have loaded.
        step: optimiser steps of the run.
        clips: clips that the running epoch has trained on.
        losses: name -> one value for each batch, summed over the clips of all processes; "loss" is their weighted sum,
            and "top1" counts the clips that were right.
    """

    epoch: int = 0
    position: int = 0
    step: int = 0
    clips: int = 0
    losses: dict[str, list[float]] = field(default_factory=dict)

    def add(self, clips: int, sums: Mapping[str, float]) -> None:
        """Counts the clips of a batch and their losses."""
        self.clips += clips
        for name, value in sums.items():
            self.losses.setdefault(name, []).append(value)

    def finish_epoch(self) -> dict[str, float]:
        """Moves to the next epoch; returns the columns of this one in metrics.csv."""
        means = {f"train/{name}": math.fsum(values) / self.clips for name, values in self.losses.items()}
        row = {"epoch": self.epoch + 1, **means, "train/clips": self.clips}
        self.epoch, self.position, self.clips, self.losses = self.epoch + 1, 0, 0, {}
        return row
