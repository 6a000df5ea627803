"""The trainings of a sweep as processes of their own: several at once, ended together, resumed where they were.

Several machines share a sweep by shards, or by working in one folder: a run that another process trains is left to it.
"""

import contextlib
import ctypes
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from taggnn.cli.planning import Planned, finished
from taggnn.evaluation.results import Results
from taggnn.io.run_folder import is_locked
from taggnn.runtime import distributed
from taggnn.runtime.signals import StopRequested, Watch

# What trains a run; its command line follows.
COMMAND = (sys.executable, "-m", "taggnn.train")
# Seconds between two looks at the trainings.
_LOOK = 0.1
# Seconds until a run that another process trains is left to it: one whose sweep was killed still saves.
LEFT_AFTER = 60.0
# Bytes at the end of a log, and lines of them that a message shows.
_TAIL, _SHOWN = 4000, 3
_AGAIN = "continue with the same command"
# Of Linux's prctl.
_DEATH_SIGNAL = 1
# On Windows SIGTERM would end a training before it has saved; Ctrl-Break reaches a group of processes.
_OWN_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_STOP = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)


@dataclass
class _Running:
    one: Planned
    process: subprocess.Popen
    began: float


def shard_of(text: str, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Which part of a sweep is trained here: "2/4" is the second of four; "auto" takes it from a SLURM array job.

    Raises:
        ValueError: no such part, or "auto" without an array job.
    """
    if text == "auto":
        keys = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
        if not all(environment.get(key, "").isdigit() for key in keys):
            raise ValueError(f"--shard auto: no job of a SLURM array here ({', '.join(keys)} are not set); give i/n")
        task, first, count = (int(environment[key]) for key in keys)
        index = task - first + 1
    else:
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found:
            raise ValueError(f"--shard {text}: expected i/n, such as 1/2 and 2/2 on two machines, or auto")
        index, count = int(found[1]), int(found[2])
    if not 1 <= index <= count:
        raise ValueError(f"--shard {text}: part {index} of {count}; possible are 1 to {count}")
    return index, count


def part_of(planned: Sequence[Planned], shard: tuple[int, int]) -> list[Planned]:
    """The runs of a shard: every n-th one, from the i-th on."""
    return list(planned[shard[0] - 1 :: shard[1]])


def run_all(
    planned: Sequence[Planned],
    jobs: int = 1,
    shard: tuple[int, int] = (1, 1),
    report: Callable[[str], Any] = lambda line: print(line, flush=True),
) -> list[Path]:
    """Trains the runs of a shard that are not finished; interrupted ones resume. What a training prints is in its log.

    SIGTERM, SIGUSR1 and Ctrl-C are passed on to all trainings, which save and end; they do so, too, when this process is killed
    (Linux).

    Args:
        planned: see `taggnn.cli.planning.plan`.
        jobs: trainings at one time (default 1); they share the cores, and have the GPUs in turn.
        shard: (i, n): part i of n, from 1 (default: all).
        report: is called with a line when a run begins or ends.

    Returns:
        The folders of the shard's runs that are finished.

    Raises:
        ValueError: fewer than one job, or a folder with a run of another configuration.
        ChildProcessError: trainings failed; the others were made all the same.
        StopRequested, KeyboardInterrupt: ended by a signal.
    """
    if jobs < 1:
        raise ValueError(f"--jobs {jobs}: must be 1 or more")
    mine = part_of(planned, shard)
    waiting = [one for one in mine if not finished(one)]
    count, seconds, failed = len(waiting), list[float](), list[str]()
    running: dict[int, _Running] = {}
    busy_since: float | None = None
    with _stop_requested() as stopped:
        while (waiting or running) and not stopped():
            for slot in range(jobs):
                if slot not in running and not stopped() and (one := _next(waiting)):
                    begun = " (resumed)" if (one.folder / "config.yaml").is_file() else ""
                    report(f"{count - len(waiting):>4} of {count}  {one.title}{begun}")
                    running[slot] = _start(one, slot, jobs)
            if running or not waiting:
                busy_since = None
            else:
                busy_since = busy_since or time.monotonic()
                waiting = [one for one in waiting if not finished(one)]
                if time.monotonic() - busy_since > LEFT_AFTER:
                    break
            time.sleep(_LOOK if running else 10 * _LOOK)
            for slot, each in list(running.items()):
                if (code := each.process.poll()) is not None and not stopped():
                    del running[slot]
                    _end(each, code, waiting, failed, seconds, report, jobs)
        if reason := stopped():
            _end_all(running.values())
            raise reason
    for one in waiting:
        report(f"left out  {one.title}: another process is training it")
    if failed:
        raise ChildProcessError(f"{len(failed)} of {count} trainings failed:\n  " + "\n  ".join(failed))
    return [one.folder for one in mine if finished(one)]


@contextlib.contextmanager
def _stop_requested() -> Iterator[Callable[[], BaseException | None]]:
    """Notes SIGTERM, SIGUSR1 and Ctrl-C during a block: an exception in the middle of starting a process would be lost.

    Yields:
        A function that returns what to raise, None without a signal.
    """
    interrupted: list[int] = []

    def stopped() -> BaseException | None:
        if interrupted:
            return KeyboardInterrupt(_AGAIN)
        return StopRequested(*watch.ended().args, _AGAIN) if watch.received else None

    with Watch() as watch, contextlib.ExitStack() as stack:
        watch.deferred = True
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
            stack.callback(signal.signal, signal.SIGINT, before)
        yield stopped


def _next(waiting: list[Planned]) -> Planned | None:
    """Takes the first run that no other process trains."""
    for number, one in enumerate(waiting):
        if not is_locked(one.folder) and not finished(one):
            return waiting.pop(number)
    return None


def _start(one: Planned, slot: int, jobs: int) -> _Running:
    one.log.parent.mkdir(parents=True, exist_ok=True)
    with one.log.open("ab") as log:
        # In a session of its own: Ctrl-C at the terminal reaches it from here only.
        process = subprocess.Popen(
            [*COMMAND, *one.words, "--run", str(one.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_share(one, slot, jobs)},
            start_new_session=True,
            creationflags=_OWN_GROUP,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    return _Running(one, process, time.monotonic())


def _share(one: Planned, slot: int, jobs: int) -> dict[str, str]:
    """The cores and the GPU of one of several trainings, as variables of its environment."""
    found = {}
    if jobs > 1 and one.settings.threads is None and "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, distributed.cores() // jobs))
    gpus = torch.cuda.device_count()
    if jobs > 1 and gpus > 1 and one.settings.devices == "auto" and one.settings.device in (None, "cuda"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if len(visible) == gpus else [str(number) for number in range(gpus)]
        found["CUDA_VISIBLE_DEVICES"] = names[slot % gpus]
    return found


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In a new process: it gets SIGTERM when this one is killed."""
    assert _libc is not None
    _libc.prctl(_DEATH_SIGNAL, signal.SIGTERM)


def _end(
    each: _Running,
    code: int,
    waiting: list[Planned],
    failed: list[str],
    seconds: list[float],
    report: Callable[[str], Any],
    jobs: int,
) -> None:
    """Reports a training that has ended; one that another process was quicker to begin waits again."""
    one, took = each.one, time.monotonic() - each.began
    name = one.title
    if code == 0 and finished(one):
        seconds.append(took)
        left = f", about {_duration(len(waiting) * sum(seconds) / len(seconds) / jobs)} left" if waiting else ""
        report(f"      ended  {name}: {_accuracy(one.folder)}{_duration(took)}{left}")
    elif is_locked(one.folder):
        waiting.append(one)
    else:
        failed.append(f"{name}: exit code {code}; {one.log}: {_last_lines(one.log)}")
        report(f"     failed  {failed[-1]}")


def _end_all(running: Any) -> None:
    for each in running:
        if each.process.poll() is None:
            each.process.send_signal(_STOP)
    for each in running:
        each.process.wait()


def _accuracy(folder: Path) -> str:
    scores = (Results.read(folder).scores or {}).get("test", {})
    return f"top-1 {scores['top1']:.3f}, " if isinstance(scores.get("top1"), float) else ""


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def _last_lines(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-_SHOWN:])


def estimate(planned: Sequence[Planned], left: Sequence[Planned], jobs: int) -> str:
    """How long the remaining trainings take, by those that have ended: of the same variant, else of any.

    Args:
        planned: all runs of the sweep.
        left: those to train.
        jobs: trainings at one time.
    """
    taken: dict[str, list[float]] = {}
    for one in planned:
        if finished(one) and (seconds := (Results.read(one.folder).durations or {})):
            taken.setdefault(one.name, []).append(sum(seconds.values()))
    if not left:
        return "nothing to train"
    if not taken:
        return f"{len(left)} trainings; how long each takes is known once one has ended"
    everything = [seconds for of_name in taken.values() for seconds in of_name]
    expected = sum(statistics.mean(taken.get(one.name, everything)) for one in left) / min(jobs, len(left))
    return (
        f"{len(left)} trainings, about {_duration(expected)}, {jobs} at one time; by {len(everything)} that have ended"
    )
