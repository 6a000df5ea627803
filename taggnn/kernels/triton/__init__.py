"""Fused attention over frame cliques and their chains in Triton: neither edges nor weights ever reach memory. CUDA only.

Axes: B clips, T frames, P positions of a frame (H*W on video), N = T*P nodes, A attention heads, D channels of a head, r reach
of the chain.

Floor of the forward pass, with b bytes an element (float32 4, bfloat16 2), 4 bytes for scores in float32, M = B*N nodes and
a frame's clique of P*P pairs. A part that is read once and written once costs these bytes, at least::

    GAT              M*A * (2*D*b + 12)       v read, out written; s, d read, log-sum-exp written
    GATv2            M*A * (3*D*b + 4)        l, r read, out written; log-sum-exp written
    TransformerConv  M*A * (4*D*b + 4)        q, k, v read, out written; log-sum-exp written

and this work, 2 for a multiply-add, the 2*r temporal neighbours of a node besides the P of its frame::

    GAT              M*A*P * 2*D    in dots    + M*A*P * 6        elementwise (score, maximum, exp)
    GATv2            M*A*P * 2*D    in dots    + M*A*P * 5*D      elementwise (add, LeakyReLU, multiply-add)
    TransformerConv  M*A*P * 4*D    in dots    + M*A*P * 4        elementwise (scale, maximum, exp)
    temporal         M*A*2*r * (the same for each pair)

The three grids of the benchmark:

    name  B  T  H x W    C    A    D    M     P
    G1    4  8   7 x 7   512  4  128  1568   49
    G2    2  8  14 x 14  256  4   64  3136  196
    G3    1  8  28 x 28  128  4   32  6272  784

A device's bandwidth, and its rate for dots of the dtype (for float32 without TF32 the plain rate), make times of them.
"""

from collections.abc import Callable, Sequence
from math import prod

from torch import nn

from graphs import Topology
from taggnn.kernels.kernel import clique_and_chain
from taggnn.kernels.operators import Additive, Dot, Dynamic, Family
from taggnn.kernels.triton.dot import TritonDot
from taggnn.kernels.triton.gat import TritonGAT
from taggnn.kernels.triton.gatv2 import TritonGATv2
from taggnn.kernels.triton.neighbours import Neighbours

_MODULES: dict[type, Callable[..., nn.Module]] = {Additive: TritonGAT, Dynamic: TritonGATv2, Dot: TritonDot}


def propagation(family: Family, topology: Topology, grid: Sequence[int]) -> nn.Module:
    """Returns the module that computes an attention family on cliques and chains.

    Args:
        family: ``Additive``, ``Dynamic`` or ``Dot``.
        topology: ``Clique``, ``Chain``, both together, or ``NoEdges``.
        grid: sizes of the token grid, time first; all further axes together are the positions of a frame.

    Raises:
        ValueError: another family, or another topology.
    """
    if type(family) not in _MODULES:
        raise ValueError("a frame's sum and a small matrix over time: already at the cost of reading x; use structured")
    clique, reach = clique_and_chain(topology)
    frames, *others = topology.checked(grid)
    return _MODULES[type(family)](family, Neighbours(frames, prod(others), clique, min(reach, frames - 1)))
