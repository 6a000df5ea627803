"""The processes of one program that work together, as PyTorch's process group has them; alone, everything is plain.

Who starts them does not matter here: the program itself, torchrun or SLURM.
"""

from typing import Any, TypeVar

import torch.distributed as dist

Value = TypeVar("Value")


def count() -> int:
    """How many processes work together; 1 where there is no group."""
    return dist.get_world_size() if _grouped() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _grouped() else 0


def is_first() -> bool:
    """Whether this process speaks and writes for all."""
    return rank() == 0


def gathered(value: Value) -> list[Value]:
    """What each process has, in the order of their numbers; the same list in every process.

    All processes must call it. For plain types and tensors on the CPU.

    Args:
        value: that of this process.
    """
    if not _grouped():
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def from_first(value: Value) -> Value:
    """What the first process has, in every process; all of them must call it.

    Args:
        value: that of this process; counts only in the first.
    """
    if not _grouped():
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
