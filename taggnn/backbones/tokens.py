"""What comes out of a backbone, as tokens: accepted forms, clear refusals, and a dry run that finds C and (T, H, W).

Axes: B clips, C channels, T frames, H W token grid, N = T*H*W nodes.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn

from taggnn.backbones.outputs import tensors_in

Grid = tuple[int, int, int]


def tokens_of(output: object, grid: Grid | None = None) -> Tensor:
    """Brings the output of a backbone to token form.

    Args:
        output: (B, C, T, H, W), or (B, N, C) with a stated grid and time slowest in N.
        grid: (T, H, W) of the tokens; needed for (B, N, C), checked for (B, C, T, H, W).

    Returns:
        Tokens, a view where that is possible.

    **Shapes:** (B, C, T, H, W) or (B, N, C) -> (B, T, H, W, C)

    Raises:
        ValueError: the output is neither, or does not fit the grid; the message prints what came out.
    """
    if grid is not None:
        grid = checked_size(grid, "grid")
    if not isinstance(output, Tensor) or output.dim() not in (3, 5):
        message = f"a backbone must yield (B, C, T, H, W), or (B, N, C) with a stated grid; got {describe(output)}"
        if isinstance(output, Tensor) and output.dim() == 2:
            message += ". Two axes look like logits or pooled features: remove pool and classifier"
        usable = [path for path, tensor in tensors_in(output) if path and tensor.dim() in (3, 5)]
        if usable:
            message += f". Pick one: {' or '.join(f'features={path!r}' for path in usable[:6])}"
        raise ValueError(message)
    if output.dim() == 5:
        if grid is not None and tuple(output.shape[2:]) != grid:
            raise ValueError(f"the backbone yields {describe(output)}, (B, C, T, H, W), but the stated grid is {grid}")
        return output.permute(0, 2, 3, 4, 1)
    nodes = output.shape[1]
    if grid is None:
        raise ValueError(
            f"the backbone yields {describe(output)}, read as (B, N, C) with N = {nodes} tokens: state grid=(T, H, W), "
            f"time slowest{_suggestions(nodes)}"
        )
    if grid[0] * grid[1] * grid[2] != nodes:
        message = (
            f"the backbone yields {describe(output)}, read as (B, N, C) with N = {nodes} tokens, but the stated grid "
            f"{grid} has {grid[0] * grid[1] * grid[2]}"
        )
        if grid[0] * grid[1] * grid[2] == nodes - 1:
            message += "; one token too many is probably a class token: state class_tokens=1"
        raise ValueError(message)
    return output.unflatten(1, grid)


@torch.no_grad()
def dry_run(module: nn.Module, clip: Grid, grid: Grid | None = None) -> tuple[int, Grid]:
    """Finds channels and token grid of a backbone from one clip of zeros, and leaves no trace in it.

    Every submodule is put into evaluation mode for the run and back into its own mode after it, so that BatchNorm
    statistics do not move. The clip lies on the device and in the dtype of the module's first parameter.

    Args:
        module: (1, 3, T, H, W) -> anything ``tokens_of`` accepts; 1 for the 3 where ``set_in_channels`` made it so.
        clip: frames, height and width in pixels of the clip to try.
        grid: the token grid, where the module yields (B, N, C).

    Returns:
        ``(channels, (T, H, W))`` of the tokens.

    Raises:
        ValueError: the module fails on such a clip, or yields something else than tokens.
    """
    output = run_once(module, clip)
    tokens = tokens_of(output, grid)
    if len(tokens) != 1:
        raise ValueError(f"one clip went into {type(module).__name__}, {len(tokens)} came out: {describe(output)}")
    return tokens.shape[-1], tuple(tokens.shape[1:4])


@torch.no_grad()
def run_once(module: nn.Module, clip: Grid) -> object:
    """What a module yields for one clip of zeros, in evaluation mode; see ``dry_run``, which says what that is.

    Raises:
        ValueError: the module fails on such a clip.
    """
    clip = checked_size(clip, "clip")
    example = next((p for p in [*module.parameters(), *module.buffers()] if p.is_floating_point()), torch.zeros(()))
    # Not ``in_channels``, which a user's own module may have for a width inside of it.
    channels = getattr(module, "_clip_channels", 3)
    frames = torch.zeros((1, channels, *clip), device=example.device, dtype=example.dtype)
    modes = [(m, m.training) for m in module.modules()]
    try:
        # The flag itself, not eval(): a train() of the user's own might do more than that, and not undo it.
        for part, _ in modes:
            part.training = False
        return module(frames)
    except (RuntimeError, TypeError, IndexError, AssertionError) as error:
        raise ValueError(
            f"{type(module).__name__} failed on a clip of zeros {tuple(frames.shape)}, (B, {channels}, T, H, W): "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        for part, mode in modes:
            part.training = mode


def describe(value: object, depth: int = 3) -> str:
    """Types and shapes of a value, nested containers included, for error messages.

    Args:
        value: anything a module may return.
        depth: how many levels of containers to open.
    """
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    name = type(value).__name__
    if is_dataclass(value) and not isinstance(value, type | Mapping):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if not isinstance(value, list | tuple | Mapping):
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
    values = tuple(size) if isinstance(size, list | tuple | torch.Size) else ()
    if len(values) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in values):
        raise ValueError(f"{name} must be three positive integers (T, H, W), got {size!r}")
    return values


def _suggestions(nodes: int) -> str:
    """The square grids that N tokens, or N - 1 beside a class token, could be."""
    plain, rest = _square_grids(nodes), _square_grids(nodes - 1)
    text = f". As square grids: {', '.join(map(str, plain))}" if plain else ". No square grid has that many"
    if rest:
        text += f"; with class_tokens=1: {', '.join(map(str, rest))}"
    return text


def _square_grids(nodes: int) -> list[Grid]:
    sides = [side for side in range(2, int(max(nodes, 0) ** 0.5) + 1) if nodes % (side * side) == 0]
    return [(nodes // (side * side), side, side) for side in reversed(sides)][:6]
