"""GATv2 by the fused loops: an operator that compilers see as a whole, and its gradients.

Axes: B clips, T frames, P positions of a frame, A attention heads, D channels of a head, O offsets in frames.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import plain
from taggnn.kernels.structured.fused import library, padded, seed_of
from taggnn.kernels.structured.fused.dropout import keep
from taggnn.kernels.structured.softmax import Scorer, attend_plainly


def attend(
    scorer: Scorer,
    clique: bool,
    steps: tuple[int, ...],
    slope: float,
    dropout: float,
    l: Tensor,  # noqa: E741
    r: Tensor,
    a: Tensor,
) -> Tensor:
    """Computes ``softmax_j(a . LeakyReLU(l_j + r_i)) l_j`` over a node's frame, itself left out, and its temporal neighbours.

    Source: https://arxiv.org/abs/2105.14491, equation 7. Weights are computed again for the gradient; dropped ones are drawn by a
    hash of a seed, so that neither are stored.

    Args:
        scorer: the same scores in plain operations, for second derivatives.
        clique: every two nodes of a frame are neighbours.
        steps: distances in time, in frames; 0 is the node itself.
        slope: of the LeakyReLU.
        dropout: probability that a weight is dropped, below 1.
        l: sources and values.
        r: targets.
        a: weights of the channels.

    **Shapes:** l, r (B, T, P, A, D) float32, a (A, D) -> (B, T, P, A, D)
    """
    # A view of r, because Dynamo takes no tensor twice in one call.
    parts = padded(l), padded(r.view_as(r)), padded(a)
    return _Attend.apply(scorer, clique, steps, slope, dropout, seed_of(dropout), *parts)[..., : l.shape[-1]]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scorer: Scorer,
        clique: bool,
        steps: tuple[int, ...],
        slope: float,
        dropout: float,
        seed: Tensor | None,
        left: Tensor,
        right: Tensor,
        a: Tensor,
    ) -> Tensor:
        out, level = _forward(left, right, a, clique, steps, slope, dropout, seed)
        ctx.scorer, ctx.rule = scorer, (clique, steps, slope, dropout)
        ctx.save_for_backward(seed, left, right, a, out, level)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        seed, left, right, a, out, level = ctx.saved_tensors
        clique, steps, _, dropout = ctx.rule
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # The gradient is differentiated again.
            kept = keep(left.shape[:-1], left.shape[2] + len(steps), dropout, seed)

            def function(l: Tensor, r: Tensor, a: Tensor) -> Tensor:  # noqa: E741
                return attend_plainly(ctx.scorer, clique, steps, l, l, r, a, keep=kept, dropout=dropout)

            with unrounded(grad):
                found = plain.gradients(function, (left, right, a), grad, ctx.needs_input_grad[6:])
        else:
            found = _backward(grad, left, right, a, out, level, *ctx.rule, seed)
        return None, None, None, None, None, None, *found


@torch.library.custom_op("taggnn::fused_gatv2", mutates_args=(), device_types="cpu")
def _forward(
    left: Tensor,
    right: Tensor,
    a: Tensor,
    clique: bool,
    steps: Sequence[int],
    slope: float,
    dropout: float,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Returns the output and the log-sum-exp of each node."""
    left, right, a = left.contiguous(), right.contiguous(), a.contiguous()
    out, level = torch.empty_like(left), left.new_empty(left.shape[:-1])
    _call("gatv2_forward", (left, right, a, out, level), clique, steps, slope, dropout, seed)
    return out, level


@_forward.register_fake
def _(left, right, a, clique, steps, slope, dropout, seed):
    return left.new_empty(left.shape), left.new_empty(left.shape[:-1])


@torch.library.custom_op("taggnn::fused_gatv2_backward", mutates_args=(), device_types="cpu")
def _backward(
    grad: Tensor, left: Tensor, right: Tensor, a: Tensor, out: Tensor, level: Tensor, clique: bool, steps: Sequence[int],
    slope: float, dropout: float, seed: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Returns the gradients of l, r and a."""
    left, right, a, grad = left.contiguous(), right.contiguous(), a.contiguous(), grad.contiguous()
    mean, to_left, to_right = torch.empty_like(level), torch.empty_like(left), torch.empty_like(left)
    clips, frames, _, heads, width = left.shape
    # A part for each frame: nothing is added up in an order that changes.
    to_a = left.new_empty(clips, frames, heads, width)
    tensors = left, right, a, out, level, grad, mean, to_left, to_right, to_a
    _call("gatv2_backward", tensors, clique, steps, slope, dropout, seed)
    return to_left, to_right, to_a.sum((0, 1))


@_backward.register_fake
def _(grad, left, right, a, out, level, clique, steps, slope, dropout, seed):
    return left.new_empty(left.shape), left.new_empty(left.shape), a.new_empty(a.shape)


def _call(
    name: str,
    tensors: tuple[Tensor, ...],
    clique: bool,
    steps: Sequence[int],
    slope: float,
    dropout: float,
    seed: Tensor | None,
) -> None:
    loops = library.load()
    assert loops is not None
    distances = torch.tensor(steps, dtype=torch.int64, device="cpu")
    number = 0 if seed is None else int(seed)
    loops.call(
        name, *tensors, *tensors[0].shape, distances, len(steps), int(clique), float(slope), float(dropout), number
    )
