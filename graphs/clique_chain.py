"""Rules on a grid of tokens of any rank: all nodes of a frame, and the same position in neighbouring frames.

Time is the first axis of the grid; all further axes together are the positions of a frame (H*W on video, V joints on skeletons,
one where there is no further axis).

Axes: T frames, P positions of a frame, N = T*P nodes, node n = t*P + position.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from .topology import SPATIAL, TEMPORAL, Axes, Topology


@dataclass(frozen=True)
class Clique(Topology):
    """Inside a frame every node is connected to every other: T * P * (P - 1) edges of type 0 (as in TAG-Head)."""

    axes: ClassVar[Axes] = ("frames", ...)
    edge_types: ClassVar[tuple[int, ...]] = (SPATIAL,)

    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        frames, positions = _frames_positions(self.checked(grid))
        here = torch.arange(positions, device=device)[:, None]
        # The P - 1 others in ascending order: skip over the position itself.
        others = torch.arange(positions - 1, device=device)
        others = others + (others >= here)  # (P, P - 1)
        start = positions * torch.arange(frames, device=device)[:, None, None]
        source = start + others
        target = (start + here).expand_as(source)
        edge_index = torch.stack([source.flatten(), target.flatten()])
        return edge_index, torch.full_like(edge_index[0], SPATIAL)

    def num_edges(self, grid: Sequence[int]) -> int:
        frames, positions = _frames_positions(self.checked(grid))
        return frames * positions * (positions - 1)

    def degree(self, grid: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        frames, positions = _frames_positions(self.checked(grid))
        return torch.full((frames * positions,), positions - 1, dtype=torch.long, device=device)


@dataclass(frozen=True)
class Chain(Topology):
    """A node is connected to the same position up to ``reach`` frames before and after: edges of type 1 (TAG-Head: reach 1).

    E = 2 * P * sum_{d=1..r} (T - d) with r = min(reach, T - 1).

    Args:
        reach: the largest distance in frames, at least 1.

    Raises:
        ValueError: ``reach`` is not a positive integer.
    """

    reach: int = 1

    axes: ClassVar[Axes] = ("frames", ...)
    edge_types: ClassVar[tuple[int, ...]] = (TEMPORAL,)

    def __post_init__(self) -> None:
        try:
            reach = operator.index(self.reach)
        except TypeError:
            reach = 0
        if reach < 1 or isinstance(self.reach, bool):
            raise ValueError(f"reach is a number of frames, an integer of at least 1, given {self.reach!r}")
        object.__setattr__(self, "reach", reach)

    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        frames, positions = _frames_positions(self.checked(grid))
        reach = min(self.reach, frames - 1)
        steps = torch.arange(-reach, reach + 1, device=device)
        steps = steps[steps != 0]
        node = torch.arange(frames * positions, device=device)
        frame = node[:, None].div(positions, rounding_mode="floor") + steps  # (N, 2 reach), of the source
        inside = (frame >= 0) & (frame < frames)
        source = (node[:, None] + positions * steps)[inside]
        target = node[:, None].expand_as(inside)[inside]
        return torch.stack([source, target]), torch.full_like(source, TEMPORAL)

    def num_edges(self, grid: Sequence[int]) -> int:
        frames, positions = _frames_positions(self.checked(grid))
        reach = min(self.reach, frames - 1)
        return positions * reach * (2 * frames - reach - 1)

    def degree(self, grid: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        frames, positions = _frames_positions(self.checked(grid))
        reach = min(self.reach, frames - 1)
        frame = torch.arange(frames, device=device)
        return (frame.clamp(max=reach) + (frames - 1 - frame).clamp(max=reach)).repeat_interleave(positions)

    def join(self, other: Topology) -> Topology | None:
        # A subclass of one's own may have other edges or options.
        if not isinstance(other, Chain) or not _is_chain(type(self)) or not _is_chain(type(other)):
            return self if self == other else None
        # A chain with stated axes stays one.
        kind = type(other) if issubclass(type(other), type(self)) else type(self)
        return kind(max(self.reach, other.reach))


def _is_chain(kind: type[Chain]) -> bool:
    """Whether a rule has the edges of a chain and its option alone."""
    return kind.edges is Chain.edges and [field.name for field in fields(kind)] == ["reach"]


def _frames_positions(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], prod(shape[1:])
