"""Self-attention with dropout on a CPU: products by PyTorch, softmax and dropout in one loop; nothing of N x N is stored.

Axes: B clips, N nodes, A attention heads, D channels of a head.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.kernels.precision import unrounded
from taggnn.kernels.structured import plain
from taggnn.kernels.structured.fused import library, seed_of
from taggnn.kernels.structured.fused.dropout import keep

# Scores that are computed at a time, so that they stay in a cache: of one head of 1448 nodes.
_SCORES = 2**21


def attend(qkv: Tensor, dropout: float) -> Tensor:
    """Computes ``dropout(softmax(q k^T / sqrt(D))) v``, as ``torch.nn.functional.scaled_dot_product_attention`` does.

    Weights are computed again for the gradient; dropped ones are drawn by a hash of a seed, so that neither are stored.

    Args:
        qkv: queries, keys and values.
        dropout: probability that a weight is dropped, above 0 and below 1.

    **Shapes:** (B, N, 3, A, D) float32 -> (B, N, A, D)
    """
    return _Attend.apply(dropout, seed_of(dropout), qkv)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dropout: float, seed: Tensor, qkv: Tensor) -> Tensor:
        out, level = _forward(qkv, dropout, seed)
        ctx.dropout = dropout
        ctx.save_for_backward(seed, qkv, out, level)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        seed, qkv, out, level = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # The gradient is differentiated again.
            clips, nodes, _, heads, _ = qkv.shape
            kept = keep((clips, heads, nodes), nodes, ctx.dropout, seed)
            with unrounded(grad):
                (found,) = plain.gradients(partial(_plainly, keep=kept, dropout=ctx.dropout), (qkv,), grad, [True])
        else:
            found = _backward(grad, qkv, out, level, ctx.dropout, seed)
        return None, None, found


def _plainly(qkv: Tensor, keep: Tensor | None, dropout: float) -> Tensor:
    q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
    weights = F.softmax(q @ k.transpose(2, 3) / qkv.shape[-1] ** 0.5, -1)
    if keep is not None:
        weights = plain.dropped(weights, keep, dropout)
    return (weights @ v).transpose(1, 2)


@torch.library.custom_op("taggnn::dropped_attention", mutates_args=(), device_types="cpu")
def _forward(qkv: Tensor, dropout: float, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the output and the log-sum-exp of each row of scores."""
    loops = library.load()
    assert loops is not None
    clips, nodes, _, heads, width = qkv.shape
    q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
    out, level = qkv.new_empty(clips, nodes, heads, width), qkv.new_empty(clips, heads, nodes)
    number, step = int(seed), _together(nodes, heads)
    all_scores, all_means = qkv.new_empty(step, nodes, nodes), qkv.new_empty(step, nodes, width)
    for clip, some, first in _parts(clips, nodes, heads):
        count = len(range(heads)[some])
        scores, means = all_scores[:count], all_means[:count]
        torch.bmm(q[clip, some], k[clip, some].transpose(1, 2), out=scores)
        rows, scale = count * nodes, width**-0.5
        loops.call("softmax_forward", scores, level[clip, some], rows, nodes, first, scale, float(dropout), number)
        torch.bmm(scores, v[clip, some], out=means)
        out[clip, :, some].copy_(means.transpose(0, 1))
    return out, level


@_forward.register_fake
def _(qkv, dropout, seed):
    clips, nodes, _, heads, width = qkv.shape
    return qkv.new_empty(clips, nodes, heads, width), qkv.new_empty(clips, heads, nodes)


@torch.library.custom_op("taggnn::dropped_attention_backward", mutates_args=(), device_types="cpu")
def _backward(grad: Tensor, qkv: Tensor, out: Tensor, level: Tensor, dropout: float, seed: Tensor) -> Tensor:
    """Returns the gradient of queries, keys and values."""
    loops = library.load()
    assert loops is not None
    clips, nodes, _, heads, width = qkv.shape
    q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
    found = qkv.new_empty(qkv.shape)
    mean = (grad * out).sum(-1).transpose(1, 2).contiguous()
    to_out = grad.transpose(1, 2)
    number, step = int(seed), _together(nodes, heads)
    all_scores, all_grads = qkv.new_empty(2, step, nodes, nodes)
    all_found = qkv.new_empty(3, step, nodes, width)
    for clip, some, first in _parts(clips, nodes, heads):
        count = len(range(heads)[some])
        scores, grads, (to_q, to_k, to_v) = all_scores[:count], all_grads[:count], all_found[:, :count]
        torch.bmm(q[clip, some], k[clip, some].transpose(1, 2), out=scores)
        torch.bmm(to_out[clip, some], v[clip, some].transpose(1, 2), out=grads)
        levels, means, rows, scale = level[clip, some], mean[clip, some], count * nodes, width**-0.5
        loops.call("softmax_backward", scores, grads, levels, means, rows, nodes, first, scale, float(dropout), number)
        torch.bmm(grads, k[clip, some], out=to_q)
        torch.bmm(grads.transpose(1, 2), q[clip, some], out=to_k)
        torch.bmm(scores.transpose(1, 2), to_out[clip, some], out=to_v)
        found[clip, :, :, some].copy_(all_found[:, :count].permute(2, 0, 1, 3))
    return found


@_backward.register_fake
def _(grad, qkv, out, level, dropout, seed):
    return qkv.new_empty(qkv.shape)


def _together(nodes: int, heads: int) -> int:
    return min(heads, max(1, _SCORES // nodes**2))


def _parts(clips: int, nodes: int, heads: int) -> Iterator[tuple[int, slice, int]]:
    """Clip, heads, and the number of their first row of scores."""
    step = _together(nodes, heads)
    for clip in range(clips):
        for head in range(0, heads, step):
            yield clip, slice(head, min(head + step, heads)), (clip * heads + head) * nodes
