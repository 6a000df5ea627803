"""A topology as text: counts, degrees and, on a small grid, the adjacency matrix."""

from collections.abc import Sequence
from math import prod

import torch

from .batch import Graph, graph
from .topology import SPATIAL, TEMPORAL, Topology

KINDS = {SPATIAL: "spatial", TEMPORAL: "temporal"}

# A wider matrix wraps on a terminal of 80 characters.
_MOST_COLUMNS = 24


def describe(topology: Topology, grid: Sequence[int]) -> str:
    """Writes what the graph of a topology on a grid is, node numbers and adjacency included where they fit a terminal.

    Args:
        topology: the rule.
        grid: its sizes, time first: (T, H, W) on video.

    Raises:
        ValueError: ``grid`` does not fit the rule.
    """
    one = graph(topology, grid)
    frames, *others = one.grid
    positions = " x ".join(map(str, others)) if others else "1"
    lines = [
        f"{topology} on {frames} frames of {positions} positions",
        f"  nodes       {one.num_nodes:,}",
        f"  edges       {one.num_edges:,} (each direction counts)",
        *(f"    {kind:<9} {number:,}" for kind, number in count_kinds(topology, one.grid).items()),
        f"  degree      {span(one)}, with self-loop {span(one, 1)}",
    ]
    if one.num_nodes <= _MOST_COLUMNS:
        lines += ["", *_numbers(one), "", *_matrix(one)]
    return "\n".join(lines)


def count_kinds(topology: Topology, grid: Sequence[int]) -> dict[str, int]:
    """Counts the edges of each kind, without listing them where the rule knows its count."""
    parts = getattr(topology, "parts", (topology,))
    if all(len(part.edge_types) <= 1 for part in parts):
        counts = dict.fromkeys(KINDS, 0)
        for part in parts:
            for kind in part.edge_types:
                counts[kind] += part.num_edges(grid)
    else:
        counts = dict(enumerate(torch.bincount(topology.edges(grid)[1], minlength=len(KINDS)).tolist()))
    return {KINDS[kind]: number for kind, number in counts.items()}


def span(one: Graph, self_loop: int = 0) -> str:
    """Writes the smallest and the largest degree of a graph, or the one that all nodes have."""
    low, high = int(one.degree.min()) + self_loop, int(one.degree.max()) + self_loop
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def plane(grid: Sequence[int]) -> tuple[int, int, int]:
    """A grid of any rank as frames of rows and columns: the last axis is a row, those between it and time are stacked.

    **Shapes:** (T,) -> (T, 1, 1), (T, V) -> (T, 1, V), (T, H, W) -> the same, (T, A, B, V) -> (T, A*B, V)
    """
    frames, *others = grid
    return frames, prod(others[:-1]), others[-1] if others else 1


def _numbers(one: Graph) -> list[str]:
    frames, height, width = plane(one.grid)
    cell = len(str(one.num_nodes - 1))
    block = max(width * (cell + 1) - 1, len(f"t={frames - 1}"))
    numbers = torch.arange(one.num_nodes).view(frames, height, width)
    lines = [[f"t={frame}" for frame in range(frames)]]
    for row in range(height):
        lines.append([" ".join(f"{node:>{cell}}" for node in numbers[frame, row].tolist()) for frame in range(frames)])
    return ["  " + "   ".join(part.ljust(block) for part in line).rstrip() for line in lines]


def _matrix(one: Graph) -> list[str]:
    cell = len(str(one.num_nodes - 1))
    cells = [["."] * one.num_nodes for _ in range(one.num_nodes)]
    for source, target, kind in zip(*one.edge_index.tolist(), one.edge_type.tolist(), strict=True):
        cells[target][source] = KINDS[kind][0]
    rows = [(" " * cell, [str(node) for node in range(one.num_nodes)])]
    rows += [(f"{node:>{cell}}", row) for node, row in enumerate(cells)]
    legend = "  edges from column to row: s spatial, t temporal"
    return [legend, *("  " + " ".join([name, *(text.rjust(cell) for text in row)]) for name, row in rows)]
