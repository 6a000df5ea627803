"""The form of every kernel: a module without weights, made for one topology and grid, that computes a convolution there.

Axes: B clips, N nodes of one clip, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from graphs import Chain, Clique, NoEdges, Topology, Tracklets, Union
from taggnn.kernels.operators import Operator, read

# By type: a subclass of one's own may have other edges.
_CHAINS = (Chain, Tracklets)


class Kernel(nn.Module):
    """Computes a convolution by an implementation's way to propagate its family.

    The convolution is given with each call and never becomes a part of the kernel, so that weights, checkpoints and optimisers
    do not depend on the implementation.

    Args:
        impl: name of the implementation, for the log.
        operator: the convolution taken apart.
        propagate: the implementation's module for the operator's family, built for one topology and grid.
        nodes: N of that grid.

    **Shapes:** ``kernel(conv, x)``: x (B, N, C) -> (B, N, C').

    Raises:
        ValueError: in ``forward``, x has another number of nodes; or since the kernel was built the convolution got a hook, an
            explainer, or options that need another kernel (not noticed while compiling).
    """

    def __init__(self, impl: str, operator: Operator, propagate: nn.Module, nodes: int) -> None:
        super().__init__()
        self.impl = impl
        self.operator = operator
        self.propagate = propagate
        self.nodes = nodes

    def describe(self) -> str:
        """The implementation, and where it has several ways, which one is taken and why."""
        how = getattr(self.propagate, "how", None)
        return self.impl if how is None else f"{self.impl} ({how()})"

    def forward(self, conv: nn.Module, x: Tensor) -> Tensor:
        operator = self.operator
        if not torch.compiler.is_compiling():
            operator = read(conv)
            if operator.family != self.operator.family:
                raise ValueError(
                    f"{type(conv).__name__} now needs {operator.family}, and this kernel was built for {self.operator.family}: an"
                    " option was changed since; build the kernel again (resize() of the graph layer)"
                )
        if x.shape[1] != self.nodes:
            raise ValueError(f"a kernel built for {self.nodes} nodes of a clip is given {x.shape[1]}")
        size = x.shape[:2]
        # The convolution's own layers see nodes as rows, as PyG gives them: a BatchNorm1d among them depends on it.
        flat = x.flatten(0, 1)
        nodes, rest = operator.before(conv, flat)
        out = self.propagate(*(part.unflatten(0, size) for part in nodes), *rest)
        return operator.after(conv, flat, out.flatten(0, 1)).unflatten(0, size)


@dataclass(frozen=True)
class FramesAndChain:
    """A topology of equal frames joined by a chain.

    Args:
        clique: every two nodes of a frame are neighbours.
        reach: how many frames the chain reaches, 0 for none.
        adjacency: the edges inside of every frame, target by source, where they are neither none nor all; else None.

    **Shapes:** adjacency (P, P) bool
    """

    clique: bool
    reach: int
    adjacency: Tensor | None = None


def frames_and_chain(topology: Topology, grid: Sequence[int]) -> FramesAndChain:
    """Takes a topology apart into one graph for every frame and a chain.

    Raises:
        ValueError: it has edges between frames other than a chain's, or frames with different edges.
    """
    frames, *others = grid
    positions, found = prod(others), None
    rules = topology.parts if isinstance(topology, Union) else (topology,)
    known = [rule for rule in rules if type(rule) in (Clique, *_CHAINS, NoEdges)]
    for rule in rules:
        if rule in known:
            continue
        source, target = rule.edges(grid)[0]
        masks = torch.zeros(frames, positions, positions, dtype=torch.bool, device="cpu")
        masks[target // positions, target % positions, source % positions] = True
        if bool((source // positions != target // positions).any()) or not bool((masks == masks[0]).all()):
            raise ValueError(
                f"topology {topology} has other edges than clique, chain and those of equal frames; possible: clique, chain, "
                "none, a rule with the same edges inside of every frame, or a sum of them"
            )
        found = masks[0] if found is None else found | masks[0]
    clique, reach = clique_and_chain(sum(known, NoEdges()))
    return FramesAndChain(clique, reach, None if clique else found)


def clique_and_chain(topology: Topology) -> tuple[bool, int]:
    """Returns whether the topology has the clique, and how far its chain reaches (0: no chain).

    Raises:
        ValueError: the topology has other edges than these.
    """
    rules = topology.parts if isinstance(topology, Union) else (topology,)
    if any(type(rule) not in (Clique, *_CHAINS, NoEdges) for rule in rules):
        raise ValueError(
            f"topology {topology} has other edges than clique and chain; possible: clique, chain, clique+chain, none"
        )
    return any(type(rule) is Clique for rule in rules), max(
        (r.reach for r in rules if isinstance(r, Chain) and type(r) in _CHAINS), default=0
    )
