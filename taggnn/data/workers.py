"""Loader processes: the shared memory that their batches need, and a wait for them that always ends."""

import errno
import multiprocessing.queues
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, get_worker_info

from taggnn.runtime import distributed
from taggnn.types import Batch, InputSpec

# Batches that each loader process works ahead: DataLoader's default.
PREFETCH = 2
# Seconds between two looks at the loader processes, and of looks that found none of them at work before the wait is given up.
# Counted in looks, a program that was stopped (SIGSTOP, docker pause) has not waited.
LOOK_SECONDS = 5.0
IDLE_SECONDS = 600.0
# Processor time, in ticks of 10 ms, that an idle process may use between two looks.
_IDLE_TICKS = 2
SHARED_MEMORY = Path("/dev/shm")


class Undelivered(NamedTuple):
    """Replaces a batch: why a loader process could not hand it over."""

    reason: str


def shared_memory_needed(spec: InputSpec, batch_size: int, workers: int) -> int:
    """The bytes that the batches of loader processes take; see ``check_shared_memory``."""
    batches = (PREFETCH * workers + 1) * distributed.local_world_size() if workers else 0
    return batches * batch_size * spec.example(1).nbytes


def check_shared_memory(spec: InputSpec, batch_size: int, workers: int, folder: Path = SHARED_MEMORY) -> None:
    """Refuses loader processes whose batches do not fit into the shared memory, which in Docker is 64 MB by default.

    Formula: each of the W processes of each training process works ``PREFETCH`` batches ahead, and one more is in use, so
    that ``(PREFETCH W + 1) b`` bytes are needed with batches of b bytes.

    Args:
        spec: one clip, in float32.
        batch_size: clips of a batch.
        workers: W, loader processes.
        folder: where the shared memory is mounted; without it nothing is checked.

    Raises:
        ValueError: they do not fit.
    """
    if not workers or not folder.is_dir():
        return
    batches = (PREFETCH * workers + 1) * distributed.local_world_size()
    clip, free = spec.example(1).nbytes, shutil.disk_usage(folder).free
    needed = shared_memory_needed(spec, batch_size, workers)
    if needed <= free:
        return
    fits = free // (batches * clip)
    smaller = f", or data.batch_size {fits}" if fits else ""
    raise ValueError(
        f"data.workers {workers}: {batches} batches of {batch_size * clip / 1e6:.1f} MB, as many as loader processes prepare, "
        f"need {needed / 1e6:.0f} MB of shared memory, and {folder} has {free / 1e6:.0f} MB free; in Docker give more "
        f"(--shm-size={-(-2 * needed // 2**20)}m, or --ipc=host), else data.workers 0{smaller}"
    )


class WorkerLoader(DataLoader):
    """A loader that never waits for its processes without end.

    A process that cannot hand over a batch, since shared memory is full or files are too many, says so instead of dropping
    it; processes that do nothing for ``IDLE_SECONDS`` are given up. ``while_waiting``, an attribute, is called every few
    seconds while no batch is there; what it raises ends the wait.

    Args:
        dataset: of the samples.
        collate_fn: samples -> ``Batch``, or a list of them; None for torch's own.
        num_workers: loader processes.
        options: further options of ``DataLoader``.
    """

    def __init__(
        self, dataset: Any, collate_fn: Callable[[Any], Any] | None = None, num_workers: int = 0, **options: Any
    ) -> None:
        if num_workers:
            collate_fn = collate_fn and _Delivered(collate_fn)
            options |= {"timeout": LOOK_SECONDS, "prefetch_factor": PREFETCH}
        super().__init__(dataset, collate_fn=collate_fn, num_workers=num_workers, **options)
        self.while_waiting: Callable[[], object] = lambda: None

    def __iter__(self) -> Any:
        """The batches.

        Raises:
            ChildProcessError: a loader process cannot hand over a batch, or none of them does anything any more.
        """
        batches = super().__iter__()
        return _received(batches, self.while_waiting) if self.num_workers else batches


class _Delivered:
    """Moves a batch to shared memory in the process that made it: the queue would print an error, and drop the batch."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, items: Sequence[Any]) -> Any:
        batch = self.collate(items)
        if get_worker_info() is None:
            return batch
        try:
            _share(batch)
        except (RuntimeError, OSError) as error:
            return Undelivered(_first_line(error))
        return batch


def _share(part: Any) -> None:
    if isinstance(part, torch.Tensor):
        part.share_memory_()
    elif isinstance(part, list | tuple):
        for each in part:
            _share(each)
    elif isinstance(part, Batch):
        _share([part.x, part.label, part.index])


def exit_when_undelivered() -> None:
    """For a loader process: whatever else fails on the way to the training process ends it, which is noticed there."""

    def fail(error: Exception, _: object) -> None:
        # In one write: several processes may fail at once.
        text = f"loader process {os.getpid()}: its batch cannot be handed over: {_first_line(error)}\n"
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()
        # The number of the error is all that the training process learns.
        os._exit(getattr(error, "errno", None) or 1)

    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(fail)  # type: ignore[attr-defined]


def _received(batches: Any, while_waiting: Callable[[], object]) -> Iterator[Any]:
    workers = batches._workers
    looks, before = 0, _work_of(workers)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (RuntimeError, OSError) as error:
            # After its timeout the loader is as before, and can be tried again.
            if "timed out after" not in str(error):
                left = os.strerror(errno.EMFILE) if errno.EMFILE in [worker.exitcode for worker in workers] else ""
                raise _too_many_files(left or _first_line(error)) or error from None
            now = _work_of(workers)
            looks, before = looks + 1 if _idle(before, now) else 0, now
            try:
                while_waiting()
                if looks * LOOK_SECONDS >= IDLE_SECONDS:
                    raise ChildProcessError(
                        f"loader processes {', '.join(str(worker.pid) for worker in workers)}: none has done anything for "
                        f"{IDLE_SECONDS / 60:.0f} minutes, and a batch is due; the disk of the clips may not answer; with "
                        "data.workers 0 the clips are read by the program itself"
                    ) from None
            except BaseException:
                _kill(workers)
                raise
            continue
        looks, before = 0, _work_of(workers)
        if isinstance(batch, Undelivered):
            raise _too_many_files(batch.reason) or _no_memory(batch.reason)
        yield batch
        # The memory of a batch is free once the loop is done with it.
        del batch


def _too_many_files(text: str) -> ChildProcessError | None:
    # A file that cannot be sent any more is missing in the message: "received 0 items of ancdata".
    if "Too many open files" not in text and "ancdata" not in text:
        return None
    return ChildProcessError(
        "too many open files for the loader processes; a higher limit (ulimit -n 4096), fewer data.workers, or data.workers 0"
    )


def _no_memory(text: str) -> ChildProcessError:
    free = f"; {shutil.disk_usage(SHARED_MEMORY).free / 1e6:.0f} MB free" if SHARED_MEMORY.is_dir() else ""
    return ChildProcessError(
        f"no shared memory for a batch ({text}{free}); in Docker give more (--shm-size=1g, or --ipc=host), else a smaller "
        "data.batch_size, or data.workers 0"
    )


def _work_of(workers: Sequence[Any]) -> list[tuple[int, int]] | None:
    """Processor time in ticks and bytes read by each process; None where the system does not report it (not Linux)."""
    try:
        return [(_ticks(worker.pid), _bytes_read(worker.pid)) for worker in workers]
    except (OSError, ValueError, IndexError):
        return None


def _ticks(process: int) -> int:
    # The name, in parentheses, may hold spaces.
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _bytes_read(process: int) -> int:
    return int(Path(f"/proc/{process}/io").read_text().split()[1])


def _idle(before: list[tuple[int, int]] | None, now: list[tuple[int, int]] | None) -> bool:
    if before is None or now is None:
        return False
    return all(
        ticks - ticks_before <= _IDLE_TICKS and read == read_before
        for (ticks_before, read_before), (ticks, read) in zip(before, now, strict=True)
    )


def _kill(workers: Sequence[Any]) -> None:
    """Ends processes that may not end by themselves: the program's own end waits for them."""
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
        # torch's handler raises when a loader process ends.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in workers:
        worker.kill()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
