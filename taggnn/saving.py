"""What a run goes on from: when ``last.ckpt`` is written, inside an epoch too, and how the best epoch is kept.

A checkpoint is written behind an optimiser step only, since gradients that wait for one are not in it. Everything random
follows from the number of a batch and the place of a clip, so that what is in it is all that counts.
"""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from taggnn import processes
from taggnn.signals import Watch

_SAVE, _LEAVE = 1, 2


class Saving(Checkpoint):
    """Writes ``last.ckpt`` after each epoch, inside one when it is time, and before the program leaves on a signal.

    Inside an epoch Lightning goes on behind the last batch of a checkpoint. Written behind an epoch's last batch, or while it
    validates, it would take the epoch for done and validate no more: such a checkpoint is made to say that validation has
    begun with its first batch, which is how it goes on then.

    Of several processes the first one's clock counts, and a signal to any of them: all write, and leave, behind the same batch.

    Args:
        path: the file.
        minutes: from one writing to the next inside an epoch; None for none by the clock.
        batches: likewise in batches; None for none by their number.
        watch: the signals.
    """

    def __init__(self, path: Path, minutes: float | None, batches: int | None, watch: Watch) -> None:
        self.path, self.minutes, self.batches, self.watch = path, minutes, batches, watch
        self._written, self._count = 0.0, 0
        self._validates = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._written, self._count = time.monotonic(), 0
        # Lightning has taken the signals for itself.
        self.watch.take_again()
        self.watch.patient = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._leave_if_asked()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._count += 1
        last = batch_idx + 1 >= trainer.num_training_batches
        if last or (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            wanted = processes.largest(_LEAVE if self.watch.noted else _SAVE if self._due() else 0)
            if wanted:
                self._save(trainer, validates=last)
            if wanted == _LEAVE:
                raise self.watch.ended()

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if processes.largest(bool(self.watch.noted)):
            self._save(trainer, validates=True)
            raise self.watch.ended()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._leave_if_asked()
        self.watch.patient = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.watch.patient = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._validates:
            validating(checkpoint["loops"]["fit_loop"])

    def _due(self) -> bool:
        minutes = (time.monotonic() - self._written) / 60
        by_clock = self.minutes is not None and processes.is_first() and minutes >= self.minutes
        return by_clock or (self.batches is not None and self._count >= self.batches)

    def _leave_if_asked(self) -> None:
        # Behind an epoch everything is written.
        if processes.largest(bool(self.watch.noted)):
            raise self.watch.ended()

    def _save(self, trainer: pl.Trainer, validates: bool = False) -> None:
        self._validates = validates
        trainer.save_checkpoint(self.path)
        self._validates = False
        self._written, self._count = time.monotonic(), 0


def validating(loop: dict[str, Any]) -> None:
    """Changes the state of Lightning's loop, behind the last batch of an epoch, to where validation begins."""
    trained, validated = loop["epoch_loop.batch_progress"], loop["epoch_loop.val_loop.batch_progress"]
    for part in ("total", "current"):
        trained[part]["completed"] = trained[part]["processed"]
        validated[part] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    validated["is_last_batch"] = False


class BestEpoch(ModelCheckpoint):
    """Writes ``best.ckpt`` of the epoch with the best score; remembers that score also where the run folder was moved.

    Args:
        folder: the run folder.
        monitor: the score; smaller is better for "val/loss", larger for all others.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        super().__init__(
            folder,
            "best",
            monitor=monitor,
            mode="min" if monitor == "val/loss" else "max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return path and str(Path(self.dirpath) / Path(path).name)

        moved = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "dirpath": self.dirpath, "best_k_models": scores})
