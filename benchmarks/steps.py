"""A training step, part by part: the backbone, the head, the whole step in Lightning's own loop, and that with its loader."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import Namespace
from torch.nn import functional as F

from taggnn.task import RecognitionTask
from taggnn.train import trainer_of
from taggnn.types import Batch


@dataclass(frozen=True)
class Repeated:
    """A batch in memory in place of a loader.

    Args:
        batch: as a loader gives it.
        times: how often it is handed out in an epoch.
    """

    batch: Batch
    times: int

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Batch]:
        return repeat(self.batch, self.times)


class Clock(pl.Callback):
    """Seconds of every epoch, and how long of it the loop waited for batches.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.epochs: list[float] = []
        self.waited: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        finish(self.device)
        self._began = self._last = time.perf_counter()
        self._gaps = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._gaps += time.perf_counter() - self._last

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        finish(self.device)
        self.epochs.append(time.perf_counter() - self._began)
        self.waited.append(self._gaps / self.epochs[-1])


def finish(device: torch.device) -> None:
    """Waits for a GPU to be done with what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def parts(
    task: RecognitionTask, batch: Batch, times: int, device: torch.device, context: Callable[[], Any]
) -> dict[str, Callable[[], None]]:
    """Backbone and head, forward and backward, each as a call that goes through a batch so many times.

    Args:
        task: its model is moved to ``device`` and put into training mode.
        batch: as the loader gives it.
        times: how often.
        device: where to compute.
        context: of the trainer's precision.
    """
    model = task.model.to(device).train()
    clip, labels = batch.x.to(device), batch.label.to(device)
    with torch.no_grad(), context():
        tokens = model.features(clip).tokens
    upstream, leaf = torch.randn_like(tokens), tokens.detach().requires_grad_()

    def backbone() -> None:
        for _ in range(times):
            with context():
                out = model.features(clip).tokens
            # A frozen backbone has no backward pass.
            if out.requires_grad:
                out.backward(upstream)
            model.zero_grad(set_to_none=True)
        finish(device)

    def head() -> None:
        for _ in range(times):
            with context():
                loss = F.cross_entropy(model.head(leaf).logits, labels)
            loss.backward()
            model.zero_grad(set_to_none=True)
            leaf.grad = None
        finish(device)

    return {"backbone": backbone, "head": head}


def train(
    settings: Namespace, task: RecognitionTask, batches: Iterable[Batch], epochs: int
) -> tuple[list[float], list[float]]:
    """Trains as ``taggnn.train`` does, but for validation and checkpoints.

    Args:
        settings: the configuration.
        task: what is trained.
        batches: a loader, or a batch in memory.
        epochs: how many to time, behind one to warm up.

    Returns:
        Seconds of each epoch, and the part of it in which the loop waited for a batch.
    """
    own = settings.clone()
    own.trainer.max_epochs = epochs + 1
    trainer = trainer_of(own, callbacks=[], limit_val_batches=0, enable_checkpointing=False)
    clock = Clock(trainer.strategy.root_device)
    trainer.callbacks.append(clock)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
        try:
            trainer.fit(task, train_dataloaders=batches)
        except SystemExit:
            # Lightning's answer to Ctrl-C, which would leave without a word.
            raise KeyboardInterrupt from None
    return clock.epochs[1:], clock.waited[1:]
