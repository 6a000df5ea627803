"""Streams that were joined by concatenating files: each restarts its timestamps."""

from typing import Any

# FFmpeg's names of the containers that can be joined so.
JOINABLE = ("mpegts", "mpeg")


class Joiner:
    """Shifts the timestamps of each joined stream to follow those of the one before."""

    def __init__(self) -> None:
        self._offset, self._spacing = 0, 1
        # The last decoding time as it is in the file, the same moved, and the largest presentation time so far, moved.
        self._raw: int | None = None
        self._decoded: int | None = None
        self._shown: int | None = None

    def move(self, packet: Any) -> bool:
        """Moves the times of the next packet; returns whether another stream begins with it."""
        if packet.dts is None or packet.pts is None:
            return False
        joined = False
        # Badly written times go back a little inside a stream too.
        tolerated = 0 if packet.is_keyframe else 2 * self._spacing
        if self._raw is not None and self._shown is not None and packet.dts < self._raw - tolerated:
            joined, self._offset = True, self._shown + self._spacing - packet.pts
        self._raw = packet.dts
        if self._offset:
            packet.dts, packet.pts = packet.dts + self._offset, packet.pts + self._offset
        if self._decoded is not None and packet.dts > self._decoded and not joined:
            self._spacing = packet.dts - self._decoded
        self._decoded = packet.dts
        self._shown = packet.pts if self._shown is None else max(self._shown, packet.pts)
        return joined
