"""Atomic writes: a temporary file next to the target is written, synced and renamed, so that no file is ever half written."""

import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STALE_SECONDS = 3600.0
# How long a file that another program has open is waited for.
BUSY_SECONDS = 2.0
_PART = re.compile(r"\.part-[0-9a-f]{8}(\.\w+)?$")


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path in the target's folder and moves it over the target when the block ends without an error.

    When the block fails, the temporary file is removed and the target stays unchanged. It has the suffix of the target, for
    writers that choose the format by it. Missing folders are created. A symbolic link is replaced, and its target stays: in a
    folder from a stranger it could point to any file.

    Args:
        path: the file to write.

    Raises:
        OSError: the disk or the quota is full (the message names the file and the free space; ``errno`` is kept), or
            the folder cannot be written.
    """
    path = Path(os.path.realpath(Path(path).parent)) / Path(path).name
    prefix = f".{path.stem[:60]}.part-"
    temporary = path.parent / f"{prefix}{secrets.token_hex(4)}{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent, prefix)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        _sync(temporary, os.O_RDWR)
        _move(temporary, path)
    except OSError as error:
        raise _explained(error, path, temporary) from error
    finally:
        # Without its folder there is no temporary file, and the first error matters more.
        with suppress(OSError):
            temporary.unlink()
    # The rename survives a power cut only after the folder is synced; not every file system can do that.
    if sys.platform != "win32":
        with suppress(OSError):
            _sync(path.parent, os.O_RDONLY)


def clear(folder: str | os.PathLike) -> None:
    """Removes the temporary files of killed writers anywhere below a folder in which no process writes."""
    for path in Path(folder).rglob(".*.part-*"):
        if _PART.search(path.name):
            path.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, content: bytes) -> Path:
    """Writes bytes atomically; raises as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Writes text atomically, in UTF-8, line ends unchanged; raises as `replacing` does.

    Surrogates that stand for bytes of file names outside UTF-8 are written as those bytes.
    """
    return write_bytes(path, text.encode("utf-8", "surrogateescape"))


def _explained(error: OSError, path: Path, temporary: Path) -> OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        written = temporary.stat().st_size if temporary.exists() else 0
        temporary.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        old = "; the old file is unchanged" if path.exists() else ""
        reason = "disk full" if error.errno == errno.ENOSPC else "disk quota reached"
        # With one argument the message is the text alone; errno is set for callers that check it.
        full = OSError(
            f"{reason} while writing {path}: stopped after {_size(written)}, now removed; {_size(free)} free there{old}"
        )
        full.errno = error.errno
        return full
    if error.filename in (None, str(temporary), temporary):
        return OSError(error.errno, error.strerror or str(error), str(path))
    return error


def _move(temporary: Path, path: Path) -> None:
    """Renames; on Windows, where a file that another program has open cannot be replaced, it tries again for a while."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > until:
                raise
            time.sleep(BUSY_SECONDS / 20)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path, prefix: str) -> None:
    # Left by a killed process: a running writer keeps changing its file, so an old one belongs to none.
    for entry in os.scandir(folder):
        if entry.name.startswith(prefix):
            with suppress(OSError):
                if time.time() - entry.stat().st_mtime > STALE_SECONDS:
                    os.unlink(entry.path)


def _size(count: int) -> str:
    value = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
