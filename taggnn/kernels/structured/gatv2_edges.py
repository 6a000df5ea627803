"""The scores of GATv2 over a few edges for every node: some edges are compared at a time, and again for the gradient.

Axes: as in ``edges``; C = A*D channels of a node.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.kernels.structured import edges, plain
from taggnn.kernels.structured.edges import Edges, Pairs

# Numbers in the tensor that holds the sources of some edges: 512 KB in float32. Twice as many are a quarter slower.
_AT_ONCE = 2**17


def scores(graph: Edges, slope: float, l: Tensor, r: Tensor, a: Tensor) -> Tensor:  # noqa: E741
    """Computes ``a . LeakyReLU(l_j + r_i)``.

    **Shapes:** l, r (B, N, A, D), a (A, D) -> (S,)
    """
    return _Scores.apply(graph, slope, l, r, a)


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: Edges, slope: float, l: Tensor, r: Tensor, a: Tensor) -> Tensor:  # noqa: E741
        ctx.graph, ctx.slope = graph, slope
        ctx.save_for_backward(l, r, a)
        clips, _, heads, _ = l.shape
        found = l.new_empty(clips, len(graph.source), heads)
        # A column for each head.
        columns = torch.block_diag(*a[..., None])
        for clip in range(clips):
            for some, z in _sums(graph, l[clip], r[clip]):
                torch.mm(F.leaky_relu_(z, slope), columns, out=found[clip, some])
        return found.flatten().index_select(0, graph.pairs(clips, heads).edge)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        l, r, a = ctx.saved_tensors  # noqa: E741
        pairs = ctx.graph.pairs(*l.shape[::2])
        if torch.is_grad_enabled():
            # The gradient is differentiated again.
            function = partial(_plainly, pairs, ctx.slope)
            return None, None, *plain.gradients(function, (l, r, a), grad, ctx.needs_input_grad[2:])
        to_l, to_r, to_a = torch.empty_like(l), torch.empty_like(r), torch.zeros_like(a)
        # LeakyReLU has the slope everywhere, and 1 - slope more where its input is above 0.
        of_source, of_target = (
            grad.new_zeros(l.shape[:3].numel()).index_add_(0, end, ctx.slope * grad).view(*l.shape[:3], 1)
            for end in (pairs.source, pairs.target)
        )
        count, rows = len(grad) // len(l), l[0, ..., 0].numel()
        edge, order = pairs.edge[:count], pairs.order[:count]
        ends = (pairs.start[: rows + 1], edge), (pairs.back_start[: rows + 1], edge[order])
        above = l.new_empty(len(ctx.graph.source), l[0, 0].numel())
        for clip, weights in enumerate(((1 - ctx.slope) * grad).split(count)):
            for some, z in _sums(ctx.graph, l[clip], r[clip]):
                torch.gt(z, 0, out=above[some])
            for x, out, start, index, these, flat in (
                (r, to_r, pairs.start, edge, weights, of_target),
                (l, to_l, pairs.back_start, edge[order], weights[order], of_source),
            ):
                passed = F.embedding_bag(index, above.view(-1, l.shape[3]), start[: rows + 1], mode="sum", per_sample_weights=these, include_last_offset=True)
                passed = passed.view_as(x[clip]).add_(flat[clip])
                to_a += (passed * x[clip]).sum(0)
                torch.mul(passed, a, out=out[clip])
        return None, None, to_l, to_r, to_a


def _sums(graph: Edges, l: Tensor, r: Tensor) -> Iterator[tuple[slice, Tensor]]:  # noqa: E741
    """``l_j + r_i`` of some edges, each time in the same room. **Shapes:** l, r (N, A, D) -> (edges, C)"""
    l, r = l.flatten(1), r.flatten(1)  # noqa: E741
    step = max(_AT_ONCE // l.shape[1], 1)
    rooms = l.new_empty(2, min(step, len(graph.source)), l.shape[1])
    for start in range(0, len(graph.source), step):
        some = slice(start, start + step)
        here, there = (room[: len(graph.source[some])] for room in rooms)
        torch.index_select(l, 0, graph.source[some], out=there)
        torch.index_select(r, 0, graph.target[some], out=here)
        yield some, there.add_(here)


def _plainly(pairs: Pairs, slope: float, l: Tensor, r: Tensor, a: Tensor) -> Tensor:  # noqa: E741
    heads, width = a.shape
    z = l.reshape(-1, width).index_select(0, pairs.source) + r.reshape(-1, width).index_select(0, pairs.target)
    return (F.leaky_relu(z, slope) * a.index_select(0, pairs.source.remainder(heads))).sum(-1)
