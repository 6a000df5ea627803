"""A topology: a rule that defines which nodes are connected, before any grid, batch or device is known.

Axes: T frames, P positions of a frame, N nodes of one clip (time slowest), E edges of one clip.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from math import prod
from types import EllipsisType
from typing import ClassVar

import torch
from torch import Tensor

SPATIAL = 0
TEMPORAL = 1

# Names of axes, time first; an ellipsis at the end stands for any number of further ones.
Axes = tuple[str | EllipsisType, ...]


@dataclass(frozen=True)
class Topology(ABC):
    """A rule from which edge list, edge count and degrees of any grid follow.

    A rule of your own is a frozen dataclass with one method, ``edges``; ``num_edges`` and ``degree`` are counted from
    its list unless the rule knows a closed form. Rules add up: ``Clique() + Chain(reach=2)``.
    """

    # The axes of a grid, time first. A rule on joints has ("frames", "joints"); one for grids of any rank has ("frames", ...).
    axes: ClassVar[Axes] = ("frames", "height", "width")
    # The edge types the rule may produce; rules that share none cannot share an edge.
    edge_types: ClassVar[tuple[int, ...]] = (SPATIAL, TEMPORAL)

    @abstractmethod
    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Lists the edges of one clip, sorted by target and, within a target, by source.

        Sorted so, the list is already in CSR form: the edges into node i are the slice ``ptr[i]:ptr[i + 1]`` with
        ``ptr = [0, cumsum(degree)]``.

        Args:
            grid: sizes along ``axes``, each at least 1.
            device: where the tensors are made.

        **Shapes:** ``edge_index`` (2, E) long, row 0 the source and row 1 the target as in PyG; ``edge_type`` (E,)
        long, 0 inside a frame and 1 between frames. No self-loops and no edge twice.

        Raises:
            ValueError: ``grid`` does not hold one positive integer for each of ``axes``.
        """

    def num_edges(self, grid: Sequence[int]) -> int:
        """Counts the directed edges E of one clip, self-loops left out."""
        return self.edges(grid)[1].numel()

    def degree(self, grid: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """Counts for each node the edges into it, self-loop left out.

        **Shapes:** (N,) long.
        """
        return torch.bincount(self.edges(grid, device)[0][1], minlength=prod(self.checked(grid)))

    def join(self, other: "Topology") -> "Topology | None":
        """Returns the single rule that equals this one and ``other`` together, or None where they stay two rules."""
        return self if self == other else None

    def checked(self, grid: Sequence[int]) -> tuple[int, ...]:
        """Returns ``grid`` as a tuple of plain integers.

        Raises:
            ValueError: it does not hold one positive integer for each of ``axes``.
        """
        is_open = ... in self.axes
        least = len(self.axes) - is_open
        try:
            shape = tuple(operator.index(size) for size in grid)
            fits = len(shape) >= least and (is_open or len(shape) == least)
            fits = fits and min(shape) >= 1 and not any(isinstance(size, bool) for size in grid)
        except TypeError:
            fits = False
        if not fits:
            count = f"at least {least}" if is_open else str(least)
            integers = "positive integer" if least == 1 else "positive integers"
            raise ValueError(f"topology {self}: grid is {count} {integers} ({listed(self.axes)}), given {grid!r}")
        return shape

    def __add__(self, other: "Topology") -> "Topology":
        if not isinstance(other, Topology):
            return NotImplemented
        parts = _simplest((self, other))
        return parts[0] if len(parts) == 1 else Union(parts)

    def __str__(self) -> str:
        """The text that ``graphs.parse`` reads back: a rule of your own is written by its dotted path."""
        options = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        stated = ", ".join(f"{name}={value!r}" for name, value in options)
        rule = type(self)
        own = rule.__module__.partition(".")[0] == __name__.partition(".")[0]
        name = rule.__name__.lower() if own else f"{rule.__module__}.{rule.__qualname__}"
        return name + (f"({stated})" if stated else "")


@dataclass(frozen=True)
class NoEdges(Topology):
    """No edges: the control that shows what a graph adds, and the zero of ``+``; on grids of any rank."""

    axes: ClassVar[Axes] = ("frames", ...)
    edge_types: ClassVar[tuple[int, ...]] = ()

    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        self.checked(grid)
        none = torch.empty(2, 0, dtype=torch.long, device=device)
        return none, none[0].clone()

    def join(self, other: Topology) -> Topology:
        return other

    def __str__(self) -> str:
        return "none"


@dataclass(frozen=True)
class Union(Topology):
    """The edges of several rules, each edge once; ``a + b`` makes it.

    Parts are flattened, merged where one rule covers both (two chains are the longer one) and put in a fixed order, so
    that unions of the same rules are equal however they were written. An edge that two parts share has the type
    that the first of them gives it. Parts for grids of any rank take the axes of the others.

    Args:
        parts: the rules, at least two different ones.

    Raises:
        ValueError: fewer than two different rules, or rules over different axes.
    """

    parts: tuple[Topology, ...]

    def __post_init__(self) -> None:
        parts = _simplest(self.parts)
        if len(parts) < 2:
            given = ", ".join(map(str, self.parts)) or "nothing"
            raise ValueError(
                f"a union needs at least two different rules, given {given}; sum(rules, NoEdges()) takes any number"
            )
        if _common([part.axes for part in parts]) is None:
            stated = "; ".join(f"{part} has {listed(part.axes)}" for part in parts)
            raise ValueError(f"a union needs rules over the same axes: {stated}")
        object.__setattr__(self, "parts", parts)

    @property
    def axes(self) -> Axes:  # type: ignore[override]  # a union's axes are those of its parts
        common = _common([part.axes for part in self.parts])
        assert common is not None
        return common

    @property
    def edge_types(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(sorted({kind for part in self.parts for kind in part.edge_types}))

    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        num_nodes = prod(self.checked(grid))
        found = [part.edges(grid, device) for part in self.parts]
        (source, target), kind = torch.cat([edges for edges, _ in found], 1), torch.cat([kinds for _, kinds in found])
        # Stable, so that of two equal edges the earlier part's stays.
        key, order = torch.sort(target * num_nodes + source, stable=True)
        first = torch.ones_like(key, dtype=torch.bool)
        first[1:] = key[1:] != key[:-1]
        order = order[first]
        return torch.stack([source[order], target[order]]), kind[order]

    def num_edges(self, grid: Sequence[int]) -> int:
        if self.disjoint:
            return sum(part.num_edges(grid) for part in self.parts)
        return super().num_edges(grid)

    def degree(self, grid: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        if self.disjoint:
            return torch.stack([part.degree(grid, device) for part in self.parts]).sum(0)
        return super().degree(grid, device)

    @property
    def disjoint(self) -> bool:
        """Whether no two parts may have an edge of the same type."""
        return sum(len(part.edge_types) for part in self.parts) == len(self.edge_types)

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))


def listed(axes: Axes) -> str:
    """Axes as a text: ``frames, ...``."""
    return ", ".join("..." if axis is ... else str(axis) for axis in axes)


def _common(stated: Iterable[Axes]) -> Axes | None:
    """The axes that fit all of these, None where there are none."""
    common: Axes = (...,)
    for axes in stated:
        fixed, other = (tuple(axis for axis in one if axis is not ...) for one in (common, axes))
        if ... in common and ... in axes:
            count = min(len(fixed), len(other))
            fits, joined = fixed[:count] == other[:count], max(common, axes, key=len)
        elif ... in common:
            fits, joined = other[: len(fixed)] == fixed, axes
        else:
            fits, joined = (fixed[: len(other)] == other if ... in axes else common == axes), common
        if not fits:
            return None
        common = joined
    return common


def _simplest(rules: Iterable[Topology]) -> tuple[Topology, ...]:
    simple: list[Topology] = []
    for rule in _flat(rules):
        for i, other in enumerate(simple):
            joined = other.join(rule) or rule.join(other)
            if joined is not None:
                simple[i] = joined
                break
        else:
            simple.append(rule)
    return tuple(sorted(simple, key=lambda rule: (rule.edge_types, str(rule))))


def _flat(rules: Iterable[Topology]) -> Iterable[Topology]:
    for rule in rules:
        if not isinstance(rule, Topology):
            raise ValueError(f"a union takes topologies, given {rule!r}")
        yield from rule.parts if isinstance(rule, Union) else (rule,)
