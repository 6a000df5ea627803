"""NumPy archives ``.npz``: ``coordinates`` (or ``keypoint``) and, if wanted, ``confidence`` (or ``score``).

As written by ``numpy.savez`` and ``numpy.savez_compressed``: a zip of ``.npy`` files.
"""

import zipfile
import zlib

from taggnn.data.clips import Clip
from taggnn.data.skeleton.formats.keys import find_keys
from taggnn.data.skeleton.formats.npy import MAX_BYTES, array_in
from taggnn.data.skeleton.formats.recording import Array, Recording


def begins(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04")


def read(clip: Clip) -> Recording:
    """Reads the file of a clip.

    Raises:
        ValueError: no archive, no coordinates in it, or an array as in ``npy.read``.
        OSError: it cannot be opened.
    """
    try:
        with zipfile.ZipFile(clip.path) as archive:
            names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            coordinates, confidence = find_keys(names)
            return Recording(
                _array(archive, names[coordinates]), _array(archive, names[confidence]) if confidence else None
            )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not readable as a NumPy archive: {error}") from None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    if info.file_size > MAX_BYTES:
        raise ValueError(f"{info.filename}: {info.file_size:,} bytes; at most {MAX_BYTES:,} are read")
    # Read as a stream, so that a small file that unpacks to a large one ends at the numbers its header claims.
    with archive.open(info) as member:
        try:
            return array_in(member)
        except ValueError as error:
            raise ValueError(f"{info.filename}: {error}") from None
