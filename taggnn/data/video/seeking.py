"""Decoding a few frames of a stream without all the earlier ones."""

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from taggnn.data.video.bitstream import Unproven, reader
from taggnn.data.video.container import MAX_BUFFER_BYTES, Container

# Where more than this part of the frames up to the last is wanted, skipping saves little.
DENSE = 0.5


def sparse_frames(container: Container, stamps: Sequence[int], positions: Sequence[int]) -> Iterator[Any]:
    """Yields the decoded frames at ascending positions, decoding only what they depend on.

    The decoder starts at the last random access point before a wanted frame, and skips pictures that are no reference for
    others, unless they are wanted themselves. Its output is compared with the times in the packets. The frames are equal, bit
    for bit, to those of a decode from the beginning, or ``Unproven`` is raised.

    Args:
        container: the open file, without damage.
        stamps: presentation times of all frames in ticks, ascending.
        positions: of the wanted frames, ascending.

    Raises:
        Unproven: this stream, or this part of it, must be decoded from the beginning; possibly after some frames.
        VideoError: the timeout is over.
    """
    if len(positions) > DENSE * (positions[-1] + 1) or len(set(stamps)) != len(stamps):
        raise Unproven
    name, extradata, pix_fmt = container.coding()
    kind_of = reader(name, extradata, pix_fmt, container.reorder)
    wanted = {stamps[position] for position in positions}
    missing = set(wanted)
    decoder = _Decoder(container)
    held: list[Any] = []
    size, sets, first = 0, b"", True
    for packet in _packets(container, min(missing)):
        if packet.pts is None:
            raise Unproven
        kind = kind_of(packet)
        if kind.sets and sets and kind.sets != sets:
            raise Unproven
        sets = sets or kind.sets
        needed = packet.pts in missing and not packet.is_discard
        # Pictures that follow the start but are shown before it may refer to skipped ones.
        if first or (kind.start and held and kind.sets == sets and min(missing) >= packet.pts):
            if not kind.start:
                raise Unproven
            yield from (frame for frame in decoder.finish() if frame.pts in wanted)
            decoder.start(packet.pts)
            held.clear()
            size, first = 0, False
        if kind.unreferenced and not needed:
            continue
        held.append(packet)
        size += packet.size
        missing.discard(packet.pts if needed else None)
        if needed or size > MAX_BUFFER_BYTES:
            for earlier in held:
                yield from (frame for frame in decoder.decode(earlier) if frame.pts in wanted)
            held.clear()
            size = 0
            if not missing:
                yield from (frame for frame in decoder.finish() if frame.pts in wanted)
                return
    raise Unproven


def _packets(container: Container, first: int) -> Iterator[Any]:
    """The packets from the last known start before the first wanted frame; from the beginning where none is known."""
    index = bisect_right([stamp for stamp, _ in container.starts], first) - 1
    return container.packets_from(container.starts[index]) if index > 0 else container.packets()


class _Decoder:
    """Decodes parts of a stream, each from a random access point, and checks the output."""

    def __init__(self, container: Container):
        self._container = container
        self._due: list[int] = []
        self._begin = 0
        self._used = False

    def start(self, stamp: int) -> None:
        self._begin = stamp

    def decode(self, packet: Any) -> list[Any]:
        if not self._used:
            self._container.restart_decoder()
            self._used = True
        if not packet.is_discard and packet.pts >= self._begin:
            heapq.heappush(self._due, packet.pts)
        return self._checked(packet)

    def finish(self) -> list[Any]:
        """All remaining frames."""
        if not self._used:
            return []
        frames = self._checked(None)
        self._used = False
        if self._due:
            raise Unproven
        return frames

    def _checked(self, packet: Any) -> list[Any]:
        frames = []
        for frame in self._container.decode(packet):
            if frame.pts is None or frame.is_corrupt or frame.interlaced_frame:
                raise Unproven
            if frame.pts >= self._begin:
                if not self._due or heapq.heappop(self._due) != frame.pts:
                    raise Unproven
                frames.append(frame)
        return frames
