"""Runs a program at the terminal: libraries are silenced, and a user's mistake is one message instead of a traceback."""

import errno
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout

import torch

from taggnn.runtime import distributed
from taggnn.runtime.printable import PrintableStream, one_line, width
from taggnn.runtime.signals import EXIT_CODE, INTERRUPTED, StopRequested

# A loader process was killed, or had no shared memory for its clips.
_WORKER = re.compile(
    r"DataLoader worker \(pid.*(killed|exited)|out of shared memory|shared memory ?(\(shm\)|object)|bus error"
)
# Output that other programs read: its lines stay whole at a terminal, too.
_FOR_PROGRAMS = {"--json", "--csv", "--print_config", "--markdown", "taggnn.completion"}
_SPACE = {errno.ENOSPC, errno.EDQUOT}


def run(program: Callable[[Sequence[str]], int | None], name: str, arguments: Sequence[str] | None = None) -> int:
    """Runs a program and turns a user's mistake into one message on stderr.

    Of several processes one prints it. With ``TAGGNN_TRACEBACK=1`` in the environment the traceback is shown instead.

    Args:
        program: takes the command line, returns an exit code or None for 0.
        name: its name in messages.
        arguments: the command line; None for the process's own.

    Returns:
        0; 1 if disk or memory is full, or a loader or another process has ended; 2 after a user's mistake; 130 after Ctrl-C; 143
        after SIGTERM or SIGUSR1.
    """
    words = sys.argv[1:] if arguments is None else arguments
    columns = None if name in _FOR_PROGRAMS or any(word.split("=")[0] in _FOR_PROGRAMS for word in words) else width()
    out, error = (
        PrintableStream(sys.stdout, columns=columns),
        PrintableStream(sys.stderr, progress=True, columns=columns),
    )
    with redirect_stdout(out), redirect_stderr(error):
        return _run(program, name, arguments)


def _run(program: Callable[[Sequence[str]], int | None], name: str, arguments: Sequence[str] | None) -> int:
    quiet()
    distributed.set_printing(None)
    try:
        return program(list(sys.argv[1:] if arguments is None else arguments)) or 0
    except KeyboardInterrupt as interrupt:
        # A second Ctrl-C, or that of the launcher, is ignored.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _report(f"{name}: interrupted" + "".join(f"; {hint}" for hint in interrupt.args))
        return INTERRUPTED
    except StopRequested as stop:
        _report(f"{name}: {'; '.join(stop.args)}")
        return EXIT_CODE
    except BrokenPipeError:
        # The reader of the output has ended, as `head` does; Python must not flush into the closed pipe either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except distributed.ProcessLost as lost:
        _report(f"{name}: {'; '.join(map(str, lost.args))}")
        return 1
    except (MemoryError, RuntimeError) as error:
        worker = isinstance(error, RuntimeError) and _WORKER.search(str(error))
        if os.environ.get("TAGGNN_TRACEBACK") or not (worker or _out_of_memory(error)):
            raise
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        if worker:
            print(
                f"{name}: a loader process ended, most often because memory or shared memory ran out; --data.workers 0 needs "
                f"no loader processes, a smaller data.batch_size needs less memory ({reason})",
                file=sys.stderr,
            )
            return 1
        print(
            f"{name}: out of memory; a smaller data.batch_size, video.frames or video.size needs less ({reason})",
            file=sys.stderr,
        )
        return 1
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("TAGGNN_TRACEBACK"):
            raise
        _report(f"{name}: {_message(error)}")
        full = isinstance(error, OSError) and error.errno in _SPACE
        return 1 if full or isinstance(error, ChildProcessError) else 2


def _message(error: Exception) -> str:
    # The system's text begins with a number and ends with the file.
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def _report(text: str) -> None:
    if distributed.prints_message(text):
        # Our own further lines are indented; another line feed is part of a name.
        print(*map(one_line, re.split(r"\n(?=  )", text)), sep="\n", file=sys.stderr)


def _out_of_memory(error: Exception) -> bool:
    # On the CPU PyTorch raises a plain RuntimeError.
    known = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in known)


class _Once(logging.Filter):
    """Drops a message of ours that was logged before: a layer that is built for every batch has one notice, not one each."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        new = message not in self._logged or not record.name.startswith(("taggnn", "graphs"))
        self._logged.add(message)
        return new


def quiet() -> None:
    """Silences log lines and warnings of libraries."""
    for stream in (sys.stdout, sys.stderr):
        # The name of a file may not fit the terminal's encoding.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    others = list(logging.getLogger().handlers)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        earlier = [one for one in handler.filters if isinstance(one, _Once)]
        for one in earlier:
            handler.removeFilter(one)
        # Handlers of a program around this one show everything.
        if earlier or handler not in others:
            handler.addFilter(_Once())
    for library in ("torch", "torchvision", "matplotlib"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for noise in (
        ".*torch.jit.script.*",
        ".*LeafSpec.*",
        ".*isinstance\\(treespec.*",
        ".*find_unused_parameters=True was specified.*",
        ".*FSDP2-wrapped module .* returned a view tensor.*",
    ):
        warnings.filterwarnings("ignore", message=noise)
