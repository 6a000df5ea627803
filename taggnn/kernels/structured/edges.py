"""A few edges for every node, the same in every clip, on CPUs: products over compressed rows (CSR), no message is stored.

Axes: B clips, N nodes and E edges of one clip, A attention heads, D channels of a head, R = B*N*A rows (clip, node, head),
S = B*E*A pairs (every edge in every head, sorted by target row), K the largest degree.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.kernels.structured import temporal


@dataclass(frozen=True)
class Pairs:
    """The edges of a batch in every head.

    Args:
        source, target: rows.
        start: the first pair of each target row, and S.
        order: the pairs sorted by source row instead.
        back: their target rows.
        back_start: the first of each source row, and S.
        slots: the pairs of a target row in a column, filled up with S.
        at: where in ``slots`` a pair is.
        edge: its clip, edge and head as one number, the head fastest.

    **Shapes:** source, target, order, back, at, edge (S,); start, back_start (R + 1,); slots (K, R); all int32.
    """

    source: Tensor
    target: Tensor
    start: Tensor
    order: Tensor
    back: Tensor
    back_start: Tensor
    slots: Tensor
    at: Tensor
    edge: Tensor


class Edges:
    """The edges of one clip: first those inside of frames, then from one distance in time after the other.

    Args:
        adjacency: the edges inside of every frame, target by source.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        self_loops: every node gets one; their distance in time is 0.

    **Shapes:** adjacency (P, P) bool; attributes ``source`` and ``target`` (E,) long, nodes of the clip.
    """

    def __init__(self, adjacency: Tensor, reach: int, frames: int, self_loops: bool) -> None:
        positions = len(adjacency)
        self.nodes = frames * positions
        node = torch.arange(self.nodes, device="cpu").view(frames, positions)
        target, source = adjacency.nonzero(as_tuple=True)
        ends = [torch.stack([node[:, source], node[:, target]])]
        steps = temporal.offsets(frames, reach, itself=self_loops)
        ends += [torch.stack([node[there], node[here]]) for _, here, there in temporal.spans(frames, steps)]
        # Of each distance in time, the first source and target; the others follow one by one.
        self.sizes = [part[0].numel() for part in ends]
        self.firsts = [(int(part[0, 0, 0]), int(part[1, 0, 0])) for part in ends[1:]]
        self.source, self.target = torch.cat([part.flatten(1) for part in ends], 1)
        self._batch: tuple[tuple[int, int], Pairs] | None = None

    def pairs(self, clips: int, heads: int) -> Pairs:
        """The pairs of a batch; those of the last size are kept."""
        batch = self._batch
        if batch is None or batch[0] != (clips, heads):
            # Made under inference mode, they could never again take part in training.
            with torch.inference_mode(False), torch.device("cpu"):
                _warn_of_sparse_tensors()
                self._batch = batch = (clips, heads), self._pairs(clips, heads)
        return batch[1]

    def _pairs(self, clips: int, heads: int) -> Pairs:
        rows, clip, head = clips * self.nodes * heads, torch.arange(clips)[:, None, None], torch.arange(heads)
        source, target = (
            ((clip * self.nodes + end[:, None]) * heads + head).flatten() for end in (self.source, self.target)
        )
        edge = target.argsort(stable=True)
        source, target = source[edge], target[edge]
        order = source.argsort(stable=True)
        start, back_start = (F.pad(torch.bincount(end, minlength=rows).cumsum(0), (1, 0)) for end in (target, source))
        number = torch.arange(len(target))
        slot = number - start[target]
        slots = torch.full((int(start.diff().max()), rows), len(target))
        slots[slot, target] = number
        found = (source, target, start, order, target[order], back_start, slots, slot * rows + target, edge)
        return Pairs(*(part.int() for part in found))

    def __getstate__(self) -> dict:
        # Copies and pickles make the batch again.
        return {**self.__dict__, "_batch": None}


def _warn_of_sparse_tensors() -> None:
    """Lets PyTorch give its only warning that sparse tensors may change, unseen: a user cannot do anything about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], [], (1, 1))


def weighted(pairs: Pairs, weights: Tensor, x: Tensor) -> Tensor:
    """Sums the rows of the sources: ``out_i = sum_j w_ij x_j``. **Shapes:** weights (S,), x (R, D) -> (R, D)"""
    return _Weighted.apply(pairs, False, weights, x)


def dots(pairs: Pairs, x: Tensor, y: Tensor) -> Tensor:
    """Products of the rows of target and source: ``x_i . y_j``. **Shapes:** (R, D), (R, D) -> (S,)"""
    return _Dots.apply(pairs, x, y)


def softmax(pairs: Pairs, scores: Tensor) -> Tensor:
    """The softmax over the pairs of each target row. **Shapes:** (S,) -> (S,)"""
    return _Softmax.apply(pairs, scores)


# Each gradient is made of the three again, so that all of them can be differentiated as often as one likes.
class _Weighted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pairs: Pairs, back: bool, weights: Tensor, x: Tensor) -> Tensor:
        ctx.pairs, ctx.back = pairs, back
        ctx.save_for_backward(weights, x)
        return summed(pairs, back, weights, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, x = ctx.saved_tensors
        to_weights = to_x = None
        if ctx.needs_input_grad[2]:
            to_weights = _Dots.apply(ctx.pairs, *((x, grad) if ctx.back else (grad, x)))
        if ctx.needs_input_grad[3]:
            to_x = _Weighted.apply(ctx.pairs, not ctx.back, weights, grad)
        return None, None, to_weights, to_x


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pairs: Pairs, x: Tensor, y: Tensor) -> Tensor:
        ctx.pairs = pairs
        ctx.save_for_backward(x, y)
        values, size = x.new_zeros(len(pairs.source)), (len(x), len(y))
        rows = torch.sparse_csr_tensor(pairs.start, pairs.source, values, size, check_invariants=False)
        # Written into it, because a new one would get its own copy of the edges.
        return torch.sparse.sampled_addmm(rows, x.detach(), y.detach().T, beta=0, out=rows).values()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y = ctx.saved_tensors
        to_x = _Weighted.apply(ctx.pairs, False, grad, y) if ctx.needs_input_grad[1] else None
        to_y = _Weighted.apply(ctx.pairs, True, grad, x) if ctx.needs_input_grad[2] else None
        return None, to_x, to_y


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pairs: Pairs, scores: Tensor) -> Tensor:
        ctx.pairs = pairs
        # Vectorised over the rows: the few pairs of one are too short for that.
        columns = F.pad(scores, (0, 1), value=float("-inf")).index_select(0, pairs.slots.flatten())
        weights = columns.view(pairs.slots.shape).softmax(0).flatten().index_select(0, pairs.at)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = ctx.saved_tensors
        grad = grad * weights
        mean = grad.new_zeros(len(ctx.pairs.start) - 1).index_add(0, ctx.pairs.target, grad)
        return None, torch.addcmul(grad, weights, mean.index_select(0, ctx.pairs.target), value=-1)


def summed(pairs: Pairs, back: bool, weights: Tensor, x: Tensor) -> Tensor:
    """The sum of ``weighted``, or with ``back`` that over the targets of each source; without a gradient."""
    # Detached, because with gradients of its own an embedding bag prepares for them.
    weights, x = weights.detach(), x.detach().contiguous()
    if back:
        return bags(pairs.back, x, pairs.back_start, weights.index_select(0, pairs.order))
    return bags(pairs.source, x, pairs.start, weights)


def bags(index: Tensor, x: Tensor, start: Tensor, weights: Tensor) -> Tensor:
    """Sums rows of x under weights, from each start to the next one. **Shapes:** (S,), (rows, D), (R + 1,), (S,) -> (R, D)"""
    return F.embedding_bag(index, x, start, mode="sum", per_sample_weights=weights, include_last_offset=True)
