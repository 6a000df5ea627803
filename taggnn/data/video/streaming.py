"""Frames of a long file, a pipe, an address or a camera, one after the other: nothing is read twice, and memory does not grow.

Axes: H W the picture.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from taggnn.data.video.container import MAX_PIXELS, MAX_SIDE, VideoError, import_av
from taggnn.data.video.formats import CONTAINERS
from taggnn.data.video.scaling import Scaler

PIPE = "-"
# What an address may be opened with. Files are not among them: a playlist of a stranger must not name one.
PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,rtp,rtsp,rtmp,rtmps,srt,crypto"
# Further demuxers of addresses.
STREAMS = ("rtsp", "sdp", "rtp", "hls", "mpjpeg")
# Platform -> demuxer of cameras, and its name for a camera with a number; a DirectShow camera has a name only.
CAMERAS = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", None),
}
# Seconds: a longer jump forwards is a new clock, and not a picture that is shown for hours.
MAX_HOLD = 3600.0


@dataclass
class Damage:
    """What was wrong with a stream while it was read.

    Args:
        frames: frames that are marked corrupt, and packets that cannot be decoded; they are left out.
        first: second of the first of them.
        clock: times that go backwards or jump; the frame is taken as the next one.
        ended: why reading ended before the end; empty if it did not.
    """

    frames: int = 0
    first: float | None = None
    clock: int = 0
    ended: str = ""

    def notes(self) -> list[str]:
        """Sentences for the reader of the answers."""
        found = []
        if self.frames:
            found.append(
                f"damaged: {self.frames:,} frames or packets cannot be decoded, the first after {self.first:.2f} s; "
                f"the picture before "
                "is shown instead"
            )
        if self.clock:
            found.append(f"{self.clock:,} frames have times that go backwards or jump; each is taken as the next frame")
        return [*found, *([self.ended] if self.ended else [])]


@dataclass(frozen=True)
class Frame:
    """A frame of a stream.

    Args:
        time: seconds from the first frame.
        picture: upright RGB.
        arrived: seconds of ``time.monotonic`` at which it was decoded.

    **Shapes:** picture uint8 (H, W, 3)
    """

    time: float
    picture: np.ndarray
    arrived: float = field(default=0.0, compare=False)


class Stream:
    """A context manager for an open stream of frames.

    Args:
        source: path of a file, an address such as ``rtsp://...``, or "-" for the standard input.
        short_side: pixels of the shorter side of the upright picture; None keeps the size.
        threads: decoder threads (default 1).
        camera: the source is a camera: its number, or its name for the system (default: no).
        real_time: give no frame before its time, as a camera would (default: no).

    Attributes:
        rate: frames a second that the stream states.
        duration: seconds that it states; None if it does not.
        tick: seconds of its clock.
        damage: what was wrong so far.
        end: the second at which the last frame so far ends.
        busy: a thread still reads, so that it cannot be closed.

    Raises:
        VideoError: on entering, when it cannot be opened or is no video.
        ImportError: PyAV is not installed.
    """

    def __init__(
        self,
        source: str,
        short_side: int | None = None,
        threads: int = 1,
        camera: bool = False,
        real_time: bool = False,
    ) -> None:
        self.source, self.camera, self.real_time, self._threads = source, camera, real_time, threads
        self.damage, self.end, self.busy = Damage(), 0.0, False
        self._short_side = short_side
        self._av = import_av()
        self._container: Any = None

    def __enter__(self) -> "Stream":
        try:
            self._container = self._open()
        except (self._av.FFmpegError, OSError) as error:
            raise self.error(f"cannot be opened as a video ({error.strerror or error})") from error
        try:
            self._begin()
        except BaseException:
            self._container.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self.busy:
            self._container.close()

    def error(self, reason: str) -> VideoError:
        return VideoError(f"camera {self.source}" if self.camera else self.source, reason)

    def frames(self) -> Iterator[Frame]:
        """The frames in the order in which they are shown.

        What cannot be decoded is left out and counted in ``damage``: hours of video are not given up for one packet.

        Raises:
            VideoError: there is no frame at all.
        """
        scaler, clock = Scaler(self._short_side), _Clock(self.rate, self.tick, self.damage)
        began = None
        for frame in self._decoded():
            if frame.is_corrupt:
                self._damaged(clock.last)
                continue
            now = clock.seconds(frame.pts)
            if self.real_time:
                began = time.monotonic() if began is None else began
                time.sleep(max(0.0, began + now - time.monotonic()))
            self.end, arrived = now + 1 / self.rate, time.monotonic()
            yield Frame(now, scaler(frame), arrived)
        if clock.last is None:
            raise self.error(self.damage.ended or "no frame in its video stream")
        if self.duration is not None and self.end < self.duration - 1 and not self.damage.ended:
            self.damage.ended = f"the file announces {self.duration:.1f} s, and {self.end:.1f} s of it could be read"

    def _damaged(self, after: float | None) -> None:
        self.damage.frames += 1
        self.damage.first = (after or 0.0) if self.damage.first is None else self.damage.first

    def _decoded(self) -> Iterator[Any]:
        context = self._stream.codec_context
        try:
            for packet in self._container.demux(self._stream):
                try:
                    yield from context.decode(packet)
                except self._av.FFmpegError:
                    # The empty packet at the end of a stream that was flushed already is no damage.
                    if packet.size:
                        self._damaged(self.end)
        except self._av.FFmpegError as error:
            self.damage.ended = f"reading ended after {self.end:.1f} s ({error.strerror})"

    def _open(self) -> Any:
        options = {"metadata_errors": "replace"}
        if self.camera:
            form, name = camera_of(self.source)
            return self._av.open(name, format=form, **options)
        formats = ",".join(CONTAINERS)
        if self.source == PIPE:
            chosen = {"format_whitelist": formats}
            return self._av.open(sys.stdin.buffer, container_options=chosen, **options)
        if is_address(self.source):
            chosen = {"format_whitelist": ",".join([formats, *STREAMS]), "protocol_whitelist": PROTOCOLS}
            return self._av.open(self.source, container_options=chosen, **options)
        if Path(self.source).is_dir() or not Path(self.source).exists():
            raise self.error("a folder, not a file" if Path(self.source).is_dir() else "no such file")
        # A named pipe is a file too.
        chosen = {"format_whitelist": formats, "protocol_whitelist": "file"}
        return self._av.open("file:" + self.source, container_options=chosen, **options)

    def _begin(self) -> None:
        cover = self._av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & cover]
        if not streams:
            raise self.error("no video stream in it")
        best = self._container.streams.best("video")
        self._stream = best if best in streams else streams[0]
        context = self._stream.codec_context
        if context is None:
            raise self.error("the installed PyAV has no decoder for its video codec")
        if max(context.width, context.height) > MAX_SIDE or context.width * context.height > MAX_PIXELS:
            raise self.error(f"its header claims pictures of {context.width} x {context.height}, which are not read")
        context.thread_count, context.options = self._threads, {"max_pixels": str(MAX_PIXELS)}
        if self._threads > 1:
            context.thread_type = "AUTO"
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        self.rate = float(rate) if rate > 0 else 25.0
        self.tick = float(self._stream.time_base or 0)
        ticks, whole = self._stream.duration, self._container.duration
        known = ticks * self.tick if ticks else whole / self._av.time_base if whole else None
        self.duration = known if known and not self.camera else None


class _Clock:
    """Seconds from the first frame, which never go backwards."""

    def __init__(self, rate: float, tick: float, damage: Damage) -> None:
        self.rate, self.tick, self.damage = rate, tick, damage
        self.last: float | None = None
        self._origin = 0.0

    def seconds(self, pts: int | None) -> float:
        if self.last is None:
            self._origin = 0.0 if pts is None else pts * self.tick
            self.last = 0.0
            return 0.0
        following = self.last + 1 / self.rate
        if pts is None:
            # A raw stream has no times.
            self.last = following
            return following
        now = pts * self.tick - self._origin
        if not self.last < now <= self.last + MAX_HOLD:
            self.damage.clock += 1
            self._origin += now - following
            now = following
        self.last = now
        return now


def is_address(source: str) -> bool:
    """Whether a source is an address, and not a file with a colon in its name."""
    scheme, found, _ = source.partition("://")
    return bool(found) and scheme.isalnum() and not os.path.exists(source)


def camera_of(camera: str, platform: str = sys.platform) -> tuple[str, str]:
    """FFmpeg's input format for a camera and its name for it.

    Args:
        camera: number of the camera, or its name for the system (a path on Linux, a title elsewhere).
        platform: as ``sys.platform`` (default: this one).

    Raises:
        ValueError: no cameras on this system, or a number where only names are possible.
    """
    if platform not in CAMERAS:
        raise ValueError(f"camera {camera}: cameras are read on {', '.join(CAMERAS)}, and this is {platform}")
    form, numbered = CAMERAS[platform]
    if not camera.isdecimal():
        return form, f"video={camera}" if form == "dshow" else camera
    if numbered is None:
        raise ValueError(
            f"camera {camera}: on Windows a camera has a name, see ffmpeg -list_devices true -f dshow -i dummy; give that name"
        )
    return form, numbered.format(camera)
