"""A PyG Batch of clips as a head takes it: the tokens of its grid, and the edges that the batch itself has.

Axes: B clips, grid the token grid with time first, N nodes of one clip, E edges of one clip, C channels, D numbers of an edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from taggnn.kernels.pyg import takes_types

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True)
class Edges:
    """The edges of a whole batch.

    Args:
        edge_index: source and target.
        edge_type: type of each edge; None: not known.
        edge_attr: attributes of each edge; None: not known.

    **Shapes:** edge_index (2, B*E) long, edge_type (B*E,) long, edge_attr (B*E, D).
    """

    edge_index: Tensor
    edge_type: Tensor | None
    edge_attr: Tensor | None

    def given_to(self, conv: nn.Module, with_attributes: bool) -> dict[str, Tensor]:
        """The arguments of a convolution besides its nodes.

        Raises:
            ValueError: it takes edge types, or was built for edge attributes, and the batch has none.
        """
        wanted = {
            "edge_type": takes_types(conv, with_attributes),
            "edge_attr": with_attributes,
        }
        given = {"edge_index": self.edge_index}
        for name, is_wanted in wanted.items():
            value = getattr(self, name)
            if is_wanted and value is None:
                raise ValueError(
                    f"{type(conv).__name__} takes {name}, and the batch has none; graphs.to_batch(tokens, topology, "
                    "attributes) adds them"
                )
            if is_wanted:
                given[name] = value
        return given


def take_apart(batch: "Data", grid: Sequence[int]) -> tuple[Tensor, Edges]:
    """The tokens of a batch as a grid, and its edges, which need not be those of a topology.

    Args:
        batch: a PyG ``Batch`` of clips, as ``graphs.to_batch`` makes it, or the ``Data`` of one clip; every clip has all nodes
            of the grid, time slowest.
        grid: sizes of the token grid, time first.

    **Shapes:** batch.x (B*N, C) -> tokens (B, *grid, C).

    Raises:
        ValueError: no ``x`` or ``edge_index``, or a clip with another number of nodes than the grid.
    """
    for name in ("x", "edge_index"):
        if batch.get(name) is None:
            raise ValueError(f"a batch of clips has x and edge_index; {name} is missing in {batch}")
    nodes, x = prod(grid), batch.x
    counts = torch.tensor([len(x)]) if batch.get("ptr") is None else batch.ptr.diff()
    if bool((counts != nodes).any()):
        other = int(counts[counts != nodes][0])
        raise ValueError(
            f"a head for the grid {tuple(grid)} takes clips of {nodes} nodes, time slowest; the batch has a clip of {other}"
        )
    edges = Edges(batch.edge_index, batch.get("edge_type"), batch.get("edge_attr"))
    return x.reshape(len(counts), *grid, x.shape[-1]), edges
