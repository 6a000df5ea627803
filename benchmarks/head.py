"""The whole TAG-Head: ours against its authors' formulation, and where the time of each goes.

Axes: B clips, T frames, H W token grid, N = T*H*W nodes of one clip, C channels, K classes.
"""

import argparse
import copy
import sys
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks import gate, layout, machine, memory, passes, program, timing
from benchmarks.measure import BOTH, FORWARD, Row
from taggnn.heads import TagHead
from taggnn.names import unknown

OURS, AUTHORS, COMMON = "ours", "authors", "common"
CLIPS, SIDE, CHANNELS = 8, 7, 512
# Clips that the gate compares; what happens to one happens to all, and two can be mixed up.
_COMPARED = 2


@dataclass(frozen=True)
class Preset:
    """A data set's sizes as released: T after the backbone, channels of the feed-forward part, K."""

    frames: int
    ffn: int
    classes: int


PRESETS = {"haa500": Preset(4, 512, 500), "gym99": Preset(8, 1024, 99), "gym288": Preset(8, 2048, 288)}


def main(given: argparse.Namespace, device: torch.device, dtype: torch.dtype, path: Path, facts: dict[str, Any]) -> int:
    """Measures the presets and writes the results; 1 where the two formulations are not equal."""
    presets = program.names(given.presets)
    for name in presets:
        if name not in PRESETS:
            raise unknown("preset", name, PRESETS)
    clips = given.batch or CLIPS
    print(f"{machine.sentence(facts)}\n")
    rows, left = [], []
    with memory.limited(device), tqdm(total=len(presets), unit="preset", disable=None, file=sys.stderr) as bar:
        for name in presets:
            bar.set_description(name)
            preset = PRESETS[name]
            # The backbone of a number of frames is the same for all presets.
            backbone = given.backbone and all(
                PRESETS[other].frames != preset.frames for other in presets[: presets.index(name)]
            )
            found, without = measure(
                name,
                preset,
                clips,
                device,
                dtype,
                given.seed,
                given.backward,
                given.budget,
                given.iters,
                backbone,
            )
            rows += found
            left += without
            tqdm.write(block(name, clips, found, without), file=sys.stdout)
            bar.update()
    settings = {
        "device": str(device),
        "dtype": given.dtype,
        "clips": clips,
        "grid": f"Tx{SIDE}x{SIDE}",
        "channels": CHANNELS,
        "mode": "forward in eval mode, forward+backward in train mode with the released dropout of 0.5, equality in eval mode",
        "backward": given.backward,
        "budget_s": given.budget,
        "iters": given.iters,
    }
    program.write(path, {"kind": "head", "machine": facts, "settings": settings, "rows": rows, "left_out": left})
    print(path)
    return 1 if any(entry["why"] == "unequal" for entry in left) else 0


def measure(
    name: str,
    preset: Preset,
    clips: int,
    device: torch.device,
    dtype: torch.dtype,
    seed: int = 0,
    backward: bool = False,
    budget: float = 1.0,
    rounds: int | None = None,
    backbone: bool = False,
    side: int = SIDE,
    channels: int = CHANNELS,
) -> tuple[list[Row], list[Row]]:
    """Measures one preset: the whole head and its stages, both formulations in turn.

    Returns:
        Rows with ``preset``, ``stage``, ``by`` ("ours", "authors" or, for the backbone, "common") and ``pass``; and, where the
        two are not equal, no rows and the reason.
    """
    # Here, because PyG takes seconds to import, and --help needs none of it.
    from benchmarks.authors import AuthorsHead

    torch.manual_seed(seed)
    grid = (preset.frames, side, side)
    ours = TagHead.released(channels, grid, preset.classes, ffn=preset.ffn).to(device, dtype)
    theirs = AuthorsHead(ours).to(device)
    tokens = torch.randn(clips, *grid, channels).to(device, dtype)
    verdicts = compare(ours, tokens, backward)
    wrong = [f"{part}: {verdict}" for part, verdict in verdicts.items() if not verdict.equal]
    if wrong:
        return [], [{"preset": name, "why": "unequal", "reason": "; ".join(wrong)}]

    nodes = torch.randn(clips, grid[0] * side**2, ours.classifier.in_features).to(device, dtype)
    stages: dict[tuple[str, str], tuple[passes.Way, Tensor, nn.Module]] = {
        ("head", OURS): (lambda x: ours(x).logits, tokens, ours),
        ("head", AUTHORS): (theirs, tokens, ours),
        ("encoder", OURS): (lambda x: _encode(ours, x), tokens, ours),
        ("encoder", AUTHORS): (theirs.encode, tokens, ours),
        ("graph", OURS): (lambda x: _propagate(ours, x), nodes, ours),
        ("graph", AUTHORS): (theirs.propagate, nodes, ours),
        ("classifier", OURS): (lambda x: _classify(ours, x), nodes, ours),
        ("classifier", AUTHORS): (theirs.classify, nodes, ours),
    }
    rows, left = [], []
    if backbone:
        stage = _backbone(preset, device, dtype)
        try:
            passes.both(stage[0], stage[1], list(stage[2].parameters()))() if backward else passes.forward(*stage[:2])()
            stages["backbone, one clip", COMMON] = stage
        except (RuntimeError, MemoryError) as error:
            if not memory.is_shortage(error):
                raise
            left.append({"preset": name, "why": "memory", "reason": "the backbone needs more memory than there is"})
    for which in (FORWARD, BOTH) if backward else (FORWARD,):
        # As they are used: answers without dropout, training with it.
        for head in (ours, theirs):
            head.train(which == BOTH)
        calls = {
            stage: passes.both(way, x, list(owner.parameters())) if which == BOTH else passes.forward(way, x)
            for stage, (way, x, owner) in stages.items()
        }
        measured = timing.in_turn(calls, timing.clock(device), budget, rounds)
        for (stage, by), call in calls.items():
            row = {"preset": name, "clips": clips, "stage": stage, "by": by, "pass": which, **measured[stage, by].row()}
            row["peak_bytes"] = memory.peak(call, device)
            # The backbone is nobody's to compare with.
            part = None if stage.startswith("backbone") else "graph" if stage == "graph" else "head"
            row["equal"] = part and verdicts[part].row()
            rows.append(row)
    add_ratios(rows)
    return rows, left


def compare(ours: TagHead, tokens: Tensor, backward: bool) -> dict[str, gate.Verdict]:
    """Our head and its graph stage in the tokens' precision against the authors' in float64, in eval mode, same weights.

    The graph stage alone as well, because the mean after it hides nearly all of its effect from the logits.
    """
    from benchmarks.authors import AuthorsHead

    ours.eval()
    finer = copy.deepcopy(ours).double()
    theirs, exact = (AuthorsHead(head).to(tokens.device).eval() for head in (ours, finer))
    x = tokens[:_COMPARED]
    nodes = torch.randn(len(x), prod(ours.grid), ours.classifier.in_features).to(x)
    upstreams = {"head": torch.randn(len(x), ours.classifier.out_features), "graph": torch.randn(nodes.shape)}
    ways = {
        "head": (exact, theirs, lambda x: ours(x).logits, x),
        "graph": (exact.propagate, theirs.propagate, lambda x: _propagate(ours, x), nodes),
    }
    verdicts = {}
    for part, (reference, same, way, x) in ways.items():

        def answers(way: passes.Way, head: TagHead, x: Tensor, upstream: Tensor = upstreams[part]) -> dict[str, Tensor]:
            return gate.answers(way, x, dict(head.named_parameters()), upstream.to(x) if backward else None)

        expected = answers(reference, finer, x.double())
        peer = answers(same, ours, x)
        own, _ = gate.distance(expected, peer)
        verdicts[part] = gate.judge(expected, answers(way, ours, x), x.dtype, own, peer)
    return verdicts


def add_ratios(rows: list[Row]) -> None:
    """Adds the ratios of our rows to the authors' of the same preset, stage and pass, and of every stage to the whole head."""
    found = {(row["preset"], row["stage"], row["pass"], row["by"]): row for row in rows}
    for row in rows:
        key = row["preset"], row["stage"], row["pass"]
        theirs = found.get((*key, AUTHORS)) if row["by"] == OURS else None
        row["faster_than_authors"] = theirs and theirs["median_ms"] / row["median_ms"]
        row["memory_of_authors"] = theirs and (
            row["peak_bytes"] / theirs["peak_bytes"] if theirs["peak_bytes"] else None
        )
        for by in (OURS, AUTHORS):
            whole = found.get((row["preset"], "head", row["pass"], by))
            row[f"share_of_{by}"] = (
                row["median_ms"] / whole["median_ms"] if whole and row["by"] in (by, COMMON) else None
            )


def block(name: str, clips: int, rows: list[Row], left: list[Row]) -> str:
    """The table of one preset."""
    notes = [f"{entry['preset']}: no row ({entry['why']}: {entry['reason']})" for entry in left]
    if not rows:
        return "\n".join(notes) + "\n"
    preset = PRESETS[name]
    header = ["stage", "by", "pass", "ms", "20-80 %", "vs authors", "of ours", "of authors'", "MiB", "of authors'"]
    cells = [
        [
            row["stage"],
            row["by"],
            "fwd" if row["pass"] == FORWARD else "fwd+bwd",
            layout.digits(row["median_ms"]),
            f"{layout.digits(row['q20_ms'])} - {layout.digits(row['q80_ms'])}",
            layout.times(row["faster_than_authors"]),
            *("-" if row[f"share_of_{by}"] is None else f"{row[f'share_of_{by}']:.0%}" for by in (OURS, AUTHORS)),
            layout.mebibytes(row["peak_bytes"]),
            layout.share(row["memory_of_authors"]),
        ]
        for row in rows
    ]
    about = f"{name}: B{clips} T{preset.frames} {SIDE}x{SIDE} C{CHANNELS}, ffn {preset.ffn}, {preset.classes} classes"
    return "\n".join([about, layout.table(header, cells, left=3), *notes]) + "\n"


def _encode(head: TagHead, x: Tensor) -> Tensor:
    return head.encoder(head.position(head.project(x)).flatten(1, 3))


def _propagate(head: TagHead, x: Tensor) -> Tensor:
    x = x.unflatten(1, head.grid)
    for layer in head.propagation:
        x = layer(x)
    return x.flatten(1, 3)


def _classify(head: TagHead, x: Tensor) -> Tensor:
    return head.classifier(head.dropout(head.norm(head.readout(x)[0])))


def _backbone(preset: Preset, device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, Tensor, nn.Module]:
    from taggnn import backbones

    module = backbones.build("r2plus1d_34_32_ig65m").to(device, dtype).train()
    return module, torch.randn(1, 3, 8 * preset.frames, 112, 112).to(device, dtype), module
