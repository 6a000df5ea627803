"""Dot-product attention over frame cliques and chains: blocks of a frame joined with its time in one softmax.

Axes: B clips, T frames, P positions of a frame, N = T*P nodes, A attention heads, D channels of a head.
"""

import torch
from torch import Tensor, nn

from taggnn.kernels.operators import Dot
from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import plain, temporal
from taggnn.kernels.structured.softmax import Piece, attend, attend_plainly, no_neighbours


class StructuredDot(nn.Module):
    """Computes ``Dot`` on clique and chain, at least in float32: a P x P block for each frame, O(P) for the time.

    Source: https://arxiv.org/abs/2009.03509, equations 3 and 4; the blocks are ours.

    Args:
        family: dot-product attention.
        clique: every two nodes of a frame are neighbours.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        positions: P.
        mask: which nodes of a frame are neighbours, (P, P) target by source; None (default) for all.

    **Shapes:** q, k, v (B, N, A, D), probability that a weight is dropped -> (B, N, A, D).
    """

    mask: Tensor | None

    def __init__(
        self, family: Dot, clique: bool, reach: int, frames: int, positions: int, mask: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.frames, self.positions = frames, positions
        self.clique = clique and (positions > 1 or mask is not None)
        self.steps = temporal.offsets(frames, reach)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
        if not self.clique and not self.steps:
            return no_neighbours(q, k, v)
        dtype, wide = v.dtype, torch.promote_types(v.dtype, torch.float32)
        with unrounded(v):
            q, k, v = (part.to(wide).unflatten(1, (self.frames, self.positions)) for part in (q, k, v))
            scorer = _Dots(v.shape[-1] ** -0.5)
            if torch.compiler.is_exporting() and not dropout:
                out = attend_plainly(scorer, self.clique, self.steps, v, q, k, mask=self.mask)
            else:
                out = attend(scorer, self.clique, self.steps, dropout, v, (q, k), self.mask)
        return out.to(dtype).flatten(1, 2)


class _Dots:
    """Scores ``scale q_i . k_j``; the products are scaled while they are made, which costs nothing."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def scores(self, piece: Piece, inputs: tuple[Tensor, ...]) -> Tensor:
        return self._product(piece.targets(inputs[0]), piece.sources(inputs[1]).mT)

    def backward(self, piece: Piece, to_scores: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]) -> None:
        piece.put(grads[0], self._product(to_scores, piece.sources(inputs[1])))
        piece.add(grads[1], self._product(to_scores.mT, piece.targets(inputs[0])))

    def in_time(self, step: temporal.Span, inputs: tuple[Tensor, ...]) -> Tensor:
        here, there = step
        return (inputs[0][:, here] * inputs[1][:, there]).sum(-1).mul_(self.scale)

    def in_time_backward(
        self, step: temporal.Span, to_scores: Tensor, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...]
    ) -> None:
        here, there = step
        to_scores = to_scores[..., None]
        grads[0][:, here].addcmul_(to_scores, inputs[1][:, there], value=self.scale)
        grads[1][:, there].addcmul_(to_scores, inputs[0][:, here], value=self.scale)

    def plain(
        self, clique: bool, steps: tuple[int, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, Tensor | None]:
        q, k = (inputs[0] * self.scale).transpose(2, 3), inputs[1].transpose(2, 3)
        return q @ k.mT if clique else None, plain.in_time(lambda source: (q * source).sum(-1), k, steps)

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.baddbmm(left.new_zeros(()), left, right, beta=0, alpha=self.scale)
