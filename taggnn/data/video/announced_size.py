"""Whether a file has all the bytes that its container announces: demuxers read an incomplete download without an error."""

import os
import struct
from typing import BinaryIO

# ISO/IEC 14496-12 and QuickTime
_BOXES = frozenset(b"ftyp styp moov moof mdat free skip wide uuid sidx ssix mfra meta udta pdin emsg prft pnot".split())
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # RFC 8794, RFC 9559
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = b"\x21\x2c\x3b"


def announced_bytes(path: str | os.PathLike[str]) -> int | None:
    """The length of a file by the sizes that its container states.

    Supported are MP4/MOV (top-level boxes), Matroska/WebM (segment), AVI (RIFF chunks) and GIF (blocks up to the trailer).

    Args:
        path: the file.

    Returns:
        The size in bytes, or None where the format announces none (transport streams, raw streams, live recordings).
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return _riff(file, size)
        if head[:4] == _EBML:
            return _matroska(file)
        if head[4:8] in _BOXES:
            return _boxes(file, size)
        if head[:4] == b"GIF8":
            return _gif(file, size)
    return None


def _riff(file: BinaryIO, size: int) -> int | None:
    # Above 1 GB an AVI continues in further RIFF chunks (OpenDML).
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        # A recording that was never closed has 0 or all ones.
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            break
        end += 8 + length
    # Some writers count the eight bytes of the chunk's head as well.
    return end - 8 if end else None


def _boxes(file: BinaryIO, size: int) -> int:
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(16)
        if len(head) < 8:
            return end + 8
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        # Length 0 means "up to the end of the file"; an unknown kind is appended data that no player reads.
        if length < 8 or kind not in _BOXES:
            break
        end += length
    return end


def _matroska(file: BinaryIO) -> int | None:
    file.seek(4)
    header = _vint(file)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return None
    length = _vint(file)
    return None if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """An EBML variable-length integer; None for the reserved "unknown" (all ones) and for nonsense."""
    first = file.read(1)
    if not first or first == b"\0":
        return None
    extra = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(extra), "big") - (1 << (7 * (extra + 1)))
    return None if value == (1 << (7 * (extra + 1))) - 1 else value


def _gif(file: BinaryIO, size: int) -> int:
    file.seek(0)
    data = file.read()
    end = 13 + _colours(data[10:11])
    while end < size:
        kind = data[end]
        if kind == _GIF_TRAILER:
            return end + 1
        if kind == _GIF_IMAGE:
            end += 11 + _colours(data[end + 9 : end + 10])
        elif kind == _GIF_EXTENSION:
            end += 2
        else:
            # Padding or nonsense, at which decoders stop as well.
            return size
        # Blocks of at most 255 bytes, up to an empty one.
        while end < size and data[end]:
            end += 1 + data[end]
        end += 1
    return end + 1


def _colours(flags: bytes) -> int:
    """Bytes of the colour table that a GIF's flags announce."""
    return 6 << (flags[0] & 7) if flags and flags[0] & 0x80 else 0
