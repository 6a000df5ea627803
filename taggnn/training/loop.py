"""The training loop: plain PyTorch, resumable after any optimiser step, the same in one process and in several.

Everything random about a step follows from (seed, number of the batch, rank), everything random about a clip from (seed, epoch,
index): a checkpoint holds no generator.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taggnn.data.samplers import EpochLoader, seed_of
from taggnn.data.workers import WorkerLoader
from taggnn.io import checkpoint
from taggnn.model import Recogniser
from taggnn.nn import criteria
from taggnn.runtime import distributed
from taggnn.training import losses, optim, parallel, single_values, validation
from taggnn.training.bar import Bar
from taggnn.training.best_epoch import checkpoint_row, stop_reason
from taggnn.training.estimate import Estimate
from taggnn.training.history import History
from taggnn.training.loggers import Curves
from taggnn.training.options import Optimisation, Training
from taggnn.training.progress import Progress
from taggnn.training.reading import Reading
from taggnn.training.save_schedule import Saving
from taggnn.training.step import OVERFLOWS, Step, diverged
from taggnn.types import Batch, InputSpec

# Of the running epoch, next to its losses: train/top1 in metrics.csv.
TOP1 = "top1"


class Trainer:
    """Trains a recogniser; writes ``last.ckpt`` and ``best.ckpt`` into the folder of its history.

    With several processes the gradient is the mean over the clips of all of them, and validation measures every clip once;
    all processes have the same results.

    Args:
        recogniser: the model, on its device.
        data_spec: what the batches hold: inputs of the model, or stored tokens, inputs of its head.
        loader: the training batches.
        val_loader: the validation batches.
        optimisation: how the weights are trained.
        training: how long.
        history: the results of the epochs, and the run folder.
        header: the constant part of a checkpoint, as plain types: the architecture, what it was trained on, ...
        seed: of all random draws of a step.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        monitor: what selects the best epoch: "val/" and the name of a metric, or "val/loss".
        patience: epochs without improvement after which the run ends; None for all epochs.
        saving: when last.ckpt is written inside an epoch.
        bar, curves: where losses and metrics are shown.
        later: epochs of heads that are trained afterwards, for the time that is left (default 0).
        unused: the model has trained parameters that a step may not use; DDP has to look for them.
        begin_batch: called before every batch.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        data_spec: InputSpec,
        loader: EpochLoader,
        val_loader: Any,
        optimisation: Optimisation,
        training: Training,
        history: History,
        header: Mapping[str, Any],
        seed: int = 0,
        precision: str = "32-true",
        monitor: str = "val/top1",
        patience: int | None = None,
        saving: Saving | None = None,
        bar: Bar | None = None,
        curves: Curves | None = None,
        later: int = 0,
        unused: bool = False,
        begin_batch: Callable[[], object] = lambda: None,
    ) -> None:
        self.recogniser, self.data_spec, self.loader, self.val_loader = recogniser, data_spec, loader, val_loader
        self.optimisation, self.training, self.history, self.header = optimisation, training, history, dict(header)
        self.seed, self.monitor, self.patience, self.begin_batch = seed, monitor, patience, begin_batch
        for each in (loader, val_loader):
            if isinstance(each, WorkerLoader):
                each.while_waiting = self.while_waiting
        self.saving, self.bar = saving or Saving(), bar or Bar(False, training.epochs)
        self.curves = curves or Curves((), history.folder, {})
        first = next(recogniser.parameters())
        self.device, self.dtype = first.device, first.dtype
        if training.strategy == "fsdp":
            parallel.shard(recogniser)
        self.model = recogniser.accepting(data_spec)
        self.parallel = self.model if training.strategy == "fsdp" else parallel.replicate(self.model, unused)
        self.step = Step(recogniser, optimisation, precision)
        self.criterion = criteria.find(optimisation.loss)
        self.weights: dict[str, float] = {}
        self.batches = training.limited(loader.batches())
        self.progress = Progress()
        self.stopped: str | None = None
        self.later, self.estimate = later, Estimate(0.0, 0, 0)
        self.set_rate()

    # -- the loop, top to bottom -------------------------------------------------------------------------------------

    def fit(self) -> list[dict[str, float]]:
        """Trains the remaining epochs; returns the rows of the history.

        Raises:
            ValueError: no clip can be used, or the loss is no number.
            StopRequested: a signal asked for it; everything is saved.
        """
        failed, self.saving.watch.deferred = True, True
        try:
            self.curves.open(self.progress.step)
            self.stop_early()
            left = self.training.epochs + self.later - self.progress.epoch
            self.estimate = Estimate(left, self.batches, len(self.val_loader))
            while self.progress.epoch < self.training.epochs and not self.stopped:
                self.saving.stop_if_requested()
                self.train_epoch()
                self.finish_epoch(self.validate())
            self.saving.stop_if_requested()
            failed = False
        finally:
            self.bar.close()
            self.curves.close(failed)
            self.saving.watch.deferred = False
        return self.history.rows

    def train_epoch(self) -> None:
        now, first = self.progress, self.batches_done()
        if not now.position:
            self.history.begin()
        self.curves.begin_epoch(now.clips)
        self.bar.begin(f"epoch {now.epoch + 1}/{self.training.epochs}", self.batches, first, now.clips)
        left = self.loader.epoch(now.epoch, now.position) if first < self.batches else ()
        for number, batch in enumerate(islice(left, self.batches - first), first):
            self.train_batch(number, batch)
        if not now.clips:
            raise ValueError(f"none of the training clips could be used; {self.history.reasons()}")

    def train_batch(self, number: int, batch: Batch) -> None:
        now, rank, total = self.progress, distributed.rank(), self.progress.epoch * self.batches + number
        torch.manual_seed(seed_of(self.seed, total, rank) if rank else self.seed * 1_000_003 + total)
        self.begin_batch()
        here, last = len(batch), number + 1 == self.batches or (number + 1) % self.training.accumulate == 0
        # A process without clips joins the collectives and contributes nothing to them.
        idle = parallel.idle(self.recogniser) if not here and distributed.world_size() > 1 else nullcontext()
        with idle, nullcontext() if last else parallel.without_sync(self.parallel):
            parts = self.losses(batch) if here or distributed.world_size() > 1 else {}
            reading = Reading(list(parts.values()), self.device)
            # Summed over all processes.
            clips, bad = distributed.all_sum([here, len(batch.skipped)], self.device)
            self.step.backward(parts.get("loss"), here, clips)
        if last:
            self.step.take()
        # Once all of the step is queued on the device.
        totals = distributed.all_sum([value * here for value in reading.wait()], self.device)
        if bad:
            self.history.skip([clip for rows in distributed.all_gather(batch.skipped) for clip in rows], "train")
        sums = dict(zip(parts, totals, strict=True)) if clips else {}
        # With scaled gradients, a batch whose loss overflows is skipped, as its step is.
        if math.isfinite(sums.get("loss", 0.0)):
            now.add(int(clips), sums)
        elif not self.step.scaler.is_enabled():
            raise diverged(now.epoch, number, f"the loss is {sums['loss'] / clips}")
        now.position = min(now.position + self.loader.step, self.loader.clips)
        if last:
            now.step += 1
            self.set_rate()
        if self.step.overflows == OVERFLOWS:
            raise diverged(now.epoch, number, f"{OVERFLOWS} steps in a row had a gradient that is inf or nan")
        self.check_folder()
        means = {name: value / clips for name, value in sums.items() if name != TOP1}
        rate = self.step.rate
        self.estimate.batch()
        self.bar.train(now.epoch, now.clips, means, rate, self.history.rows)
        self.curves.step(now.step, now.clips, {**means, "lr": rate, "gradient_norm": self.step.gradient_norm})
        self.saving.after_batch(last, self.save)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mean losses of a batch: "loss" is the weighted sum of the others, which is trained.

        With them "top1", the share of its clips whose most probable class is the label; a mixed clip has no one label, so that
        runs with MixUp or CutMix have none.
        """
        if not len(batch):
            batch = Batch(self.data_spec.example(1), torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))
        batch = batch.to(self.device, self.dtype)
        x, targets = batch.x, batch.label
        with self.step.autocast():
            if mixing := self.optimisation.mixing:
                x, targets = mixing(x, targets, len(self.header["architecture"]["classes"]), self.data_spec)
            try:
                output = self.parallel(x, targets)
            except ValueError as error:
                raise single_values.explained(error, len(batch)) from error
            main = self.criterion(output.logits, targets, self.optimisation.label_smoothing).mean()
            hits = {} if mixing else {TOP1: (output.logits.detach().argmax(1) == targets).to(main.dtype).mean()}
            if not output.losses:
                return {"loss": main, **hits}
            if output.losses.keys() != self.weights.keys():
                losses.check_losses({}, output.losses, criteria.name_of(self.optimisation.loss))
                self.weights = losses.loss_weights(self.recogniser, self.optimisation.losses, output.losses)
            parts = {name: loss.mean() for name, loss in output.losses.items()}
            loss = sum((self.weights[name] * part for name, part in parts.items()), main)
        return {"loss": loss, criteria.name_of(self.optimisation.loss): main, **parts, **hits}

    def validate(self) -> dict[str, float]:
        """The metrics of the validation clips, with the averaged weights if there are any."""
        self.estimate.end()
        self.history.begin_validation()
        self.bar.begin("validation", len(self.val_loader))
        ema = self.step.ema
        with ema.in_place() if ema else nullcontext(), validation.evaluating(self.recogniser):
            logits, labels, skipped = validation.predict(self.logits, self.val_loader, self.after_validation_batch)
        self.history.skip(skipped, "val")
        if logits is None:
            raise ValueError(f"none of the validation clips could be used; {self.history.reasons()}")
        return validation.measure(logits, labels, self.monitor)

    def logits(self, batch: Batch) -> Tensor:
        self.begin_batch()
        x = batch.x if len(batch) else self.data_spec.example(1)
        with self.step.autocast():
            return self.model(x.to(self.device, self.dtype)).logits.float().cpu()

    def while_waiting(self) -> None:
        """Ends the run on a signal while the loader has no batch; other processes would have to agree, which they cannot now."""
        if distributed.world_size() == 1:
            # Gradients are not in a checkpoint: the last one is of an earlier step.
            self.saving.stop_if_requested((lambda: None) if self.step.begun else self.save)

    def after_validation_batch(self) -> None:
        self.bar.advance()
        self.saving.stop_if_requested(self.save)

    def finish_epoch(self, measured: Mapping[str, float]) -> None:
        now, trained = self.progress, self.progress.finish_epoch()
        self.set_rate()
        self.bar.close()
        row = {**trained, **measured, "lr": self.step.rate}
        self.check_folder()
        self.curves.epoch(now.step, self.history.add(row, self.training.epochs, self.later))
        if checkpoint_row(self.history.rows, self.monitor) == now.epoch - 1:
            self.save("best.ckpt")
        self.save()
        if self.stop_early():
            print(self.stopped)

    # -- progress and checkpoints ------------------------------------------------------------------------------------

    def batches_done(self) -> int:
        """Batches of the running epoch that are done."""
        return min(self.loader.batches() - self.loader.batches(self.progress.position), self.batches)

    def set_rate(self) -> None:
        """Sets the learning rate for the current progress; a skipped step does not count."""
        done, together = float(self.progress.epoch), self.training.accumulate
        if self.optimisation.schedule_step == "step":
            an_epoch = max(1, math.ceil(self.batches / together))
            steps = self.progress.epoch * an_epoch + math.ceil(self.batches_done() / together)
            done = (steps - self.step.skipped) / an_epoch
        self.step.set_rate(optim.rate(done, self.training.epochs, self.optimisation))

    def stop_early(self) -> bool:
        """Whether patience or time is used up; only the history decides, so that a resumed run stops as an uninterrupted one."""
        reason = stop_reason(self.history.rows, self.monitor, self.patience, self.training)
        self.stopped = distributed.broadcast(reason)
        return self.stopped is not None

    def check_folder(self) -> None:
        """Ends a run whose folder was removed: writing would make a new one, without its configuration.

        Raises:
            FileNotFoundError: in the first process, which writes.
        """
        if distributed.is_main_process() and not self.history.folder.is_dir():
            raise FileNotFoundError(
                f"run folder {self.history.folder}: removed while the run was going on, with its checkpoints; start a new run"
            )

    def save(self, name: str = "last.ckpt") -> None:
        """Writes a checkpoint; every process must call it, after an optimiser step."""
        state = self.step.state_dict()
        if distributed.is_main_process():
            logged = {"history": self.history.state_dict(), "loggers": self.curves.identities}
            content = {**self.header, **state, "progress": asdict(self.progress), **logged}
            checkpoint.save(self.history.folder / name, content)
        # No process continues before it is written.
        distributed.broadcast(None)
        self.saving.written()

    def load(self, path: Path) -> None:
        """Resumes from a checkpoint that any number of processes wrote.

        Raises:
            ValueError: it is damaged, or not of such a run; names the file.
        """
        content = checkpoint.read_resumable(path, self.device)
        try:
            self.step.load_state_dict(content)
            self.progress = Progress(**content["progress"])
            self.history.load_state_dict(content["history"])
        except (KeyError, TypeError, IndexError, AttributeError, RuntimeError) as error:
            raise ValueError(f"checkpoint {path}: cannot be resumed: {type(error).__name__}: {error}") from error
        self.curves.identities = dict(content["loggers"])
        self.set_rate()
