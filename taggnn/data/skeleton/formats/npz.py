"""NumPy archives ``.npz``: ``coordinates`` (or ``keypoint``) and, if wanted, ``confidence`` (or ``score``) and ``picture``.

``picture`` is (height, width) in pixels of the pictures that 2-D coordinates are of.

As written by ``numpy.savez`` and ``numpy.savez_compressed``: a zip of ``.npy`` files.
"""

import io
import lzma
import struct
import zipfile
import zlib

from taggnn.data.clips import Clip
from taggnn.data.skeleton.formats.keys import find_keys
from taggnn.data.skeleton.formats.npy import MAX_BYTES, array_in
from taggnn.data.skeleton.formats.reading import read_bytes
from taggnn.data.skeleton.formats.recording import Array, Recording

# What the library raises for damaged archives, and for those that need a password or an unknown compression.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, OSError, KeyError, IndexError, OverflowError),
)


def begins(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04")


def read(clip: Clip) -> Recording:
    """Reads the file of a clip.

    Raises:
        ValueError: no archive, no coordinates in it, or an array as in ``npy.read``.
        OSError: it cannot be opened.
    """
    content = read_bytes(clip.path, MAX_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            coordinates, confidence = find_keys(names)
            picture = _size(_array(archive, names["picture"])) if "picture" in names else None
            return Recording(
                _array(archive, names[coordinates]),
                _array(archive, names[confidence]) if confidence else None,
                picture=picture,
            )
    except _DAMAGE as error:
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


def _size(picture: Array) -> tuple[int, int]:
    if picture.shape != (2,) or picture.dtype.kind not in "iu" or not (picture > 0).all():
        raise ValueError(f"picture: expected height and width in pixels, found {picture.dtype} {picture.shape}")
    return int(picture[0]), int(picture[1])
