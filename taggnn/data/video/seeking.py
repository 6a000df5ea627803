"""Reaching a few frames of a stream without decoding all that lies before them."""

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from taggnn.data.video.bitstream import Unproven, reader
from taggnn.data.video.container import MAX_KEPT_BYTES, Container

# Where more than this share of the frames up to the last is wanted there is little to leave out.
DENSE = 0.5


def sparse_frames(container: Container, stamps: Sequence[int], positions: Sequence[int]) -> Iterator[Any]:
    """Yields the decoded frames at ascending positions, decoding only what they need.

    The decoder starts at the last place before a wanted frame that refers to nothing earlier, and never sees pictures
    that no other refers to, unless they are wanted themselves. All it puts out is compared with the times in the
    packets. The frames are equal, bit for bit, to those of a decode from the beginning, or ``Unproven`` is raised.

    Args:
        container: the open file, without damage.
        stamps: presentation times of all frames in ticks, ascending.
        positions: of the wanted frames, ascending.

    Raises:
        Unproven: this stream, or this place in it, must be decoded from the beginning; possibly after some frames.
        VideoError: the time is up.
    """
    if len(positions) > DENSE * (positions[-1] + 1) or len(set(stamps)) != len(stamps):
        raise Unproven
    kind_of = reader(*container.coding(), container.reorder)
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
        # Pictures that stand behind the start but are shown before it may refer to what would be left out.
        if first or (kind.start and held and kind.sets == sets and min(missing) >= packet.pts):
            if not kind.start:
                raise Unproven
            yield from (frame for frame in decoder.finish() if frame.pts in wanted)
            decoder.start(packet.pts)
            held.clear()
            size, first = 0, False
        if kind.apart and not needed:
            continue
        held.append(packet)
        size += packet.size
        missing.discard(packet.pts if needed else None)
        if needed or size > MAX_KEPT_BYTES:
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
    place = bisect_right([stamp for stamp, _ in container.starts], first) - 1
    return container.packets_from(container.starts[place]) if place > 0 else container.packets()


class _Decoder:
    """Decodes pieces of a stream, each from a place where that is possible, and checks what comes out."""

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
        """All frames still inside."""
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
