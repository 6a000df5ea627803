"""The properties of a video file, and the file that stores them, so that no file is scanned twice."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from taggnn.data.video.container import NO_FRAME, Container, Timeline, VideoError
from taggnn.runtime.atomic import write_text

DEPTHS = ("packets", "decode")
# Of the stored results; a file of another format is not read.
FORMAT = 3
# (start, stop, origin) of a clip, see clips.Clip.
Cut = tuple[float | None, float | None, float | None]
# Largest number of corrupt pictures whose times are stored.
MAX_CORRUPT = 100


@dataclass(frozen=True)
class VideoInfo:
    """Properties of one video file.

    Args:
        kind: "" for a video that opens, else "missing", "unreadable" or "zero-frame".
        trouble: why it cannot be used; empty for a video that opens.
        size: bytes.
        changed: modification time in nanoseconds.
        depth: how far it was read, one of ``DEPTHS``.
        codec: name of the codec.
        width: pixels of the stored picture.
        height: pixels of the stored picture.
        frames: number of shown pictures.
        seconds: from the first picture to the end of the last one.
        fingerprint: equal for equal video, see ``Container.fingerprint``.
        damage: what is wrong with a video that opens; empty for an undamaged one.
        sound_until: no picture before this second is missing; infinite for an undamaged file.
        corrupt: seconds of the pictures that the decoder marked as corrupt (with depth "decode"), the first 100.
        cuts: ``cut_key`` -> number of pictures in the cut, and the second of the original at which the file begins (0
            without one).
    """

    kind: str = ""
    trouble: str = ""
    size: int = 0
    changed: int = 0
    depth: str = "packets"
    codec: str = ""
    width: int = 0
    height: int = 0
    frames: int = 0
    seconds: float = 0.0
    fingerprint: str = ""
    damage: str = ""
    sound_until: float = math.inf
    corrupt: Sequence[float] = ()
    cuts: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Average number of pictures per second."""
        return self.frames / self.seconds if self.seconds else 0.0


def cut_key(start: float | None, stop: float | None, origin: float | None) -> str:
    """The key of a cut [start, stop), in seconds of the file or of its original, in ``VideoInfo.cuts``."""
    return "-".join("" if second is None else repr(second) for second in (start, stop, origin))


def probe(path: str, cuts: Sequence[Cut] = (), depth: str = "packets") -> VideoInfo:
    """Reads all packets of a video and, with depth "decode", decodes every picture.

    Args:
        path: the file.
        cuts: (start, stop, origin) of clips; their pictures are counted as in training.
        depth: one of ``DEPTHS``.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        return VideoInfo("missing" if isinstance(error, FileNotFoundError) else "unreadable", _why(error), depth=depth)
    seen: dict[str, Any] = {"size": state.st_size, "changed": state.st_mtime_ns, "depth": depth}
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
        return VideoInfo("unreadable", _why(error), **seen)


def read_scan(path: Path, decoder: str) -> dict[str, VideoInfo]:
    """The stored results of an earlier scan: file -> info; empty where there are none, or of another decoder."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["form"] != FORMAT or stored["decoder"] != decoder:
            return {}
        return {name: VideoInfo(**info) for name, info in stored["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_scan(path: Path, known: Mapping[str, VideoInfo], decoder: str) -> None:
    """Stores the results of a scan, all or nothing.

    Files that could not be used are left out: the cause may be temporary, such as a disk that was not mounted.

    Raises:
        OSError: as ``atomic.replacing``.
    """
    files = {name: vars(info) for name, info in known.items() if not info.kind}
    write_text(path, json.dumps({"form": FORMAT, "decoder": decoder, "files": files}))


def is_current(info: VideoInfo, path: str, cuts: Sequence[Cut], depth: str) -> bool:
    """Whether a stored result is valid for the present file: same size and time, all cuts, sufficient depth."""
    try:
        state = os.stat(path)
    except OSError:
        return False
    return (
        (info.size, info.changed) == (state.st_size, state.st_mtime_ns)
        and DEPTHS.index(info.depth) >= DEPTHS.index(depth)
        and all(cut_key(*cut) in info.cuts for cut in cuts)
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


def _why(error: OSError) -> str:
    return f"cannot be opened ({error.strerror or error})"
