"""The scores of GATv2 over a few edges for every node: some edges are compared at a time, and again for the gradient.

Axes: as in ``edges``; C = A*D channels of a node.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.kernels.structured import plain
from taggnn.kernels.structured.edges import Edges, Pairs, bags

# Numbers in a thread's room for one end of some edges: 512 KB in float32, two of which its cache holds.
_AT_ONCE = 2**17


def scores(graph: Edges, slope: float, l: Tensor, r: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:  # noqa: E741
    """Computes ``a . LeakyReLU(l_j + r_i)`` for every pair, and hands l through, so that its gradients are added up in one pass.

    Source: https://arxiv.org/abs/2105.14491, equation 7.

    **Shapes:** l, r (B, N, A, D), a (A, D) -> (S,), l
    """
    return _Scores.apply(graph, slope, l, r, a)


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: Edges, slope: float, left: Tensor, right: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        ctx.graph, ctx.slope = graph, slope
        ctx.save_for_backward(left, right, a)
        clips, _, heads, _ = left.shape
        found = left.new_empty(clips, len(graph.source), heads)
        # A column for each head.
        columns = torch.block_diag(*a[..., None])
        room = left.new_empty(_at_once(a), a.numel())
        for clip in range(clips):
            for some, source, target in _ends(graph, left[clip].flatten(1), right[clip].flatten(1)):
                z = torch.add(source, target, out=room[: len(source)])
                torch.mm(F.leaky_relu_(z, slope), columns, out=found[clip, some])
        return found.flatten().index_select(0, graph.pairs(clips, heads).edge), left.view_as(left)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, to_values: Tensor) -> tuple[Tensor | None, ...]:
        graph, slope = ctx.graph, ctx.slope
        l, r, a = ctx.saved_tensors  # noqa: E741
        pairs = graph.pairs(*l.shape[::2])
        if torch.is_grad_enabled():
            # The gradient is differentiated again.
            to_l, *others = plain.gradients(partial(_plainly, pairs, slope), (l, r, a), grad, ctx.needs_input_grad[2:])
            return None, None, to_l if to_l is None else to_l + to_values, *others
        to_l, to_r, to_a = torch.empty_like(l), torch.empty_like(r), torch.zeros_like(l[0])
        # The pairs of the first clip are those of any other.
        rows, by_target = l[0, ..., 0].numel() + 1, grad.reshape(len(l), -1).contiguous()
        edge, order = pairs.edge[: by_target.shape[1]], pairs.order[: by_target.shape[1]]
        back, one = edge.index_select(0, order), l.new_ones(())
        slopes = l.new_empty(len(graph.source), a.numel())

        def summed(index: Tensor, start: Tensor, weights: Tensor, x: Tensor) -> Tensor:
            found = bags(index, slopes.view(-1, a.shape[1]), start[:rows], weights).view_as(x)
            to_a.addcmul_(found, x)
            return found

        for clip, weights in enumerate(by_target):
            for some, source, target in _ends(graph, l[clip].flatten(1), r[clip].flatten(1)):
                z = torch.add(source, target, out=slopes[some])
                torch.ops.aten.leaky_relu_backward.grad_input(one, z, slope, False, grad_input=z)
            of_source = summed(back, pairs.back_start, weights.index_select(0, order), l[clip])
            torch.addcmul(to_values[clip], of_source, a, out=to_l[clip])
            torch.mul(summed(edge, pairs.start, weights, r[clip]), a, out=to_r[clip])
        return None, None, to_l, to_r, to_a.sum(0)


def _ends(graph: Edges, l: Tensor, r: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:  # noqa: E741
    """Some edges, the rows of their sources and those of their targets; valid until the next ones.

    **Shapes:** l, r (N, C) -> two (edges, C)
    """
    step, first = _at_once(l[0]), graph.sizes[0]
    sources, targets = l.new_empty(2, min(step, first), l.shape[1])
    for some in _slices(first, step):
        source, target = graph.source[some], graph.target[some]
        torch.index_select(l, 0, source, out=sources[: len(source)])
        torch.index_select(r, 0, target, out=targets[: len(target)])
        yield some, sources[: len(source)], targets[: len(target)]
    # Edges in time join rows that follow one another: they are read where they lie.
    for (at_source, at_target), size in zip(graph.firsts, graph.sizes[1:], strict=True):
        for some in _slices(size, step):
            yield slice(first + some.start, first + some.stop), l[at_source:][some], r[at_target:][some]
        first += size


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def _at_once(channels: Tensor) -> int:
    return max(torch.get_num_threads() * _AT_ONCE // channels.numel(), 1)


def _plainly(pairs: Pairs, slope: float, l: Tensor, r: Tensor, a: Tensor) -> Tensor:  # noqa: E741
    heads, width = a.shape
    z = l.reshape(-1, width).index_select(0, pairs.source) + r.reshape(-1, width).index_select(0, pairs.target)
    return (F.leaky_relu(z, slope) * a.index_select(0, pairs.source.remainder(heads))).sum(-1)
