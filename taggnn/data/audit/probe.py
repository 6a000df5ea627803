"""What a scan finds out about a video file, and the file that keeps it, so that no file is scanned twice."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from taggnn.data.video.container import NO_FRAME, Container, Timeline, VideoError
from taggnn.runtime.atomic import write_text

DEPTHS = ("packets", "decode")
# A kept file of another form is not read but made anew.
FORM = 2
# (start, stop, origin) of a clip, see clips.Clip.
Cut = tuple[float | None, float | None, float | None]
# Bad pictures whose times are kept; a file that has more of them is bad enough.
MOST_CORRUPT = 100


@dataclass(frozen=True)
class VideoInfo:
    """One video file as a scan saw it.

    Args:
        kind: "" for a video that opens, else "missing", "unreadable" or "zero-frame".
        trouble: why it cannot be used, in words; empty for a video that opens.
        size: bytes.
        changed: when the file was last written, in nanoseconds.
        depth: how it was looked at, one of ``DEPTHS``.
        codec: name of the codec.
        width: pixels of the stored picture.
        height: pixels of the stored picture.
        frames: pictures that are shown.
        seconds: from the first picture to the end of the last one.
        fingerprint: equal for equal video, see ``Container.fingerprint``.
        damage: what is wrong with a video that opens all the same; empty when nothing is.
        sound_until: no picture before this second is missing; infinite for a sound file.
        corrupt: seconds of the pictures that the decoder marked as damaged (depth "decode" alone), the first 100.
        cuts: of each cut that was asked for, by ``cut_key``: the number of its pictures, and the second at which the file
            begins in its original (0 without one).
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
        """Pictures a second, on average."""
        return self.frames / self.seconds if self.seconds else 0.0


def cut_key(start: float | None, stop: float | None, origin: float | None) -> str:
    """Names a cut [start, stop) in seconds of the file, or of its original, for ``VideoInfo.cuts``."""
    return "-".join("" if second is None else repr(second) for second in (start, stop, origin))


def probe(path: str, cuts: Sequence[Cut] = (), depth: str = "packets") -> VideoInfo:
    """Opens a video and reads all its packets; with depth "decode" it decodes every picture too.

    Args:
        path: the file.
        cuts: (start, stop, origin) as clips have them; each is counted as training counts it.
        depth: one of ``DEPTHS``.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        return VideoInfo("missing" if isinstance(error, FileNotFoundError) else "unreadable", _why(error), depth=depth)
    seen = {"size": state.st_size, "changed": state.st_mtime_ns, "depth": depth}
    try:
        # The scan itself gives up a file that takes too long.
        with Container(path, decode_timeout=math.inf, fingerprint=True) as container:
            timeline = container.timeline()
            corrupt: list[float] = []
            if depth == "decode":
                timeline, corrupt = _decoded(container, timeline)
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
    """Reads what an earlier scan kept: file -> facts; nothing where there is none, or one of another decoder."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["form"] != FORM or kept["decoder"] != decoder:
            return {}
        return {name: VideoInfo(**facts) for name, facts in kept["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_scan(path: Path, known: Mapping[str, VideoInfo], decoder: str) -> None:
    """Keeps what a scan found out, all or nothing.

    Files that could not be used are left out: a disk that was away for a moment must not condemn them for good.

    Raises:
        OSError: as ``atomic.replacing``.
    """
    files = {name: vars(facts) for name, facts in known.items() if not facts.kind}
    write_text(path, json.dumps({"form": FORM, "decoder": decoder, "files": files}))


def is_current(facts: VideoInfo, path: str, cuts: Sequence[Cut], depth: str) -> bool:
    """Whether facts of an earlier scan answer for the file as it is now: same size and time, all cuts, deep enough."""
    try:
        state = os.stat(path)
    except OSError:
        return False
    return (
        (facts.size, facts.changed) == (state.st_size, state.st_mtime_ns)
        and DEPTHS.index(facts.depth) >= DEPTHS.index(depth)
        and all(cut_key(*cut) in facts.cuts for cut in cuts)
    )


def _decoded(container: Container, timeline: Timeline) -> tuple[Timeline, list[float]]:
    """Decodes everything: the timeline with what was found, and the seconds of damaged pictures."""
    times, corrupt, count = timeline.times, [], 0
    try:
        for frame in container.frames(len(times)):
            if frame.is_corrupt and len(corrupt) < MOST_CORRUPT:
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
