"""Clique, chain and any fixed graph inside a frame: closed forms, blocks and sorted prefix sums; a few edges one by one.

Axes: T frames, P positions of a frame (H*W on video, V joints on skeletons).
"""

from collections.abc import Callable, Sequence
from math import prod

from torch import nn

from graphs import Topology
from taggnn.kernels.kernel import frames_and_chain
from taggnn.kernels.operators import Additive, Dot, Dynamic, Family, Max, Sum
from taggnn.kernels.structured import fixed
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
    """Returns the module that computes a family on cliques, chains, and frames that all have the same edges.

    Args:
        family: what is computed.
        topology: ``Clique``, ``Chain``, ``NoEdges``, rules with the same edges inside of every frame, such as ``Bones``, and
            sums of them.
        grid: sizes of the token grid, time first; all further axes together are the positions of a frame.

    Raises:
        ValueError: another topology; or the maximum, where a frame is neither a clique nor without edges.
    """
    frames, *others = topology.checked(grid)
    found = frames_and_chain(topology, (frames, *others))
    if found.adjacency is not None:
        return fixed.propagation(family, found.adjacency, found.reach, frames)
    return _MODULES[type(family)](family, found.clique, found.reach, frames, prod(others))
