"""A matrix of text vectors of one's own: .npy, .npz or .safetensors.

Axes: N prompts, K classes, C channels.
"""

import zipfile
import zlib
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

ENDINGS = (".npy", ".npz", ".safetensors")
# How many times an archive may be smaller than its content.
_MOST = 100
# What NumPy and zipfile raise for damaged headers.
_MALFORMED = (EOFError, TypeError, SyntaxError, RecursionError, TokenError, NotImplementedError, RuntimeError)


def read_matrix(path: str | Path) -> Tensor:
    """Reads vectors; nothing in the file is run, and the memory is bounded by the size of the file.

    Args:
        path: .npy, or .npz or .safetensors with one array in it.

    Returns:
        Float32, with N = 1 for a matrix (K, C).

    **Shapes:** (N, K, C) or (K, C) -> (N, K, C)

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, another ending, several arrays, no floats, or another number of axes; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"vectors {path}: no such file")
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"vectors {path}: expected {', '.join(ENDINGS)}")
    try:
        found = _tensor(path) if path.suffix.lower() == ".safetensors" else torch.from_numpy(_array(path))
    except (SafetensorError, zipfile.BadZipFile, zlib.error, *_MALFORMED) as error:
        raise ValueError(f"vectors {path}: damaged, or no {path.suffix} file ({error})") from None
    except ValueError as error:
        raise ValueError(f"vectors {path}: {error}") from None
    if not found.is_floating_point() or found.ndim not in (2, 3):
        shape = f"{tuple(found.shape)} {str(found.dtype).removeprefix('torch.')}"
        raise ValueError(
            f"vectors {path}: expected floats (prompts, classes, channels) or (classes, channels), got {shape}"
        )
    found = found.float()
    return found[None] if found.ndim == 2 else found


def _tensor(path: Path) -> Tensor:
    with safe_open(path, framework="pt") as file:
        keys = list(file.keys())
        if len(keys) != 1:
            raise ValueError(f"{len(keys)} tensors in it ({', '.join(keys[:5])}); expected one")
        return file.get_tensor(keys[0])


def _array(path: Path) -> np.ndarray:
    size = path.stat().st_size
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return _array_in(file, size)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise ValueError(f"{len(names)} arrays in it ({', '.join(names[:5])}); expected one")
        entry = archive.infolist()[0]
        # Floats hardly compress: what does is no matrix of vectors, and could fill the memory.
        if entry.file_size > _MOST * size:
            raise ValueError(f"{entry.file_size:,} bytes packed into {size:,}")
        with archive.open(entry) as file:
            return _array_in(file, entry.file_size)


def _array_in(file: IO[bytes], size: int) -> np.ndarray:
    """The array of a NumPy file of ``size`` bytes; its header is checked before anything is allocated."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"a NumPy file of version {version}")
    shape, fortran, dtype = read_header[version](file)
    if dtype.kind != "f" or dtype.itemsize > 8 or min(shape, default=0) < 1:
        raise ValueError(f"expected floats (prompts, classes, channels) or (classes, channels), got {shape} {dtype}")
    wanted = prod(shape) * dtype.itemsize
    content = file.read(wanted) if wanted <= size else b""
    if len(content) < wanted:
        raise ValueError(f"truncated: an array {shape} {dtype} needs {wanted:,} bytes")
    flat = np.frombuffer(content, dtype, prod(shape))
    return flat.reshape(shape, order="F" if fortran else "C").astype(np.float32)
