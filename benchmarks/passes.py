"""What is measured: a forward pass, or one forward and backward, as a call without arguments and without side effects."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Way = Callable[[Tensor], Tensor | tuple[Tensor, ...]]


def forward(way: Way, x: Tensor) -> Callable[[], Tensor | tuple[Tensor, ...]]:
    """A call of ``way(x)`` that stores nothing for a backward pass."""

    def call() -> Tensor | tuple[Tensor, ...]:
        with torch.no_grad():
            return way(x)

    return call


def both(way: Way, x: Tensor, weights: Sequence[Tensor]) -> Callable[[], list[Tensor | None]]:
    """A call of ``way(x)`` and of its backward pass to ``x`` and the weights; returns their gradients.

    The upstream gradient is drawn here, once.
    """
    leaves = [x.detach().requires_grad_(), *weights]
    shown = forward(way, x)()
    upstream = [torch.randn_like(out) for out in (shown if isinstance(shown, tuple) else (shown,))]
    del shown

    def call() -> list[Tensor | None]:
        out = way(leaves[0])
        # Not torch.autograd.grad: torch.utils.flop_counter cannot follow it to a leaf.
        torch.autograd.backward(out, upstream)
        gradients = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        return gradients

    return call
