"""Outputs other than one tensor: nested features, several pathways, class tokens, frames in the batch, other orders of tokens.

Axes: B clips, C channels, T frames, H W token grid, N tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import prod
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.backbones.first_layer import CHANNELS


class Adapted(nn.Module):
    """A module whose output is brought to one tensor.

    Args:
        module: clips -> anything.
        features: the path of what to take, see ``pick``; None for all of it.
        class_tokens: how many tokens before those of the grid are dropped from (B, N, C).
        feed: makes what the module takes of a clip; None for the clip itself.
        frames_in_batch: the frames of each clip lie next to each other in the batch of the output.
        token_order: of (B, N, C), the axes of its grid from the slowest to the fastest, such as "HWT"; None for "THW".
        grid: sizes (T, H, W) of the tokens, for ``token_order``.

    It takes over the module's ``cut`` into stages and its channels of a clip.

    Attributes:
        notes: what is done to the output, in sentences.

    **Shapes:** (B, 3, T, H, W) -> (B, C, T', H', W') or (B, N, C), or what the module yields where it is neither
    """

    def __init__(
        self,
        module: nn.Module,
        features: str | None = None,
        class_tokens: int = 0,
        feed: nn.Module | None = None,
        frames_in_batch: bool = False,
        token_order: str | None = None,
        grid: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.description: list[str] = getattr(module, "description", [])
        self.module = module
        self.features = features
        self.class_tokens = class_tokens
        self.feed = feed
        self.frames_in_batch = frames_in_batch
        self.token_order = token_order
        self.grid = grid
        self.training = module.training
        cut = getattr(module, "cut", None)
        if cut is not None:
            self.cut = tuple(tuple(f"module.{part}" if part else "module" for part in group) for group in cut)
        if hasattr(module, CHANNELS):
            setattr(self, CHANNELS, getattr(module, CHANNELS))

    def forward(self, clip: Tensor) -> Any:
        output = self.module(clip if self.feed is None else self.feed(clip))
        if self.features is not None:
            output = pick(output, self.features)
        if is_pathways(output):
            output = fuse(output)
        if self.class_tokens and isinstance(output, Tensor) and output.dim() == 3:
            output = output[:, self.class_tokens :]
        if self.frames_in_batch and isinstance(output, Tensor):
            output = unfolded(output, clip.shape[0])
        if self.token_order is not None and self.grid is not None and isinstance(output, Tensor) and output.dim() == 3:
            output = time_slowest(output, self.token_order, self.grid)
        return output


def unfolded(output: Tensor, clips: int) -> Tensor:
    """Takes the frames out of the batch. **Shapes:** (B*T, C, H, W) -> (B, C, T, H, W), (B*T, N, C) -> (B, T*N, C)"""
    frames = output.unflatten(0, (clips, -1))
    return frames.flatten(1, 2) if output.dim() == 3 else frames.transpose(1, 2)


def time_slowest(tokens: Tensor, order: str, grid: Sequence[int]) -> Tensor:
    """Sorts tokens by time, then rows, then columns.

    Args:
        tokens: of a grid.
        order: its axes from the slowest to the fastest, such as "HWT".
        grid: (T, H, W).

    **Shapes:** (B, N, C) -> (B, N, C)
    """
    if prod(grid) != tokens.shape[1]:
        # Refused where the grid is read, with the number of tokens.
        return tokens
    sizes = dict(zip("THW", grid, strict=True))
    volume = tokens.unflatten(1, [sizes[axis] for axis in order])
    return volume.permute(0, *(1 + order.index(axis) for axis in "THW"), 4).flatten(1, 3)


def pick(output: Any, path: str) -> Any:
    """Takes one part out of nested ones.

    Args:
        output: mappings, sequences, dataclasses in any order.
        path: keys, numbers and field names with dots between them: "last_hidden_state", "features.1".

    Raises:
        ValueError: no such part; the message lists those that are there.
    """
    part = output
    for name in path.split("."):
        possible = dict(_parts(part))
        if name not in possible:
            found = ", ".join(f"{where!r} {tuple(tensor.shape)}" for where, tensor in tensors_in(output)) or "no tensor"
            raise ValueError(f"features={path!r}: no {name!r} in what the backbone yields; it has {found}")
        part = possible[name]
    return part


def is_pathways(output: Any) -> TypeGuard[Sequence[Tensor]]:
    """Whether an output is a list or tuple of several (B, C, T, H, W) of one batch, as two-stream networks yield."""
    return (
        isinstance(output, (list, tuple))
        and len(output) > 1
        and all(isinstance(one, Tensor) and one.dim() == 5 for one in output)
        # len() and a set would make the batch size of an exported program a constant.
        and all(one.shape[0] == output[0].shape[0] for one in output)
    )


def fuse(pathways: Sequence[Tensor]) -> Tensor:
    """Joins pathways on the coarsest of their grids, by averaging in time and space, and concatenates their channels [ours].

    **Shapes:** [(B, C_i, T_i, H_i, W_i)] -> (B, sum C_i, min T_i, min H_i, min W_i)
    """
    grid = coarsest(pathways)
    return torch.cat([one if one.shape[2:] == grid else shrunk(one, grid) for one in pathways], 1)


def shrunk(one: Tensor, grid: Sequence[int]) -> Tensor:
    """Averages features to a smaller grid. **Shapes:** (B, C, T, H, W) -> (B, C, *grid)"""
    sizes = one.shape[2:]
    # Equal boxes everywhere, as an operation that ONNX has.
    if torch.compiler.is_exporting() and not any(size % number for size, number in zip(sizes, grid, strict=True)):
        return F.avg_pool3d(one, [size // number for size, number in zip(sizes, grid, strict=True)])
    frames, height, width = grid
    return F.adaptive_avg_pool3d(one, (frames, height, width))


def coarsest(pathways: Sequence[Tensor]) -> tuple[int, ...]:
    """(T, H, W) of the fewest frames, rows and columns among pathways."""
    return tuple(min(sizes) for sizes in zip(*(one.shape[2:] for one in pathways), strict=True))


def tensors_in(output: Any, path: str = "", depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    """The tensors inside an output with the path of each, as ``pick`` takes it."""
    if isinstance(output, Tensor):
        yield path, output
    elif depth:
        for name, part in _parts(output):
            yield from tensors_in(part, f"{path}.{name}" if path else name, depth - 1)


def _parts(output: Any) -> list[tuple[str, Any]]:
    if isinstance(output, Mapping):
        return [(str(key), value) for key, value in output.items()]
    if isinstance(output, (list, tuple)):
        named = getattr(output, "_fields", None) or range(len(output))
        return [(str(name), value) for name, value in zip(named, output, strict=True)] + (
            [(str(number), value) for number, value in enumerate(output)] if hasattr(output, "_fields") else []
        )
    if is_dataclass(output) and not isinstance(output, type):
        return [(field.name, getattr(output, field.name)) for field in fields(output)]
    return []
