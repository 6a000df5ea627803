"""Reads the bytes of a file up to a limit."""

import os
import stat


def read_bytes(path: str, limit: int) -> bytes:
    """The whole file.

    Raises:
        ValueError: it is larger than ``limit`` bytes, empty, or no regular file, such as a pipe.
        OSError: it cannot be opened.
    """
    # Unbuffered: one allocation of the file's size, one read.
    with open(path, "rb", buffering=0) as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("no regular file")
        if state.st_size > limit:
            raise ValueError(f"{state.st_size:,} bytes; files of this format are read up to {limit:,}")
        content = file.readall()
    if not content:
        raise ValueError("the file is empty")
    return content
