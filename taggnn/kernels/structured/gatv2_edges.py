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
        columns, room = torch.block_diag(*a[..., None]), _room(l)
        for clip in range(clips):
            for some, source, target in _ends(graph, l[clip], r[clip]):
                z = torch.add(source, target, out=room[: len(source)])
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
        to_l, to_r = torch.empty_like(l), torch.empty_like(r)
        # LeakyReLU has the slope everywhere, and 1 - slope more where its input is above 0.
        everywhere, above = ctx.slope * grad, ((1 - ctx.slope) * grad).view(len(l), -1)
        of_source, of_target = (
            grad.new_zeros(l[..., 0].numel()).index_add_(0, end, everywhere).view(*l.shape[:3], 1)
            for end in (pairs.source, pairs.target)
        )
        # The pairs of the first clip are those of any other.
        rows, count = l[0, ..., 0].numel() + 1, above.shape[1]
        edge, order = pairs.edge[:count], pairs.order[:count]
        back = edge.index_select(0, order)
        passes = l.new_empty(len(ctx.graph.source), l[0, 0].numel())
        to_a = torch.zeros_like(l[0])
        for clip, weights in enumerate(above):
            for some, source, target in _ends(ctx.graph, l[clip], -r[clip]):
                # Numbers, not truth values, can be multiplied with.
                torch.gt(source, target, out=passes[some])
            by_source = weights.index_select(0, order)
            for x, given, index, start, these, out in (
                (r, of_target, edge, pairs.start, weights, to_r),
                (l, of_source, back, pairs.back_start, by_source, to_l),
            ):
                passed = edges.bags(index, passes.view(-1, l.shape[3]), start[:rows], these)
                passed = passed.view_as(x[clip]).add_(given[clip])
                to_a.addcmul_(passed, x[clip])
                torch.mul(passed, a, out=out[clip])
        return None, None, to_l, to_r, to_a.sum(0)


def _ends(graph: Edges, l: Tensor, r: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:  # noqa: E741
    """Some edges and the rows of their sources and targets. **Shapes:** l, r (N, A, D) -> (edges, C), (edges, C)"""
    l, r, inside = l.flatten(1), r.flatten(1), graph.sizes[0]  # noqa: E741
    rooms = _room(l), _room(l)
    step = len(rooms[0])
    for start in range(0, inside, step):
        some = slice(start, min(start + step, inside))
        ends = ((l, graph.source, rooms[0]), (r, graph.target, rooms[1]))
        count = some.stop - start
        yield some, *(torch.index_select(x, 0, end[some], out=room[:count]) for x, end, room in ends)
    first = inside
    for (source, target), size in zip(graph.firsts, graph.sizes[1:], strict=True):
        for start in range(0, size, step):
            count = min(step, size - start)
            some = slice(first + start, first + start + count)
            yield some, l[source + start :][:count], r[target + start :][:count]
        first += size


def _room(x: Tensor) -> Tensor:
    """**Shapes:** x (..., C) -> (edges, C)"""
    channels = x[0].numel() if x.ndim == 2 else x[0, 0].numel()
    return x.new_empty(max(_AT_ONCE // channels, 1), channels)


def _plainly(pairs: Pairs, slope: float, l: Tensor, r: Tensor, a: Tensor) -> Tensor:  # noqa: E741
    heads, width = a.shape
    z = l.reshape(-1, width).index_select(0, pairs.source) + r.reshape(-1, width).index_select(0, pairs.target)
    return (F.leaky_relu(z, slope) * a.index_select(0, pairs.source.remainder(heads))).sum(-1)
