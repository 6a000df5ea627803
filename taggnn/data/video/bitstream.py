"""What the bits of a packet prove without decoding: may decoding start here, does any other picture refer to it.

The key frame flags of a container are not used: they are often missing and sometimes wrong.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple


class Unproven(Exception):
    """The bits do not prove that a part of the stream can be skipped without changing a picture."""


class Kind(NamedTuple):
    """Properties of one packet, which has exactly one shown picture.

    Args:
        start: nothing shown after it refers to an earlier packet.
        unreferenced: no other picture refers to it.
        sets: parameter sets in it, which later pictures need.
    """

    start: bool
    unreferenced: bool
    sets: bytes = b""


def reader(name: str, extradata: bytes | None, pix_fmt: str | None, reorder: int) -> Callable[[Any], Kind]:
    """Selects the function that determines the kind of a packet.

    Args:
        name: the codec.
        extradata: the codec's header from the container.
        pix_fmt: the pixel format.
        reorder: largest number of pictures decoded before one that is shown earlier.

    Raises:
        Unproven: for other codecs, and for streams whose packets are not one picture each.
    """
    extradata = bytes(extradata or b"")
    if name == "h264":
        return _h264(extradata, pix_fmt or "", reorder)
    if name == "hevc":
        return _hevc(extradata, reorder)
    # The others show their pictures in decoding order; other times are wrong.
    if reorder:
        raise Unproven
    if name == "vp8":
        return _vp8
    if name == "vp9":
        return _vp9
    if name in ("av1", "libdav1d"):
        return _av1
    raise Unproven


class Survey:
    """Collects random access points while all packets of a large file are read, so that next time fewer are read.

    Args:
        name, extradata, pix_fmt: as for ``reader``.
    """

    def __init__(self, name: str, extradata: bytes | None, pix_fmt: str | None):
        self._coding = name, extradata, pix_fmt
        self._sets: bytes | None = None
        self._starts: list[tuple[int, int]] = []
        self._kind_of: Callable[[Any], Kind] | None = None
        with suppress(Unproven):
            self._kind_of = reader(*self._coding, 0)

    def add(self, packet: Any) -> None:
        if self._kind_of is None:
            return
        try:
            kind = self._kind_of(packet)
            first = self._sets is None
            self._sets = kind.sets if first else self._sets
            known = kind.sets in (b"", self._sets)
            if not known or (first and not kind.start) or packet.pts is None or packet.dts is None:
                raise Unproven
        except Unproven:
            self._kind_of = None
            return
        if kind.start and kind.sets == self._sets:
            self._starts.append((packet.pts, packet.dts))

    def starts(self, reorder: int) -> tuple[tuple[int, int], ...]:
        """(pts, dts) of the packets to start from, ascending; empty where nothing is proven."""
        try:
            reader(*self._coding, reorder)
        except Unproven:
            return ()
        proven = self._kind_of is not None and self._starts == sorted(self._starts)
        return tuple(self._starts) if proven else ()


def _units(data: memoryview, prefix: int) -> Iterator[memoryview]:
    """The NAL units of a packet with a length in front of each (ISO/IEC 14496-15)."""
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + prefix], "big")
        offset += prefix
        if size < 1 or offset + size > len(data):
            raise Unproven
        yield data[offset : offset + size]
        offset += size


def _h264(extradata: bytes, pix_fmt: str, reorder: int) -> Callable[[Any], Kind]:
    # Old encoders coded 4:4:4 wrongly, and decoders identify them by a message in the first packet only.
    if len(extradata) < 9 or extradata[0] != 1 or "444" in pix_fmt:
        raise Unproven
    size = int.from_bytes(extradata[6:8], "big")
    if extradata[5] & 31 != 1 or not _frames_in_order(extradata[8 : 8 + size], reorder):
        raise Unproven
    prefix = (extradata[4] & 3) + 1

    def kind(packet: Any) -> Kind:
        start, unreferenced, slices, sets = True, True, 0, b""
        for unit in _units(memoryview(packet), prefix):
            # ITU-T H.264, 7.3.1 and table 7-1
            referred, what = unit[0] & 0x60, unit[0] & 31
            if what in (1, 5):
                slices += 1
                start &= what == 5
                unreferenced &= not referred
            elif what in (7, 8):
                unreferenced = False
                sets += bytes(unit)
            # End of a sequence: what follows has nothing to refer to.
            elif what == 10:
                unreferenced = False
            # Access unit delimiter, supplemental information, filler
            elif what not in (6, 9, 12):
                raise Unproven
        if not slices:
            raise Unproven
        return Kind(start, unreferenced, sets)

    return kind


class _Bits:
    """Reads a raw byte sequence payload bit by bit."""

    def __init__(self, data: bytes):
        data = data.replace(b"\0\0\3", b"\0\0")
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int = 1) -> int:
        self.left -= count
        if self.left < 0:
            raise Unproven
        return self.value >> self.left & (1 << count) - 1

    def golomb(self) -> int:
        zeros = 0
        while not self.take():
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _frames_in_order(sps: bytes, reorder: int) -> bool:
    """Whether an H.264 stream has no fields, and states a sufficient reorder delay (7.3.2.1.1, E.1.1).

    A decoder that has to guess the delay drops pictures while it learns.
    """
    bits = _Bits(sps[1:])
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135):
        chroma = bits.golomb()
        if chroma == 3:
            bits.take()
        bits.golomb(), bits.golomb(), bits.take()
        if bits.take():
            for size in [16] * 6 + [64] * (2 if chroma != 3 else 6):
                if bits.take():
                    _scaling_list(bits, size)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(), bits.signed_golomb(), bits.signed_golomb()
        for _ in range(bits.golomb()):
            bits.signed_golomb()
    bits.golomb(), bits.take(), bits.golomb(), bits.golomb()
    if not bits.take():
        return False
    if not reorder:
        return True
    bits.take()
    if bits.take():
        for _ in range(4):
            bits.golomb()
    return bool(bits.take()) and _allowed_delay(bits) >= reorder


def _scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def _allowed_delay(bits: _Bits) -> int:
    """max_num_reorder_frames of the video usability information; -1 where it is absent."""
    if bits.take() and bits.take(8) == 255:
        bits.take(32)
    if bits.take():
        bits.take()
    if bits.take():
        bits.take(4)
        if bits.take():
            bits.take(24)
    if bits.take():
        bits.golomb(), bits.golomb()
    if bits.take():
        bits.take(65)
    schedules = 0
    for _ in range(2):
        if bits.take():
            _skip_schedule(bits)
            schedules += 1
    if schedules:
        bits.take()
    bits.take()
    if not bits.take():
        return -1
    bits.take()
    for _ in range(4):
        bits.golomb()
    return bits.golomb()


def _skip_schedule(bits: _Bits) -> None:
    count = bits.golomb() + 1
    bits.take(8)
    for _ in range(count):
        bits.golomb(), bits.golomb(), bits.take()
    bits.take(20)


def _hevc(extradata: bytes, reorder: int) -> Callable[[Any], Kind]:
    # With several layers, pictures of a lower one may serve the higher ones only.
    if len(extradata) < 23 or extradata[0] != 1 or extradata[21] >> 3 & 7 != 1:
        raise Unproven
    if _hevc_delay(_set_of_kind(extradata, 33)) < reorder:
        raise Unproven
    prefix = (extradata[21] & 3) + 1

    def kind(packet: Any) -> Kind:
        start, unreferenced, slices, sets = True, True, 0, b""
        for unit in _units(memoryview(packet), prefix):
            # ITU-T H.265, 7.3.1.2 and table 7-1
            what = unit[0] >> 1 & 63
            if what < 32:
                slices += 1
                # BLA, IDR and CRA; pictures decoded after a CRA but shown before it are handled by the caller.
                start &= 16 <= what <= 21
                # Even numbers below 16: no reference within the only layer.
                unreferenced &= what < 16 and what % 2 == 0
            elif what in (32, 33, 34):
                unreferenced = False
                sets += bytes(unit)
            # Access unit delimiter, filler, supplemental information
            elif what not in (35, 38, 39, 40):
                raise Unproven
        if not slices:
            raise Unproven
        return Kind(start, unreferenced, sets)

    return kind


def _set_of_kind(extradata: bytes, what: int) -> bytes:
    """The one parameter set of a kind in the header of an HEVC track (ISO/IEC 14496-15, 8.3.3.1)."""
    offset, found = 23, []
    for _ in range(extradata[22]):
        kind, count = extradata[offset] & 63, int.from_bytes(extradata[offset + 1 : offset + 3], "big")
        offset += 3
        for _ in range(count):
            size = int.from_bytes(extradata[offset : offset + 2], "big")
            found += [extradata[offset + 2 : offset + 2 + size]] if kind == what else []
            offset += 2 + size
        if offset >= len(extradata):
            break
    if len(found) != 1:
        raise Unproven
    return found[0]


def _hevc_delay(sps: bytes) -> int:
    """sps_max_num_reorder_pics of a stream with one layer (ITU-T H.265, 7.3.2.2.1)."""
    bits = _Bits(sps[2:])
    bits.take(4)
    if bits.take(3):
        raise Unproven
    bits.take(1 + 96)
    bits.golomb()
    if bits.golomb() == 3:
        bits.take()
    bits.golomb(), bits.golomb()
    if bits.take():
        for _ in range(4):
            bits.golomb()
    bits.golomb(), bits.golomb(), bits.golomb()
    bits.take()
    bits.golomb()
    return bits.golomb()


def _vp8(packet: Any) -> Kind:
    first = memoryview(packet)[0]
    # RFC 6386, 9.1: a picture that is not shown has a packet of its own.
    if not first & 16:
        raise Unproven
    return Kind(not first & 1, False)


def _vp9(packet: Any) -> Kind:
    data = memoryview(packet)
    first, last = data[0], data[0]
    # VP9 bitstream specification, annex B: an index at the end where a packet holds more than one picture.
    if data[-1] & 0xE0 == 0xC0:
        width, count = (data[-1] >> 3 & 3) + 1, (data[-1] & 7) + 1
        index = data[-2 - width * count : -1]
        if len(index) != 1 + width * count or index[0] != data[-1]:
            raise Unproven
        sizes = [int.from_bytes(index[1 + k * width : 1 + (k + 1) * width], "little") for k in range(count)]
        if not all(sizes) or sum(sizes) + 2 + width * count != len(data):
            raise Unproven
        # The packet must show its last picture and no other.
        offsets = [sum(sizes[:k]) for k in range(count)]
        if any(data[offset] & 0b1010 for offset in offsets[:-1]):
            raise Unproven
        last = data[offsets[-1]]
    # 6.2: marker 10, profile below 3, then show_existing_frame, frame_type, show_frame, error_resilient_mode
    for head in (first, last):
        if head >> 6 != 2 or head >> 4 & 3 == 3:
            raise Unproven
    if not last & 0b1010:
        raise Unproven
    return Kind(first & 0b1100 == 0, False)


def _av1(packet: Any) -> Kind:
    data, offset, start, frames, sets = memoryview(packet), 0, False, 0, b""
    while offset < len(data):
        # AV1 bitstream specification, 5.3.2
        what, extended, sized = data[offset] >> 3 & 15, data[offset] & 4, data[offset] & 2
        # Several layers may mean several pictures to be shown.
        if extended:
            raise Unproven
        offset += 1
        size, shift = 0, 0
        while sized:
            if offset >= len(data) or shift > 28:
                raise Unproven
            size |= (data[offset] & 127) << shift
            shift += 7
            offset += 1
            if not data[offset - 1] & 128:
                break
        size = size if sized else len(data) - offset
        unit = data[offset : offset + size]
        if len(unit) != size:
            raise Unproven
        if what == 1:
            # Still pictures have headers of another kind.
            if not size or unit[0] & 0b11000:
                raise Unproven
            sets += bytes(unit)
        elif what in (3, 6):
            if not size:
                raise Unproven
            # 5.9.2: show_existing_frame, frame_type, show_frame: a key picture shown at once
            if not frames:
                start = unit[0] >> 4 == 0b0001
            frames += 1
        offset += size
    if not frames:
        raise Unproven
    return Kind(start and bool(sets), False, sets)
