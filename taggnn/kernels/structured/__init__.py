"""Clique and chain without an edge list: closed forms for sums and maxima, blocks and sorted prefix sums for attention.

Axes: T frames, P positions of a frame (H*W on video, V joints on skeletons).
"""

from collections.abc import Callable, Sequence
from math import prod

from torch import nn

from graphs import Topology
from taggnn.kernels.kernel import clique_and_chain
from taggnn.kernels.operators import Additive, Dot, Dynamic, Family, Max, Sum
from taggnn.kernels.structured.dot import StructuredDot
from taggnn.kernels.structured.gat import StructuredGAT
from taggnn.kernels.structured.gatv2 import StructuredGATv2
from taggnn.kernels.structured.maximum import StructuredMax
from taggnn.kernels.structured.sum import StructuredSum

# family -> module of (family, clique, reach, frames, positions)
_MODULES: dict[type, Callable[..., nn.Module]] = {
    Sum: StructuredSum,
    Max: StructuredMax,
    Additive: StructuredGAT,
    Dynamic: StructuredGATv2,
    Dot: StructuredDot,
}


def propagation(family: Family, topology: Topology, grid: Sequence[int]) -> nn.Module:
    """Returns the module that computes a family on cliques and chains.

    Args:
        family: what is computed.
        topology: ``Clique``, ``Chain``, both together, or ``NoEdges``.
        grid: sizes of the token grid, time first; all further axes together are the positions of a frame.

    Raises:
        ValueError: another topology.
    """
    clique, reach = clique_and_chain(topology)
    frames, *others = topology.checked(grid)
    return _MODULES[type(family)](family, clique, reach, frames, prod(others))
