"""GAT by the fused loops: an operator that compilers see as a whole, and its gradients.

Axes: B clips, T frames, P positions of a frame, A attention heads, D channels of a head.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import plain
from taggnn.kernels.structured.fused import library, padded, seed_of
from taggnn.kernels.structured.fused.dropout import keep


def attend(v: Tensor, s: Tensor, d: Tensor, slope: float, steps: tuple[int, ...], dropout: float) -> Tensor:
    """Computes ``softmax_j(LeakyReLU(s_j + d_i)) v_j`` over a node's frame, itself included, and its temporal neighbours.

    Source: https://arxiv.org/abs/1710.10903, equation 3. Weights are computed again for the gradient; dropped ones are drawn by a
    hash of a seed, so that neither are stored.

    Args:
        v: values.
        s: score of the source.
        d: score of the target.
        slope: of the LeakyReLU.
        steps: distances in time, in frames, without 0.
        dropout: probability that a weight is dropped, below 1.

    **Shapes:** v (B, T, P, A, D) float32, s, d (B, T, P, A) -> (B, T, P, A, D)
    """
    return _Attend.apply(slope, steps, dropout, seed_of(dropout), padded(v), s, d)[..., : v.shape[-1]]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        slope: float,
        steps: tuple[int, ...],
        dropout: float,
        seed: Tensor | None,
        v: Tensor,
        s: Tensor,
        d: Tensor,
    ) -> Tensor:
        out, level = _forward(v, s, d, steps, slope, dropout, seed)
        ctx.rule = steps, slope, dropout
        ctx.save_for_backward(seed, v, s, d, out, level)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        seed, v, s, d, out, level = ctx.saved_tensors
        steps, slope, dropout = ctx.rule
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # The gradient is differentiated again.
            kept = keep(s.shape, v.shape[2] + len(steps), dropout, seed)
            function = partial(plain.gat, slope=slope, steps=steps, keep=kept, dropout=dropout)
            with unrounded(grad):
                found = plain.gradients(function, (v, s, d), grad, ctx.needs_input_grad[4:])
        else:
            found = _backward(grad, v, s, d, out, level, *ctx.rule, seed)
        return None, None, None, None, *found


@torch.library.custom_op("taggnn::fused_gat", mutates_args=(), device_types="cpu")
def _forward(
    v: Tensor, s: Tensor, d: Tensor, steps: Sequence[int], slope: float, dropout: float, seed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Returns the output and the log-sum-exp of each node."""
    v, s, d = v.contiguous(), s.contiguous(), d.contiguous()
    out, level = torch.empty_like(v), torch.empty_like(s)
    _call("gat_forward", (v, s, d, out, level), steps, slope, dropout, seed)
    return out, level


@_forward.register_fake
def _(v, s, d, steps, slope, dropout, seed):
    return v.new_empty(v.shape), s.new_empty(s.shape)


@torch.library.custom_op("taggnn::fused_gat_backward", mutates_args=(), device_types="cpu")
def _backward(
    grad: Tensor, v: Tensor, s: Tensor, d: Tensor, out: Tensor, level: Tensor, steps: Sequence[int], slope: float,
    dropout: float, seed: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Returns the gradients of v, s and d."""
    v, s, d, grad = v.contiguous(), s.contiguous(), d.contiguous(), grad.contiguous()
    mean, to_v, to_s, to_d = torch.empty_like(s), torch.empty_like(v), torch.empty_like(s), torch.empty_like(s)
    _call("gat_backward", (v, s, d, out, level, grad, mean, to_v, to_s, to_d), steps, slope, dropout, seed)
    return to_v, to_s, to_d


@_backward.register_fake
def _(grad, v, s, d, out, level, steps, slope, dropout, seed):
    return v.new_empty(v.shape), s.new_empty(s.shape), s.new_empty(s.shape)


def _call(
    name: str, tensors: tuple[Tensor, ...], steps: Sequence[int], slope: float, dropout: float, seed: Tensor | None
) -> None:
    loops = library.load()
    assert loops is not None
    distances = torch.tensor(steps, dtype=torch.int64, device="cpu")
    number = 0 if seed is None else int(seed)
    loops.call(name, *tensors, *tensors[0].shape, distances, len(steps), float(slope), float(dropout), number)
