"""Early stopping: a run ends when its measure has not become better for some epochs."""

from typing import Any

import lightning.pytorch as pl

from taggnn import processes
from taggnn.history import History


class Stopping(pl.Callback):
    """Ends a run behind the epoch in which its patience is over; stands behind the history in the list of callbacks.

    It is decided by the rows of the history alone, which every checkpoint has, so a run that goes on counts as if it had not
    been interrupted, and one that had come to its end here does not train on. Equal is not better, as for the best epoch.
    The learning rate falls as for all epochs.

    Args:
        history: the rows.
        monitor: the figure: one of its columns.
        patience: epochs without a better figure after which the run ends, 1 or more.
    """

    def __init__(self, history: History, monitor: str, patience: int) -> None:
        self.history, self.monitor, self.patience = history, monitor, patience
        self.said: str | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._decide(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._decide(trainer):
            pl_module.print(self.said)

    def _decide(self, trainer: pl.Trainer) -> bool:
        rows = self.history.rows
        best = best_row(rows, self.monitor)
        over = best is not None and len(rows) - 1 - best >= self.patience
        # The last epoch ends the run anyhow.
        if processes.from_first(over and rows[-1]["epoch"] < trainer.max_epochs):
            trainer.should_stop = True
            self.said = (
                f"stopped after epoch {rows[-1]['epoch']:.0f} of {trainer.max_epochs}: {self.monitor} no better than in epoch "
                f"{rows[best]['epoch']:.0f} for {self.patience} {'epoch' if self.patience == 1 else 'epochs'}"
            )
        return self.said is not None


def best_row(rows: list[dict[str, Any]], monitor: str) -> int | None:
    """The place of the first row with the best figure; figures that are no numbers are never best, None where all are."""
    sign = -1 if monitor == "val/loss" else 1
    figures = {place: sign * row[monitor] for place, row in enumerate(rows) if row[monitor] == row[monitor]}
    return max(figures, key=figures.__getitem__, default=None)
