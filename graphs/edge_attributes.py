"""Attributes of edges that follow from the topology alone: what kind of edge it is, and how far and in which direction it leads.

Axes: E edges of one clip, D numbers of one edge.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .names import unknown
from .topology import SPATIAL, TEMPORAL

if TYPE_CHECKING:
    from .batch import Graph


_TYPES = (SPATIAL, TEMPORAL)


class Row(NamedTuple):
    """One attribute.

    Args:
        of: ``graph`` -> (E, D) float32, a row for each edge in the order of ``graph.edge_index``.
        width: number of axes of the grid -> D.
        summary: what it is, in one line.
    """

    of: Callable[["Graph"], Tensor]
    width: Callable[[int], int]
    summary: str


def _type(one: "Graph") -> Tensor:
    # The same columns for every topology, so that a layer can run on another one, or on none.
    others = set(one.topology.edge_types) - set(_TYPES)
    if others:
        raise ValueError(
            f"edge attribute 'type' knows {SPATIAL} (inside a frame) and {TEMPORAL} (between frames); topology {one.topology} "
            f"also has {', '.join(map(str, sorted(others)))}"
        )
    return (one.edge_type[:, None] == torch.tensor(_TYPES, device=one.device)).float()


def _steps(one: "Graph") -> Tensor:
    """Source minus target along each axis, in positions of the grid."""
    source, target = one.edge_index
    return (one.pos[source] - one.pos[target]).float()


def _offset(one: "Graph") -> Tensor:
    return _steps(one) / torch.tensor([max(size - 1, 1) for size in one.grid], device=one.device)


def _direction(one: "Graph") -> Tensor:
    return _steps(one)[:, :1].sign()


def _distance(one: "Graph") -> Tensor:
    return torch.linalg.vector_norm(_offset(one), dim=1, keepdim=True)


EDGE_ATTRIBUTES: dict[str, Row] = {
    "type": Row(
        _type,
        lambda rank: len(_TYPES),
        "one column for edges inside a frame, one for those between frames: 1 for its own, else 0",
    ),
    "offset": Row(
        _offset, lambda rank: rank, "source minus target along each axis, in shares of the grid's extent: -1 to 1"
    ),
    "direction": Row(
        _direction,
        lambda rank: 1,
        "-1 where the source is an earlier frame, 1 where it is a later one, 0 inside a frame",
    ),
    "distance": Row(_distance, lambda rank: 1, "length of the offset"),
}


def edge_attributes(one: "Graph", names: Sequence[str]) -> Tensor:
    """Puts the attributes of these names next to each other, as PyG's convolutions take them in ``edge_attr``.

    Args:
        one: the graph of a clip, see ``graphs.graph``.
        names: of ``EDGE_ATTRIBUTES``, in the order of the columns.

    **Shapes:** (E, D) float32; D is 2 for "type", the number of axes for "offset", 1 for the others.

    Raises:
        ValueError: no name, an unknown name, or one twice; or an edge type that "type" does not know.
    """
    _check(names)
    return torch.cat([EDGE_ATTRIBUTES[name].of(one) for name in names], 1)


def edge_attributes_width(rank: int, names: Sequence[str]) -> int:
    """The number D of columns of these attributes, which a convolution takes as its ``edge_dim``.

    Args:
        rank: number of axes of the grid.
        names: of ``EDGE_ATTRIBUTES``.

    Raises:
        ValueError: no name, an unknown name, or one twice.
    """
    _check(names)
    return sum(EDGE_ATTRIBUTES[name].width(rank) for name in names)


def _check(names: Sequence[str]) -> None:
    if not names:
        raise ValueError(f"no edge attribute is named; possible: {', '.join(EDGE_ATTRIBUTES)}")
    for name in names:
        if name not in EDGE_ATTRIBUTES:
            raise unknown("edge attribute", name, EDGE_ATTRIBUTES)
    if len(set(names)) < len(names):
        raise ValueError(f"edge attributes {', '.join(names)}: one is named twice")
