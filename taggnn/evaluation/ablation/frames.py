"""The frames of an input in another order, or one of them in every position.

Axes: B clips, T frames of the input.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from taggnn.evaluation.ablation.altered import Altered, NotApplicable

# Between the seeds of two draws; larger than a list is long.
_STEP = 10_000_019


def shuffled(model: nn.Module, draw: int) -> Altered:
    """The frames of each clip in a random order of its own."""
    return permuted(model, draw, "frame")


def reversed_(model: nn.Module, draw: int) -> Altered:
    """The last frame first."""
    return _along_time(model, lambda x, axis: x.flip(axis))


def repeated(model: nn.Module, draw: int) -> Altered:
    """Frame T // 2, counted from 0, in every position."""
    return _along_time(model, lambda x, axis: x.select(axis, x.shape[axis] // 2).unsqueeze(axis).expand_as(x))


def permuted(model: nn.Module, draw: int, name: str) -> Altered:
    """An axis of each clip in a random order that depends on the draw and on the clip's index in the list alone."""
    axis = axis_of(model, name)

    def inputs(x: Tensor, index: Tensor) -> Tensor:
        clips = []
        for clip, number in zip(x, index.tolist(), strict=True):
            # The generator takes the lower 32 bits of a seed alone.
            generator = torch.Generator().manual_seed((_STEP * draw + number) % 2**32)
            clips.append(clip.index_select(axis - 1, torch.randperm(x.shape[axis], generator=generator).to(x.device)))
        return torch.stack(clips)

    return Altered(inputs)


def axis_of(model: nn.Module, name: str) -> int:
    """The position in a batch of an axis of the model's input.

    Raises:
        NotApplicable: there is none, or it has one index.
    """
    spec: Any = model.spec
    if name not in spec.axes:
        raise NotApplicable(f"its input has no axis {name!r}, only {', '.join(spec.axes)}")
    axis = spec.positions(name)[0]
    if spec.shape[axis - 1] == 1:
        raise NotApplicable(f"its input has one {name}")
    return axis


def _along_time(model: nn.Module, change: Callable[[Tensor, int], Tensor]) -> Altered:
    axis = axis_of(model, "frame")
    return Altered(lambda x, index: change(x, axis))
