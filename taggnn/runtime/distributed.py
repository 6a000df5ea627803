"""Ranks and collective operations of the processes of one program; without a process group they are those of a single process.

The processes may be started by the program itself, by torchrun or by SLURM.
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
# What the error of a collective contains when another process has ended, in gloo and in NCCL.
_LOST = re.compile(
    r"gloo|NCCL|ncclSystemError|[Cc]onnection (closed|reset|refused)|[Bb]roken pipe|store->get|[Ss]ocket|recvValue|sendBytes"
)


class ProcessLost(RuntimeError):
    """Another process of the program has ended."""


@dataclass(frozen=True)
class Ranks:
    """The ranks of this process.

    Args:
        rank: its number, from 0.
        world_size: number of processes.
        local_rank: its number on its machine, from 0.
        local_world_size: number of processes on its machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1


def ranks() -> Ranks:
    """The ranks that torchrun or SLURM gave this process, before there is a process group; rank 0 of 1 without them.

    Raises:
        ValueError: SLURM's environment does not say how many tasks a machine has.
    """
    given = os.environ
    if "RANK" in given and "WORLD_SIZE" in given:
        rank, size = int(given["RANK"]), int(given["WORLD_SIZE"])
        return Ranks(rank, size, int(given.get("LOCAL_RANK", rank)), int(given.get("LOCAL_WORLD_SIZE", size)))
    # A batch script that calls the program without srun is one process, whatever the job asked for.
    srun = "SLURM_STEP_ID" in given and given.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    if not srun or int(given.get("SLURM_NTASKS", 1)) == 1:
        return Ranks()
    if "SLURM_NTASKS_PER_NODE" not in given:
        raise ValueError("SLURM: give the tasks as --ntasks-per-node, and start the program with srun")
    # For the process group, which reads the environment: the main machine is the first of gpu[07-09,12] or of a,b.
    nodes = re.match(r"([^,\[]+)(?:\[(\w+))?", given["SLURM_NODELIST"])
    assert nodes is not None
    given["MASTER_ADDR"] = "".join(nodes.groups(""))
    given.setdefault("MASTER_PORT", str(15000 + int(given["SLURM_JOB_ID"][-4:])))
    local = int(given["SLURM_LOCALID"]), int(given["SLURM_NTASKS_PER_NODE"])
    return Ranks(int(given["SLURM_PROCID"]), int(given["SLURM_NTASKS"]), *local)


def process_lost(error: BaseException) -> ProcessLost | None:
    """The error to raise instead of a collective's error if that means that another process has ended; None for others."""
    if isinstance(error, ProcessLost):
        return error
    if world_size() == 1 or not isinstance(error, RuntimeError):
        return None
    if not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
        return None
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    # Without the source position and the advice that gloo adds.
    reason = re.sub(r"^\[[^]]*\] *", "", reason).split(". ")[0]
    return ProcessLost(f"process {rank()} of {world_size()}: another process has ended ({reason})")


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if _has_group() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _has_group() else 0


def is_main_process() -> bool:
    """Whether this is rank 0, which prints and writes files."""
    return rank() == 0


def cores() -> int:
    """CPU cores of the machine that the program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def local_world_size() -> int:
    """Number of processes on this machine."""
    return ranks().local_world_size if _has_group() else 1


def machines() -> int:
    """Number of machines, each with the same number of processes."""
    return -(-world_size() // local_world_size())


_prints: bool | None = None


def set_printing(prints: bool | None) -> None:
    """Fixes what ``prints_message`` returns, also after the end of the process group; None undoes it."""
    global _prints
    _prints = prints


def prints_message(text: str | None = None) -> bool:
    """Whether this process prints a message that other processes may have as well.

    The first process that has a message prints it, because an error may occur in one process only. Without a process group,
    and when its store is gone, rank 0 does.

    Args:
        text: the message; None to ask whether no process has printed one.
    """
    if _prints is not None:
        return _prints
    first = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0
    if not _has_group():
        return first
    try:
        store = dist.distributed_c10d._get_default_store()
        if text is None:
            return not store.check(["taggnn/message"])
        store.set("taggnn/message", "yes")
    except (RuntimeError, ValueError):
        return first
    try:
        return store.add(f"taggnn/message/{hashlib.sha1(text.encode()).hexdigest()}", 1) == 1
    except RuntimeError:
        # The process with the store ended in between, and left the message to this one. Better twice than never.
        return True


def all_gather(value: Value) -> list[Value]:
    """The values of all processes in the order of ranks, in every process. All processes must call it.

    Args:
        value: of this process: plain types and tensors on the CPU.
    """
    if not _has_group():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def all_sum(values: Sequence[float], device: torch.device | str = "cpu") -> list[float]:
    """The sum of each number over all processes, in double precision, in every process. All processes must call it.

    Args:
        values: of this process.
        device: of this process.
    """
    if not _has_group():
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def broadcast(value: Value) -> Value:
    """The value of rank 0, in every process. All processes must call it."""
    if not _has_group():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def all_max(value: int) -> int:
    """The largest value of all processes, in every process; cheap enough for every batch. All processes must call it."""
    if not _has_group():
        return int(value)
    device = torch.device("cuda", torch.cuda.current_device()) if "nccl" in dist.get_backend() else "cpu"
    most = torch.tensor(int(value), device=device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most)


def _has_group() -> bool:
    return dist.is_available() and dist.is_initialized()
