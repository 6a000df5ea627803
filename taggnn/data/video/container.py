"""An open video file: its video stream, the presentation times of its frames, and the decoded frames in that order."""

import errno
import gc
import hashlib
import math
import os
import stat
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from taggnn.data.video.announced_size import announced_bytes
from taggnn.data.video.bitstream import Survey, Unproven
from taggnn.data.video.formats import CONTAINERS
from taggnn.data.video.joined import JOINABLE, Joiner
from taggnn.data.video.time_limit import TimeLimit
from taggnn.data.video.timeline import Timeline, constant_rate, seconds
from taggnn.data.video.transport_stream import Picture, losses, restarts

# Seconds of processor time. A usual clip decodes in one or two; one that takes this long is no clip.
DECODE_TIMEOUT = 60.0

MAX_SIDE = 16384
MAX_PIXELS = 2**27
# Packets up to this many bytes stay in memory between reading the times and decoding; a larger file is read twice.
MAX_BUFFER_BYTES = 2**26
# Large files whose timeline is cached: many clips are cut from one, and the timeline needs a pass over the whole file.
MAX_TIMELINES = 16
# Pixels of a large picture.
LARGE = 2**20
NO_FRAME = "no frame in its video stream"
LOST = "a part of the stream is missing"


class VideoError(ValueError):
    """A video that cannot be used, with separate file and reason; it can be pickled, for loader workers.

    Args:
        path: the file, as given.
        reason: what is wrong, without the path.
    """

    def __init__(self, path: str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self):
        return VideoError, (self.path, self.reason)


# Timelines, reorder depths and seek points of large files, the oldest first.
_TIMELINES: dict[tuple[str, int, int], tuple[Timeline, int, tuple[tuple[int, int], ...]]] = {}


class Container:
    """A context manager for an open file, whose packets can be read more than once.

    Args:
        path: the file.
        threads: decoder threads.
        decode_timeout: seconds of processor time, from now on, after which reading raises, see ``TimeLimit``.
        fingerprint: compute a hash of the packets while they are first read, see ``fingerprint()``.
        interrupt: let FFmpeg end a single call that lasts longer than that by the clock, which looks like damage.

    Raises:
        VideoError: on entering, when the file is missing, empty, no video or too large; later, when it is damaged, or
            the timeout is over.
        ValueError: ``decode_timeout`` is not above 0.
        ImportError: PyAV is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int = 1,
        decode_timeout: float = DECODE_TIMEOUT,
        fingerprint: bool = False,
        interrupt: bool = True,
    ):
        self.path = os.fspath(path)
        self.threads = threads
        self.time_limit, self.interrupt = TimeLimit(decode_timeout, threads), interrupt
        self._hash = hashlib.blake2b(digest_size=16) if fingerprint else None
        self._av = import_av()
        self._container: Any = None
        self._stream: Any = None
        self._buffer: list[Any] | None = None
        # Whether the demuxer is at the beginning of the file.
        self._at_start = True
        # Whether all packets have been read once.
        self._read_once = False
        self._broken = ""
        self.reorder = 0
        # (pts, dts) of packets to start decoding from, in a file too large to buffer.
        self.starts: tuple[tuple[int, int], ...] = ()
        self._survey: Survey | None = None
        # Indices of packets with which a joined stream begins, and whether FFmpeg marked a packet of a transport stream.
        self._joins: set[int] = set()
        self._marked = False

    def __enter__(self) -> "Container":
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._buffer = None
        context = self._stream.codec_context
        large = context.width * context.height > LARGE
        self._close()
        # A frame whose side data was read is freed by the garbage collector alone, which does not know its size.
        if large:
            gc.collect(0)

    def error(self, reason: str) -> VideoError:
        return VideoError(self.path, reason)

    def codec(self) -> tuple[str, int, int]:
        """Name of the codec, and width and height of the stored pictures."""
        context = self._stream.codec_context
        return context.name, context.width, context.height

    def fingerprint(self) -> str:
        """A hash of all coded pictures, known after ``timeline``: independent of container, title, dates and sound."""
        assert self._hash is not None
        return self._hash.hexdigest()

    def timeline(self) -> Timeline:
        """The presentation times from the packets alone, without decoding a picture.

        Raises:
            VideoError: the stream has no frame.
        """
        if (cached := _TIMELINES.get(self._identity())) and self._hash is None:
            timeline, self.reorder, self.starts = cached
            return timeline
        pts: list[int | None] = []
        dts: list[int | None] = []
        lengths: list[int] = []
        packets: list[tuple[int | None, bool]] = []
        last_dts = None
        for packet in self.packets():
            last_dts = packet.dts if packet.dts is not None else last_dts
            if self._container.format.name == "mpegts":
                packets.append((packet.pos, restarts(self._stream.codec_context.name, packet)))
            # An edit list contains packets that are references for others but not shown.
            if not packet.is_discard:
                pts.append(packet.pts)
                dts.append(packet.dts)
                lengths.append(packet.duration or 0)
        damage = self._damage(len(pts))
        if not pts:
            raise self.error(damage or NO_FRAME)

        if self._marked:
            pts, dts = _without_gaps(pts), _without_gaps(dts)
        times_given = None not in pts or None not in dts
        stamps = [stamp for stamp in (pts if None not in pts else dts) if stamp is not None]
        times, rate = self._times(stamps if times_given else None, len(pts))
        if not times_given:
            return Timeline(times, times[-1] + self._spacing(times), None, damage, 0.0 if damage else math.inf, rate)
        tick = float(self._stream.time_base)
        duration = times[-1] + (lengths[stamps.index(max(stamps))] * tick or self._spacing(times))
        # Every missing packet would be shown after it is decoded, hence after the last decoding time seen.
        sound_until = math.inf if not damage else 0.0 if last_dts is None else (last_dts - min(stamps)) * tick
        self.reorder = _reorder(stamps)
        lost: tuple[tuple[int, int], ...] = ()
        holes: tuple[int, ...] = ()
        if self._marked and not damage:
            where = [Picture(stamp, *packet) for stamp, packet in zip(stamps, packets, strict=False)]
            lost, holes = losses(self.path, self._stream.id, where, self._joins)
        # AVI has no presentation times: FFmpeg returns decoding times, or guesses, with and without B-frames.
        guessed = self._container.format.name == "avi" or stamps == sorted(stamps)
        trusted = None not in pts and not (self._stream.codec_context.has_b_frames and guessed)
        known = tuple(sorted(stamps)) if trusted else None
        timeline = Timeline(times, duration, known, damage, sound_until, rate, lost=lost, holes=holes)
        # In a program that was stopped, FFmpeg may have ended too early.
        whole = not damage and not self._joins and not self._marked
        if self._survey is not None and whole and not self.time_limit.stalled():
            self.starts = self._survey.starts(self.reorder)
            while len(_TIMELINES) >= MAX_TIMELINES:
                del _TIMELINES[next(iter(_TIMELINES))]
            _TIMELINES[self._identity()] = timeline, self.reorder, self.starts
        return timeline

    def timeline_by_decoding(self, promised: Timeline) -> Timeline:
        """The presentation times of the frames that the decoder returns, where packets and frames do not correspond.

        Args:
            promised: the result of ``timeline``.

        Raises:
            VideoError: the decoder fails, or returns too few frames for an undamaged stream.
        """
        stamps = [frame.pts for frame in self.frames(len(promised.times))]
        damage, sound_until = promised.damage, 0.0 if promised.damage else math.inf
        if promised.lost or promised.holes:
            # Which frames are harmed is not known where they do not correspond to packets.
            first = min([*promised.holes, *(first for first, _ in promised.lost)])
            damage, sound_until = f"damaged: {LOST}", promised.times[first]
        # An undamaged stream has at most two packets for a frame (interlaced fields, hidden reference pictures).
        if 2 * len(stamps) < len(promised.times):
            raise self.error(f"damaged: {len(stamps)} of {len(promised.times)} frames can be decoded")
        times, rate = self._times(None if None in stamps else stamps, len(stamps))
        duration = times[-1] + promised.duration - promised.times[-1]
        return Timeline(times, duration, None, damage, sound_until, rate)

    def coding(self) -> tuple[str, bytes | None, str | None]:
        """Name of the codec, its header and the pixel format; an empty name where packets may be parts of pictures."""
        context = self._stream.codec_context
        whole = any(name in self._container.format.name.split(",") for name in ("mp4", "matroska"))
        return context.name if whole else "", context.extradata, context.pix_fmt

    def packets_from(self, start: tuple[int, int]) -> Iterator[Any]:
        """The packets from one of ``starts`` on, without the earlier ones.

        Raises:
            Unproven: the file's index does not lead there.
        """
        found = False
        try:
            self._container.seek(start[1], stream=self._stream)
            self._at_start = False
            for packet in self._container.demux(self._stream):
                self.check_timeout()
                found = found or (packet.pts, packet.dts) == start
                if packet.is_corrupt or (not found and packet.dts is not None and packet.dts > start[1]):
                    raise Unproven
                if found and packet.size:
                    yield packet
        except self._av.FFmpegError as error:
            raise Unproven from error

    def restart_decoder(self) -> None:
        """Resets the decoder."""
        context = self._stream.codec_context
        if context.is_open:
            context.flush_buffers()

    def decode(self, packet: Any | None) -> list[Any]:
        """The frames that the decoder returns for one more packet; for None, the remaining ones.

        Raises:
            Unproven: the decoder fails.
        """
        self.check_timeout()
        try:
            return self._stream.codec_context.decode(packet)
        except self._av.FFmpegError as error:
            raise Unproven from error

    def frames(self, promised: int) -> Iterator[Any]:
        """Decodes all frames in presentation order, from the beginning on every call.

        Args:
            promised: expected number of frames, for the error message.

        Raises:
            VideoError: the decoder fails.
        """
        # In a damaged stream a flushed decoder may start differently from a new one.
        if self._stream.codec_context.is_open:
            self._close()
            self._open()
        context = self._stream.codec_context
        count = 0
        try:
            for number, packet in enumerate(self.packets()):
                if number in self._joins:
                    # Nothing refers across a join.
                    for frame in context.decode(None):
                        yield frame
                        count += 1
                    context.flush_buffers()
                for frame in context.decode(packet):
                    yield frame
                    count += 1
                self.check_timeout()
            for frame in context.decode(None):
                yield frame
                count += 1
        except self._av.FFmpegError as error:
            failed = f"then the decoder failed ({error.strerror})"
            raise self.error(f"damaged: {count} of {promised} frames could be decoded, {failed}") from error

    def _open(self) -> None:
        head = self._head()
        try:
            # "file:" keeps a colon in a name from being read as a protocol; the closed list of containers keeps a playlist
            # in disguise from opening its neighbours. A title need not be UTF-8.
            options = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
            # Opening reads some pictures already, and one call of the demuxer may read the whole file.
            left = self.time_limit.left()
            timeout = None if math.isinf(left) or not self.interrupt else max(0.001, left)
            self._container = self._av.open(
                "file:" + self.path,
                # FFmpeg would find the same by trying hundreds of formats.
                format="mp4" if head[4:8] == b"ftyp" else None,
                container_options=options,
                metadata_errors="replace",
                timeout=timeout,
            )
        except self._av.FFmpegError as error:
            self.check_timeout()
            # What FFmpeg answers for a format of its own that is not on the list.
            if error.errno == errno.EINVAL:
                reason = (
                    "not a video in a container that is read, but a playlist, a sound, a picture or a text; possible are "
                    f"{', '.join(CONTAINERS)}"
                )
            elif head[4:8] in (b"ftyp", b"moov", b"mdat") or head[:4] in (b"RIFF", b"GIF8", b"\x1a\x45\xdf\xa3"):
                reason = f"damaged or truncated: its headers cannot be read ({error.strerror})"
            else:
                reason = "not a video: FFmpeg knows no such format"
            raise self.error(reason) from error
        self._stream = self._best_stream()
        context = self._stream.codec_context
        if context is None:
            raise self.error("the installed PyAV has no decoder for its video codec")
        width, height = context.width, context.height
        if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
            limit = f"at most {MAX_SIDE} a side and {MAX_PIXELS} pixels are read"
            raise self.error(f"its header claims pictures of {width} x {height}; {limit}")
        if width == 0 or height == 0:
            raise self.error("its header gives no possible picture size")
        context.thread_count = self.threads
        if self.threads > 1:
            context.thread_type = "AUTO"
        # The header is checked above; this stops a stream that changes its size later.
        context.options = {"max_pixels": str(MAX_PIXELS)}
        self._at_start = True

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()

    def _head(self) -> bytes:
        try:
            kind = os.stat(self.path).st_mode
        except OSError:
            raise self.error("no such file") from None
        if not stat.S_ISREG(kind):
            raise self.error("not a file")
        try:
            with open(self.path, "rb") as file:
                head = file.read(8)
        except OSError as error:
            raise self.error(f"cannot be opened ({error.strerror})") from error
        if not head:
            raise self.error("the file is empty (0 bytes)")
        return head

    def _best_stream(self) -> Any:
        # FFmpeg treats the cover picture of a song as video.
        cover = self._av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & cover]
        if not streams:
            kinds = sorted({stream.type for stream in self._container.streams} - {"video"})
            raise self.error("no video stream in it" + (f", only {', '.join(kinds)}" if kinds else ""))
        best = self._container.streams.best("video")
        return best if best in streams else streams[0]

    def packets(self) -> Iterator[Any]:
        """The stream's packets in decoding order, from the beginning on every call, as far as they are complete."""
        if self._buffer is not None:
            yield from self._buffer
            return
        if not self._at_start:
            self._close()
            self._open()
        self._at_start = False
        # Only the first time: a second pass would add the same packets again.
        first, self._read_once = not self._read_once, True
        kept: list[Any] | None = []
        size, number, kind = 0, 0, self._container.format.name
        joiner = Joiner() if kind in JOINABLE else None
        try:
            for packet in self._container.demux(self._stream):
                # A packet cut off by the end of the file is marked corrupt; nothing after it can be trusted. In a transport
                # stream the mark is only near a loss, or a join, and the counters of its packets are exact.
                if packet.is_corrupt and kind == "mpegts":
                    self._marked = True
                elif packet.is_corrupt:
                    self._broken = LOST
                    break
                # The last packet of a demuxer is empty, and so are the gaps in an AVI for dropped frames.
                if packet.size == 0:
                    continue
                if joiner is not None and joiner.move(packet):
                    self._joins.add(number)
                number += 1
                size += packet.size
                if size > MAX_BUFFER_BYTES and kept is not None:
                    if first:
                        self._survey = Survey(*self.coding())
                        for earlier in kept:
                            self._survey.add(earlier)
                    kept = None
                if kept is not None:
                    kept.append(packet)
                elif self._survey is not None and first:
                    self._survey.add(packet)
                if self._hash is not None and first:
                    self._hash.update(packet)
                self.check_timeout()
                yield packet
        except self._av.FFmpegError as error:
            self.check_timeout()
            self._broken = f"reading stopped ({error.strerror})"
        self._buffer = kept

    def _damage(self, found: int) -> str:
        announced, size = announced_bytes(self.path), os.path.getsize(self.path)
        promised = f" of {self._stream.frames}" if self._stream.frames > found else ""
        if announced is not None and announced > size:
            return f"truncated: {size} of at least {announced} bytes and {found}{promised} frames are there"
        if self._broken:
            return f"damaged: {self._broken}, {found}{promised} frames are there"
        return ""

    def _identity(self) -> tuple[str, int, int]:
        state = os.stat(self.path)
        return os.path.abspath(self.path), state.st_size, state.st_mtime_ns

    def check_timeout(self) -> None:
        """Raises VideoError when the timeout is over."""
        if self.time_limit.left() < 0:
            raise self.error(f"given up after {self.time_limit.seconds:g} s; video.decode_timeout sets the limit")

    def _times(self, stamps: Sequence[int] | None, count: int) -> tuple[tuple[float, ...], Fraction | None]:
        """Ascending seconds from the first stamp, and the rate where it is constant or there are no stamps.

        With a constant rate the times are those of its grid, without the rounding of the container's clock: a frame must
        not be before a boundary in one container and after it in another.
        """
        if stamps is None:
            return tuple(seconds(k, self._rate()) for k in range(count)), self._rate()
        ordered = sorted(stamps)
        tick = self._stream.time_base
        rate = constant_rate(ordered, tick, (self._stream.guessed_rate, self._stream.average_rate))
        if rate is not None:
            return tuple(seconds(k, rate) for k in range(len(ordered))), rate
        # Integers first, one division last: 5120 ticks of 1/12800 s are exactly the 0.4 of a list.
        return tuple((stamp - ordered[0]) * tick.numerator / tick.denominator for stamp in ordered), None

    def _spacing(self, times: Sequence[float]) -> float:
        return times[-1] / (len(times) - 1) if len(times) > 1 else float(1 / self._rate())

    def _rate(self) -> Fraction:
        return self._stream.average_rate or self._stream.guessed_rate or Fraction(25)


def _without_gaps(stamps: Sequence[int | None]) -> list[int | None]:
    """Stamps where single ones are unknown, because the beginning of a unit is lost; such a frame comes after the one before."""
    filled = list(stamps)
    for k in range(1, len(filled)):
        before = filled[k - 1]
        if filled[k] is None and before is not None:
            filled[k] = before + 1
    return filled


def _reorder(stamps: Sequence[int]) -> int:
    """The largest number of frames decoded before one that is shown earlier."""
    largest = 0
    ahead: list[int] = []
    for stamp in stamps:
        position = bisect_left(ahead, stamp)
        largest = max(largest, len(ahead) - position)
        # Few frames are ahead at any time, and older ones are shown before all that follow.
        ahead.insert(position, stamp)
        del ahead[:-32]
    return largest


def import_av() -> Any:
    """Imports PyAV when the first video is read, so that the rest of the package works without it."""
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise ImportError("reading videos needs PyAV: pip install 'av>=15'") from error
    return av
