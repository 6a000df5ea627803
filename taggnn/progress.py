"""The bar of a training at a terminal: where the epoch stands, what it learns, and how long the run will take."""

import time
from typing import Any

import lightning.pytorch as pl
from tqdm import tqdm

from taggnn.history import History

# Seconds that pass at least between two pictures of the bar.
_OFTEN = 0.2


class Progress(pl.Callback):
    """One bar for the running epoch, and one for its validation; only the first process shows them.

    Stands before the history in the list of callbacks, so that the line of an epoch is printed where the bar was.

    Args:
        history: the epochs before, whose time says how long the rest will take.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self._bar: tqdm | None = None
        self._began, self._clips, self._first, self._shown = 0.0, 0, 0, 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self._bar is None:
            # Not at the start of an epoch: a run may go on in the middle of one, and that is where the bar stands.
            self._first = trainer.fit_loop.batch_idx
            self._began, self._clips = time.perf_counter(), pl_module.train_clips
            self._bar = _bar(
                trainer, f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", trainer.num_training_batches
            )
            self._bar.update(self._first)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        now = time.perf_counter()
        if now - self._shown > _OFTEN:
            self._shown = now
            self._bar.set_postfix_str(self._text(trainer, pl_module, now - self._began), refresh=False)
        self._bar.update(1)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()
        self._bar = _bar(trainer, "validation", sum(trainer.num_val_batches))

    def on_validation_batch_end(self, *_: Any) -> None:
        self._bar.update(1)

    def on_validation_epoch_end(self, *_: Any) -> None:
        self._close()

    def on_train_epoch_end(self, *_: Any) -> None:
        self._close()

    def on_exception(self, *_: Any) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _text(self, trainer: pl.Trainer, pl_module: pl.LightningModule, seconds: float) -> str:
        done = trainer.fit_loop.batch_idx + 1
        here = seconds * trainer.num_training_batches / (done - self._first)
        left = time_left(
            trainer.current_epoch + done / trainer.num_training_batches, trainer.max_epochs, self.history.rows, here
        )
        loss = float(trainer.callback_metrics.get("loss", float("nan")))
        rate = trainer.optimizers[0].param_groups[-1]["lr"]
        speed = (pl_module.train_clips - self._clips) / seconds
        return f"loss {loss:.4f}, lr {rate:.2e}, {speed:.3g} clips/s, run {in_words(left)} left"


def time_left(epoch: float, epochs: int, rows: list[dict[str, float]], here: float) -> float:
    """Seconds to the end of a run.

    Args:
        epoch: epochs done, in fractions.
        epochs: how many there will be.
        rows: those of the history; the mean of their "seconds" counts where there are any.
        here: seconds that an epoch takes as far as the running one tells.
    """
    each = sum(row["seconds"] for row in rows) / len(rows) if rows else here
    return max(0.0, epochs - epoch) * each


def in_words(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min"""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _bar(trainer: pl.Trainer, name: str, total: int) -> tqdm:
    shape = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
    return tqdm(
        desc=name,
        total=total,
        bar_format=shape,
        disable=not trainer.is_global_zero,
        leave=False,
        dynamic_ncols=True,
        mininterval=_OFTEN,
    )
