"""What the models of several runs cost: parameters, multiply-adds, and the time of one clip, measured in turn."""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from taggnn import model
from taggnn.evaluation import counting
from taggnn.evaluation.overhead import in_turn
from taggnn.evaluation.sweep_table import Cost
from taggnn.io import checkpoint, trust
from taggnn.model import Recogniser
from taggnn.nn.macs import counted_macs


@dataclass(frozen=True)
class Counted:
    """A model, its cost, and what its backbone and its input are, as text that can be compared."""

    model: Recogniser
    cost: Cost
    backbone: str


def counted(best: Path, trusted: trust.Trust = False) -> Counted:
    """Counts the model of a checkpoint; its weights are not needed.

    Args:
        best: the file.
        trusted: see `taggnn.io.trust.check`.

    Raises:
        OSError, ValueError: it cannot be read or built, or names code that is not trusted.
    """
    architecture = checkpoint.checked(checkpoint.read(best), best)["architecture"]
    trust.check(architecture, str(best), trusted)
    built = model.build(architecture).eval()
    head = dict(architecture["head"])
    try:
        channels = built.channels or 0
        head_macs = counting.of_head(head.pop("name"), channels, built.grid, len(architecture["classes"]), **head).macs
    except (ValueError, TypeError, RuntimeError):
        # A convolution whose multiply-adds are not known, or a head that does not run without numbers.
        head_macs = None
    with torch.no_grad():
        below = counted_macs(lambda: built.backbone(built.spec.example(1)))
    cost = Cost(
        parameters=_size(built),
        head_parameters=_size(built.head),
        macs=None if head_macs is None else below + head_macs,
        head_macs=head_macs,
    )
    # How it is trained changes no cost of its use.
    names = {key: value for key, value in architecture["backbone"].items() if key != "frozen"}
    return Counted(built, cost, json.dumps([names, architecture["input"]], sort_keys=True, default=str))


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def timed(models: Mapping[str, Counted], seconds: float) -> dict[str, dict[str, float]]:
    """The median time of one clip on the CPU, of every head and every different backbone, taken in turn.

    Args:
        models: name -> model.
        seconds: to spend on each model.

    Returns:
        name -> {"ms": of backbone and head, "head_ms": of the head}.
    """
    calls: dict[str, Callable[[], Any]] = {}
    for name, one in models.items():
        if one.backbone not in calls:
            calls[one.backbone] = partial(one.model.backbone, torch.randn(1, *one.model.spec.shape))
        calls[f"head of {name}"] = partial(one.model.head, torch.randn(1, *one.model.grid, one.model.channels or 1))
    taken = {key: 1e3 * statistics.median(times) for key, times in in_turn(calls, seconds * len(models)).items()}
    return {
        name: {
            "ms": taken[one.backbone] + taken[f"head of {name}"],
            "head_ms": taken[f"head of {name}"],
        }
        for name, one in models.items()
    }


def with_times(cost: Cost, times: Mapping[str, Any]) -> Cost:
    """A cost with measured times, where they are numbers."""
    ms, of_head = times.get("ms"), times.get("head_ms")
    return replace(
        cost, ms=ms if isinstance(ms, float) else None, head_ms=of_head if isinstance(of_head, float) else None
    )
