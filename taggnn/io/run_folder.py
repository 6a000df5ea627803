"""Run folders: a new one for every run, named by its time, and locked so that only one process at a time works in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile

from filelock import FileLock, Timeout

from taggnn.runtime.atomic import clear

# A process that is ending may still hold the lock when the next one starts.
LOCK_TIMEOUT = 5.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a run folder for this process, and removes the temporary files of killed ones.

    The system releases the lock when the process ends.

    Raises:
        ValueError: another process has locked it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=LOCK_TIMEOUT)
    except Timeout:
        raise ValueError(
            f"run {folder}: another process is working in it; wait until it ends, or start another run"
        ) from None
    try:
        clear(folder)
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether another process works in a run folder now; False where that cannot be known."""
    lock = folder / ".lock"
    try:
        if not lock.exists():
            return False
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        # A folder that only others may write.
        return False


def writable(folder: Path) -> Path:
    """Creates a folder if it is missing, and returns it after a test that files can be written into it.

    Raises:
        OSError: files cannot be written; names the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return folder


def new_folder(parent: Path) -> Path:
    """Creates a folder named by the time, such as ``2026-01-31_18-05-09``; another of the same second ends in ``_2``.

    Args:
        parent: the folder to create it in; created if missing.

    Raises:
        OSError: it cannot be created.
        ValueError: there are a thousand folders of this second.
    """
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for suffix in ("", *(f"_{n}" for n in range(2, 1000))):
        folder = parent / f"{name}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            # mkdir raises the same error if the parent is a file.
            if not folder.is_dir():
                raise
            continue
        return folder
    raise ValueError(f"{parent}: too many folders of {name} in it")
