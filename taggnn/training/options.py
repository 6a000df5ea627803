"""Options of training: optimisation and duration."""

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
        schedule: "cosine" to zero (default), "constant", or "multistep": multiplied by gamma after each of the milestones.
        schedule_step: change the rate after each "step" (default) or "epoch" (released).
        milestones: epochs of "multistep", such as [35, 55].
        gamma: factor of "multistep" (default 0.1).
        warmup_epochs: epochs in which the rate rises linearly from zero (default 0).
        loss: the criterion of logits and targets: a name of ``criteria.CRITERIA`` (default "cross_entropy"), or a dotted path.
        losses: weights of the losses that backbone and head return, by name; default: that of the head, else 1.
        label_smoothing: share of the target spread over all classes (default 0).
        mixup: alpha of MixUp, two clips blended with a share from Beta(alpha, alpha); 0 (default) for none (mixing.py).
        cutmix: alpha of CutMix, a box through all frames taken from another clip; 0 (default) for none.
        mix_prob: probability that a batch is mixed at all (default 1).
        mix_switch: if both are used, the probability of CutMix for a mixed batch (default 0.5).
        gradient_clip: largest norm of the gradient; 0 (default) for no clipping.
        ema: decay of an average of the weights, such as 0.999, which is evaluated and saved instead of them; none (default)
            for no average (ema.py).
    """

    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    backbone_lr_scale: float = 1.0
    weight_decay: float = 0.05
    momentum: float = 0.9
    schedule: Literal["cosine", "constant", "multistep"] = "cosine"
    schedule_step: Literal["step", "epoch"] = "step"
    milestones: list[int] = field(default_factory=list)
    gamma: float = 0.1
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

    def __post_init__(self) -> None:
        if (self.schedule == "multistep") != bool(self.milestones):
            raise ValueError(
                f"optim.schedule {self.schedule} with optim.milestones {self.milestones}: milestones, one or more epochs, are "
                "those of multistep"
            )

    @property
    def mixing(self) -> Mixing:
        """How batches are mixed."""
        return Mixing(self.mixup, self.cutmix, self.mix_prob, self.mix_switch)


@dataclass
class Training:
    """Duration and steps of training.

    Args:
        epochs: how many (default 30).
        accumulate: batches whose gradients are accumulated for a step (default 1); exact for batches of different sizes.
        limit_batches: batches of an epoch, as a number or as a share of all; none (default) for all.
        max_hours: no epoch begins after so many hours of training; none (default) for no limit.
        strategy: of several processes: "ddp", "fsdp" (sharded weights), or "auto" (default) for ddp.
        sync_batchnorm: statistics of BatchNorm over the clips of all processes; on GPUs (default false).
        deterministic: use PyTorch's deterministic algorithms, or raise an error if there is none (default false).
        benchmark: let cuDNN find the fastest algorithm (default false).
        detect_anomaly: stop when a gradient becomes nan, and name the operation; slow (default false).
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
        """Number of trained batches of an epoch."""
        limit = self.limit_batches
        return min(batches, int(limit * batches) if isinstance(limit, float) else batches if limit is None else limit)
