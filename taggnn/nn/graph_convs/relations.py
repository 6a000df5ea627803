"""The three relations of a space-time graph: from the same frame, from an earlier one, from a later one.

Axes: M nodes of all clips, P positions of a frame, E edges, C channels.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

RELATIONS = ("same", "earlier", "later")


def positions_of(grid: Sequence[int]) -> int:
    """P of a token grid, time first."""
    return prod(tuple(grid)[1:])


def steps(edge_index: Tensor, positions: int) -> Tensor:
    """Frames from the target to the source of each edge, negative where the source is earlier. **Shapes:** (2, E) -> (E,)"""
    source, target = edge_index.div(positions, rounding_mode="floor")
    return source - target


def relation_of(edge_index: Tensor, positions: int) -> Tensor:
    """Number of the relation of each edge, in the order of `RELATIONS`. **Shapes:** (2, E) -> (E,)"""
    step = steps(edge_index, positions)
    return (step < 0).long() + 2 * (step > 0).long()


def means(x: Tensor, edge_index: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """The mean of the neighbours of each relation, 0 without any, and whether there are any.

    **Shapes:** x (M, C), edge_index (2, E) -> (M, 3, C), bool (M, 3)
    """
    count = len(RELATIONS)
    slot = edge_index[1] * count + relation_of(edge_index, positions)
    sums = x.new_zeros(x.shape[0] * count, x.shape[1]).index_add(0, slot, x[edge_index[0]])
    degree = x.new_zeros(x.shape[0] * count).index_add(0, slot, torch.ones_like(slot, dtype=x.dtype))
    mean = sums / degree.clamp(min=1)[:, None]
    return mean.view(x.shape[0], count, x.shape[1]), (degree > 0).view(x.shape[0], count)
