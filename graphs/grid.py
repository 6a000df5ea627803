"""Rules on a grid of tokens: everyone in the frame, and the same place in the frames around.

Axes: T frames, P = H*W places of a frame, N = T*P nodes, node n = t*P + place.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from .topology import SPATIAL, TEMPORAL, Topology


@dataclass(frozen=True)
class Clique(Topology):
    """Inside a frame every node hears every other: T * P * (P - 1) edges of type 0 (as in TAG-Head)."""

    edge_types: ClassVar[tuple[int, ...]] = (SPATIAL,)

    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        frames, places = _frames_places(self.checked(grid))
        here = torch.arange(places, device=device)[:, None]
        # The P - 1 others in ascending order: skip over the place itself.
        others = torch.arange(places - 1, device=device)
        others = others + (others >= here)  # (P, P - 1)
        start = places * torch.arange(frames, device=device)[:, None, None]
        source = start + others
        target = (start + here).expand_as(source)
        edge_index = torch.stack([source.flatten(), target.flatten()])
        return edge_index, torch.full_like(edge_index[0], SPATIAL)

    def num_edges(self, grid: Sequence[int]) -> int:
        frames, places = _frames_places(self.checked(grid))
        return frames * places * (places - 1)

    def degree(self, grid: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        frames, places = _frames_places(self.checked(grid))
        return torch.full((frames * places,), places - 1, dtype=torch.long, device=device)


@dataclass(frozen=True)
class Chain(Topology):
    """A node hears the same place up to ``reach`` frames before and after: edges of type 1 (TAG-Head: reach 1).

    E = 2 * P * sum_{d=1..r} (T - d) with r = min(reach, T - 1).

    Args:
        reach: the largest distance in frames, at least 1.

    Raises:
        ValueError: ``reach`` is not a positive integer.
    """

    reach: int = 1

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
        frames, places = _frames_places(self.checked(grid))
        reach = min(self.reach, frames - 1)
        steps = torch.arange(-reach, reach + 1, device=device)
        steps = steps[steps != 0]
        node = torch.arange(frames * places, device=device)
        heard = node[:, None].div(places, rounding_mode="floor") + steps  # (N, 2 reach), the frame each step leads to
        inside = (heard >= 0) & (heard < frames)
        source = (node[:, None] + places * steps)[inside]
        target = node[:, None].expand_as(inside)[inside]
        return torch.stack([source, target]), torch.full_like(source, TEMPORAL)

    def num_edges(self, grid: Sequence[int]) -> int:
        frames, places = _frames_places(self.checked(grid))
        reach = min(self.reach, frames - 1)
        return places * reach * (2 * frames - reach - 1)

    def degree(self, grid: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        frames, places = _frames_places(self.checked(grid))
        reach = min(self.reach, frames - 1)
        frame = torch.arange(frames, device=device)
        return (frame.clamp(max=reach) + (frames - 1 - frame).clamp(max=reach)).repeat_interleave(places)

    def join(self, other: Topology) -> Topology | None:
        return max(self, other, key=lambda chain: chain.reach) if isinstance(other, Chain) else None


def _frames_places(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], prod(shape[1:])
