"""Dropout drawn by a hash of a seed: what is kept is found again for the gradient, and not stored.

Each number has its own hash of 32 bits, of the seed, its row and its column (SplitMix64, then
https://github.com/skeeto/hash-prospector): a probability is exact to float32. The seed is drawn from PyTorch's own generator, so
that a resumed run drops what an uninterrupted one does.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taggnn.kernels.structured import plain
from taggnn.kernels.structured.fused import library, seed_of


def keep(nodes: Sequence[int], columns: int, dropout: float, seed: Tensor | None) -> Tensor | None:
    """Which weights are kept: ``columns`` for each node of each head; None without dropout. **Shapes:** -> (*nodes, columns)"""
    if seed is None:
        return None
    loops = library.load()
    assert loops is not None
    kept = torch.empty(*nodes, columns, dtype=torch.bool, device="cpu")
    loops.call("keep", kept, kept[..., 0].numel(), columns, float(dropout), int(seed))
    return kept


def drop(x: Tensor, dropout: float, relu: bool = False) -> Tensor:
    """Computes ``dropout(x)`` or ``dropout(relu(x))``, distributed as ``torch.nn.functional.dropout``.

    Args:
        x: float32 on a CPU.
        dropout: probability that a number is dropped, above 0 and below 1; kept ones are divided by ``1 - dropout``.
        relu: of what is not below 0.

    **Shapes:** (..., C) -> the same.
    """
    return _Drop.apply(dropout, relu, seed_of(dropout), x)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dropout: float, relu: bool, seed: Tensor, x: Tensor) -> Tensor:
        out = _dropped(x, dropout, relu, seed)
        ctx.rule = dropout, relu
        # What came out is stored for what follows anyway, and where it is 0 the gradient is.
        ctx.save_for_backward(seed, out if relu else None)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        seed, out = ctx.saved_tensors
        dropout, _ = ctx.rule
        if out is not None:
            return None, None, None, torch.ops.aten.threshold_backward(grad, out, 0) * (1 / (1 - dropout))
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # The gradient is differentiated again.
            kept = keep(grad.shape[:-1], grad.shape[-1], dropout, seed)
            assert kept is not None
            return None, None, None, plain.dropped(grad, kept, dropout)
        return None, None, None, _dropped(grad, dropout, False, seed)


@torch.library.custom_op("taggnn::dropped", mutates_args=(), device_types="cpu")
def _dropped(x: Tensor, dropout: float, relu: bool, seed: Tensor) -> Tensor:
    loops = library.load()
    assert loops is not None
    x = x.contiguous()
    out = torch.empty_like(x)
    columns = x.shape[-1]
    loops.call("dropout", x, out, x.numel() // max(columns, 1), columns, float(dropout), int(seed), int(relu))
    return out


@_dropped.register_fake
def _(x, dropout, relu, seed):
    return x.new_empty(x.shape)
