"""Families over a few edges for every node, such as the bones of a skeleton joined with a chain, edge by edge on CPUs.

Axes: B clips, N nodes and E edges of one clip, A attention heads, D channels of a head, S pairs of ``edges``.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.kernels.operators import Additive, Dot, Dynamic, Sum
from taggnn.kernels.precision import unrounded, wide
from taggnn.kernels.structured import edges, fused, gatv2_edges, temporal
from taggnn.kernels.structured.edges import Edges
from taggnn.kernels.structured.fused import gatv2_edges as fused_gatv2
from taggnn.kernels.structured.gatv2 import Scores


class FewEdges(nn.Module):
    """Computes a family edge by edge on a CPU; in blocks on other devices, and in what is compiled or exported.

    Args:
        family: what is computed.
        adjacency: the edges inside of every frame, target by source.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        blocks: computes the same in blocks.

    **Shapes:** adjacency (P, P) bool; those of the family.
    """

    def __init__(
        self, family: Sum | Additive | Dynamic | Dot, adjacency: Tensor, reach: int, frames: int, blocks: nn.Module
    ) -> None:
        super().__init__()
        self.family, self.blocks, self.grid = family, blocks, (frames, len(adjacency))
        self.graph = Edges(adjacency, reach, frames, not isinstance(family, Dot) and family.self_loops)
        self.frame: fused_gatv2.Frame | None = None
        if isinstance(family, Dynamic):
            self.frame = fused_gatv2.Frame(adjacency, temporal.offsets(frames, reach, itself=family.self_loops))
            self.how = partial(fused.how, len(adjacency))

    def forward(self, *inputs: Any) -> Tensor:
        if inputs[0].device.type != "cpu" or torch.compiler.is_compiling():
            return self.blocks(*inputs)
        # Autocast would round what no layer rounded.
        with unrounded(inputs[0]):
            if isinstance(self.family, Sum):
                return _sum(self.family, self.graph, *inputs)
            if isinstance(self.family, Additive):
                return _gat(self.family, self.graph, *inputs)
            if isinstance(self.family, Dynamic):
                return self._gatv2(self.family, *inputs)
            return _dot(self.graph, *inputs)

    def _gatv2(self, family: Dynamic, l: Tensor, r: Tensor, a: Tensor, dropout: float) -> Tensor:  # noqa: E741
        dtype, (l, r, a) = l.dtype, (wide(part) for part in (l, r, a))  # noqa: E741
        if self.frame and fused.takes(l, self.grid[1], dropout):
            parts = l.unflatten(1, self.grid), r.unflatten(1, self.grid), a
            found = fused_gatv2.attend(Scores(family.slope), self.frame, family.slope, dropout, *parts)
            return found.flatten(1, 2).to(dtype)
        scores, values = gatv2_edges.scores(self.graph, family.slope, l, r, a)
        return _averaged(self.graph.pairs(len(l), l.shape[2]), scores, values, dropout).to(dtype)


def _sum(family: Sum, graph: Edges, x: Tensor, bias: Tensor | None) -> Tensor:
    pairs, start = graph.pairs(len(x), 1), wide(x).flatten(0, 1)
    weights = _weights(family.norm, graph).to(start.dtype).repeat(len(x)).index_select(0, pairs.edge)
    if family.teleport is None:
        out = edges.weighted(pairs, weights, start)
    else:
        out = start
        for _ in range(family.steps):
            out = (1 - family.teleport) * edges.weighted(pairs, weights, out) + family.teleport * start
    out = out.to(x.dtype)
    if bias is not None:
        # In the room of the sum where there is one.
        out = out.add_(bias) if family.teleport is None and bias.dtype == out.dtype else out + bias
    return out.unflatten(0, x.shape[:2])


def _weights(norm: str, graph: Edges) -> Tensor:
    """The weights of the edges of one clip. **Shapes:** -> (E,) float64"""
    degree = graph.target.bincount(minlength=graph.nodes).double()
    if norm == "none":
        return torch.ones_like(degree)[graph.target]
    if norm == "mean":
        return 1 / degree[graph.target]
    # A source without edges to it has the degree 0, and no weight.
    scale = torch.where(degree > 0, degree, torch.inf).rsqrt()
    return scale[graph.target] * scale[graph.source]


def _gat(family: Additive, graph: Edges, v: Tensor, s: Tensor, d: Tensor, dropout: float) -> Tensor:
    kind = torch.promote_types(v.dtype, s.dtype)
    v, s, d = (part.to(torch.promote_types(kind, torch.float32)) for part in (v, s, d))
    pairs = graph.pairs(len(v), v.shape[2])
    scores = s.flatten().index_select(0, pairs.source).add_(d.flatten().index_select(0, pairs.target))
    return _averaged(pairs, F.leaky_relu_(scores, family.slope), v, dropout).to(kind)


def _dot(graph: Edges, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    pairs = graph.pairs(len(v), v.shape[2])
    scores = edges.dots(pairs, wide(q).flatten(0, 2), wide(k).flatten(0, 2)) * v.shape[-1] ** -0.5
    return _averaged(pairs, scores, wide(v), dropout).to(v.dtype)


def _averaged(pairs: edges.Pairs, scores: Tensor, values: Tensor, dropout: float) -> Tensor:
    """**Shapes:** scores (S,), values (B, N, A, D) -> (B, N, A, D)"""
    weights = edges.softmax(pairs, scores)
    if dropout:
        weights = F.dropout(weights, dropout)
    return edges.weighted(pairs, weights, values.flatten(0, 2)).view(values.shape)
