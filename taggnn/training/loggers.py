"""Loggers of a run in addition to metrics.csv: TensorBoard, Weights & Biases, MLflow."""

import importlib.util
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taggnn.runtime import distributed
from taggnn.runtime.printable import one_line


class TensorBoard:
    """Event files in a folder of the run.

    Args:
        folder: the run folder; a resumed run adds a file.
        step: last step of the checkpoint; later points of an interrupted process are no longer shown.
        identity: id of the run at the service, from a checkpoint; not used for files.
    """

    def __init__(self, folder: Path, step: int, identity: str | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.identity: str | None = None
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else 0)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Writes a point of each curve."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def describe(self, configuration: Mapping[str, Any]) -> None:
        """Writes the configuration, once a run."""
        rows = "".join(f"\n| {key} | {one_line(value)} |" for key, value in configuration.items())
        # A path may have bytes that are no UTF-8, which its files cannot hold.
        table = f"| key | value |\n| --- | --- |{rows}".encode("utf-8", "backslashreplace").decode()
        self._writer.add_text("configuration", table, 0)

    def close(self, failed: bool) -> None:
        """Closes the logger."""
        self._writer.close()


class WandB:
    """Weights & Biases; arguments and methods as those of ``TensorBoard``."""

    def __init__(self, folder: Path, step: int, identity: str | None) -> None:
        import wandb

        options = {"project": "taggnn", "name": _title(folder), "dir": str(folder), "id": identity, "resume": "allow"}
        self._run = wandb.init(**options)
        self._run.define_metric("*", step_metric="step")
        self.identity = str(self._run.id)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log({**figures, "step": step})

    def describe(self, configuration: Mapping[str, Any]) -> None:
        self._run.config.update(dict(configuration), allow_val_change=True)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class MLflow:
    """MLflow: a server that ``MLFLOW_TRACKING_URI`` names, else a database in the run folder; as ``TensorBoard``."""

    def __init__(self, folder: Path, step: int, identity: str | None) -> None:
        from mlflow.tracking import MlflowClient

        # New versions of MLflow refuse to write plain files.
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        self._client = MlflowClient(uri)
        if identity is None:
            found = self._client.get_experiment_by_name("taggnn")
            experiment = found.experiment_id if found else self._client.create_experiment("taggnn")
            identity = self._client.create_run(experiment, run_name=_title(folder)).info.run_id
        else:
            self._client.update_run(identity, "RUNNING")
        self.identity = identity

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._client.log_metric(self.identity, name, value, step=step)

    def describe(self, configuration: Mapping[str, Any]) -> None:
        for key, value in configuration.items():
            self._client.log_param(self.identity, key, value)

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self.identity, "FAILED" if failed else "FINISHED")


# name -> class; each needs the package of its name. "csv" is metrics.csv, which is always written.
LOGGERS = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
NAMES = ("csv", *LOGGERS)


def check(names: Sequence[str]) -> None:
    """Refuses loggers that are not installed; without TensorBoard, which is the default, a line is printed instead.

    Raises:
        ValueError: one is not installed; the message says what to install.
    """
    for name in names:
        if name in available(names) or name not in LOGGERS:
            continue
        if name != "tensorboard":
            raise ValueError(f"loggers {name}: not installed; pip install {name}, or leave it out of --loggers")
        if distributed.is_main_process():
            print("loggers   no TensorBoard files: pip install tensorboard, or --loggers csv", file=sys.stderr)


def available(names: Sequence[str]) -> list[str]:
    """Those that are installed."""
    return [name for name in dict.fromkeys(names) if name in LOGGERS and importlib.util.find_spec(name) is not None]


class Curves:
    """Logs steps and epochs, in the first process only; a resumed run logs nothing twice.

    For a step: the loss and its parts, the learning rate, the norm of the gradient before clipping, and the clips a second of
    all processes since the last logged step. For an epoch: the row of ``metrics.csv``. The x axis is the optimiser step.

    Args:
        names: loggers, as ``available`` gives them.
        folder: the run folder.
        configuration: key -> value, shown next to the curves.
        every: logging interval in steps.
    """

    def __init__(self, names: Sequence[str], folder: Path, configuration: Mapping[str, Any], every: int = 10) -> None:
        self.names, self.folder, self.configuration, self.every = names, folder, configuration, every
        self.identities: dict[str, str | None] = {}
        self._loggers: dict[str, Any] = {}
        self._step, self._since, self._clips = 0, 0.0, 0

    def open(self, step: int) -> None:
        """Opens the loggers of a run that has done ``step`` steps."""
        self._step = step
        if distributed.is_main_process():
            known = self.identities
            self._loggers = {name: LOGGERS[name](self.folder, step, known.get(name)) for name in self.names}
            self.identities = {name: logger.identity for name, logger in self._loggers.items() if logger.identity}
            for logger in self._loggers.values() if not step else ():
                logger.describe(self.configuration)

    def begin_epoch(self, clips: int) -> None:
        """Starts the clock of an epoch that has trained on ``clips`` clips."""
        self._since, self._clips = time.perf_counter(), clips

    def step(self, step: int, clips: int, figures: Mapping[str, Any]) -> None:
        """Logs a step if it is due; ``clips``: those that the running epoch has trained on."""
        if step == self._step or step % self.every:
            return
        now, since, before = time.perf_counter(), self._since, self._clips
        self._step, self._since, self._clips = step, now, clips
        self._write({**figures, "clips_per_second": (clips - before) / (now - since)}, "step/")

    def epoch(self, step: int, row: Mapping[str, float]) -> None:
        """Logs the row of an epoch; train/loss and val/top1 have a group in their names already."""
        self._step = step
        times = {"lr": row["lr"], "seconds": row["seconds"], "clips_per_second": row["clips/s"]}
        self._write({key: value for key, value in row.items() if "/" in key and key != "clips/s"})
        self._write(times, "epoch/")

    def close(self, failed: bool) -> None:
        """Closes the loggers."""
        # Some write what they still have, which fails without the folder; the missing folder is reported elsewhere.
        for logger in self._loggers.values() if self.folder.is_dir() else ():
            logger.close(failed)
        self._loggers = {}

    def _write(self, figures: Mapping[str, Any], group: str = "") -> None:
        known = {f"{group}{key}": float(value) for key, value in figures.items() if value is not None}
        for logger in self._loggers.values():
            logger.log(known, self._step)


def _title(folder: Path) -> str:
    return "/".join(folder.parts[-2:])
