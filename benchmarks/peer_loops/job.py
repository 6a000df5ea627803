"""The job that every program is given: clips, sizes, the backbone and the schedule; and what it reports."""

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from taggnn import backbones


@dataclass(frozen=True)
class Job:
    """A training job.

    Args:
        train: clips: path and label.
        test: likewise.
        classes: K.
        shape: T, H, W of a clip; T, V of a skeleton sequence.
        head: key of ``networks.HEADS``.
        backbone: name and options, as ``taggnn.backbones.build`` takes them.
        encoder_layers: of the Transformer encoder.
        encoder_heads: likewise.
        batch_size: clips of a step.
        workers: processes of the loader.
        threads: of PyTorch.
        epochs: passes over the training clips.
        lr: learning rate of AdamW at its highest.
        weight_decay: of AdamW.
        warmup_epochs: linear warm-up before the cosine.
        label_smoothing: of the cross-entropy.
        gradient_clip: largest norm of the gradient.
        seed: of weights and order.
    """

    train: list[tuple[str, int]]
    test: list[tuple[str, int]]
    classes: int
    shape: tuple[int, ...]
    head: str
    backbone: tuple[str, dict[str, Any]]
    encoder_layers: int
    encoder_heads: int
    batch_size: int
    workers: int
    threads: int
    epochs: int
    lr: float
    weight_decay: float
    warmup_epochs: float
    label_smoothing: float
    gradient_clip: float
    seed: int

    @classmethod
    def read(cls, path: Path) -> "Job":
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


def begin() -> Job:
    """The job whose file is the first word of the command line; threads and seed are set."""
    job = Job.read(Path(sys.argv[1]))
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    return job


def backbone_of(job: Job) -> nn.Module:
    """The same backbone for all, with random weights: clips (B, 3, T, H, W) -> maps (B, C, T, H, W)."""
    name, options = job.backbone
    return backbones.build(name, **options)


def factor(job: Job, step: int, steps: int) -> float:
    """The learning rate of a step as a share of the highest: linear warm-up, then a cosine to zero."""
    warm = job.warmup_epochs * steps / job.epochs
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


class Report:
    """Times the passes over the training clips, and prints what was found as one line of JSON."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def epoch_begins(self) -> None:
        self._began = time.perf_counter()

    def epoch_ends(self) -> None:
        self.seconds.append(time.perf_counter() - self._began)

    def finish(self, correct: int, clips: int) -> None:
        print(json.dumps({"seconds": self.seconds, "top1": correct / clips}))
