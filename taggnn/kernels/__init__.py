"""How a convolution is computed on a graph: one function per implementation, none of which owns a weight.

A kernel is ``(conv, x, graph) -> out``: the PyG convolution keeps the weights and says what is right, the kernel says how
fast. Checkpoints therefore do not depend on it, and two kernels can be compared weight for weight.
"""

from collections.abc import Callable

from torch import Tensor, nn

from graphs import Graph, Topology
from taggnn.kernels import pyg
from taggnn.names import unknown

# (conv, x (B, N, C), graph of one clip) -> (B, N, C')
Kernel = Callable[[nn.Module, Tensor, Graph], Tensor]

IMPLS: dict[str, Callable[[nn.Module, Topology], Kernel]] = {"pyg": pyg.kernel}


def find(conv: nn.Module, topology: Topology, impl: str = "auto") -> Kernel:
    """Finds the kernel that computes a convolution on a topology; asked once, when the layer is built.

    Args:
        conv: the convolution that owns the weights.
        topology: the rule it will run on.
        impl: a name of ``IMPLS``, or "auto" for the fastest one that is proven equal (today "pyg").

    Returns:
        A function ``(conv, x, graph) -> out`` with **Shapes** x (B, N, C) -> out (B, N, C').

    Raises:
        ValueError: ``impl`` is unknown, or refuses this convolution or topology.
    """
    if impl == "auto":
        return pyg.kernel(conv, topology)
    if impl not in IMPLS:
        raise unknown("implementation", impl, ["auto", *IMPLS])
    return IMPLS[impl](conv, topology)
