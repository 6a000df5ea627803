"""Several processes of one program: those that torchrun or SLURM started, or those that torch's launcher starts for it."""

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
from typing import TypeVar

import torch
import torch.distributed as dist

from taggnn.runtime import distributed
from taggnn.runtime.device import find_device
from taggnn.runtime.distributed import place
from taggnn.runtime.signals import ASKING, EXIT_CODE

Value = TypeVar("Value")
# One process may have to wait for another as long as that one computes; one that is gone is noticed at once.
_PATIENCE = timedelta(days=30)
# Names, for a process that was started here, the one that started it.
_PARENT = "TAGGNN_PARENT"
# Seconds in which processes may save after a signal before they are killed.
_GRACE = 600


@contextlib.contextmanager
def only_first_heard() -> Iterator[None]:
    """Keeps a process that is not the first from printing what the first prints already."""
    if place().rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def joined(
    devices: int | None, module: str, words: Sequence[str], gpus: Sequence[int] = (), threads: int | None = None
) -> Iterator[None]:
    """Joins this process with the others of its launcher, and leaves them at the end; the first process alone prints.

    Where several processes are wanted and no launcher has started them, torch's own starts them here, and this process ends
    with them.

    Args:
        devices: processes on this machine; None: as many as the launcher started, one without a launcher.
        module: the program, as ``python -m`` knows it.
        words: its command line.
        gpus: those on which gradients are exchanged, one for each process on this machine; none where nothing on a GPU is.
        threads: CPU threads of each process; None (default): several processes of a machine share its cores, unless the
            environment has OMP_NUM_THREADS.

    Raises:
        ValueError: fewer than one, or another number than the launcher started.
        SystemExit: the processes that were started here have ended.
    """
    if devices is not None and devices < 1:
        raise ValueError(f"--devices {devices}: must be 1 or more")
    here = place()
    if here.count > 1 and devices not in (None, here.local_count):
        raise ValueError(
            f"--devices {devices}: the launcher started {here.local_count} processes on this machine; leave it out"
        )
    if here.count == 1 and (devices or 1) > 1:
        raise SystemExit(start(devices, module, words))
    with contextlib.ExitStack() as stack:
        if threads:
            torch.set_num_threads(threads)
        elif here.local_count > 1 and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, distributed.cores() // here.local_count))
        if here.rank:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            logging.disable(logging.INFO)
            stack.callback(logging.disable, logging.NOTSET)
        if here.count > 1 and not dist.is_initialized():
            if _PARENT in os.environ:
                threading.Thread(target=_end_with, args=(int(os.environ[_PARENT]),), daemon=True).start()
            if gpus:
                torch.cuda.set_device(gpus[here.local_rank])
            # But for gradients and shares of weights, what is exchanged lies in main memory, whatever computes.
            backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
            dist.init_process_group(backend, rank=here.rank, world_size=here.count, timeout=_PATIENCE)
            stack.callback(dist.destroy_process_group)
        try:
            yield
        except BaseException as error:
            lost = distributed.lost(error)
            if here.count > 1:
                # Settled as long as the group stands.
                distributed.settle(distributed.prints_message(None if lost else str(error)))
            if lost is None or lost is error:
                raise
            raise lost from None


def start(count: int, module: str, words: Sequence[str]) -> int:
    """Runs so many processes of a program on this machine by torch's own launcher; signals reach all of them.

    Source: https://docs.pytorch.org/docs/stable/elastic/run.html

    Args:
        count: how many.
        module: the program, as ``python -m`` knows it.
        words: its command line.

    Returns:
        The exit code: 0, or that of the first process that failed; 1 where a signal killed it.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    handled = ",".join(dict.fromkeys(["SIGTERM", "SIGINT", *(number.name for number in ASKING)]))
    # torch < 2.14 knows these two by the environment, or not at all.
    wanted = {"signals_to_handle": handled, "shutdown_timeout": _GRACE}
    os.environ |= {"TORCHELASTIC_SIGNALS_TO_HANDLE": handled, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(_GRACE)}
    options = {key: value for key, value in wanted.items() if key in LaunchConfig.__dataclass_fields__}
    local = {"rdzv_backend": "c10d", "rdzv_endpoint": "127.0.0.1:0", "local_addr": "127.0.0.1"}
    run = LaunchConfig(1, 1, count, run_id=secrets.token_hex(8), max_restarts=0, **local, **options)
    os.environ[_PARENT] = str(os.getpid())

    def end(number: int, frame: object) -> None:
        raise SignalException(f"got {signal.Signals(number).name}", sigval=signal.Signals(number))

    # As newer ones do for all signals that they are given.
    for number in ASKING:
        signal.signal(number, end)
    # The processes print for themselves.
    logging.disable(logging.CRITICAL)
    try:
        elastic_launch(run, sys.executable)("-m", module, *map(str, words))
    except ChildFailedError as error:
        failed = min(error.failures.values(), key=lambda failure: failure.timestamp)
        if failed.exitcode < 0:
            name = signal.Signals(-failed.exitcode).name
            print(f"{module}: process {failed.local_rank} of {count} was killed by {name}", file=sys.stderr)
        return max(failed.exitcode, 1)
    except SignalException as error:
        return EXIT_CODE if error.sigval in ASKING else 1
    finally:
        logging.disable(logging.NOTSET)
    return 0


def agreed(step: Callable[[], Value]) -> Value:
    """Does a step in every process; where it fails in one, the first prints why and all end. A step may have such steps in it.

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
    except _Refused:
        # Of a step in this one; the first process has the error.
        pass
    messages = distributed.gathered(error and f"process {distributed.rank()} on {socket.gethostname()}: {error}")
    if not any(messages):
        return value
    if not distributed.is_first():
        raise _Refused(2)
    raise error or ValueError(next(filter(None, messages)))


class _Refused(SystemExit):
    """Ends a process whose first one prints why."""


def device(given: str | None) -> torch.device:
    """The device of this process that ``--device`` means; of several on one machine each has a GPU of its own.

    Raises:
        ValueError: this machine has no such device, or too few.
    """
    here = place()
    if here.local_count == 1 or not (given is None or given.startswith("cuda")):
        return find_device(given)
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


def _end_with(parent: int) -> None:
    """Ends a process whose launcher was killed: nobody would end it then where it waits for others."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
