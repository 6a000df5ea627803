"""The processes of one program that work together, as PyTorch's process group has them; alone, everything is plain.

Who starts them does not matter here: the program itself, torchrun or SLURM.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")
# What a collective's error contains where a peer has gone: gloo's words, and NCCL's.
_LOST = re.compile(
    r"gloo|NCCL|ncclSystemError|[Cc]onnection (closed|reset|refused)|[Bb]roken pipe|store->get|[Ss]ocket|recvValue|sendBytes"
)


class Lost(RuntimeError):
    """Another process of the program has ended."""


@dataclass(frozen=True)
class Place:
    """Which process of a program this one is.

    Args:
        rank: its number, from 0.
        count: how many processes there are.
        local_rank: its number on its machine, from 0.
        local_count: how many are on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def place() -> Place:
    """Which process this is according to torchrun or SLURM; alone without them. Known before there is a process group.

    Raises:
        ValueError: an environment that names only part of it.
    """
    given = os.environ
    if "RANK" in given and "WORLD_SIZE" in given:
        rank, count = int(given["RANK"]), int(given["WORLD_SIZE"])
        return Place(rank, count, int(given.get("LOCAL_RANK", rank)), int(given.get("LOCAL_WORLD_SIZE", count)))
    # A batch script that calls the program without srun is one process, whatever the job asked for.
    srun = "SLURM_STEP_ID" in given and given.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    if not srun or int(given.get("SLURM_NTASKS", 1)) == 1:
        return Place()
    if "SLURM_NTASKS_PER_NODE" not in given:
        raise ValueError("SLURM: give the tasks as --ntasks-per-node, and start the program with srun")
    # Written into the environment, where the process group looks for them: the first of gpu[07-09,12] or of a,b is the main one.
    name, number = re.match(r"([^,\[]+)(?:\[(\w+))?", given["SLURM_NODELIST"]).groups("")
    given["MASTER_ADDR"] = name + number
    given.setdefault("MASTER_PORT", str(15000 + int(given["SLURM_JOB_ID"][-4:])))
    local = int(given["SLURM_LOCALID"]), int(given["SLURM_NTASKS_PER_NODE"])
    return Place(int(given["SLURM_PROCID"]), int(given["SLURM_NTASKS"]), *local)


def lost(error: BaseException) -> Lost | None:
    """What to raise in place of an error of a collective that means that another process has ended; None for any other."""
    if isinstance(error, Lost):
        return error
    if count() == 1 or not isinstance(error, RuntimeError):
        return None
    if not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
        return None
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    # Without the position in gloo's source, and without its advice.
    reason = re.sub(r"^\[[^]]*\] *", "", reason).split(". ")[0]
    return Lost(f"process {rank()} of {count()}: another process has ended ({reason})")


def count() -> int:
    """How many processes work together; 1 where there is no group."""
    return dist.get_world_size() if _grouped() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _grouped() else 0


def is_first() -> bool:
    """Whether this process prints and writes for all."""
    return rank() == 0


def cores() -> int:
    """The cores of the machine that the program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_count() -> int:
    """How many processes of the program work on this machine."""
    return place().local_count if _grouped() else 1


def machines() -> int:
    """On how many machines the program works, with as many processes on each."""
    return -(-count() // local_count())


_prints: bool | None = None


def settle(prints: bool | None) -> None:
    """Settles what ``prints_message`` answers from here on, also when the group has gone; None leaves it open again."""
    global _prints
    _prints = prints


def prints_message(text: str | None = None) -> bool:
    """Whether this process is the one that prints a message that other processes may want to print as well.

    The first that wants to print a text does, since a mistake may be found by one process alone. Before there is a group, and
    where its store has gone, that is the process of rank 0.

    Args:
        text: the message; None for whether nothing was printed by any of them.
    """
    if _prints is not None:
        return _prints
    first = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0
    if not _grouped():
        return first
    try:
        store = dist.distributed_c10d._get_default_store()
        if text is None:
            return not store.check(["taggnn/message"])
        store.set("taggnn/message", "yes")
        return store.add(f"taggnn/message/{hashlib.sha1(text.encode()).hexdigest()}", 1) == 1
    except (RuntimeError, ValueError):
        return first


def gathered(value: Value) -> list[Value]:
    """The value of each process, in the order of their ranks; the same list in every process. All processes must call it.

    Args:
        value: that of this process: plain types and tensors on the CPU.
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
    """The value of the process of rank 0, in every process; all of them must call it."""
    if not _grouped():
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def largest(value: int) -> int:
    """The largest value of all processes, in every process; all of them must call it. Cheap enough for every batch."""
    if not _grouped():
        return int(value)
    device = torch.device("cuda", torch.cuda.current_device()) if "nccl" in dist.get_backend() else "cpu"
    held = torch.tensor(int(value), device=device)
    dist.all_reduce(held, dist.ReduceOp.MAX)
    return int(held)


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
