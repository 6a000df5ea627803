"""Several processes of one program: those that torchrun or SLURM started, or copies of itself."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import SLURMEnvironment

from taggnn import processes, terminal
from taggnn.signals import EXIT_CODE

Value = TypeVar("Value")
# One process may have to wait for another as long as that one computes; one that is gone is noticed at once.
_PATIENCE = timedelta(days=30)
# Seconds in which a process may notice by itself that another one has gone.
_GRACE = 5
# Tells a copy whose it is.
_PARENT = "TAGGNN_PARENT"


@dataclass(frozen=True)
class Place:
    """Where a process stands.

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

    @property
    def nodes(self) -> int:
        """How many machines there are."""
        return -(-self.count // self.local_count)


def place() -> Place:
    """Where torchrun, SLURM or another process of this program put this one; alone where none did.

    Raises:
        ValueError: an environment that names only part of it.
    """
    given = os.environ
    if "RANK" in given and "WORLD_SIZE" in given:
        rank, count = int(given["RANK"]), int(given["WORLD_SIZE"])
        return Place(rank, count, int(given.get("LOCAL_RANK", rank)), int(given.get("LOCAL_WORLD_SIZE", count)))
    # A batch script that calls the program without srun is one process, whatever the job asked for.
    srun = "SLURM_STEP_ID" in given and "SLURM_PROCID" in given
    if srun and SLURMEnvironment.detect() and int(given["SLURM_NTASKS"]) > 1:
        if "SLURM_NTASKS_PER_NODE" not in given:
            raise ValueError("SLURM: give the tasks as --ntasks-per-node, and start the program with srun")
        cluster = SLURMEnvironment(auto_requeue=False)
        # Written into the environment, where the process group looks for them.
        given["MASTER_ADDR"], given["MASTER_PORT"] = cluster.main_address, str(cluster.main_port)
        here = int(given["SLURM_NTASKS_PER_NODE"])
        return Place(cluster.global_rank(), cluster.world_size(), cluster.local_rank(), here)
    return Place()


@contextlib.contextmanager
def only_first_heard() -> Iterator[None]:
    """Keeps a process that is not the first from saying what the first says already."""
    if place().rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def joined(
    devices: int | None, module: str, words: Sequence[str], gpus: Sequence[int] = (), threads: int | None = None
) -> Iterator[None]:
    """Joins this process with the others of its launcher, or starts copies of the program, and leaves them at the end.

    The first process alone prints. Where a copy fails, the first says why; where it fails itself, its copies end.

    Args:
        devices: processes on this machine; None: as many as the launcher started, one without a launcher.
        module: the program, as ``python -m`` knows it.
        words: its command line.
        gpus: those on which gradients are exchanged, one for each process on this machine; none where nothing on a GPU is.
        threads: CPU threads of each process; None (default): several processes of a machine share its cores, unless the
            environment says OMP_NUM_THREADS.

    Raises:
        ValueError: fewer than one, or another number than the launcher started.
        ChildProcessError: a copy failed.
    """
    if devices is not None and devices < 1:
        raise ValueError(f"--devices {devices}: must be 1 or more")
    here = place()
    if here.count > 1 and devices not in (None, here.local_count):
        raise ValueError(
            f"--devices {devices}: the launcher started {here.local_count} processes on this machine; leave it out"
        )
    with contextlib.ExitStack() as stack:
        copied = _PARENT in os.environ
        if here.count == 1 and (devices or 1) > 1:
            stack.enter_context(_copies(devices, module, words))
            here, copied = place(), True
        if threads:
            torch.set_num_threads(threads)
        elif here.local_count > 1 and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, processes.cores() // here.local_count))
        if here.rank:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            logging.disable(logging.INFO)
            stack.callback(logging.disable, logging.NOTSET)
        if here.count > 1 and not dist.is_initialized():
            if _PARENT in os.environ:
                threading.Thread(target=_end_with_first, args=(int(os.environ[_PARENT]),), daemon=True).start()
            if gpus:
                torch.cuda.set_device(gpus[here.local_rank])
            # But for gradients and shares of weights, what is exchanged lies in main memory, whatever computes.
            backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
            dist.init_process_group(backend, rank=here.rank, world_size=here.count, timeout=_PATIENCE)
            stack.callback(dist.destroy_process_group)
        try:
            yield
        except BaseException as error:
            lost = processes.lost(error)
            if copied:
                # The first process reads what a copy says; one that only lost another has nothing to say.
                processes.hush(lost is not None and here.rank > 0)
            elif here.count > 1:
                # Settled as long as the group stands.
                processes.hush(not processes.speaks(None if lost else str(error)))
            if lost is None or lost is error:
                raise
            raise lost from None


def agreed(step: Callable[[], Value]) -> Value:
    """Does a step in every process; where it fails in one, the first tells of it and all end. A step may have such steps in it.

    Args:
        step: what a user's mistake, or a machine that lacks something, may stop.

    Raises:
        ValueError, OSError, ImportError: in the first process, as the step.
        SystemExit: in the others.
    """
    value, error = None, None
    try:
        value = step()
    except (ValueError, OSError, ImportError) as caught:
        error = caught
    except _Told:
        # Of a step in this one; the first process has the error.
        pass
    said = processes.gathered(error and f"process {processes.rank()} on {socket.gethostname()}: {error}")
    if not any(said):
        return value
    if not processes.is_first():
        raise _Told(2)
    raise error or ValueError(next(filter(None, said)))


class _Told(SystemExit):
    """Ends a process whose first one tells why."""


def device(given: str | None) -> torch.device:
    """The device of this process that ``--device`` means; of several on one machine each has a GPU of its own.

    Raises:
        ValueError: this machine has no such device, or too few.
    """
    here = place()
    if here.local_count == 1 or not (given is None or given.startswith("cuda")):
        return terminal.device(given)
    if given not in (None, "cuda"):
        raise ValueError(
            f"--device {given}: one device for {here.local_count} processes; give --device cuda, and each has its own"
        )
    found = torch.cuda.device_count()
    if given is None and not found:
        return torch.device("cpu")
    if found < here.local_count:
        raise ValueError(f"{here.local_count} processes, and this machine has {found} GPUs; --device cpu does without")
    return torch.device("cuda", here.local_rank)


@contextlib.contextmanager
def _copies(count: int, module: str, words: Sequence[str]) -> Iterator[None]:
    """This process as the first of so many on this machine, the others its copies."""
    with contextlib.ExitStack() as stack:
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
        shared |= {"LOCAL_WORLD_SIZE": str(count)}
        copies, told = [], []
        for rank in range(1, count):
            told.append(stack.enter_context(tempfile.TemporaryFile()))
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), _PARENT: str(os.getpid())}
            copies.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *words],
                    env=os.environ | shared | own,
                    stdout=subprocess.DEVNULL,
                    stderr=told[-1],
                )
            )
            stack.callback(_end, copies[-1])
        stack.enter_context(_environment(shared | {"RANK": "0", "LOCAL_RANK": "0"}))
        left = threading.Event()
        threading.Thread(target=_end_with_copies, args=(module, copies, told, left), daemon=True).start()
        try:
            yield
        except processes.Lost as error:
            _raise_failed(copies, told, wait=10, also=error.args[1:])
            raise
        finally:
            left.set()
        _raise_failed(copies, told, wait=60)


def _raise_failed(
    copies: Sequence[subprocess.Popen], told: Sequence[IO[bytes]], wait: float, also: Sequence[str] = ()
) -> None:
    for copy in copies:
        with contextlib.suppress(subprocess.TimeoutExpired):
            copy.wait(wait)
    failed = _failed(copies, told)
    if failed is not None:
        raise ChildProcessError("; ".join([_said(failed, copies, told), *map(str, also)])) from None


def _failed(copies: Sequence[subprocess.Popen], told: Sequence[IO[bytes]]) -> int | None:
    """The copy that has failed first, by its place; None where none has."""
    # On a signal all leave together, and the first may need longer for it.
    failed = [number for number, copy in enumerate(copies) if copy.poll() not in (None, 0, EXIT_CODE)]
    # Those that only lost another process end with a code and without a word.
    return max(
        failed,
        key=lambda number: copies[number].returncode < 0 or os.fstat(told[number].fileno()).st_size > 0,
        default=None,
    )


def _said(number: int, copies: Sequence[subprocess.Popen], told: Sequence[IO[bytes]]) -> str:
    """How a copy ended, and its last words."""
    copy, file = copies[number], told[number]
    file.seek(0)
    said = file.read().decode(errors="replace").strip().splitlines() or ["without a word"]
    shown = "\n".join(said) if os.environ.get("TAGGNN_TRACEBACK") else said[-1]
    how = f"with code {copy.returncode}" if copy.returncode > 0 else f"by {signal.Signals(-copy.returncode).name}"
    return f"process {number + 1} ended {how}: {shown}"


def _end_with_copies(
    module: str, copies: Sequence[subprocess.Popen], told: Sequence[IO[bytes]], left: threading.Event
) -> None:
    """Ends this process where a copy has failed and it does not notice: a GPU may wait for ever."""
    while _failed(copies, told) is None:
        if left.wait(0.5):
            return
    if not left.wait(_GRACE):
        print(f"{module}: {_said(_failed(copies, told), copies, told)}", file=sys.stderr, flush=True)
        for copy in copies:
            copy.kill()
        os._exit(1)


def _end_with_first(parent: int) -> None:
    """Ends a copy whose first process has gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(_GRACE)
    os._exit(1)


def _end(copy: subprocess.Popen) -> None:
    if copy.poll() is None:
        copy.terminate()
        try:
            copy.wait(5)
        except subprocess.TimeoutExpired:
            copy.kill()
            copy.wait()


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
