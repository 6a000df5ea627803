"""The processes of one program that work together, as PyTorch's process group has them; alone, everything is plain.

Who starts them does not matter here: the program itself, torchrun or SLURM.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")
# What a collective says where a peer has gone: gloo's words, and NCCL's.
_LOST = re.compile(
    r"gloo|NCCL|ncclSystemError|[Cc]onnection (closed|reset|refused)|[Bb]roken pipe|store->get|[Ss]ocket|recvValue|sendBytes"
)


class Lost(RuntimeError):
    """Another process of the program has ended."""


def lost(error: BaseException) -> Lost | None:
    """What to raise in place of an error of a collective that means that another process has ended; None for any other."""
    if isinstance(error, Lost):
        return error
    if count() == 1 or not isinstance(error, RuntimeError):
        return None
    if not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
        return None
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    # Without the place in gloo's source, and without its advice.
    reason = re.sub(r"^\[[^]]*\] *", "", reason).split(". ")[0]
    return Lost(f"process {rank()} of {count()}: another process has ended ({reason})")


def count() -> int:
    """How many processes work together; 1 where there is no group."""
    return dist.get_world_size() if _grouped() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _grouped() else 0


def is_first() -> bool:
    """Whether this process speaks and writes for all."""
    return rank() == 0


def cores() -> int:
    """The cores of the machine that the program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_count() -> int:
    """How many processes of the program work on this machine, by what their launcher says."""
    here = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or count()
    return int(here) if _grouped() else 1


def machines() -> int:
    """On how many machines the program works, with as many processes on each."""
    return -(-count() // local_count())


_hushed: bool | None = None


def hush(other: bool | None = True) -> None:
    """Settles what ``speaks`` answers from here on, also when the group has gone.

    Args:
        other: whether another process says what there is to say; None leaves it open again.
    """
    global _hushed
    _hushed = other


def speaks(text: str | None = None) -> bool:
    """Whether this process is the one that tells the user something that other processes may want to tell as well.

    The first that asks for a text gets it, since a mistake may be found by one process alone. Before the group stands, and
    where its store has gone, that is the first process.

    Args:
        text: what it would say; None for whether anything was said by any of them.
    """
    if _hushed is not None:
        return not _hushed
    first = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0
    if not _grouped():
        return first
    try:
        store = dist.distributed_c10d._get_default_store()
        if text is None:
            return not store.check(["taggnn/said"])
        store.set("taggnn/said", "yes")
        return store.add(f"taggnn/said/{hashlib.sha1(text.encode()).hexdigest()}", 1) == 1
    except (RuntimeError, ValueError):
        return first


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


def summed(values: Sequence[float], device: torch.device | str = "cpu") -> list[float]:
    """The sum of each number over all processes, in double precision; the same in every process. All of them must call it.

    Args:
        values: those of this process.
        device: where this process computes.
    """
    if not _grouped():
        return list(values)
    held = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(held)
    return held.tolist()


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


def largest(value: int) -> int:
    """The largest of what the processes have, in every process; all of them must call it. Cheap enough for every batch.

    Args:
        value: that of this process.
    """
    if not _grouped():
        return int(value)
    device = torch.device("cuda", torch.cuda.current_device()) if "nccl" in dist.get_backend() else "cpu"
    held = torch.tensor(int(value), device=device)
    dist.all_reduce(held, dist.ReduceOp.MAX)
    return int(held)


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
