"""Decoding: from a video file to the frames that a sampler chooses, as uint8 (T, H, W, 3)."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from taggnn.data.video import frame_folder
from taggnn.data.video.bitstream import Unproven
from taggnn.data.video.container import DECODE_TIMEOUT, LOST, Container, VideoError
from taggnn.data.video.decoders import chosen, torchcodec_frames
from taggnn.data.video.scaling import Scaler, scaled_size
from taggnn.data.video.seeking import sparse_frames
from taggnn.data.video.time_limit import TimeLimit
from taggnn.data.video.timeline import Timeline

__all__ = [
    "DECODE_TIMEOUT",
    "VideoError",
    "Timeline",
    "read_frames",
    "read_views",
    "iterate_frames",
    "frame_times",
    "scaled_size",
]

Value = TypeVar("Value")
# In place of a decoder: the frames were counted by decoding, so all of them are decoded in order.
SEQUENTIAL = "sequential"


def read_frames(
    path: str | os.PathLike[str],
    sample: Callable[[int], Sequence[int] | torch.Tensor],
    short_side: int | None = None,
    start: float | None = None,
    stop: float | None = None,
    threads: int = 1,
    origin: float | None = None,
    decode_timeout: float = DECODE_TIMEOUT,
    decoder: str = "auto",
    frame_rate: float | None = None,
) -> torch.Tensor:
    """Reads the frames of a video, or of a cut from it, that a sampler chooses, upright and in RGB.

    Frames are counted in presentation order, exactly as in a decode of the whole stream, whatever number the container
    states. Only the sampled frames are converted and scaled, each once, and decoding stops after the last of them. Rotation
    and flips stated in the file are applied; pixels are taken as square.

    A damaged video is an error and never padded: a file shorter than its container announces (except for a cut that ends
    before the damage), a picture that the decoder rejects or marks as corrupt. Frames that the decoder drops without an error
    (those before the first key frame of a stream cut without re-encoding) are no damage and do not count.

    Args:
        path: the file, any container and codec that FFmpeg reads; or a folder of images, see `frame_folder`.
        sample: gets n, the number of frames in the cut, and returns the indices wanted, in any order, repeats allowed.
            It is called again where decoding shows that n was wrong.
        short_side: pixels of the shorter side of the upright picture, the other side keeping the aspect ratio;
            default: the size of the video.
        start: beginning of the cut in seconds from the first frame, included; default: the first frame. A frame less
            than a microsecond before it counts as on it: lists have rounded decimals.
        stop: end of the cut in seconds from the first frame, not included; default: after the last frame.
        threads: decoder threads. More than one helps a single large video and slows loader workers.
        origin: second of a longer original at which this file was cut from it; ``start`` and ``stop`` then count from the
            first frame of the original, and choose the same frames in the file as in the original. The file's first frame
            is the original's first one at or after ``origin``. Default: the file is no cut.
        decode_timeout: seconds of processor time after which reading raises; default: 60. A program that is stopped, or waits
            for a processor or a disk, uses none.
        decoder: "pyav"; "torchcodec", with PyAV for what it cannot do exactly; or "auto", the faster one, which is PyAV.
        frame_rate: frames a second of a folder of images, needed for a cut of one (default: none); videos have their own.

    **Shapes**: uint8 (T, H, W, 3), T as many as ``sample`` returned

    Raises:
        VideoError: the file is missing, empty, no video, damaged or too large, the cut has no frame, or the timeout
            is over.
        ValueError: ``sample`` returned no index or one out of range; ``short_side`` below 1; ``decode_timeout`` not above 0; an
            unknown ``decoder``, or one that is not installed.
        ImportError: PyAV is not installed.
    """
    return read_views(path, [sample], short_side, start, stop, threads, origin, decode_timeout, decoder, frame_rate)[0]


def read_views(
    path: str | os.PathLike[str],
    samples: Sequence[Callable[[int], Sequence[int] | torch.Tensor]],
    short_side: int | None = None,
    start: float | None = None,
    stop: float | None = None,
    threads: int = 1,
    origin: float | None = None,
    decode_timeout: float = DECODE_TIMEOUT,
    decoder: str = "auto",
    frame_rate: float | None = None,
) -> list[torch.Tensor]:
    """Reads several views of a video, or of a cut from it, with one decode; a frame in several of them is converted once.

    Args:
        path: the file.
        samples: one sampler for each view.
        short_side, start, stop, threads, origin, decode_timeout, decoder, frame_rate: as for ``read_frames``.

    **Shapes**: a uint8 (T, H, W, 3) for each sampler; equal frames share no memory

    Raises:
        VideoError, ValueError, ImportError: as ``read_frames``; no sampler is a ValueError.
    """
    if not samples:
        raise ValueError(f"{os.fspath(path)}: no sampler given; read_views needs one for each view")
    decoder = chosen(decoder)
    repeatable = [_repeatable(sample) for sample in samples]
    if os.path.isdir(path):
        return frame_folder.read_views(path, repeatable, short_side, start, stop, origin, frame_rate)

    def read(container: Container) -> list[torch.Tensor]:
        timeline = container.timeline()
        try:
            return _read(container, timeline, repeatable, short_side, start, stop, origin, decoder)
        except _Miscounted:
            timeline = container.timeline_by_decoding(timeline)
            return _read(container, timeline, repeatable, short_side, start, stop, origin, SEQUENTIAL)

    return _again_if_stalled(read, path, threads, decode_timeout)


def frame_times(path: str | os.PathLike[str], frame_rate: float | None = None) -> Timeline:
    """The presentation times of a video's frames from its packets, without decoding a picture.

    Args:
        path: the file.
        frame_rate: as for ``read_frames``; a folder of images needs it.

    Returns:
        The times of all frames and, if the file is truncated, up to when it is undamaged.

    Raises:
        VideoError: the file is missing, empty, no video, without frames, or too large.
        ImportError: PyAV is not installed.
    """
    if os.path.isdir(path):
        return frame_folder.timeline(path, len(frame_folder.frame_files(path)), frame_rate, needed=True)
    return _again_if_stalled(Container.timeline, path)


def iterate_frames(
    path: str | os.PathLike[str],
    short_side: int | None = None,
    threads: int = 1,
    decode_timeout: float = DECODE_TIMEOUT,
    frame_rate: float | None = None,
) -> Iterator[tuple[float, np.ndarray]]:
    """Yields every frame of a video with its time in seconds, one after the other: memory does not grow with the video.

    Frames are those of `read_frames`. A damaged video raises, at the latest at the frame that cannot be decoded.

    Args:
        path: the file.
        short_side: pixels of the shorter side of the upright picture; default: the size of the video.
        threads: decoder threads.
        decode_timeout: seconds of processor time for one frame, after which reading raises; default: 60.
        frame_rate: as for ``read_frames``; a folder of images needs it.

    **Shapes**: uint8 (H, W, 3) each

    Raises:
        VideoError, ValueError, ImportError: as `read_frames`.
    """
    if os.path.isdir(path):
        yield from frame_folder.iterate(path, short_side, frame_rate)
        return
    # FFmpeg's own limit goes by the clock, and between two frames the caller may take any time.
    with Container(path, threads, decode_timeout, interrupt=False) as container:
        timeline, final, yielded = container.timeline(), False, 0
        while True:
            cut = _cut(container, timeline, None, None)
            lost = next((position for position in cut if timeline.is_lost(position)), None)
            if lost is not None:
                raise container.error(f"damaged: {LOST} at frame {lost} of {len(timeline.times)}")
            frames, scaler = _sequential_frames(container, timeline, cut, final), Scaler(short_side)
            try:
                for number, frame in enumerate(frames):
                    # Decoded again after a wrong count, the first frames are the same.
                    if number == yielded:
                        yield timeline.times[number], scaler(frame)
                        yielded += 1
                    container.time_limit = TimeLimit(decode_timeout, threads)
                return
            except _Miscounted:
                timeline, final = container.timeline_by_decoding(timeline), True


def _again_if_stalled(
    read: Callable[[Container], Value],
    path: str | os.PathLike[str],
    threads: int = 1,
    decode_timeout: float = DECODE_TIMEOUT,
) -> Value:
    """Reads a file a second time if the program was stopped meanwhile (SIGSTOP, docker pause).

    FFmpeg's own limit goes by the clock: what it cut off then is no damage of the file.
    """
    container = Container(path, threads, decode_timeout)
    try:
        with container:
            result = read(container)
        if not container.time_limit.stalled():
            return result
    except VideoError:
        if not container.time_limit.stalled():
            raise
    with Container(path, threads, decode_timeout, interrupt=False) as container:
        return read(container)


def _repeatable(sample: Callable[[int], Sequence[int] | torch.Tensor]) -> Callable[[int], list[int]]:
    """A sampler whose random draws are the same when a file is read again."""
    return functools.cache(lambda n: [int(index) for index in sample(n)])


class _Miscounted(Exception):
    """The decoder returns other frames than the packets announced."""


def _read(
    container: Container,
    timeline: Timeline,
    samples: Sequence[Callable[[int], list[int]]],
    short_side: int | None,
    start: float | None,
    stop: float | None,
    origin: float | None,
    decoder: str,
) -> list[torch.Tensor]:
    cut = _cut(container, timeline if origin is None else timeline.since(origin), start, stop)
    views = [_indices(container, sample, len(cut)) for sample in samples]
    unique = sorted({index for view in views for index in view})
    # A repeated frame is written to all its destinations at once: copying it later takes a third of the time of a short
    # clip.
    targets: dict[int, list[tuple[int, int]]] = {index: [] for index in unique}
    for number, view in enumerate(views):
        for row, index in enumerate(view):
            targets[index].append((number, row))
    sizes = [len(view) for view in views]
    positions = [cut[index] for index in unique]
    lost = next((position for position in positions if timeline.is_lost(position)), None)
    if lost is not None:
        raise container.error(f"damaged: {LOST} at frame {lost} of {len(timeline.times)}")
    return _pictures(container, timeline, positions, short_side, decoder, sizes, list(targets.values()))


def _pictures(
    container: Container,
    timeline: Timeline,
    positions: Sequence[int],
    short_side: int | None,
    decoder: str,
    sizes: Sequence[int],
    targets: Sequence[Sequence[tuple[int, int]]],
) -> list[torch.Tensor]:
    """The frames at ascending positions; the only function that decides how they are decoded."""
    if timeline.stamps is not None and not timeline.damage and decoder != SEQUENTIAL:
        try:
            if decoder == "torchcodec":
                return _filled(torchcodec_frames(container, timeline, positions, short_side).numpy(), sizes, targets)
            frames = sparse_frames(container, timeline.stamps, positions)
            return _filled(map(Scaler(short_side), frames), sizes, targets)
        except Unproven:
            pass
    frames = _sequential_frames(container, timeline, positions, final=decoder == SEQUENTIAL)
    return _filled(map(Scaler(short_side), frames), sizes, targets)


def _filled(
    pictures: Iterable[np.ndarray], sizes: Sequence[int], targets: Sequence[Sequence[tuple[int, int]]]
) -> list[torch.Tensor]:
    """Views of the given sizes; picture k is copied to all of targets[k], each (view, row)."""
    views: list[np.ndarray] = []
    for picture, wanted in zip(pictures, targets, strict=True):
        views = views or [np.empty((size, *picture.shape), dtype=np.uint8) for size in sizes]
        for number, row in wanted:
            views[number][row] = picture
    return [torch.from_numpy(view) for view in views]


def _indices(container: Container, sample: Callable[[int], list[int]], n: int) -> list[int]:
    wanted = sample(n)
    if not wanted:
        raise ValueError(f"{container.path}: the sampler returned no index for {n} frames")
    for index in wanted:
        if not 0 <= index < n:
            raise ValueError(f"{container.path}: the sampler returned index {index}; possible are 0 to {n - 1}")
    return wanted


def _cut(container: Container, timeline: Timeline, start: float | None, stop: float | None) -> range:
    """Indices of the frames in the half-open cut [start, stop)."""
    if timeline.damage and (stop is None or stop > timeline.sound_until):
        raise container.error(timeline.damage)
    hole = timeline.hole(start, stop)
    if hole is not None:
        raise container.error(f"damaged: {LOST} between {hole[0]:.2f} and {hole[1]:.2f} s")
    cut = timeline.between(start, stop)
    if not cut:
        end = timeline.begin + timeline.duration
        given = f"{timeline.begin if start is None else start:g} to {end if stop is None else stop:g} s"
        lasts = f"lasts {end:g} s" if not timeline.begin else f"holds {timeline.begin:g} to {end:g} s of its original"
        raise container.error(f"no frame in the cut from {given}; the video {lasts}")
    return cut


def _sequential_frames(
    container: Container, timeline: Timeline, positions: Sequence[int], final: bool
) -> Iterator[Any]:
    """Yields the decoded frames at ascending positions, decoding all frames up to the last of them."""
    promised = len(timeline.times)
    wanted = iter(positions)
    target: int | None = next(wanted)
    size: tuple[int, int] | None = None
    for position, frame in enumerate(container.frames(promised)):
        if frame.is_corrupt and position >= positions[0] and not timeline.is_lost(position):
            raise container.error(f"damaged: frame {position} of {promised} is corrupt")
        if timeline.stamps is not None and frame.pts is not None and frame.pts != timeline.stamps[position]:
            raise _Miscounted
        if position == target:
            size = size or (frame.width, frame.height)
            if size != (frame.width, frame.height):
                now = f"{frame.width} x {frame.height}"
                raise container.error(
                    f"its pictures change their size, from {size[0]} x {size[1]} to {now} at frame {position}"
                )
            yield frame
            target = next(wanted, None)
            if target is None:
                return
    if final:
        raise container.error(f"damaged: frame {target} of {promised} cannot be decoded")
    raise _Miscounted
