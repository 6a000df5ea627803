"""NumPy files ``.npy``: one array (T, V, C) or (M, T, V, C), NaN for missing joints.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import io
from math import prod
from typing import IO

import numpy as np

from taggnn.data.clips import Clip
from taggnn.data.skeleton.formats.arrays import check_shape
from taggnn.data.skeleton.formats.reading import read_bytes
from taggnn.data.skeleton.formats.recording import Array, Recording

# float64 of the largest clip, and the header.
MAX_BYTES = 2**30


def begins(head: bytes) -> bool:
    return head.startswith(b"\x93NUMPY")


def read(clip: Clip) -> Recording:
    """Reads the file of a clip.

    Raises:
        ValueError: no NumPy file, an array of objects, or fewer numbers than its header claims.
        OSError: it cannot be opened.
    """
    return Recording(array_in(io.BytesIO(read_bytes(clip.path, MAX_BYTES))))


def array_in(file: IO[bytes]) -> Array:
    """The array of an open ``.npy`` file; its header is checked before anything is allocated.

    Raises:
        ValueError: as ``read``.
    """
    try:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"version {version}; possible are {', '.join(map(str, read_header))}")
        shape, fortran, dtype = read_header[version](file)
    except (ValueError, SyntaxError, TypeError, EOFError) as error:
        raise ValueError(f"not readable as a NumPy file: {error}") from None
    if dtype.hasobject or any(size < 0 for size in shape):
        raise ValueError("holds Python objects, which could run code; save numbers")
    check_shape(shape, dtype.kind)
    wanted = prod(shape) * dtype.itemsize
    content = file.read(wanted)
    if len(content) < wanted:
        raise ValueError(f"truncated: {len(content):,} of the {wanted:,} bytes of an array {shape} are there")
    flat = np.frombuffer(content, dtype, prod(shape))
    return flat.reshape(shape, order="F" if fortran else "C")
