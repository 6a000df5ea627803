"""One training task: the recogniser, its loss, its optimiser and what is measured after each epoch."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from taggnn import backbones, metrics, model, processes
from taggnn.data.order import SharedBatches, seed_of
from taggnn.idle import Idle
from taggnn.mixing import Mixing
from taggnn.predictions import Skipped
from taggnn.saving import validating
from taggnn.types import TOKEN_AXES, VIDEO_AXES, InputSpec

# Steps in a row that a scaler may leave out: by then its scale has become 2**40 times smaller.
OVERFLOWS = 40


@dataclass
class Optimisation:
    """How the weights are trained.

    Args:
        optimiser: "adamw" (default), "adam" (released) or "sgd" (Nesterov).
        lr: learning rate of the head, at its peak (default 1e-3; released 1e-5).
        backbone_lr_scale: learning rate of the backbone as a multiple of ``lr`` (default 1).
        weight_decay: of weight matrices and kernels; biases, norms and position tables have none (default 0.05; released 0).
        momentum: of "sgd" (default 0.9).
        schedule: "cosine" to zero (default) or "constant".
        schedule_step: change the rate after each "step" (default) or "epoch" (released).
        warmup_epochs: epochs in which the rate rises linearly from zero (default 0).
        label_smoothing: share of the target spread over all classes (default 0).
        mixup: alpha of MixUp, two clips blended with a share from Beta(alpha, alpha); 0 (default) for none (mixing.py).
        cutmix: alpha of CutMix, a box through all frames taken from another clip; 0 (default) for none.
        mix_prob: probability that a batch is mixed at all (default 1).
        mix_switch: where both are on, the probability that a mixed batch is cut and not blended (default 0.5).
        gradient_clip: largest norm of the gradient; 0 (default) leaves it alone.
        ema: decay of an average of the weights that is measured and kept in their place, such as 0.999; none (default) for the
            weights themselves (averaging.py).
    """

    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    backbone_lr_scale: float = 1.0
    weight_decay: float = 0.05
    momentum: float = 0.9
    schedule: Literal["cosine", "constant"] = "cosine"
    schedule_step: Literal["step", "epoch"] = "step"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0
    mix_switch: float = 0.5
    gradient_clip: float = 0.0
    ema: float | None = None

    @property
    def mixing(self) -> Mixing:
        """How batches are mixed."""
        return Mixing(self.mixup, self.cutmix, self.mix_prob, self.mix_switch)


class RecognitionTask(pl.LightningModule):
    """Trains a recogniser by cross-entropy and measures it on the validation clips.

    Where several processes share the batches, the gradient is the mean over the clips of all of them, and what is measured
    is measured on all clips, each counted once; every process knows the same figures.

    Everything a checkpoint needs to be used alone is in the hyper-parameters, as plain types.

    Args:
        spec: the model, see ``taggnn.model.build``.
        preprocess: how a video becomes a clip at test time, see ``taggnn.data.datamodule``.
        split_options: seed and fractions by which clips are held out where the data come without splits.
        optimisation: see ``Optimisation``, as a dict.
        seed: every random draw of a training step follows from it, the number of the batch and that of the process, so that an
            interrupted run can be continued to the same result.
        weights: of the backbone, where training starts.
        trained_on: what tells the clips, or their stored tokens, from others, compared when a run goes on; and the training
            clips of each class.

    Raises:
        ValueError: as ``taggnn.attach``.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        preprocess: Mapping[str, Any],
        split_options: Mapping[str, Any],
        optimisation: Mapping[str, Any] | None = None,
        seed: int = 0,
        weights: str | None = None,
        trained_on: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.optimisation = Optimisation(**(optimisation or {}))
        # `weights` is left out: a checkpoint brings its own.
        self.save_hyperparameters(
            {
                "spec": dict(spec),
                "preprocess": dict(preprocess),
                "split_options": dict(split_options),
                "optimisation": asdict(self.optimisation),
                "seed": seed,
                "trained_on": dict(trained_on or {}),
            }
        )
        self.seed = seed
        self.model = model.build(spec, weights)
        self.skipped: dict[str, Skipped] = {}
        # Of the last step, before it was clipped.
        self.gradient_norm: Tensor | None = None
        # Whether the last step changed the weights, and how many before it in a row did not.
        self.stepped, self._left_out = True, 0
        self._seen = 0
        self._losses: list[float] = []
        self._collected: list[tuple[Tensor, Tensor, Tensor]] = []
        self._unread: list[tuple[str, str, str]] = []
        self._idle: Idle | None = None
        # Clips of the running step, and of its first batch.
        self._clips_of_step, self._unit = 0, 0.0

    def forward(self, clip: Tensor) -> Tensor:
        return self.model(clip)[0]

    def on_train_epoch_start(self) -> None:
        self._seen, self._losses = 0, []

    def on_train_batch_start(self, batch: dict, batch_idx: int) -> None:
        # Counted in batches: optimiser steps stand still while gradients are accumulated.
        number, rank = self.trainer.fit_loop.total_batch_idx, processes.rank()
        torch.manual_seed(seed_of(self.seed, number, rank) if rank else self.seed * 1_000_003 + number)
        if processes.count() > 1 and not len(batch["label"]):
            self._idle = Idle(self.model)

    def training_step(self, batch: dict, batch_idx: int) -> Tensor | None:
        count = len(batch["label"])
        if processes.count() == 1 and not count:
            self._note_skipped(batch["skipped"], "train")
            # Behind batches that have clips a step is due: without any loss Lightning would leave out one of 16-mixed.
            return self._loss_of_nothing() if self._clips_of_step else None
        loss = self._loss(batch) if count else 0 * self._answers_to_nothing().sum()
        # Of all processes from here on.
        clips, total, bad = processes.summed((count, float(loss.detach()) * count, len(batch["skipped"])), self.device)
        if bad:
            for rows in processes.gathered(batch["skipped"]):
                self._note_skipped(rows, "train")
        self._clips_of_step += int(clips)
        # Where gradients are scaled, a step that overflows is left out, and its clips with it.
        if math.isfinite(total):
            self._seen += int(clips)
            self._losses.append(total)
        elif self._scaler is None:
            raise ValueError(self._diverged(f"the loss is {total / max(clips, 1)}", batch_idx))
        if clips:
            self.log("loss", total / clips, prog_bar=True, logger=False, batch_size=int(clips))
        return loss * self._weight(count, clips)

    def _weight(self, count: int, clips: float) -> float:
        """By how much the mean loss of the clips of this process counts, so that every clip of a step counts alike.

        Args:
            count: clips that this process has in the batch.
            clips: those of all processes.
        """
        # Lightning takes the mean over the processes, and over as many batches as a full step has. Batches count by their
        # clips, in units of the first; what then lacks to the mean over the clips is made up for when the step is taken.
        if not self._unit or self.trainer.accumulate_grad_batches == 1:
            self._unit = clips
        return count * processes.count() / self._unit if clips else 0.0

    def _loss_of_nothing(self) -> Tensor:
        return 0 * sum(parameter.sum() for parameter in self.parameters() if parameter.requires_grad)

    def _loss(self, batch: dict) -> Tensor:
        """The mean loss of a batch that has clips."""
        # Clips, or the tokens that a frozen backbone made of them before.
        kind, axes = ("tokens", TOKEN_AXES) if "tokens" in batch else ("clip", VIDEO_AXES)
        fed, labels = batch[kind].to(self.dtype), batch["label"]
        if mixing := self.optimisation.mixing:
            fed, labels = mixing(
                fed, labels, len(self.hparams["spec"]["classes"]), InputSpec(kind, axes, tuple(fed.shape[1:]))
            )
        logits = self.model.head(self.model.tokens_in({kind: fed}, self.device)).logits
        # Mixed labels are smoothed as single ones are: (1 - e) y + e / K.
        return F.cross_entropy(logits, labels, label_smoothing=self.optimisation.label_smoothing)

    def _answers_to_nothing(self) -> Tensor:
        """The logits of a clip of zeros: a process without clips has to take part in what all do together."""
        nothing = torch.zeros(1, 3, *self.model.clip, device=self.device, dtype=self.dtype)
        return self.model(nothing)[0]

    def on_train_batch_end(self, outputs: Any, batch: dict, batch_idx: int) -> None:
        if self._idle is not None:
            self._idle.end()
            self._idle = None

    def on_train_epoch_end(self) -> None:
        if not self._seen:
            raise ValueError(f"none of the training clips could be used; {_reasons(self.skipped.values())}")

    @property
    def train_clips(self) -> int:
        """How many clips the running epoch has trained on."""
        return self._seen

    @property
    def train_loss(self) -> float:
        """Mean loss over the clips of the running epoch."""
        return math.fsum(self._losses) / self._seen

    def on_validation_epoch_start(self) -> None:
        self._collected, self._unread = [], []

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        self._unread += batch["skipped"]
        if len(batch["label"]):
            logits = self.model.head(self.model.tokens_in(batch, self.device)).logits
            # Alone a process has them in the order of the list.
            places = batch["index"] if processes.count() > 1 else torch.arange(len(logits))
            self._collected.append((logits.float().cpu(), batch["label"].cpu(), places.cpu()))
        elif processes.count() > 1:
            self._answers_to_nothing()

    def on_validation_epoch_end(self) -> None:
        shares = processes.gathered((self._collected, self._unread))
        if not self.trainer.sanity_checking:
            self._note_skipped([row for _, unread in shares for row in unread], "val")
        collected = [part for share, _ in shares for part in share]
        if not collected:
            raise ValueError(f"none of the validation clips could be used; {_reasons(self.skipped.values())}")
        logits, labels, index = (torch.cat(parts) for parts in zip(*collected, strict=True))
        if processes.count() > 1:
            order = index.argsort()
            logits, labels = logits[order], labels[order]
        scores = metrics.summarise(logits.softmax(-1), labels)
        self.log("val/loss", F.cross_entropy(logits, labels))
        self.log("val/top1", scores.top1, prog_bar=True)
        self.log("val/mca", scores.mca)
        self.log("val/clips", float(scores.measured))

    def configure_optimizers(self) -> dict[str, Any]:
        settings = self.optimisation
        groups = [
            {
                "params": parameters,
                "lr": settings.lr * factor,
                "weight_decay": settings.weight_decay if decayed else 0.0,
            }
            for module, scale in ((self.model.backbone, settings.backbone_lr_scale), (self.model.head, 1.0))
            for (factor, decayed), parameters in _groups(module, scale).items()
        ]
        if settings.optimiser == "sgd":
            optimiser = torch.optim.SGD(
                groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0
            )
        else:
            kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimiser]
            optimiser = kind(groups, lr=settings.lr)
        schedule = LambdaLR(optimiser, self._rate)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": settings.schedule_step},
        }

    def _rate(self, done: int) -> float:
        """The learning rate as a share of its peak, behind so many steps or epochs."""
        epochs, unit = self.trainer.max_epochs, 1
        # Before the first step nobody may ask: Lightning would make its loaders, and they would not go on at their place.
        if done and self.optimisation.schedule_step == "step":
            unit = max(1, math.ceil(self.trainer.estimated_stepping_batches / epochs))
        return rate(done / unit, epochs, self.optimisation)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if processes.count() > 1 and not self._clips_of_step:
            # As alone, where there is no backward pass without clips: weights do not even decay.
            optimizer.zero_grad()
        # Lightning has undone the scaling of 16-mixed by now.
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        if self._clips_of_step:
            together = self.trainer.accumulate_grad_batches
            if together > 1 and together * self._unit != self._clips_of_step:
                torch._foreach_mul_(gradients, together * self._unit / self._clips_of_step)
        self._clips_of_step, self._unit = 0, 0.0
        norm = nn.utils.get_total_norm(gradients)
        # Of weights that are shared out, each process has a part.
        self.gradient_norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if self.optimisation.gradient_clip:
            nn.utils.clip_grads_with_norm_(self.parameters(), self.optimisation.gradient_clip, norm)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        scale = self._scaler.get_scale() if self._scaler else 0.0
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        # The scaler leaves out a step whose gradient is inf or nan, and then makes its scale smaller.
        self.stepped = self._scaler is None or self._scaler.get_scale() >= scale
        self._left_out = 0 if self.stepped else self._left_out + 1
        if self._left_out == OVERFLOWS:
            raise ValueError(self._diverged(f"{OVERFLOWS} steps in a row had a gradient that is inf or nan", batch_idx))

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if self.stepped or self.optimisation.schedule_step == "epoch":
            scheduler.step()

    @property
    def _scaler(self) -> torch.amp.GradScaler | None:
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def _diverged(self, found: str, batch_idx: int) -> str:
        return (
            f"epoch {self.trainer.current_epoch + 1}, batch {batch_idx + 1}: {found}: training has diverged. A smaller "
            "optim.lr, optim.warmup_epochs or optim.gradient_clip help most often; precision 32-true has the largest range"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Of the running epoch, and of all processes.
        checkpoint["running"] = {"clips": self._seen, "losses": list(self._losses)}
        if self.trainer.datamodule is not None:
            checkpoint["clips_a_batch"] = self._batches().step

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counts the batches and steps done as this number of processes would have, where the run began with another."""
        if "running" in checkpoint:
            self._seen, self._losses = checkpoint["running"]["clips"], list(checkpoint["running"]["losses"])
        before = checkpoint.get("clips_a_batch")
        if before is None or before == self._batches().step:
            return
        batches, loops = self._batches(), checkpoint["loops"]["fit_loop"]
        place = loops["state_dict"]["combined_loader"][0]
        # Behind the last batch the loader stands at the beginning of the next epoch.
        left = batches.count(len(batches.sampler) - place["position"]) if place["position"] else 0
        done, epoch = len(batches) - left, place["epoch"] - (not place["position"])
        current = loops["epoch_loop.batch_progress"]["current"]
        moved = done - current["ready"]
        loops["epoch_loop.batch_progress"]["current"] = {
            key: value + moved if key != "is_last_batch" else value for key, value in current.items()
        }
        epochs = loops["epoch_progress"]["current"]
        if place["position"] and not left and epochs["processed"] < epochs["ready"]:
            # With drop_last the clips that are left may be too few for a batch of so many processes.
            validating(loops)
        if self.optimisation.schedule_step == "step":
            together = self.trainer.accumulate_grad_batches
            steps = epoch * -(-len(batches) // together) + -(-done // together)
            checkpoint["lr_schedulers"][0]["last_epoch"] = steps

    def _batches(self) -> SharedBatches:
        """The training batches of an epoch."""
        data = self.trainer.datamodule
        return SharedBatches(range(len(data.train_clips)), data.batch_size, data.drop_last)

    def _note_skipped(self, rows: list[tuple[str, str, str]], split: str) -> None:
        for name, path, reason in rows:
            self.skipped.setdefault(f"{split}/{name}", Skipped(name, path, split, reason))


def rate(epoch: float, epochs: int, settings: Optimisation) -> float:
    """The learning rate as a share of its peak.

    Formula: ``e / warmup`` while ``e < warmup``; then 1, or ``(1 + cos(pi * (e - warmup) / (epochs - warmup))) / 2``.

    Args:
        epoch: e, epochs done, in fractions.
        epochs: how many there will be.
        settings: schedule and warm-up.
    """
    warmup = settings.warmup_epochs
    if epoch < warmup:
        # The very first step must not be lost to a rate of zero.
        return max(epoch / warmup, 1e-3)
    if settings.schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * min(1.0, (epoch - warmup) / max(epochs - warmup, 1e-9)))) / 2


# What position tables and class tokens are called in our heads and in torchvision's transformers.
_POSITIONS = ("position", "pos_encoding", "rel_pos", "class_token", "cls_token", "time_embeddings")


def _groups(module: nn.Module, scale: float) -> dict[tuple[float, bool], list[nn.Parameter]]:
    """Parameters by their learning rate, as a share of the head's, and whether they decay; the last stage first."""
    scales = backbones.tuning_of(module).scales
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            spared = parameter.ndim < 2 or any(word in name for word in _POSITIONS)
            groups.setdefault((scale * scales.get(name, 1.0), not spared), []).append(parameter)
    return dict(sorted(groups.items(), reverse=True))


def _reasons(skipped) -> str:
    shown = [f"{clip.name}: {clip.reason}" for clip in skipped]
    return "; ".join(shown[:3]) + (f"; and {len(shown) - 3} more" if len(shown) > 3 else "")
