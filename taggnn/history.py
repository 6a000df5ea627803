"""One row an epoch, in ``metrics.csv`` and in the checkpoint, so that a resumed run goes on where the file ends."""

import csv
import io
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from taggnn import processes
from taggnn.atomic import write_text
from taggnn.predictions import Skipped, write_skipped

COLUMNS = (
    "epoch",
    "train/loss",
    "train/clips",
    "val/loss",
    "val/top1",
    "val/mca",
    "val/clips",
    "lr",
    "clips/s",
    "seconds",
)


class History(pl.Callback):
    """Writes the measurements of every epoch, and the clips that could not be read, into the run folder.

    Args:
        folder: the run folder.
        listed: how many clips the validation list names; None (default) where that is not known.
    """

    def __init__(self, folder: Path, listed: int | None = None) -> None:
        self.folder, self.listed = folder, listed
        self.rows: list[dict[str, float]] = []
        self._skipped: dict[str, Skipped] = {}
        # Of the running epoch: when it would have begun without interruptions, and what it took before the last one.
        self._started = self._spent = self._trained = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A run interrupted behind its last epoch sees no training clip again.
        pl_module.skipped.update(self._skipped)
        self._skipped = pl_module.skipped

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Behind the middle of an epoch it goes on, and no epoch starts.
        self._started = time.perf_counter() - self._spent

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._trained = time.perf_counter() - self._started

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        try:
            loss = pl_module.train_loss
        except ZeroDivisionError:
            # Not one clip could be used: the task's own hook, which comes after this one, says so.
            return
        measured = {key: float(value) for key, value in trainer.callback_metrics.items()}
        row = {
            **{key: measured[key] for key in COLUMNS if key in measured},
            "epoch": trainer.current_epoch + 1,
            "train/loss": loss,
            "train/clips": pl_module.train_clips,
            "lr": trainer.optimizers[0].param_groups[-1]["lr"],
            # Of all processes together, and without validation.
            "clips/s": pl_module.train_clips / self._trained,
            "seconds": time.perf_counter() - self._started,
        }
        self.rows.append(row)
        if processes.is_first():
            write_text(self.folder / "metrics.csv", self._table())
            write_skipped(self.folder / "skipped.csv", pl_module.skipped.values())
        pl_module.print(self._line(row, trainer.max_epochs, len(pl_module.skipped)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": [dict(row) for row in self.rows],
            "skipped": {key: list(astuple(clip)) for key, clip in self._skipped.items()},
            "spent": time.perf_counter() - self._started,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict["rows"]]
        self._skipped.update({key: Skipped(*clip) for key, clip in state_dict["skipped"].items()})
        self._spent = state_dict.get("spent", 0.0)

    def _line(self, row: dict[str, float], epochs: int, skipped: int) -> str:
        left = (epochs - row["epoch"]) * sum(past["seconds"] for past in self.rows) / len(self.rows)
        measured = int(row["val/clips"])
        on = f" on {measured:,} of {self.listed:,} clips" if self.listed not in (None, measured) else ""
        return (
            f"epoch {row['epoch']:3.0f}/{epochs}   loss {row['train/loss']:.4f}   val loss {row['val/loss']:.4f}   "
            f"top-1 {row['val/top1']:.4f}   class mean {row['val/mca']:.4f}{on}   "
            f"{row['clips/s']:.3g} clips/s, {row['seconds']:.1f} s, {left / 60:.1f} min left"
            + (f"   {skipped} clips skipped" if skipped else "")
        )

    def _table(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in self.rows)
        return text.getvalue()
