"""A training step, part by part: the backbone, the head, the whole step in the training loop, and that with its loader."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from torch.nn import functional as F

from taggnn.model import Recogniser
from taggnn.training.device import devices_of, precision_of
from taggnn.training.history import History
from taggnn.training.loop import Trainer
from taggnn.training.options import Optimisation, Training
from taggnn.types import Batch


@dataclass(frozen=True)
class Repeated:
    """A batch in memory in place of a loader; it counts in batches.

    Args:
        batch: as a loader gives it.
        times: how often it is handed out in an epoch.
    """

    batch: Batch
    times: int
    step: int = 1

    @property
    def clips(self) -> int:
        return self.times

    def batches(self, position: int = 0) -> int:
        return self.times - position

    def epoch(self, number: int, position: int = 0) -> Iterator[Batch]:
        return repeat(self.batch, self.times - position)


class Timed(Trainer):
    """The training loop, but for validation and checkpoints; notes its time and its waiting."""

    def fit(self) -> list[dict[str, float]]:
        self.epochs, self.waited = [], []
        for _ in range(self.training.epochs):
            finish(self.device)
            self._began = self._last = time.perf_counter()
            self._gaps = 0.0
            self.train_epoch()
            finish(self.device)
            self.epochs.append(time.perf_counter() - self._began)
            self.waited.append(self._gaps / self.epochs[-1])
            self.progress.epoch, self.progress.position, self.progress.losses = self.progress.epoch + 1, 0, {}
        self.bar.close()
        return []

    def train_batch(self, number: int, batch: Batch) -> None:
        self._gaps += time.perf_counter() - self._last
        super().train_batch(number, batch)
        self._last = time.perf_counter()


def finish(device: torch.device) -> None:
    """Waits for a GPU to be done with what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def parts(
    model: Recogniser, batch: Batch, times: int, device: torch.device, context: Callable[[], Any]
) -> dict[str, Callable[[], None]]:
    """Backbone and head, forward and backward, each as a call that goes through a batch so many times.

    Args:
        model: it is moved to ``device`` and put into training mode.
        batch: as the loader gives it.
        times: how often.
        device: where to compute.
        context: of the precision of training.
    """
    model.to(device).train()
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
    settings: Namespace, model: Recogniser, classes: int, batches: Any, epochs: int
) -> tuple[list[float], list[float]]:
    """Trains as ``taggnn.train`` does, but for validation and checkpoints.

    Args:
        settings: the configuration.
        model: what is trained.
        classes: K.
        batches: a loader of training, or a batch in memory.
        epochs: how many to time, after one to warm up.

    Returns:
        Seconds of each epoch, and the part of it in which the loop waited for a batch.
    """
    device = where(settings)
    training = Training(**{**settings.train.as_dict(), "epochs": epochs + 1})
    trainer = Timed(
        *(
            model.to(device),
            model.spec,
            batches,
            [],
            Optimisation(**settings.optim.as_dict()),
            training,
            History(Path()),
        ),
        {"architecture": {"classes": list(range(classes))}},
        seed=settings.seed,
        precision=precision_of(settings.precision, device),
    )
    trainer.fit()
    return trainer.epochs[1:], trainer.waited[1:]


def where(settings: Namespace) -> torch.device:
    """The device of a configuration."""
    return devices_of(settings.devices, settings.device)[0]
