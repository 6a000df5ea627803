"""The properties of a video file."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar

from taggnn.data.audit.facts import Cut, FileFacts, cut_key, opened, why
from taggnn.data.video import frame_folder
from taggnn.data.video.container import NO_FRAME, Container, Timeline, VideoError

# Largest number of corrupt pictures whose times are stored.
MAX_CORRUPT = 100


@dataclass(frozen=True)
class VideoInfo(FileFacts):
    """Properties of one video file: ``FileFacts``, in seconds, and those of its pictures.

    ``fingerprint`` is ``Container.fingerprint``; ``corrupt`` are the pictures that the decoder marked (with depth "decode").

    Args:
        codec: name of the codec.
        width: pixels of the stored picture.
        height: pixels of the stored picture.
    """

    noun: ClassVar[str] = "video"

    codec: str = ""
    width: int = 0
    height: int = 0

    @property
    def rate(self) -> float:
        """Average number of pictures per second."""
        return self.frames / self.seconds if self.seconds else 0.0

    def numbers(self) -> dict[str, tuple[float, str]]:
        return {
            "seconds of a file": (self.seconds, "{:.2f}"),
            "frames a second": (self.rate, "{:.2f}"),
            "shorter side, pixels": (min(self.width, self.height), "{:.0f}"),
        }

    def values(self) -> dict[str, str]:
        return {
            "Picture sizes": f"{self.width} × {self.height}",
            "Frame rates": f"{self.rate:.2f}",
            "Codecs": self.codec,
        }

    def cut(self, start: float, stop: float) -> str:
        return f"the cut from {start:g} to {stop:g} s of the file; the video lasts {self.seconds:.2f} s"

    def length(self, time: float) -> str:
        return f"{time:.2f} s"


def probe(path: str, cuts: Sequence[Cut] = (), depth: str = "packets", frame_rate: float | None = None) -> VideoInfo:
    """Reads all packets of a video and, with depth "decode", decodes every picture.

    Args:
        path: the file.
        cuts: (start, stop, origin) of clips; their pictures are counted as in training.
        depth: one of ``facts.DEPTHS``.
        frame_rate: frames a second of a folder of images; None (default) where it is not stated.
    """
    seen = opened(path, depth)
    if "kind" in seen:
        return VideoInfo(**seen)
    if os.path.isdir(path):
        return _probe_images(path, cuts, depth, frame_rate, seen)
    try:
        # The scan has its own timeout.
        with Container(path, decode_timeout=math.inf, fingerprint=True) as container:
            timeline = container.timeline()
            harmed = [*timeline.holes, *(first for first, _ in timeline.lost)]
            corrupt = sorted(timeline.times[position] for position in harmed)
            if depth == "decode":
                timeline, found = _decoded(container, timeline)
                corrupt = sorted({*corrupt, *found})[:MAX_CORRUPT]
            codec, width, height = container.codec()
            return VideoInfo(
                **seen,
                codec=codec,
                width=width,
                height=height,
                frames=len(timeline.times),
                seconds=timeline.duration,
                fingerprint=container.fingerprint(),
                damage=timeline.damage,
                sound_until=timeline.sound_until,
                corrupt=corrupt,
                cuts=_counted(timeline, cuts),
            )
    except VideoError as error:
        return VideoInfo("zero-frame" if error.reason == NO_FRAME else "unreadable", error.reason, **seen)
    except OSError as error:
        return VideoInfo("unreadable", why(error), **seen)


def _probe_images(
    path: str, cuts: Sequence[Cut], depth: str, frame_rate: float | None, seen: dict[str, Any]
) -> VideoInfo:
    """Looks at a folder of images: their numbers, the size of each and, with depth "decode", every pixel."""
    try:
        files = frame_folder.frame_files(path)
        sizes = [frame_folder.image_size(file) for file in files]
        other = next((file for file, size in zip(files, sizes, strict=True) if size != sizes[0]), None)
        if other is not None:
            raise VideoError(path, f"{other.name} has another size than {files[0].name}")
        for file in files if depth == "decode" else ():
            frame_folder.read_image(file)
        needed = any(start is not None or stop is not None for start, stop, _ in cuts)
        timeline = frame_folder.timeline(path, len(files), frame_rate, needed)
    except VideoError as error:
        return VideoInfo("unreadable", error.reason, **seen)
    digest = sha256()
    for file in files:
        digest.update(sha256(file.read_bytes()).digest())
    return VideoInfo(
        **seen,
        codec=f"images {files[0].suffix.lower()}",
        width=sizes[0][0],
        height=sizes[0][1],
        frames=len(files),
        # Without a rate seconds are not known.
        seconds=timeline.duration if frame_rate is not None else 0.0,
        fingerprint=digest.hexdigest(),
        cuts=_counted(timeline, cuts),
    )


def _decoded(container: Container, timeline: Timeline) -> tuple[Timeline, list[float]]:
    """Decodes everything: the corrected timeline, and the seconds of corrupt pictures."""
    times, count = timeline.times, 0
    corrupt: list[float] = []
    try:
        for frame in container.frames(len(times)):
            if frame.is_corrupt and len(corrupt) < MAX_CORRUPT:
                corrupt.append(times[min(count, len(times) - 1)])
            count += 1
        if count != len(times):
            timeline = container.timeline_by_decoding(timeline)
    except VideoError as error:
        until = times[count] if count < len(times) else timeline.duration
        damage = timeline.damage or error.reason
        timeline = replace(timeline, stamps=None, damage=damage, sound_until=min(until, timeline.sound_until))
    return timeline, corrupt


def _counted(timeline: Timeline, cuts: Sequence[Cut]) -> dict[str, list[float]]:
    # The clips of an event share its origin.
    origins = {origin for *_, origin in cuts}
    since = {origin: timeline if origin is None else timeline.since(origin) for origin in origins}
    return {
        cut_key(start, stop, origin): [len(since[origin].between(start, stop)), since[origin].begin]
        for start, stop, origin in cuts
    }
