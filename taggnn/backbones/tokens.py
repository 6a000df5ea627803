"""The output of a backbone as tokens: accepted forms, and clear refusals of all others.

Axes: B clips, C channels, T frames, H W token grid, N tokens of one clip; a grid may have any number of axes, time first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import prod
from typing import Any

from torch import Tensor

from taggnn.backbones.outputs import tensors_in
from taggnn.types import Features

# (T, H, W) of a clip of video, in frames and pixels
Grid = tuple[int, int, int]


def features_of(output: object, grid: Sequence[int] | None = None) -> Features:
    """Brings the output of a backbone to tokens, its losses with them.

    Args:
        output: (B, C, *grid) of two axes of the grid or more; (B, N, C) with a stated grid and time slowest in N; or
            ``Features``, whose tokens are (B, *grid, C) already. Three axes are always read as (B, N, C), never as
            (B, C, grid of one axis).
        grid: sizes of the token grid; needed for (B, N, C), checked for the others.

    Returns:
        The tokens, a view where that is possible.

    Raises:
        ValueError: the output is none of them, or does not fit the grid; the message prints what came out.
    """
    if grid is not None:
        grid = checked_grid(grid, "grid")
    if not isinstance(output, Features):
        return Features(_tokens_of(output, grid))
    if not isinstance(output.tokens, Tensor) or output.tokens.dim() < 3:
        raise ValueError(f"tokens of Features must be (B, *grid, C); got {describe(output.tokens)}")
    if grid is not None and output.grid != grid:
        raise ValueError(f"the backbone yields tokens of grid {output.grid}, but the stated grid is {grid}")
    return output


def tokens_of(output: object, grid: Sequence[int] | None = None) -> Tensor:
    """The tokens of ``features_of`` alone.

    **Shapes:** (B, C, *grid) or (B, N, C) -> (B, *grid, C)
    """
    return features_of(output, grid).tokens


def _tokens_of(output: object, grid: tuple[int, ...] | None) -> Tensor:
    if not isinstance(output, Tensor) or output.dim() < 3:
        message = (
            "a backbone must yield (B, C, T, H, W) or another (B, C, *grid), Features, or (B, N, C) with a stated grid; "
            f"got {describe(output)}"
        )
        if isinstance(output, Tensor) and output.dim() == 2:
            message += ". Two axes look like logits or pooled features: remove pool and classifier"
        usable = [path for path, tensor in tensors_in(output) if path and tensor.dim() in (3, 5)]
        if usable:
            message += f". Pick one: {' or '.join(f'features={path!r}' for path in usable[:6])}"
        raise ValueError(message)
    if output.dim() > 3:
        if grid is not None and tuple(output.shape[2:]) != grid:
            form = "(B, C, T, H, W)" if output.dim() == 5 else "(B, C, *grid)"
            raise ValueError(f"the backbone yields {describe(output)}, {form}, but the stated grid is {grid}")
        return output.movedim(1, -1)
    nodes = output.shape[1]
    if grid is None:
        raise ValueError(
            f"the backbone yields {describe(output)}, read as (B, N, C) with N = {nodes} tokens: state grid=(T, H, W), "
            f"time slowest{_suggestions(nodes)}"
        )
    if prod(grid) != nodes:
        message = (
            f"the backbone yields {describe(output)}, read as (B, N, C) with N = {nodes} tokens, but the stated grid "
            f"{grid} has {prod(grid)}"
        )
        if prod(grid) == nodes - 1:
            message += "; one token too many is probably a class token: state class_tokens=1"
        raise ValueError(message)
    return output.unflatten(1, grid)


def describe(value: object, depth: int = 3) -> str:
    """Types and shapes of a value, nested containers included, for error messages.

    Args:
        value: anything a module may return.
        depth: how many levels of containers to open.
    """
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    name = type(value).__name__
    if is_dataclass(value) and not isinstance(value, (type, Mapping)):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if not isinstance(value, (list, tuple, Mapping)):
        return name
    if depth == 0:
        return f"{name} of {len(value)}"
    if isinstance(value, Mapping):
        parts = [f"{key!r}: {describe(item, depth - 1)}" for key, item in list(value.items())[:8]]
    else:
        parts = [describe(item, depth - 1) for item in value[:8]]
    more = [] if len(value) <= 8 else [f"and {len(value) - 8} more"]
    return f"{name} of {len(value)} [{', '.join(parts + more)}]"


def checked_size(size: object, name: str) -> Grid:
    """Checks a (T, H, W) triple.

    Args:
        size: what the user gave.
        name: what it is called, for the message.

    Raises:
        ValueError: not three positive integers.
    """
    values: Any = tuple(size) if isinstance(size, (list, tuple)) else ()
    if len(values) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in values):
        raise ValueError(f"{name} must be three positive integers (T, H, W), got {size!r}")
    return values


def checked_grid(size: object, name: str) -> tuple[int, ...]:
    """Checks the sizes of a token grid of any number of axes.

    Args:
        size: what the user gave.
        name: what it is called, for the message.

    Raises:
        ValueError: not positive integers, one at least.
    """
    values: Any = tuple(size) if isinstance(size, (list, tuple)) else ()
    if not values or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in values):
        raise ValueError(f"{name} must be positive integers such as (T, H, W), got {size!r}")
    return values


def _suggestions(nodes: int) -> str:
    """The square grids that N tokens, or N - 1 and a class token, could be."""
    plain, rest = _square_grids(nodes), _square_grids(nodes - 1)
    text = f". As square grids: {', '.join(map(str, plain))}" if plain else ". No square grid has that many"
    if rest:
        text += f"; with class_tokens=1: {', '.join(map(str, rest))}"
    return text


def _square_grids(nodes: int) -> list[Grid]:
    sides = [side for side in range(2, int(max(nodes, 0) ** 0.5) + 1) if nodes % (side * side) == 0]
    return [(nodes // (side * side), side, side) for side in reversed(sides)][:6]
