"""Decoding: from a video file to the frames a sampler asks for, as uint8 (T, H, W, 3)."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from taggnn.data.video.bitstream import Unproven
from taggnn.data.video.container import DECODE_TIMEOUT, Container, VideoError
from taggnn.data.video.decoders import chosen, torchcodec_frames
from taggnn.data.video.scaling import Scaler, scaled_size
from taggnn.data.video.seeking import sparse_frames
from taggnn.data.video.timeline import Timeline

__all__ = ["DECODE_TIMEOUT", "VideoError", "Timeline", "read_frames", "read_views", "frame_times", "scaled_size"]

# In place of a decoder: the frames have been counted by decoding, and no other way is open.
IN_TURN = "in turn"


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
) -> torch.Tensor:
    """Reads the frames of a video, or of a cut from it, that a sampler asks for, upright and in RGB.

    Frames count in the order of presentation, exactly as a decode of the whole stream gives them, whatever number the
    container claims. Only the sampled frames are converted and scaled, each once however often it is asked for, and
    decoding stops behind the last of them. Rotation and mirroring noted in the file are applied; pixels count as square.

    A damaged video is an error and never filled up: a file shorter than its container announces (except for a cut that
    ends before the damage), a picture the decoder rejects or marks as corrupt. Frames the decoder leaves out without
    complaint (those before the first key frame of a stream cut without re-encoding) are no damage and do not count.

    Args:
        path: the file; any container and codec that FFmpeg reads.
        sample: gets n, the number of frames in the cut, and returns the indices wanted, in any order, repeats allowed.
            It is asked a second time where decoding shows that n was wrong.
        short_side: pixels of the shorter side of the upright picture, the other side keeping the aspect ratio;
            default: the size of the video.
        start: beginning of the cut in seconds from the first frame, included; default: the first frame. A frame less
            than a microsecond before it counts as on it: lists are written with rounded decimals.
        stop: end of the cut in seconds from the first frame, not included; default: behind the last frame.
        threads: decoder threads. More than one helps a single large video and harms loader workers.
        origin: the second of a longer original at which this file was cut out of it; ``start`` and ``stop`` then count
            from the first frame of the original, so that they choose the same frames in the file as in the original.
            The file's first frame is the original's first one at or after ``origin``. Default: the file is no cut.
        decode_timeout: wall seconds after which the file is given up; default: 60.
        decoder: "pyav"; "torchcodec", which leaves what it cannot do exactly to PyAV; or "auto", the faster one, which is
            PyAV.

    **Shapes**: uint8 (T, H, W, 3), T as many as ``sample`` returned

    Raises:
        VideoError: the file is missing, empty, no video, damaged or too large, the cut holds no frame, or the time is
            up.
        ValueError: ``sample`` returned no index or one out of range; ``short_side`` below 1; ``decode_timeout`` not above 0; an
            unknown ``decoder``, or one that is not installed.
        ImportError: PyAV is not installed.
    """
    return read_views(path, [sample], short_side, start, stop, threads, origin, decode_timeout, decoder)[0]


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
) -> list[torch.Tensor]:
    """Reads several views of a video, or of a cut from it, with one decode: a frame in many of them is converted once.

    Args:
        path: the file.
        samples: one sampler a view.
        short_side, start, stop, threads, origin, decode_timeout, decoder: as for ``read_frames``.

    **Shapes**: a uint8 (T, H, W, 3) for each sampler; equal frames share no memory

    Raises:
        VideoError, ValueError, ImportError: as ``read_frames``; no sampler is a ValueError.
    """
    if not samples:
        raise ValueError(f"{os.fspath(path)}: no sampler given; read_views needs one a view")
    decoder = chosen(decoder)
    with Container(path, threads, decode_timeout) as container:
        timeline = container.timeline()
        try:
            return _read(container, timeline, samples, short_side, start, stop, origin, decoder)
        except _Miscounted:
            timeline = container.timeline_by_decoding(timeline)
            return _read(container, timeline, samples, short_side, start, stop, origin, IN_TURN)


def frame_times(path: str | os.PathLike[str]) -> Timeline:
    """Finds when each frame of a video is shown by reading its packets, without decoding a picture.

    Args:
        path: the file.

    Returns:
        The times of all frames and, if the file is cut short, up to when it can be trusted.

    Raises:
        VideoError: the file is missing, empty, no video, without frames, or too large.
        ImportError: PyAV is not installed.
    """
    with Container(path) as container:
        return container.timeline()


class _Miscounted(Exception):
    """The decoder gives other frames than the packets promised."""


def _read(
    container: Container,
    timeline: Timeline,
    samples: Sequence[Callable[[int], Sequence[int] | torch.Tensor]],
    short_side: int | None,
    start: float | None,
    stop: float | None,
    origin: float | None,
    decoder: str,
) -> list[torch.Tensor]:
    cut = _cut(container, timeline if origin is None else timeline.since(origin), start, stop)
    views = [_indices(container, sample, len(cut)) for sample in samples]
    different = sorted({index for view in views for index in view})
    # Repeated frames are written where they are wanted at once: copying them together later takes a third of the time of
    # a short clip.
    places: dict[int, list[tuple[int, int]]] = {index: [] for index in different}
    for number, view in enumerate(views):
        for row, index in enumerate(view):
            places[index].append((number, row))
    sizes = [len(view) for view in views]
    positions = [cut[index] for index in different]
    return _pictures(container, timeline, positions, short_side, decoder, sizes, list(places.values()))


def _pictures(
    container: Container,
    timeline: Timeline,
    positions: Sequence[int],
    short_side: int | None,
    decoder: str,
    sizes: Sequence[int],
    places: Sequence[Sequence[tuple[int, int]]],
) -> list[torch.Tensor]:
    """The frames at ascending positions; how they are reached is decided here and nowhere else."""
    if timeline.stamps is not None and not timeline.damage and decoder != IN_TURN:
        try:
            if decoder == "torchcodec":
                frames = torchcodec_frames(container, timeline, positions, short_side).numpy()
                return _filled(frames, sizes, places)
            frames = sparse_frames(container, timeline.stamps, positions)
            return _filled(map(Scaler(short_side), frames), sizes, places)
        except Unproven:
            pass
    frames = _frames_in_turn(container, timeline, positions, final=decoder == IN_TURN)
    return _filled(map(Scaler(short_side), frames), sizes, places)


def _filled(
    pictures: Iterable[np.ndarray], sizes: Sequence[int], places: Sequence[Sequence[tuple[int, int]]]
) -> list[torch.Tensor]:
    """Views of the given sizes; picture k goes to all of places[k], each (view, row)."""
    views: list[np.ndarray] = []
    for picture, wanted in zip(pictures, places, strict=True):
        views = views or [np.empty((size, *picture.shape), dtype=np.uint8) for size in sizes]
        for number, row in wanted:
            views[number][row] = picture
    return [torch.from_numpy(view) for view in views]


def _indices(container: Container, sample: Callable[[int], Sequence[int] | torch.Tensor], n: int) -> list[int]:
    wanted = [int(index) for index in sample(n)]
    if not wanted:
        raise ValueError(f"{container.path}: the sampler returned no index for {n} frames")
    for index in wanted:
        if not 0 <= index < n:
            raise ValueError(f"{container.path}: the sampler returned index {index}; possible are 0 to {n - 1}")
    return wanted


def _cut(container: Container, timeline: Timeline, start: float | None, stop: float | None) -> range:
    """Positions of the frames in the half-open cut [start, stop)."""
    if timeline.damage and (stop is None or stop > timeline.sound_until):
        raise container.error(timeline.damage)
    cut = timeline.between(start, stop)
    if not cut:
        end = timeline.begin + timeline.duration
        asked = f"{timeline.begin if start is None else start:g} to {end if stop is None else stop:g} s"
        lasts = f"lasts {end:g} s" if not timeline.begin else f"holds {timeline.begin:g} to {end:g} s of its original"
        raise container.error(f"no frame in the cut from {asked}; the video {lasts}")
    return cut


def _frames_in_turn(container: Container, timeline: Timeline, positions: Sequence[int], final: bool) -> Iterator[Any]:
    """Yields the decoded frames at ascending positions, decoding all frames up to the last of them."""
    promised = len(timeline.times)
    wanted = iter(positions)
    target = next(wanted)
    for position, frame in enumerate(container.frames(promised)):
        if frame.is_corrupt and position >= positions[0]:
            raise container.error(f"damaged: frame {position} of {promised} is corrupt")
        if timeline.stamps is not None and frame.pts is not None and frame.pts != timeline.stamps[position]:
            raise _Miscounted
        if position == target:
            yield frame
            target = next(wanted, None)
            if target is None:
                return
    if final:
        raise container.error(f"damaged: frame {target} of {promised} cannot be decoded")
    raise _Miscounted
