"""The optimiser: parameter groups, learning rate, and the weights of named losses."""

import math

import torch
from torch import nn

from taggnn import backbones
from taggnn.training.options import Optimisation

# Position tables, class tokens, queries and text vectors, as our heads and the transformers of torchvision, Hugging Face and
# timm call them.
_POSITIONS = (
    "position",
    "pos_embed",
    "pos_encoding",
    "rel_pos",
    "class_token",
    "cls_token",
    "reg_token",
    "time_embeddings",
    "prompts",
    "anchors",
    "agent",
)


def optimiser(model: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """Builds the optimiser of a recogniser; each group keeps its peak rate as ``initial_lr``.

    Args:
        model: with ``backbone`` and ``head``.
        settings: which optimiser.
    """
    groups = [
        {
            "params": parameters,
            "lr": settings.lr * factor,
            "initial_lr": settings.lr * factor,
            "weight_decay": settings.weight_decay if decayed else 0.0,
        }
        for part, scale in (("backbone", settings.backbone_lr_scale), ("head", 1.0))
        for (factor, decayed), parameters in _groups(model.get_submodule(part), scale).items()
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimiser](groups, lr=settings.lr)


def rate(epoch: float, epochs: int, settings: Optimisation) -> float:
    """The learning rate as a share of its peak.

    Formula: ``e / warmup`` while ``e < warmup``; then 1, ``gamma^m`` after m milestones, or
    ``(1 + cos(pi * (e - warmup) / (epochs - warmup))) / 2``.

    Args:
        epoch: e, epochs done, in fractions.
        epochs: how many there will be.
        settings: schedule and warm-up.
    """
    warmup = settings.warmup_epochs
    if epoch < warmup:
        # The first step must not have a rate of zero.
        return max(epoch / warmup, 1e-3)
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "multistep":
        return settings.gamma ** sum(epoch >= milestone for milestone in settings.milestones)
    return (1 + math.cos(math.pi * min(1.0, (epoch - warmup) / max(epochs - warmup, 1e-9)))) / 2


def _groups(module: nn.Module, scale: float) -> dict[tuple[float, bool], list[nn.Parameter]]:
    """Parameters by learning rate, relative to the head's, and by whether they decay; the last stage first."""
    scales = backbones.tuning_of(module).scales
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            spared = parameter.ndim < 2 or any(word in name for word in _POSITIONS)
            groups.setdefault((scale * scales.get(name, 1.0), not spared), []).append(parameter)
    return dict(sorted(groups.items(), reverse=True))
