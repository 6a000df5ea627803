"""Several processes of one program, started by torchrun or SLURM, or by torch's launcher when the program asks for them."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from taggnn.runtime import distributed
from taggnn.runtime.device import find_device
from taggnn.runtime.distributed import ranks
from taggnn.runtime.signals import EXIT_CODE, INTERRUPTED, STOP_SIGNALS

Value = TypeVar("Value")
# A process may wait for another for as long as that one computes; a process that has ended is noticed at once.
_TIMEOUT = timedelta(days=30)
# Holds the process id of the launcher, for processes that were started here.
_PARENT = "TAGGNN_PARENT"
# Time for saving after a signal, before processes are killed.
_SHUTDOWN_SECONDS = 600


@contextlib.contextmanager
def silence_other_ranks() -> Iterator[None]:
    """Silences all processes but the first, where all would print the same."""
    if ranks().rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def process_group(
    devices: int | None, module: str, words: Sequence[str], gpus: Sequence[int] = (), threads: int | None = None
) -> Iterator[None]:
    """Sets up the process group for a ``with`` block; only the first process prints in it.

    If several processes are requested and no launcher has started them, torch's launcher starts them here, and this process
    ends with them.

    Args:
        devices: processes on this machine; None: as many as the launcher started, one without a launcher.
        module: the program, as ``python -m`` takes it.
        words: its command line.
        gpus: GPUs that exchange gradients, one for each process on this machine; empty for the CPU.
        threads: CPU threads of each process; None (default): the processes of a machine share its cores, unless
            OMP_NUM_THREADS is set.

    Raises:
        ValueError: fewer than one process, or another number than the launcher started.
        SystemExit: the processes that were started here have ended.
    """
    if devices is not None and devices < 1:
        raise ValueError(f"--devices {devices}: must be 1 or more")
    here = ranks()
    if here.world_size > 1 and devices not in (None, here.local_world_size):
        raise ValueError(
            f"--devices {devices}: the launcher started {here.local_world_size} processes on this machine; leave it out"
        )
    if here.world_size == 1 and devices is not None and devices > 1:
        raise SystemExit(start(devices, module, words))
    with contextlib.ExitStack() as stack:
        if threads:
            torch.set_num_threads(threads)
        elif here.local_world_size > 1 and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, distributed.cores() // here.local_world_size))
        if here.rank:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            logging.disable(logging.INFO)
            stack.callback(logging.disable, logging.NOTSET)
        if here.world_size > 1 and not dist.is_initialized():
            if _PARENT in os.environ:
                threading.Thread(target=_end_with, args=(int(os.environ[_PARENT]),), daemon=True).start()
            if gpus:
                torch.cuda.set_device(gpus[here.local_rank])
            # Only gradients and shards of weights are exchanged between GPUs; everything else lies in main memory.
            backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
            dist.init_process_group(backend, rank=here.rank, world_size=here.world_size, timeout=_TIMEOUT)
            stack.callback(dist.destroy_process_group)
        try:
            yield
        except BaseException as error:
            lost = distributed.process_lost(error)
            if here.world_size > 1:
                # Decided while the process group exists.
                distributed.set_printing(distributed.prints_message(None if lost else str(error)))
            if lost is None or lost is error:
                raise
            raise lost from None


def start(count: int, module: str, words: Sequence[str]) -> int:
    """Runs a program in several processes on this machine with torch's launcher, which forwards signals to all of them.

    Source: https://docs.pytorch.org/docs/stable/elastic/run.html

    Args:
        count: number of processes.
        module: the program, as ``python -m`` takes it.
        words: its command line.

    Returns:
        The exit code: 0, or that of the first process that failed; 1 if a signal killed it.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    handled = ",".join(dict.fromkeys(["SIGTERM", "SIGINT", *(number.name for number in STOP_SIGNALS)]))
    # torch < 2.14 takes these two from the environment, or not at all.
    newer = {"signals_to_handle": handled, "shutdown_timeout": _SHUTDOWN_SECONDS}
    os.environ |= {"TORCHELASTIC_SIGNALS_TO_HANDLE": handled, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(_SHUTDOWN_SECONDS)}
    options: dict[str, Any] = {key: value for key, value in newer.items() if key in LaunchConfig.__dataclass_fields__}
    options |= {"rdzv_backend": "c10d", "rdzv_endpoint": "127.0.0.1:0", "local_addr": "127.0.0.1"}
    run = LaunchConfig(1, 1, count, run_id=secrets.token_hex(8), max_restarts=0, **options)
    os.environ[_PARENT] = str(os.getpid())

    def end(number: int, frame: object) -> None:
        raise SignalException(f"got {signal.Signals(number).name}", sigval=signal.Signals(number))

    # Newer versions do this for all signals of ``signals_to_handle``.
    for number in STOP_SIGNALS:
        signal.signal(number, end)
    # The processes print for themselves.
    logging.disable(logging.CRITICAL)
    try:
        elastic_launch(run, sys.executable)("-m", module, *map(str, words))
    except ChildFailedError as error:
        failed = min(error.failures.values(), key=lambda failure: failure.timestamp)
        if failed.exitcode < 0:
            print(
                f"{module}: process {failed.local_rank} of {count} was killed by {_name(-failed.exitcode)}",
                file=sys.stderr,
            )
        return max(failed.exitcode, 1)
    except SignalException as error:
        return EXIT_CODE if error.sigval in STOP_SIGNALS else INTERRUPTED
    finally:
        logging.disable(logging.NOTSET)
    return 0


def _name(number: int) -> str:
    """The name of a signal; its number where it has none, as of real-time signals and of exit codes of Windows."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def on_all_ranks(step: Callable[[], Value]) -> Value:
    """Runs a step in every process; if it fails in one, the first process prints why and all end. Steps may be nested.

    Args:
        step: may fail because of a wrong option, or because a machine lacks something.

    Raises:
        ValueError, OSError, ImportError: in the first process, as the step.
        SystemExit: in the others.
    """
    value: Value | None = None
    error: Exception | None = None
    try:
        value = step()
    except (ValueError, OSError, ImportError) as caught:
        error = caught
    except _FailedElsewhere:
        # From a nested step; the first process has the error.
        pass
    messages = distributed.all_gather(error and f"process {distributed.rank()} on {socket.gethostname()}: {error}")
    if not any(messages):
        return cast(Value, value)
    if not distributed.is_main_process():
        raise _FailedElsewhere(2)
    raise error or ValueError(next(message for message in messages if message))


class _FailedElsewhere(SystemExit):
    """Ends a process without a message: the first process prints it."""


def device(given: str | None) -> torch.device:
    """The device of this process that ``--device`` names; the processes of one machine each have their own GPU.

    Raises:
        ValueError: this machine has no such device, or too few.
    """
    here = ranks()
    if here.local_world_size == 1 or not (given is None or given.startswith("cuda")):
        return find_device(given)
    if given not in (None, "cuda"):
        raise ValueError(
            f"--device {given}: one device for {here.local_world_size} processes; give --device cuda, and each has its own"
        )
    found = torch.cuda.device_count()
    if given is None and not found:
        return torch.device("cpu")
    if found < here.local_world_size:
        raise ValueError(
            f"{here.local_world_size} processes, and this machine has {found} GPUs; --device cpu does without"
        )
    return torch.device("cuda", here.local_rank)


def _end_with(parent: int) -> None:
    """Ends this process when its launcher was killed: it would wait for the others forever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
