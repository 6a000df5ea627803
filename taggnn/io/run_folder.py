"""A new folder for every run of a program, named by its time, so that no result overwrites another; one process at a time
works in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile

from filelock import FileLock, Timeout

from taggnn.runtime.atomic import clear

# A process that was told to end may need a moment for it while the next one starts already.
PATIENCE_SECONDS = 5.0


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps a run folder for this process, and takes away the halves of files that a killed one left in it.

    The system gives it free when the process ends, however it ends.

    Raises:
        ValueError: another process has it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=PATIENCE_SECONDS)
    except Timeout:
        raise ValueError(
            f"run {folder}: another process is at work in it; wait for its end, or begin another run"
        ) from None
    try:
        clear(folder)
        yield
    finally:
        lock.release()


def writable(folder: Path) -> Path:
    """Makes a folder where it is missing, and gives it back once it is known that files can be written into it.

    Raises:
        OSError: they cannot; names the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return folder


def new_folder(place: Path) -> Path:
    """Makes a folder named by the time, such as ``2026-01-31_18-05-09``; a second one of that second ends in ``_2``.

    Args:
        place: folder to make it in; created when missing.

    Raises:
        OSError: it cannot be made.
        ValueError: a thousand folders of this second are there already.
    """
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for suffix in ("", *(f"_{n}" for n in range(2, 1000))):
        folder = place / f"{name}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            # mkdir says the same where the place itself is a file.
            if not folder.is_dir():
                raise
            continue
        return folder
    raise ValueError(f"{place}: too many folders of {name} in it")
