"""Cost of a head on top of a backbone: parameters, multiply-adds and time."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from taggnn import backbones, heads
from taggnn.evaluation import counting
from taggnn.io import environment
from taggnn.runtime import atomic

# Of the classifier, which is part of every head: Gym99's.
CLASSES = 99
KIND = "overhead"
SCHEMA = 1
_LEAST = 3


def counted(name: str) -> dict[str, Any]:
    """Parameters and multiply-adds of a backbone at its own clip size, and of each head on top of it.

    Args:
        name: see ``taggnn.backbones.find``.

    Returns:
        ``{"backbone", "clip", "grid", "channels", "parameters", "macs", "ms": None, "heads": {head: {"parameters", "macs",
        "ms": None}}}``, plain types; "macs" is None for a head that cannot be counted.
    """
    one = counting.of_backbone(name)
    assert one.clip is not None
    row: dict[str, Any] = {"backbone": name, "clip": list(one.clip), "grid": list(one.grid), "channels": one.channels}
    row |= {"parameters": one.parameters, "macs": one.macs, "ms": None, "heads": {}}
    # The baseline first: it is the last row of the table.
    for head in reversed(heads.HEADS):
        try:
            parameters, macs = head_counts(head, one.channels, one.grid)
        except ValueError:
            # It does not fit this backbone, such as attention heads that do not divide its channels.
            continue
        row["heads"][head] = {"parameters": parameters, "macs": macs, "ms": None}
    return row


def head_counts(name: str, channels: int, grid: Sequence[int]) -> tuple[int, int | None]:
    """Parameters of a head for ``CLASSES`` classes, and its multiply-adds, None where they cannot be counted.

    Args:
        name: see ``taggnn.heads.build``.
        channels: C of the tokens.
        grid: sizes of the token grid, time first.

    Raises:
        ValueError: it cannot be built for such tokens.
    """
    try:
        count = counting.of_head(name, channels, grid, CLASSES)
    except ValueError:
        built = heads.build(name, channels, tuple(grid), CLASSES)
        return sum(parameter.numel() for parameter in built.parameters()), None
    return count.parameters, count.macs


def timed(row: dict[str, Any], budget: float) -> dict[str, Any]:
    """Adds the median time of one clip in evaluation, in milliseconds, of the backbone and of each head, taken in turn.

    Args:
        row: of ``counted``.
        budget: seconds to spend; every call is made 3 times at least, after one warm-up.
    """
    torch.manual_seed(0)
    spec, grid, channels = backbones.find(row["backbone"]).spec, tuple(row["grid"]), row["channels"]
    spec = spec.resized(**dict(zip(spec.axes[1:], row["clip"], strict=True)))
    module = backbones.build(row["backbone"], spec=spec).eval()
    frames = torch.randn(1, *spec.shape)
    tokens = torch.randn(1, *grid, channels)
    built = {head: heads.build(head, channels, grid, CLASSES).eval() for head in row["heads"]}
    calls: dict[str, Callable[[], object]] = {"backbone": lambda: module(frames)}
    calls |= {head: (lambda part=part: part(tokens)) for head, part in built.items()}
    taken = in_turn(calls, budget)
    medians = {name: 1e3 * statistics.median(seconds) for name, seconds in taken.items()}
    row["ms"] = medians["backbone"]
    for head in row["heads"]:
        row["heads"][head]["ms"] = medians[head]
    row["samples"] = len(taken["backbone"])
    row["environment"] = environment.describe(torch.device("cpu"), 0)
    return row


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that ``write`` wrote, none where there is no file.

    Raises:
        ValueError: another kind of file.
    """
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error})") from error
    known = isinstance(content, dict) and (content.get("kind"), content.get("schema")) == (KIND, SCHEMA)
    if not known or not isinstance(content.get("rows"), list):
        raise ValueError(f"{path} holds no overheads of this version")
    return content["rows"]


def write(path: Path, rows: Sequence[dict[str, Any]], order: Sequence[str]) -> list[dict[str, Any]]:
    """Adds rows to a file, in the order of the table, and returns all of its rows; those of the same backbones are replaced."""
    merged = {row["backbone"]: row for row in [*read(path), *rows]}
    index = {name: number for number, name in enumerate(order)}
    everything = sorted(merged.values(), key=lambda row: index.get(row["backbone"], len(index)))
    atomic.write_text(path, json.dumps({"schema": SCHEMA, "kind": KIND, "rows": everything}, indent=1) + "\n")
    return everything


def in_turn(calls: dict[str, Callable[[], object]], budget: float) -> dict[str, list[float]]:
    """Seconds of single calls, one of each in every round, so that noise of the machine affects all equally.

    Args:
        calls: name -> what is timed; each is called once before.
        budget: seconds to spend; every call is made 3 times at least.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for call in calls.values():
            call()
        started, rounds = time.perf_counter(), 0
        while rounds < _LEAST or time.perf_counter() - started < budget:
            for name, call in calls.items():
                before = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - before)
            rounds += 1
    return seconds
