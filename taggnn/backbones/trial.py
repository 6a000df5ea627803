"""Runs of a backbone on a clip of zeros that change nothing in it.

Axes: B clips, C channels, T frames, H W token grid or pixels, N tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from taggnn.backbones.copying import copied_or_itself
from taggnn.backbones.tokens import describe, features_of
from taggnn.types import VIDEO_AXES, InputSpec


@torch.no_grad()
def dry_run(module: nn.Module, spec: InputSpec, grid: Sequence[int] | None = None) -> tuple[int, tuple[int, ...]]:
    """Finds channels and token grid of a backbone from one clip of zeros, and changes nothing in it.

    It runs as a copy that shares its parameters, in evaluation mode, so that neither BatchNorm statistics nor what a network of
    streams keeps in plain attributes change. The clip has the device and the dtype of the module's first parameter.

    Args:
        module: (1, *spec.shape) -> anything ``features_of`` accepts.
        spec: what it is fed.
        grid: the token grid, where the module yields (B, N, C).

    Returns:
        ``(channels, grid)`` of the tokens.

    Raises:
        ValueError: the module fails on such a clip, or yields something else than tokens.
    """
    output = run_once(module, spec)
    try:
        features = features_of(output, grid)
    except ValueError as error:
        notes = "; ".join(getattr(module, "notes", ()))
        raise ValueError(f"{error}{f' ({notes})' if notes else ''}") from error
    if len(features.tokens) != 1:
        raise ValueError(
            f"one clip went into {type(module).__name__}, {len(features.tokens)} came out: {describe(output)}"
            + (
                "; where frames are folded into the batch, state frames_in_batch=True"
                if spec.axes == VIDEO_AXES
                else ""
            )
        )
    if spec.axes == VIDEO_AXES and isinstance(output, Tensor) and output.dim() == 4 and grid is None:
        raise ValueError(
            f"{type(module).__name__} yields {describe(output)} for video, where (B, C, T, H, W) was expected: state "
            f"grid={features.grid} if time comes first in it"
        )
    return features.tokens.shape[-1], features.grid


@torch.no_grad()
def run_once(module: nn.Module, spec: InputSpec, feed: nn.Module | None = None) -> object:
    """What a module yields for one clip of zeros, in evaluation mode; see ``dry_run``.

    Args:
        module: it runs as a copy that shares its parameters.
        spec: of the clip.
        feed: makes the input of the clip; None for the clip itself.

    Raises:
        ValueError: the module fails on such a clip.
    """
    inputs = example(module, spec, feed)
    try:
        return in_evaluation(copied_or_itself(module), inputs)
    # A network of the user's own may fail with anything.
    except Exception as error:
        raise failed(module, spec, feed, inputs, error) from error


def failed(module: nn.Module, spec: InputSpec, feed: nn.Module | None, inputs: Any, error: Exception) -> ValueError:
    """The error of a network, named with its input."""
    fed = f"{tuple(inputs.shape)}" if isinstance(inputs, Tensor) else f"as {describe(inputs)}"
    hint = "" if feed is not None or spec.axes != VIDEO_AXES else _hint(error)
    return ValueError(
        f"{type(module).__name__} failed on a clip of zeros {fed}, {spec}: {type(error).__name__}: {error}{hint}"
    )


def _hint(error: Exception) -> str:
    """The option for networks that take something else than clips."""
    text = str(error)
    if "conv2d" in text or "expected 4D" in text:
        return ". One that takes frames as images, (B*T, 3, H, W), needs frames_in_batch=True"
    if not isinstance(error, RuntimeError) or "pathway" in text.lower():
        return ". One that takes a list of pathways needs pathways=(8, 32), the frames of each"
    return ""


def example(module: nn.Module, spec: InputSpec, feed: nn.Module | None = None, clips: int = 1) -> Any:
    """Clips of zeros as a module takes them, on the device and of the dtype of its first parameter."""
    like = next((p for p in [*module.parameters(), *module.buffers()] if p.is_floating_point()), torch.zeros(()))
    clip = spec.example(clips, like.device, like.dtype)
    return clip if feed is None else feed(clip)


def in_evaluation(module: nn.Module, inputs: Any) -> Any:
    """Runs a module with every submodule in evaluation mode, and puts each back into its own."""
    modes = [(m, m.training) for m in module.modules()]
    try:
        # The flag itself, not eval(): a train() of the user's own might do more than that, and not undo it.
        for part, _ in modes:
            part.training = False
        return module(inputs)
    finally:
        for part, mode in modes:
            part.training = mode
