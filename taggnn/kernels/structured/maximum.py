"""The largest neighbour over frame cliques and chains, without an edge list.

Axes: B clips, T frames, P places of a frame, N = T*P nodes, C channels, O offsets in frames.
"""

from typing import Any

import torch
from torch import Tensor, nn

from taggnn.kernels.operators import Max
from taggnn.kernels.structured import temporal


class StructuredMax(nn.Module):
    """Computes ``Max`` on clique and chain from the two largest values of each frame.

    Source: ours. What a node hears in its frame is the frame's largest value, or, for the one node that alone has it, the
    second largest. As in PyG's ``scatter_reduce``, the gradient is shared by all neighbours that have the largest value (PyG
    gives it to one of them where it uses torch-scatter: on CUDA, where that is installed).

    Args:
        family: the maximum.
        clique: the nodes of a frame hear each other.
        reach: how many frames the chain reaches, 0 for none.
        frames: T.
        places: P.

    **Shapes:** x (B, N, C) -> (B, N, C).
    """

    def __init__(self, family: Max, clique: bool, reach: int, frames: int, places: int) -> None:
        super().__init__()
        self.frames, self.places = frames, places
        self.clique = clique and places > 1
        self.steps = temporal.offsets(frames, reach)

    def forward(self, x: Tensor) -> Tensor:
        if not self.clique and not self.steps:
            # Zeros that depend on x, so that a gradient of zeros arrives and not none.
            return x.masked_fill(x.new_ones((), dtype=torch.bool), 0)
        return _Largest.apply(x.unflatten(1, (self.frames, self.places)), self.clique, self.steps).flatten(1, 2)


class _Largest(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, clique: bool, steps: tuple[int, ...]) -> Tensor:
        out = None
        if clique:
            first, second = _two_largest(x)
            alone = (x == first).sum(2, keepdim=True) == 1
            out = torch.where(alone & (x == first), second, first)
        if steps:
            around = temporal.shifted(x, steps, float("-inf")).amax(-1)
            out = around if out is None else torch.maximum(out, around)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, ctx.clique, ctx.steps = inputs
        ctx.save_for_backward(x, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, out = ctx.saved_tensors
        # PyG's scatter_reduce starts from a 0 that it does not count in the maximum, but does where a gradient is shared.
        heard = (out == 0).to(x.dtype)
        levels = _two_largest(x) if ctx.clique else ()
        for level in levels:
            has = x == level
            heard += (out == level) * (has.sum(2, keepdim=True) - has.to(x.dtype))
        if ctx.steps:
            heard += (temporal.shifted(x, ctx.steps, float("-inf")) == out[..., None]).sum(-1)
        share = grad / heard
        back = torch.zeros_like(x)
        for level in levels:
            given = share * (out == level)
            back += (x == level) * (given.sum(2, keepdim=True) - given)
        for step in ctx.steps:
            # Node t + step was heard by node t, so node t was heard by node t - step.
            shares, values = (temporal.shifted(part, (-step,), 0)[..., 0] for part in (share, out))
            inside = temporal.shifted(torch.ones_like(x[:, :, :1, :1]), (-step,), 0)[..., 0]
            back += shares * (values == x) * inside
        return back, None, None


def _two_largest(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of each frame, and the largest below it (-inf without any). **Shapes:** (B, T, P, C) -> (B, T, 1, C)"""
    first = x.amax(2, keepdim=True)
    return first, torch.where(x == first, float("-inf"), x).amax(2, keepdim=True)
