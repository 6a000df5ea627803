"""Where packets of an MPEG transport stream are lost, by their counters: FFmpeg only marks a picture somewhere near.

Source: ISO/IEC 13818-1, 2.4.3. Streams that were joined have jumps in their counters too, and lack nothing.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

SYNC = 0x47
# Bytes of a packet, and of what stands before its sync byte: plain, with a time code (Blu-ray, AVCHD), with error correction.
LAYOUTS = ((188, 0), (192, 4), (204, 0))
_CHUNK = 2**24


class Gap(NamedTuple):
    """A jump of the counter.

    Args:
        position: byte of the first packet after it.
        clean: whether a whole unit ends before it and another begins after it, so that no unit lacks a part.
    """

    position: int
    clean: bool


class Picture(NamedTuple):
    """Where a coded picture is.

    Args:
        stamp: when it is shown, in ticks.
        position: byte at which its unit begins; None where the beginning of the unit is lost.
        restarts: whether no later picture refers to one before it.
    """

    stamp: int
    position: int | None
    restarts: bool


def losses(
    path: str, pid: int, pictures: Sequence[Picture], joins: Collection[int]
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """``Timeline.lost`` and ``Timeline.holes`` of a stream of which FFmpeg marked a packet.

    Args:
        path: the file.
        pid: number of the stream in it.
        pictures: its pictures in decoding order.
        joins: indices of pictures with which a joined stream begins.
    """
    stamps = [picture.stamp for picture in pictures]
    ordered = sorted(stamps)
    found = gaps(path, pid)
    if not found:
        return ((0, len(pictures)),), ()
    # A picture whose unit lost its beginning is a part of the unit before.
    positions: list[int] = []
    for picture in pictures:
        positions.append((positions[-1] if positions else 0) if picture.position is None else picture.position)
    distances = sorted(after - before for before, after in pairwise(ordered))
    usual = distances[len(distances) // 2] if distances else 0
    lost, holes = [], []
    for gap in found:
        after = next((k for k, position in enumerate(positions) if position >= gap.position), len(pictures))
        first = after
        # Pictures of one unit have one position; all of the last one before the gap may lack a part.
        while not gap.clean and first and positions[first - 1] == positions[after - 1]:
            first -= 1
        joined = after in joins
        inside = 0 < after < len(pictures) and not joined
        distance = min(stamps[after:]) - max(stamps[:after]) if inside else 0
        gone = distance > 1.5 * usual
        # One lost packet may be one lost picture, without which a clip is still what it was.
        if distance > 2.5 * usual:
            holes.append(bisect_left(ordered, min(stamps[after:])))
        if gap.clean and not gone and not joined:
            continue
        start = next((k for k in range(after, len(pictures)) if pictures[k].restarts), len(pictures))
        until = stamps[start] if start < len(pictures) else ordered[-1] + 1
        harmed = [stamp for stamp in stamps[first:start] if stamp < until]
        if harmed:
            lost.append((bisect_left(ordered, min(harmed)), bisect_left(ordered, until)))
    return tuple(lost), tuple(holes)


def restarts(codec: str, packet: Any) -> bool:
    """Whether no later picture refers to one before a packet; other key frames of H.264 need several to be so."""
    return packet.is_keyframe and (codec != "h264" or _has_idr(bytes(packet)))


def _has_idr(data: bytes) -> bool:
    # Start codes and types of slices: ITU-T H.264, annex B and table 7-1.
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        if data[at + 3] & 31 == 5:
            return True
        at = data.find(b"\0\0\1", at + 3)
    return False


def gaps(path: str, pid: int) -> list[Gap]:
    """The jumps in one stream of a file.

    Args:
        path: the file.
        pid: number of the stream in it.
    """
    found: list[Gap] = []
    counter: int | None = None
    ended, last = True, b""
    for position, packet, skipped in _packets(path, pid):
        control, begins = packet[3] >> 4 & 3, bool(packet[1] & 0x40)
        # Without a payload the counter stays.
        if not control & 1:
            continue
        count, adaptation = packet[3] & 15, packet[4] + 1 if control == 3 else 0
        broken = bool(packet[1] & 0x80) or skipped
        payload = packet[4 + adaptation :]
        if count == counter and payload == last and not broken:
            # Sent twice, as is allowed.
            continue
        if broken or (counter is not None and count != (counter + 1) & 15):
            found.append(Gap(position, ended and begins and not broken))
        # The last packet of a unit is filled up.
        counter, ended, last = count, _filled_up(packet, adaptation), payload
    return found


def _filled_up(packet: bytes, adaptation: int) -> bool:
    """Whether a packet has stuffing bytes before its payload."""
    if adaptation < 2:
        return adaptation == 1
    flags = packet[5]
    used = 2 + 6 * (flags >> 4 & 1) + 6 * (flags >> 3 & 1) + (flags >> 2 & 1)
    if flags & 2:
        used += 1 + packet[4 + used]
    if flags & 1:
        used += 1 + packet[4 + used]
    return adaptation > used


def _packets(path: str, pid: int) -> Iterator[tuple[int, bytes, bool]]:
    """Position and content of the packets of one stream, and whether bytes that are no packet were skipped before."""
    with open(path, "rb") as file:
        data = file.read(_CHUNK)
        unit, before = next(
            (layout for layout in LAYOUTS if data[layout[1] :: layout[0]][:4] == bytes([SYNC] * 4)), LAYOUTS[0]
        )
        high, low, offset, at, skipped = pid >> 8, pid & 255, 0, before, False
        while True:
            if at + 188 > len(data):
                more = file.read(_CHUNK)
                if not more:
                    return
                data, offset, at = data[at:] + more, offset + at, 0
                continue
            if data[at] != SYNC:
                skipped = True
                at = data.find(SYNC, at + 1)
                at = len(data) if at < 0 else at
                continue
            if data[at + 1] & 31 == high and data[at + 2] == low:
                yield offset + at - before, data[at : at + 188], skipped
                skipped = False
            at += unit
