"""Where the figures of a run go beside its metrics.csv: TensorBoard, Weights & Biases, MLflow."""

import importlib.util
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from taggnn.history import History

LOGGERS = ("tensorboard", "csv", "wandb", "mlflow")
# Each is the name of the package that it needs.
_NEEDED = ("tensorboard", "wandb", "mlflow")


class Logger(Protocol):
    """What a place of figures can do; Lightning's loggers can."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def log_hyperparams(self, params: Mapping[str, Any]) -> None: ...

    def finalize(self, status: str) -> None: ...


class TensorBoard:
    """Event files in a folder.

    Args:
        folder: where they go; a run that goes on adds a file.
        step: of the last figure that counts: later ones, of a process that came to no checkpoint, are not shown any more.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else 0)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        rows = "".join(f"\n| {key} | {value} |" for key, value in params.items())
        self._writer.add_text("configuration", f"| key | value |\n| --- | --- |{rows}", 0)

    def finalize(self, status: str) -> None:
        self._writer.close()


def check(names: Sequence[str]) -> None:
    """Refuses loggers that are not installed, and says so where it is the one that nobody may have asked for.

    Raises:
        ValueError: one is not installed; the message says what to install.
    """
    for name in names:
        if name in available(names) or name not in _NEEDED:
            continue
        if name == "tensorboard":
            said = "loggers   no TensorBoard files: pip install tensorboard, or --loggers [csv]"
            rank_zero_only(print)(said, file=sys.stderr)
        else:
            raise ValueError(f"loggers {name}: not installed; pip install {name}, or leave it out of --loggers")


def available(names: Sequence[str]) -> list[str]:
    """Those that are installed; "csv" is none of them, since metrics.csv is always written."""
    return [name for name in dict.fromkeys(names) if name in _NEEDED and importlib.util.find_spec(name) is not None]


class Curves(pl.Callback):
    """Writes figures of steps and of epochs; in the first process only, and nothing twice where a run goes on.

    Of a step: the loss and the learning rate, the norm of the gradient before it is clipped, and the clips a second of all
    processes since the figures before. Of an epoch: the row of ``metrics.csv``. Both stand at the optimiser steps done.

    Args:
        names: loggers, as ``available`` gives them.
        folder: the run folder.
        history: the rows; stands before this in the list of callbacks.
        configuration: key -> value, shown beside the curves.
        every: steps between two figures of steps.
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        history: History,
        configuration: Mapping[str, Any],
        every: int = 10,
    ) -> None:
        self.names, self.folder, self.history = names, folder, history
        self.configuration, self.every = configuration, every
        self._loggers: list[Logger] = []
        self._ids: dict[str, str] = {}
        self._step, self._since, self._clips = 0, 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        self._since, self._clips = time.perf_counter(), pl_module.train_clips
        if trainer.is_global_zero:
            self._loggers = [self._opened(name, trainer.global_step) for name in self.names]
            for logger in self._loggers if not trainer.global_step else ():
                logger.log_hyperparams(self.configuration)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since, self._clips = time.perf_counter(), 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step == self._step or trainer.global_step % self.every:
            return
        self._step, now = trainer.global_step, time.perf_counter()
        figures = {
            "step/loss": trainer.callback_metrics.get("loss"),
            "step/lr": trainer.optimizers[0].param_groups[-1]["lr"],
            "step/gradient_norm": pl_module.gradient_norm,
            "step/clips_per_second": (pl_module.train_clips - self._clips) / (now - self._since),
        }
        self._since, self._clips = now, pl_module.train_clips
        self._write(figures)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.history.rows:
            row = self.history.rows[-1]
            self._step = trainer.global_step
            # train/loss and val/top1 are in a group already.
            named = {
                **row,
                "epoch/lr": row["lr"],
                "epoch/seconds": row["seconds"],
                "epoch/clips_per_second": row["clips/s"],
            }
            self._write({key: value for key, value in named.items() if "/" in key and key != "clips/s"})

    def state_dict(self) -> dict[str, Any]:
        return {"ids": dict(self._ids)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._ids = dict(state_dict["ids"])

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._close("success")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close("failed")

    def _close(self, status: str) -> None:
        for logger in self._loggers:
            logger.finalize(status)
        self._loggers = []

    def _write(self, figures: Mapping[str, Any]) -> None:
        known = {key: float(value) for key, value in figures.items() if value is not None}
        for logger in self._loggers:
            logger.log_metrics(known, self._step)

    def _opened(self, name: str, step: int) -> Logger:
        """A logger; one that knows runs by an identity goes on with that of the checkpoint."""
        title = "/".join(self.folder.parts[-2:])
        if name == "tensorboard":
            return TensorBoard(self.folder / "tensorboard", step)
        if name == "wandb":
            from lightning.pytorch.loggers import WandbLogger

            logger = WandbLogger(
                name=title, project="taggnn", save_dir=str(self.folder), id=self._ids.get(name), resume="allow"
            )
            self._ids[name] = str(logger.experiment.id)
            return logger
        from lightning.pytorch.loggers import MLFlowLogger

        # Where the environment names no server; new versions of MLflow refuse to write plain files.
        where = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(self.folder / 'mlflow.db').absolute()}"
        logger = MLFlowLogger("taggnn", run_name=title, tracking_uri=where, run_id=self._ids.get(name))
        self._ids[name] = str(logger.run_id)
        return logger
