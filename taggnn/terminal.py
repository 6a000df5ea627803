"""What the programs share at the terminal: quiet libraries, and mistakes told in a sentence instead of a traceback."""

import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence

_SPACE = {errno.ENOSPC, errno.EDQUOT}


def run(program: Callable[[Sequence[str]], int | None], name: str, arguments: Sequence[str] | None = None) -> int:
    """Runs a program and turns a user's mistake into one message on stderr.

    ``TAGGNN_TRACEBACK=1`` in the environment shows where it came from.

    Args:
        program: takes the command line, returns an exit code or None for 0.
        name: what to call it in messages.
        arguments: the command line; None for the process's own.

    Returns:
        0, 1 when the disk is full or the user interrupted, 2 after a user's mistake.
    """
    _quiet()
    try:
        return program(list(sys.argv[1:] if arguments is None else arguments)) or 0
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 1
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("TAGGNN_TRACEBACK"):
            raise
        print(f"{name}: {error}", file=sys.stderr)
        return 1 if isinstance(error, OSError) and error.errno in _SPACE else 2


def _quiet() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for library in ("lightning", "lightning.pytorch", "lightning.fabric", "torch", "torchvision", "matplotlib"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for noise in (
        ".*torch.jit.script.*",
        ".*does not have many workers.*",
        ".*returned `?None`?.*",
        ".*LeafSpec.*",
        ".*isinstance\\(treespec.*",
        ".*lr_scheduler.step.*optimizer.step.*",
        ".*number of training batches.*logging interval.*",
        ".*exists and is not empty.*",
        ".*epoch_end.*",
    ):
        warnings.filterwarnings("ignore", message=noise)
