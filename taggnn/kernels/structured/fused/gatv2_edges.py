"""GATv2 over a few edges inside of every frame and a chain, by the fused loops, and its gradients.

Axes: B clips, T frames, P positions of a frame, A attention heads, D channels of a head, E edges of a frame.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import plain
from taggnn.kernels.structured.fused import library, padded, seed_of
from taggnn.kernels.structured.fused.dropout import keep
from taggnn.kernels.structured.softmax import Scorer, attend_plainly


class Frame:
    """The edges of every frame, by target and by source.

    Args:
        adjacency: target by source; nodes have no edge to themselves.
        steps: distances in time, in frames; 0 is the node itself.

    **Shapes:** adjacency (P, P) bool
    """

    def __init__(self, adjacency: Tensor, steps: tuple[int, ...]) -> None:
        with torch.inference_mode(False), torch.device("cpu"):
            self.mask = adjacency.cpu() & ~torch.eye(len(adjacency), dtype=torch.bool)
            target, source = self.mask.nonzero(as_tuple=True)
            back = source.argsort(stable=True)
            self.steps = steps
            self.slots = len(source) + len(adjacency) * len(steps)
            first, back_first = (_first(end, len(adjacency)) for end in (target, source))
            self.lists = (first, source.contiguous(), back_first, target[back].contiguous(), back)
            self.distances = torch.tensor(steps, dtype=torch.int64)

    def arguments(self) -> tuple[Tensor | int, ...]:
        """As the loops take them."""
        return self.distances, len(self.steps), *self.lists, len(self.lists[1])


def _first(end: Tensor, positions: int) -> Tensor:
    return F.pad(torch.bincount(end, minlength=positions).cumsum(0), (1, 0))


def attend(
    scorer: Scorer,
    frame: Frame,
    slope: float,
    dropout: float,
    l: Tensor,  # noqa: E741
    r: Tensor,
    a: Tensor,
) -> Tensor:
    """Computes ``softmax_j(a . LeakyReLU(l_j + r_i)) l_j`` over a node's neighbours in its frame and in time; 0 without any.

    Source: https://arxiv.org/abs/2105.14491, equation 7. The weights, a number for each edge and head, are kept for the gradient;
    dropped ones are drawn by a hash of a seed.

    Args:
        scorer: the same scores in plain operations, for second derivatives.
        frame: the edges.
        slope: of the LeakyReLU.
        dropout: probability that a weight is dropped, below 1.
        l: sources and values.
        r: targets.
        a: weights of the channels.

    **Shapes:** l, r (B, T, P, A, D) float32, a (A, D) -> (B, T, P, A, D)
    """
    return _Attend.apply(scorer, frame, slope, dropout, seed_of(dropout), padded(l), padded(r), padded(a))[
        ..., : l.shape[-1]
    ]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scorer: Scorer,
        frame: Frame,
        slope: float,
        dropout: float,
        seed: Tensor | None,
        left: Tensor,
        right: Tensor,
        a: Tensor,
    ) -> Tensor:
        left, right, a = left.contiguous(), right.contiguous(), a.contiguous()
        clips, frames, _, heads, _ = left.shape
        out, weights = torch.empty_like(left), left.new_empty(clips, frames, heads, frame.slots)
        _call("forward", (left, right, a, out, weights), frame, slope, dropout, seed)
        ctx.scorer, ctx.frame, ctx.rule = scorer, frame, (slope, dropout)
        ctx.save_for_backward(seed, left, right, a, out, weights)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        seed, left, right, a, out, weights = ctx.saved_tensors
        frame, (slope, dropout) = ctx.frame, ctx.rule
        if torch.is_grad_enabled():
            # The gradient is differentiated again.
            kept = keep(left.shape[:-1], left.shape[2] + len(frame.steps), dropout, seed)

            def function(l: Tensor, r: Tensor, a: Tensor) -> Tensor:  # noqa: E741
                return attend_plainly(
                    ctx.scorer, True, frame.steps, l, l, r, a, keep=kept, dropout=dropout, mask=frame.mask
                )

            with unrounded(grad):
                found = plain.gradients(function, (left, right, a), grad, ctx.needs_input_grad[5:])
            return None, None, None, None, None, *found
        used, change = torch.empty_like(weights), torch.empty_like(weights)
        to_left, to_right = torch.empty_like(left), torch.empty_like(right)
        # A part for each frame: nothing is added up in an order that changes.
        to_a = left.new_empty(*weights.shape[:3], left.shape[-1])
        tensors = left, right, a, out, weights, grad.contiguous(), used, change, to_left, to_right, to_a
        _call("backward", tensors, frame, slope, dropout, seed)
        return None, None, None, None, None, to_left, to_right, to_a.sum((0, 1))


def _call(
    name: str, tensors: tuple[Tensor, ...], frame: Frame, slope: float, dropout: float, seed: Tensor | None
) -> None:
    loops = library.load()
    assert loops is not None
    number = 0 if seed is None else int(seed)
    sizes = tensors[0].shape
    loops.call(f"gatv2_edges_{name}", *tensors, *sizes, *frame.arguments(), float(slope), float(dropout), number)
