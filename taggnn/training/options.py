"""What a user chooses about training: how the weights are optimised, and how long."""

from dataclasses import dataclass, field
from typing import Literal

from taggnn.training.mixing import Mixing


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
        loss: the criterion of logits and targets: "cross_entropy" (default), or a dotted path.
        losses: weights of the losses that backbone and head return, by name; without one the head's own default, else 1.
        label_smoothing: share of the target spread over all classes (default 0).
        mixup: alpha of MixUp, two clips blended with a share from Beta(alpha, alpha); 0 (default) for none (mixing.py).
        cutmix: alpha of CutMix, a box through all frames taken from another clip; 0 (default) for none.
        mix_prob: probability that a batch is mixed at all (default 1).
        mix_switch: where both are on, the probability that a mixed batch is cut and not blended (default 0.5).
        gradient_clip: largest norm of the gradient; 0 (default) leaves it alone.
        ema: decay of an average of the weights that is measured and kept in their place, such as 0.999; none (default) for the
            weights themselves (ema.py).
    """

    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    backbone_lr_scale: float = 1.0
    weight_decay: float = 0.05
    momentum: float = 0.9
    schedule: Literal["cosine", "constant"] = "cosine"
    schedule_step: Literal["step", "epoch"] = "step"
    warmup_epochs: float = 0.0
    loss: str = "cross_entropy"
    losses: dict[str, float] = field(default_factory=dict)
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


@dataclass
class Training:
    """How long and in which steps the loop trains.

    Args:
        epochs: how many (default 30).
        accumulate: batches whose gradient is taken together in one step (default 1); exact, whatever their numbers of clips.
        limit_batches: batches of an epoch, as a number or as a share of all; none (default) for all.
        max_hours: no epoch begins after so many hours of training; none (default) for no limit.
        strategy: of several processes: "ddp", "fsdp" (weights shared out), or "auto" (default) for ddp.
        sync_batchnorm: statistics of BatchNorm over the clips of all processes; on GPUs (default false).
        deterministic: PyTorch's deterministic algorithms, or an error where there is none (default false).
        benchmark: let cuDNN try which algorithm is fastest (default false).
        detect_anomaly: stop where a gradient becomes nan, with the operation; slow (default false).
    """

    epochs: int = 30
    accumulate: int = 1
    limit_batches: int | float | None = None
    max_hours: float | None = None
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    sync_batchnorm: bool = False
    deterministic: bool = False
    benchmark: bool = False
    detect_anomaly: bool = False

    def limited(self, batches: int) -> int:
        """How many batches of an epoch are trained on: all, so many, or such a share of them."""
        limit = self.limit_batches
        return min(batches, int(limit * batches) if isinstance(limit, float) else batches if limit is None else limit)
