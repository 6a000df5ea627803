"""Degree-matched random edges: the control that keeps how many neighbours a node has, and forgets which.

Axes: N nodes of one clip, E edges of one clip.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .topology import Axes, Topology

# Swaps that are tried, in multiples of the edges; Milo et al. need about as many.
_SWAPS = 10
_CACHED = 16


@dataclass(frozen=True)
class Rewired(Topology):
    """A random topology in which every node has as many edges of each type, in and out, as in another topology.

    Source: the switching method of Maslov and Sneppen, https://doi.org/10.1126/science.1065103. Formula: two edges (a, b), (c, d)
    of one type become (a, d), (c, b), ``10 E`` times, where that makes no self-loop and no edge twice. Where all edges lead in
    both directions, those of the result do too. Edges keep their type, and lead anywhere in the clip: inside of one frame a
    clique is the only graph of its degrees. A graph in which all nodes are neighbours stays as it is. Such a graph has no
    structure that a fast kernel could use: it runs on an edge list or a mask.

    Args:
        of: the topology whose degrees are kept; in a text its name, ``rewired(of=clique+chain, seed=1)``.
        seed: of the draws, 0 or more (default 0).

    Raises:
        ValueError: no topology, or a seed that is no integer of 0 or more.
    """

    of: Topology
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.of, Topology):
            raise ValueError(f"rewired takes a topology, given {self.of!r}; parse('rewired(of=clique)') takes its name")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise ValueError(f"seed of random edges is an integer of 0 or more, given {self.seed!r}")

    @property
    def axes(self) -> Axes:  # type: ignore[override]  # those of the other topology
        return self.of.axes

    @property
    def edge_types(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.of.edge_types

    def checked(self, grid: Sequence[int]) -> tuple[int, ...]:
        return self.of.checked(grid)

    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        edge_index, edge_type = _rewired(self.of, self.checked(grid), self.seed)
        return edge_index.to(device, copy=True), edge_type.to(device, copy=True)

    def num_edges(self, grid: Sequence[int]) -> int:
        return self.of.num_edges(grid)

    def degree(self, grid: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        return self.of.degree(grid, device)

    def kept(self, grid: Sequence[int]) -> float:
        """The share of edges that are those of the other topology; 1 where there are none."""
        nodes = torch.Size(self.checked(grid)).numel()
        ours, theirs = (source * nodes + target for source, target in (self.edges(grid)[0], self.of.edges(grid)[0]))
        return float(torch.isin(ours, theirs).double().mean()) if len(ours) else 1.0

    def __str__(self) -> str:
        return f"rewired(of={self.of}, seed={self.seed})"


@lru_cache(maxsize=_CACHED)
def _rewired(rule: Topology, grid: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    (source, target), kind = rule.edges(grid)
    nodes = torch.Size(grid).numel()
    draw = random.Random(seed)
    pairs = list(zip(source.tolist(), target.tolist(), strict=True))
    taken, rows = {a * nodes + b for a, b in pairs}, []
    for number in sorted(set(kind.tolist())):
        chosen = [pair for pair, own in zip(pairs, kind.tolist(), strict=True) if own == number]
        both = {(b, a) for a, b in chosen} == set(chosen)
        # Each edge of two directions once.
        chosen = [(a, b) for a, b in chosen if a < b] if both else chosen
        _swap(chosen, taken, nodes, draw, both)
        chosen += [(b, a) for a, b in chosen] if both else []
        rows += [(b * nodes + a, number) for a, b in chosen]
    rows.sort()
    found = torch.tensor(rows, dtype=torch.long).view(-1, 2)
    return torch.stack([found[:, 0] % nodes, found[:, 0] // nodes]), found[:, 1].clone()


def _swap(pairs: list[tuple[int, int]], taken: set[int], nodes: int, draw: random.Random, both: bool) -> None:
    """Exchanges the targets of two edges, many times; ``taken`` holds every directed edge of all types."""
    for _ in range(_SWAPS * len(pairs)):
        i, j = draw.randrange(len(pairs)), draw.randrange(len(pairs))
        (a, b), (c, d) = pairs[i], pairs[j]
        if both and draw.random() < 0.5:
            c, d = d, c
        if i == j or a == d or c == b or a * nodes + d in taken or c * nodes + b in taken:
            continue
        old, new = [(a, b), (c, d)], [(a, d), (c, b)]
        if both:
            old, new = ([*edges, *((y, x) for x, y in edges)] for edges in (old, new))
        taken.difference_update(x * nodes + y for x, y in old)
        taken.update(x * nodes + y for x, y in new)
        pairs[i], pairs[j] = (a, d), (c, b)
