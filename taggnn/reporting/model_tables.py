"""Backbones, heads and convolutions as tables: what each costs, what it takes, which paper it is from."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from tqdm import tqdm

from graphs import parse
from taggnn import backbones, heads
from taggnn.backbones import BACKBONES, HUB, Backbone
from taggnn.evaluation import counting, overhead
from taggnn.io import environment
from taggnn.nn import convs
from taggnn.nn.layers import GraphLayer
from taggnn.nn.macs import graph_macs, projection_macs

BEGIN, END = "<!-- models: begin -->", "<!-- models: end -->"
COMMAND = "python -m taggnn.models --readme docs/models.md --results benchmarks/results/head-overhead.json"
# The tokens that heads and convolutions are counted on: R(2+1)D-34's of 64 frames.
GRID, CHANNELS = (8, 7, 7), 512

Table = tuple[list[str], list[list[str]]]


def backbone_table(names: Sequence[str]) -> Table:
    """Backbones with their counts; published figures (with classifier, at their own clip) in brackets."""
    header = ["backbone", "clip", "tokens", "M parameters", "GMAC", "weights", "paper"]
    lines = []
    for name in tqdm(names, "counting", leave=False, disable=None):
        row, count = backbones.find(name), counting.of_backbone(name)
        parameters = f"{count.parameters / 1e6:.2f}" + (f" ({row.parameters:.4g})" if row.parameters else "")
        macs = f"{count.macs / 1e9:.4g}"
        if row.gmacs:
            other = f" at {_by(row.figures_clip)}" if row.figures_clip not in (None, row.clip) else ""
            macs += f" ({row.gmacs:.4g}{other})"
        tokens = f"{_by(count.grid)} of {count.channels}"
        lines.append([name, _by(row.clip), tokens, parameters, macs, _weights(row), row.paper])
    return header, lines


def head_table() -> Table:
    """Heads with their counts on ``GRID`` tokens of ``CHANNELS``, for 99 classes."""
    header = ["head", "M parameters", "GMAC", "what it is", "paper"]
    lines = []
    for name, row in heads.HEADS.items():
        parameters, macs = overhead.head_counts(name, CHANNELS, GRID)
        lines.append([name, f"{parameters / 1e6:.3g}", _billions(macs), row.summary, ", ".join(row.papers)])
    return header, lines


def conv_table() -> Table:
    """Convolutions with their counts, as a layer on the same tokens."""
    header = ["convolution", "class", "M parameters", "GMAC", "what it is", "paper"]
    lines, topology = [], parse("clique+chain")
    for name, row in convs.CONVS.items():
        conv = GraphLayer(CHANNELS, topology, GRID, name).conv
        graph = graph_macs(conv, topology, GRID, CHANNELS)
        macs = None if graph is None else projection_macs(conv, math.prod(GRID)) + graph
        parameters = sum(parameter.numel() for parameter in conv.parameters())
        shown = ", ".join(f"{key}={value}" for key, value in row.options.items())
        named = convs.name_of(row.builder).rpartition(".")[2] + (f"({shown})" if shown else "")
        lines.append([name, named, f"{parameters / 1e6:.3g}", _billions(macs), row.summary, row.paper])
    return header, lines


def overhead_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The cost of each head in per cent of each backbone: parameters / multiply-adds / time."""
    names = list(dict.fromkeys(head for row in rows for head in row["heads"]))
    header = ["backbone", "M parameters", "GMAC", "ms", *names]
    lines = []
    for row in rows:
        cells = []
        for head in names:
            of_head = row["heads"].get(head, {})
            parts = [_percent(of_head.get(key), row[key]) for key in ("parameters", "macs", "ms")]
            cells.append(" / ".join(parts))
        time = f"{row['ms']:,.0f}" if row["ms"] else "-"
        lines.append([row["backbone"], f"{row['parameters'] / 1e6:.2f}", f"{row['macs'] / 1e9:.4g}", time, *cells])
    return header, lines


def details(name: str) -> str:
    """Everything known about one backbone, one fact a line."""
    row = backbones.find(name)
    count = counting.of_backbone(name)
    with torch.device("meta"):
        found = backbones.stages(backbones.build(name))
    facts = {
        "name": row.name,
        "clip": f"{_by(row.clip)} ({', '.join(row.spec.axes[1:])})" + (f", {row.sampling}" if row.sampling else ""),
        "tokens": f"{_by(count.grid)} of {count.channels} channels",
        "parameters": f"{count.parameters:,} without classifier"
        + (f"; published {row.parameters:.4g} M with it" if row.parameters else ""),
        "multiply-adds": f"{count.macs:,} for a clip"
        + (f"; published {row.gmacs:.4g} G at {_by(row.figures_clip or row.clip)}" if row.gmacs else ""),
        "figures": row.figures,
        "mean, std": f"{_numbers(row.mean)}, {_numbers(row.std)} of pixels in [0, 1], red first" if row.mean else "",
        "weights": row.weights,
        "source": row.source,
        "paper": row.paper,
        "stages": ", ".join(stage.name for stage in found),
    }
    return "\n".join(f"{key:14} {value}" for key, value in facts.items() if value)


def section(results: Path | None) -> str:
    """The text between the markers of a README."""
    parts = [
        f"*Written by `{COMMAND}`. Counted at each backbone's own clip (frames x height x width, or frames x joints x persons) "
        "by PyTorch's counter, without classifier; in brackets what was published, with classifier, at its clip where that is "
        "another. PyTorchVideo's figures contain its BatchNorm, five operations an element.*",
        _marked(backbone_table(list(BACKBONES))),
    ]
    if hub_models():
        parts += ["Hugging Face, with `pip install '.[huggingface]'`:", _marked(backbone_table(list(HUB)))]
    tokens = f"{_by(GRID)} tokens of {CHANNELS} channels"
    parts += [f"Heads, on {tokens} for {overhead.CLASSES} classes:", _marked(head_table())]
    parts += [f"Convolutions, as a layer on {tokens}, the graph counted edge by edge:", _marked(conv_table())]
    rows = overhead.read(results) if results is not None else []
    if rows:
        parts.append(
            "What a head adds to a backbone, in per cent of it: parameters / multiply-adds / time of one clip in evaluation "
            f"({_machine(rows)}):"
        )
        parts.append(_marked(overhead_table(rows)))
    return "\n\n".join(parts)


def replaced(text: str, new: str, where: Path, begin: str = BEGIN, end: str = END) -> str:
    """The text with ``new`` between two marker lines.

    Args:
        text: content of a page.
        new: the new text between the markers.
        where: the page, for messages.
        begin: the line before it.
        end: the line after it.

    Raises:
        ValueError: a marker line is missing, is there twice, or they are in the wrong order.
    """
    lines = text.splitlines()
    for marker in (begin, end):
        if lines.count(marker) != 1:
            raise ValueError(f"{where} must have the line {marker!r} exactly once; found {lines.count(marker)}")
    first, last = lines.index(begin), lines.index(end)
    if first > last:
        raise ValueError(f"{where} has the line {end!r} before {begin!r}")
    return "\n".join([*lines[: first + 1], new, *lines[last:]]) + "\n"


def _machine(rows: Sequence[dict[str, Any]]) -> str:
    facts = {(row["environment"]["device"], row["environment"]["threads"]) for row in rows if "environment" in row}
    return "; ".join(f"{device}, {threads} threads" for device, threads in sorted(facts)) or "not timed"


def hub_models() -> list[str]:
    """The models of Hugging Face, if transformers is installed."""
    return list(HUB) if environment.is_there("transformers") else []


def _weights(row: Backbone) -> str:
    """The available weights in a few words: the name of the published ones and their host."""
    link = re.search(r"https?://[^\s)]+", row.weights)
    host = urlparse(link[0]).netloc if link else "download.pytorch.org" if "pytorch.org" in row.weights else ""
    if row.weights.startswith("default"):
        return f"default ({host})"
    return "a file of your own"


def _percent(value: float | None, whole: float | None) -> str:
    if value is None or not whole:
        return "-"
    share = 100 * value / whole
    return "<0.01" if share < 0.01 else f"{share:.2g}" if share < 10 else f"{share:,.0f}"


def _billions(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e9:.3g}"


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def as_text(title: str, table: Table) -> str:
    """A table for the screen."""
    header, lines = table
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [header, *lines]
    ]
    return "\n".join(["", title, "", shown[0], "-" * len(shown[0]), *shown[1:]])


def _marked(table: Table) -> str:
    header, lines = table
    shown = [[f"`{line[0]}`", *(_link(cell) for cell in line[1:])] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *shown])


def _link(cell: str) -> str:
    if not cell.startswith("http"):
        return cell.split("; factorised")[0] or "-"
    # Several addresses have a comma and a space between them.
    parts = cell.split(", ")
    return ", ".join(f"[{one.rsplit('/', 1)[1] if 'arxiv' in one else urlparse(one).netloc}]({one})" for one in parts)
