"""What the programs share at the terminal: quiet libraries, and mistakes told in a sentence instead of a traceback."""

import errno
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence

import torch

from taggnn.runtime import distributed
from taggnn.runtime.signals import EXIT_CODE, Ended

# A loader process that the system ended, or that found no room to hand its clips over.
_WORKER = re.compile(
    r"DataLoader worker \(pid.*(killed|exited)|out of shared memory|shared memory ?(\(shm\)|object)|bus error"
)
_SPACE = {errno.ENOSPC, errno.EDQUOT}


def run(program: Callable[[Sequence[str]], int | None], name: str, arguments: Sequence[str] | None = None) -> int:
    """Runs a program and turns a user's mistake into one message on stderr.

    Of several processes one tells it. ``TAGGNN_TRACEBACK=1`` in the environment shows where it came from.

    Args:
        program: takes the command line, returns an exit code or None for 0.
        name: what to call it in messages.
        arguments: the command line; None for the process's own.

    Returns:
        0, 1 when disk or memory is full, a loader or another process has ended or the user interrupted, 2 after a user's
        mistake, 143 where a signal asked it to end.
    """
    quiet()
    distributed.settle(None)
    try:
        return program(list(sys.argv[1:] if arguments is None else arguments)) or 0
    except KeyboardInterrupt as interrupt:
        # A second Ctrl-C, or the launcher's, finds nothing more to interrupt.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _tell(f"{name}: interrupted" + "".join(f"; {hint}" for hint in interrupt.args))
        return 1
    except Ended as ended:
        _tell(f"{name}: {'; '.join(ended.args)}")
        return EXIT_CODE
    except BrokenPipeError:
        # Whoever read the output has left, as `head` does; nothing is left to say, also when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except distributed.Lost as lost:
        _tell(f"{name}: {'; '.join(map(str, lost.args))}")
        return 1
    except (MemoryError, RuntimeError) as error:
        worker = isinstance(error, RuntimeError) and _WORKER.search(str(error))
        if os.environ.get("TAGGNN_TRACEBACK") or not (worker or _out_of_memory(error)):
            raise
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        if worker:
            print(
                f"{name}: a loader process ended, most often for want of memory or shared memory; --data.workers 0 does "
                f"without them, a smaller data.batch_size needs less ({reason})",
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
        _tell(f"{name}: {_said(error)}")
        ended = isinstance(error, ChildProcessError)
        return 1 if ended or (isinstance(error, OSError) and error.errno in _SPACE) else 2


def _said(error: Exception) -> str:
    # What the system says has a number in front and the file behind it.
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def _tell(text: str) -> None:
    if distributed.prints_message(text):
        print(text, file=sys.stderr)


def _out_of_memory(error: Exception) -> bool:
    # On the CPU PyTorch raises a plain RuntimeError.
    known = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in known)


def quiet() -> None:
    """Keeps what libraries say of themselves off the screen."""
    for stream in (sys.stdout, sys.stderr):
        # A file's name need not be text in the terminal's encoding.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
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
