"""Reads the bytes of a file up to a limit."""

import os


def read_bytes(path: str, limit: int) -> bytes:
    """The whole file.

    Raises:
        ValueError: it is larger than ``limit`` bytes, or no regular file.
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"{size:,} bytes; files of this format are read up to {limit:,}")
        # One byte more: a file that grows, or a pipe, does not fill the memory.
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes; files of this format are read up to that")
    return content
