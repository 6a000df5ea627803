"""GATv2 over frame cliques and chains, comparing some pairs at a time: no tensor of all pairs by all channels outlives that.

Axes: B clips, T frames, P positions of a frame, N = T*P nodes, A attention heads, D channels of a head, F frames and R targets of
a piece.
"""

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

from taggnn.kernels.operators import Dynamic
from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import fused, plain, temporal
from taggnn.kernels.structured.fused import gatv2 as fused_gatv2
from taggnn.kernels.structured.softmax import Piece, attend, attend_plainly, no_neighbours

# Numbers in the tensor that compares some targets with all sources channel by channel.
_AT_ONCE = 2**20
# The same for one clip of an exported program, where every piece is a few operations more of the program.
_AT_ONCE_EXPORTED = 2**22


class StructuredGATv2(nn.Module):
    """Computes ``Dynamic`` on clique and chain, at least in float32.

    Source: https://arxiv.org/abs/2105.14491, equation 7; the split is ours: ``LeakyReLU(z) = slope z + (1 - slope) relu(z)``, and
    of the first part what the target gives is the same for all of its neighbours and falls out of the softmax. A compiler is
    given all pairs of a piece by all channels and makes one loop of it; an exported program compares some targets after the
    others.

    Args:
        family: slope and self-loops.
        clique: every two nodes of a frame are neighbours.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        positions: P.
        mask: which nodes of a frame are neighbours, (P, P) target by source; None (default) for all.

    **Shapes:** l, r (B, N, A, D), a (A, D), probability that a weight is dropped -> (B, N, A, D).
    """

    mask: Tensor | None

    def __init__(
        self, family: Dynamic, clique: bool, reach: int, frames: int, positions: int, mask: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.frames, self.positions, self.slope = frames, positions, family.slope
        self.clique = clique and (positions > 1 or mask is not None)
        # A node's own score is one of those in time, whether or not there is a chain.
        self.steps = temporal.offsets(frames, reach, itself=family.self_loops)

    def forward(self, l: Tensor, r: Tensor, a: Tensor, dropout: float) -> Tensor:  # noqa: E741
        if not self.clique and not self.steps:
            return no_neighbours(l, r, a)
        dtype, wide = l.dtype, torch.promote_types(l.dtype, torch.float32)
        with unrounded(l):
            l, r = (part.to(wide).unflatten(1, (self.frames, self.positions)) for part in (l, r))  # noqa: E741
            a = a.to(wide)
            scorer = Scores(self.slope)
            if torch.compiler.is_exporting() and not dropout:
                out = attend_plainly(scorer, self.clique, self.steps, l, l, r, a, mask=self.mask)
            elif self.mask is None and fused.takes(l, self.positions, dropout):
                out = fused_gatv2.attend(scorer, self.clique, self.steps, self.slope, dropout, l, r, a)
            else:
                # A view of l, because Dynamo takes no tensor twice in one call.
                out = attend(scorer, self.clique, self.steps, dropout, l, (l.view_as(l), r, a), self.mask)
        return out.to(dtype).flatten(1, 2)

    def how(self) -> str:
        """How float32 is computed on a CPU."""
        return fused.how(self.positions) if self.mask is None else "in blocks: other edges than a clique in a frame"


class Scores:
    """Scores ``a . (slope l_j + (1 - slope) max(l_j, -r_i))`` of a frame; ``relu(l + r) = max(l, -r) + r``."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def scores(self, piece: Piece, inputs: tuple[Tensor, ...]) -> Tensor:
        source, target, a = piece.sources(inputs[0]), -piece.targets(inputs[1]), inputs[2][piece.head]
        given = self.slope * (source @ a)[:, None]
        a = (1 - self.slope) * a[None, None]
        if torch.compiler.is_compiling():
            # A compiler makes one loop of it.
            return given + (torch.maximum(source[:, None], target[:, :, None]) * a).sum(-1)
        columns = source.mT.contiguous()
        scores = source.new_empty(*target.shape[:2], source.shape[1])
        for frames, rows, larger in _rooms(target, columns):
            torch.maximum(columns[frames, None], target[frames, rows, :, None], out=larger)
            larger, part = larger.flatten(0, 1), scores[frames, rows].view(-1, 1, source.shape[1])
            torch.bmm(a.expand(len(part), -1, -1), larger, out=part)
        return scores.add_(given)

    def backward(self, piece: Piece, to_scores: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]) -> None:
        source, target, a = piece.sources(inputs[0]), piece.targets(inputs[1]), inputs[2][piece.head]
        to_target = _passed(to_scores, source, -target).mul_(1 - self.slope)
        to_source = _passed(to_scores.mT, target, -source).mul_(1 - self.slope)
        to_source.add_(to_scores.sum(1)[..., None], alpha=self.slope)
        to_a = (to_source * source).sum((0, 1)) + (to_target * target).sum((0, 1))
        grads[2][piece.head] += to_a
        piece.add(grads[0], to_source.mul_(a))
        piece.put(grads[1], to_target.mul_(a))

    def in_time(self, step: temporal.Span, inputs: tuple[Tensor, ...]) -> Tensor:
        source, target, a = inputs[0][:, step[1]], inputs[1][:, step[0]], inputs[2]
        scores = torch.maximum(source, -target).mul_(1 - self.slope).add_(source, alpha=self.slope)
        return scores.mul_(a).sum(-1)

    def in_time_backward(
        self, step: temporal.Span, to_scores: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]
    ) -> None:
        here, there = step
        source, target, a = inputs[0][:, there], inputs[1][:, here], inputs[2]
        to_scores = to_scores[..., None]
        # Strictly: relu has the slope 0 at 0.
        passed = (source > -target).to(to_scores.dtype).mul_(to_scores * (1 - self.slope))
        grads[1][:, here].addcmul_(passed, a)
        to_a = (passed * target).sum((0, 1, 2))
        passed.add_(to_scores, alpha=self.slope)
        grads[0][:, there].addcmul_(passed, a)
        grads[2].add_(to_a).add_((passed * source).sum((0, 1, 2)))

    def plain(
        self, clique: bool, steps: tuple[int, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, Tensor | None]:
        source, target, a = inputs[0].transpose(2, 3), -inputs[1].transpose(2, 3), inputs[2][:, None]
        given, weight = self.slope * (source * a).sum(-1), (1 - self.slope) * a
        frame = None
        if clique:
            # Channels before nodes, as in the scores above: a product with a row reads what it compares as it lies.
            columns, row = source.mT[..., None, :, :], weight[..., None, :]
            parts = target[..., None].split(max(_AT_ONCE_EXPORTED // source[0].numel(), 1), 3)
            frame = torch.cat([(row @ torch.maximum(columns, part)).squeeze(-2) for part in parts], 3)
            frame = frame + given[..., None, :]

        def score(there: Tensor) -> Tensor:
            return (self.slope * there * a + torch.maximum(there, target) * weight).sum(-1)

        return frame, plain.in_time(score, source, steps)


def _passed(to_scores: Tensor, x: Tensor, least: Tensor) -> Tensor:
    """Sums gradients of scores where ``x > least``. **Shapes:** to_scores (F, R, P), x (F, P, D), least (F, R, D) -> (F, R, D)"""
    if torch.compiler.is_compiling():
        return (to_scores[..., None] * (x[:, None] > least[:, :, None])).sum(2)
    out, x, to_scores = least.new_empty(least.shape), x.contiguous(), to_scores.contiguous()
    for frames, rows, passes in _rooms(least, x):
        # Strictly: relu has the slope 0 at 0. Numbers, not truth values, can be multiplied with.
        torch.gt(x[frames, None], least[frames, rows, None], out=passes)
        part = to_scores[frames, rows].view(-1, 1, x.shape[1])
        torch.bmm(part, passes.flatten(0, 1), out=out[frames, rows].view(-1, 1, x.shape[2]))
    return out


def _rooms(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Cuts pairs into what a cache holds: frames, rows, and room to write to, the same each time.

    **Shapes:** rows (F, R, D), columns (F, P, D) or (F, D, P) -> room (f, r, *columns of a frame) with f <= F, r <= R.
    """
    each = columns[0].numel()
    count = min(rows.shape[1], max(_AT_ONCE // each, 1))
    together = min(len(rows), max(_AT_ONCE // (count * each), 1))
    room = columns.new_empty(together * count * each)
    for frame in range(0, len(rows), together):
        frames = slice(frame, min(frame + together, len(rows)))
        for row in range(0, rows.shape[1], count):
            part = slice(row, min(row + count, rows.shape[1]))
            shape = (frames.stop - frame, part.stop - row, *columns.shape[1:])
            yield frames, part, room[: prod(shape)].view(shape)
