"""Temporal neighbours, the same position in other frames: values and scores shifted in time, without an edge list.

Axes: B clips, T frames, P positions of a frame, A attention heads, D channels of a head, O offsets in frames.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

# The frames of the targets, and those of their sources.
Span = tuple[slice, slice]


def offsets(frames: int, reach: int, itself: bool = False) -> tuple[int, ...]:
    """Returns the distances in frames of the temporal neighbours: -reach..reach, 0 only where ``itself``."""
    reach = min(reach, frames - 1)
    return tuple(offset for offset in range(-reach, reach + 1) if offset or itself)


def shifted(x: Tensor, steps: Sequence[int], fill: float) -> Tensor:
    """Returns the value at each node's position ``o`` frames later, ``fill`` outside of the clip.

    **Shapes:** (B, T, ...) -> (B, T, ..., O).
    """
    frames = x.shape[1]
    found = []
    for step in steps:
        edge = x.new_full((), fill).expand(x.shape[0], abs(step), *x.shape[2:])
        inside = x[:, max(step, 0) : frames + min(step, 0)]
        found.append(torch.cat([inside, edge] if step > 0 else [edge, inside], 1) if step else x)
    return torch.stack(found, -1)


def weighted(weights: Tensor, values: Tensor, steps: Sequence[int]) -> Tensor:
    """Sums the values of temporal neighbours under weights: ``out[t] = sum_o weights[t, o] values[t + o]``.

    **Shapes:** weights (B, T, P, A, O), values (B, T, P, A, D) -> (B, T, P, A, D).
    """
    return _Weighted.apply(weights, values, tuple(steps))


def spans(frames: int, steps: Sequence[int]) -> Iterator[tuple[int, slice, slice]]:
    """Yields for each distance its index, the frames of the targets, and those of their sources."""
    for i, step in enumerate(steps):
        yield i, slice(max(-step, 0), frames - max(step, 0)), slice(max(step, 0), frames + min(step, 0))


# Written by hand because autograd fills a tensor of zeros for every slice.
class _Weighted(torch.autograd.Function):
    @staticmethod
    def forward(weights: Tensor, values: Tensor, steps: tuple[int, ...]) -> Tensor:
        out = torch.zeros_like(values, dtype=torch.promote_types(weights.dtype, values.dtype))
        for i, here, there in spans(values.shape[1], steps):
            out[:, here].addcmul_(weights[:, here, ..., i, None], values[:, there])
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        weights, values, ctx.steps = inputs
        ctx.save_for_backward(weights, values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, values = ctx.saved_tensors
        back, to_weights = torch.zeros_like(values), torch.zeros_like(weights)
        for i, here, there in spans(values.shape[1], ctx.steps):
            back[:, there].addcmul_(weights[:, here, ..., i, None], grad[:, here])
            to_weights[:, here, ..., i] = (grad[:, here] * values[:, there]).sum(-1)
        return to_weights, back, None
