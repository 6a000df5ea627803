"""The largest neighbour over frame cliques and chains, without an edge list.

Axes: B clips, T frames, P positions of a frame, N = T*P nodes, C channels, O offsets in frames.
"""

from typing import Any

import torch
from torch import Tensor, nn

from taggnn.kernels.operators import Max
from taggnn.kernels.structured import temporal


class StructuredMax(nn.Module):
    """Computes ``Max`` on clique and chain from the two largest values of each frame.

    Source: ours. A node's largest neighbour in its frame is the frame's largest value, or, for the only node that has it, the
    second largest. As in PyG's ``scatter_reduce``, the gradient is shared by all neighbours that have the largest value (PyG
    gives it to one of them where it uses torch-scatter: on CUDA, where that is installed).

    Args:
        family: the maximum.
        clique: every two nodes of a frame are neighbours.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        positions: P.

    **Shapes:** x (B, N, C) -> (B, N, C).
    """

    def __init__(self, family: Max, clique: bool, reach: int, frames: int, positions: int) -> None:
        super().__init__()
        self.frames, self.positions = frames, positions
        self.clique = clique and positions > 1
        self.steps = temporal.offsets(frames, reach)

    def forward(self, x: Tensor) -> Tensor:
        if not self.clique and not self.steps:
            # Zeros that depend on x, so that its gradient is zeros and not None.
            return x.masked_fill(x.new_ones((), dtype=torch.bool), 0)
        return _Largest.apply(x.unflatten(1, (self.frames, self.positions)), self.clique, self.steps).flatten(1, 2)


class _Largest(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, clique: bool, steps: tuple[int, ...]) -> Tensor:
        around = temporal.shifted(x, steps, float("-inf")).amax(-1) if steps else None
        if clique:
            first, second = _two_largest(x)
            alone = (x == first).sum(2, keepdim=True) == 1
            out = torch.where(alone & (x == first), second, first)
            return out if around is None else torch.maximum(out, around)
        assert around is not None
        return around

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, ctx.clique, ctx.steps = inputs
        ctx.save_for_backward(x, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, out = ctx.saved_tensors
        # PyG's scatter_reduce starts from a 0 that it does not count in the maximum, but does where a gradient is shared.
        ties = (out == 0).to(x.dtype)
        levels = _two_largest(x) if ctx.clique else ()
        for level in levels:
            has = x == level
            ties += (out == level) * (has.sum(2, keepdim=True) - has.to(x.dtype))
        if ctx.steps:
            ties += (temporal.shifted(x, ctx.steps, float("-inf")) == out[..., None]).sum(-1)
        share = grad / ties
        back = torch.zeros_like(x)
        for level in levels:
            given = share * (out == level)
            back += (x == level) * (given.sum(2, keepdim=True) - given)
        for step in ctx.steps:
            # Node t + step is a neighbour of node t, so node t is one of node t - step.
            shares, values = (temporal.shifted(part, (-step,), 0)[..., 0] for part in (share, out))
            inside = temporal.shifted(torch.ones_like(x[:, :, :1, :1]), (-step,), 0)[..., 0]
            back += shares * (values == x) * inside
        return back, None, None


def _two_largest(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of each frame, and the largest below it (-inf without any). **Shapes:** (B, T, P, C) -> (B, T, 1, C)"""
    first = x.amax(2, keepdim=True)
    return first, torch.where(x == first, float("-inf"), x).amax(2, keepdim=True)
