"""The edges of one type of another topology."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .topology import SPATIAL, Axes, NoEdges, Topology, Union


@dataclass(frozen=True)
class Only(Topology):
    """The edges of one type of another topology; ``of_type`` makes it where no simpler rule has the same edges.

    Args:
        of: the topology; in a text its name, ``only(of=clique+chain, edge_type=1)``.
        edge_type: 0 (default), inside of a frame, or 1, between frames.

    Raises:
        ValueError: no topology.
    """

    of: Topology
    edge_type: int = SPATIAL

    def __post_init__(self) -> None:
        if not isinstance(self.of, Topology):
            raise ValueError(f"only takes a topology, given {self.of!r}; parse('only(of=clique)') takes its name")

    @property
    def axes(self) -> Axes:  # type: ignore[override]  # those of the other topology
        return self.of.axes

    @property
    def edge_types(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(kind for kind in self.of.edge_types if kind == self.edge_type)

    def checked(self, grid: Sequence[int]) -> tuple[int, ...]:
        return self.of.checked(grid)

    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        edge_index, edge_type = self.of.edges(grid, device)
        own = edge_type == self.edge_type
        return edge_index[:, own], edge_type[own]

    def __str__(self) -> str:
        return f"only(of={self.of}, edge_type={self.edge_type})"


def of_type(topology: Topology, edge_type: int) -> Topology:
    """The topology with the edges of one type alone, as the simplest rule, so that a fast kernel may compute it.

    Args:
        topology: any rule or sum.
        edge_type: 0, inside of a frame, or 1, between frames.
    """
    # Of an edge that two parts share the type is that of the first part, which a part alone may not give it.
    shared = isinstance(topology, Union) and not topology.disjoint
    parts = topology.parts if isinstance(topology, Union) and not shared else (topology,)
    kept: list[Topology] = []
    for part in parts:
        if edge_type in part.edge_types:
            kept.append(part if part.edge_types == (edge_type,) else Only(part, edge_type))
    return sum(kept, NoEdges())
