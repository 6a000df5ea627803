"""What a head costs behind a backbone: parameters, multiply-adds and time, in per cent of the backbone's own."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from taggnn import atomic, backbones, counting, environment, heads

HEADS = ("pool", "tag_released", "tag")
# Of the classifier, which is part of every head: Gym99's.
CLASSES = 99
KIND = "overhead"
SCHEMA = 1
_LEAST = 3


def counted(name: str) -> dict[str, Any]:
    """Parameters and multiply-adds of a backbone at its own clip, and of each head behind it; nothing is computed.

    Args:
        name: see ``taggnn.backbones.find``.

    Returns:
        ``{"backbone", "clip", "grid", "channels", "parameters", "macs", "ms": None, "heads": {head: {"parameters", "macs",
        "ms": None}}}``, plain types.
    """
    one = counting.of_backbone(name)
    row: dict[str, Any] = {"backbone": name, "clip": list(one.clip), "grid": list(one.grid), "channels": one.channels}
    row |= {"parameters": one.parameters, "macs": one.macs, "ms": None, "heads": {}}
    for head in HEADS:
        count = counting.of_head(head, one.channels, one.grid, CLASSES)
        row["heads"][head] = {"parameters": count.parameters, "macs": count.macs, "ms": None}
    return row


def timed(row: dict[str, Any], budget: float) -> dict[str, Any]:
    """Adds the median time of one clip in evaluation, in milliseconds, of the backbone and of each head, taken in turn.

    Args:
        row: of ``counted``.
        budget: seconds to spend; every call is made 3 times at least, after one that does not count.
    """
    torch.manual_seed(0)
    clip, grid, channels = tuple(row["clip"]), tuple(row["grid"]), row["channels"]
    frames, tokens = torch.randn(1, 3, *clip), torch.randn(1, *grid, channels)
    module = backbones.build(row["backbone"], clip=clip).eval()
    built = {head: heads.build(head, channels, grid, CLASSES).eval() for head in row["heads"]}
    calls: dict[str, Callable[[], object]] = {"backbone": lambda: module(frames)}
    calls |= {head: (lambda part=part: part(tokens)) for head, part in built.items()}
    taken = _in_turn(calls, budget)
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
    if not isinstance(content, dict) or (content.get("kind"), content.get("schema")) != (KIND, SCHEMA):
        raise ValueError(f"{path} holds no overheads of this version")
    return content["rows"]


def write(path: Path, rows: Sequence[dict[str, Any]], order: Sequence[str]) -> list[dict[str, Any]]:
    """Puts rows into a file beside those of other backbones, in the order of the table, and returns all of them."""
    merged = {row["backbone"]: row for row in [*read(path), *rows]}
    place = {name: number for number, name in enumerate(order)}
    everything = sorted(merged.values(), key=lambda row: place.get(row["backbone"], len(place)))
    atomic.write_text(path, json.dumps({"schema": SCHEMA, "kind": KIND, "rows": everything}, indent=1) + "\n")
    return everything


def _in_turn(calls: dict[str, Callable[[], object]], budget: float) -> dict[str, list[float]]:
    """Seconds of single calls, one of each in every round, so that noise of the machine hits all alike."""
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
