"""The page of a long video: the video itself, its segments in time, and a table of them; a click on a segment seeks the video.

Axes: N columns of the plot, K classes.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torch import Tensor

from taggnn.data.video.streaming import PIPE, is_address
from taggnn.evaluation.segments import Segment
from taggnn.evaluation.timeline import Timeline
from taggnn.io.loaded import NONE, Loaded
from taggnn.reporting.page import ROWS, count, duration, percent, render

# Classes with a lane of their own, those with the longest segments first, and segments that are drawn.
LANES, DRAWN = 12, 20_000
OTHERS = "other classes"


def timeline_page(found: Timeline, source: str, folder: Path, loaded: Loaded) -> str:
    """Builds the whole document.

    Args:
        found: the complete timeline.
        source: path or address of the video.
        folder: where the page will lie; its link to the video is relative to it.
        loaded: the model.
    """
    lanes = _lanes(found, loaded.classes)
    answered = 1 - found.none / max(1, found.steps)
    rule = found.rule
    return render(
        "timeline.html.j2",
        title=Path(source).name if source != PIPE else "standard input",
        eyebrow="taggnn timeline",
        subtitle=f"{duration(found.seconds)} of video, {count(len(found.segments), 'segment')} of "
        f"{count(len({one.label for one in found.segments}), 'class', 'classes')}.",
        video=video_link(source, folder),
        seconds=found.seconds,
        lanes=lanes,
        columns=len(found.columns.values()),
        column_seconds=found.columns.seconds,
        high=rule.high,
        low=rule.low,
        none=NONE,
        tiles=[
            (str(len(found.segments)), "Segments", f"at least {percent(rule.high, 0)} somewhere"),
            (percent(answered), "Answered", f"of {count(found.steps, 'step')}; the rest is {NONE}"),
            (f"{found.plan.step:g} s", "Step", f"windows of {found.plan.seconds:g} s overlap"),
        ],
        rows=[_row(one, loaded.classes) for one in found.segments[:ROWS]],
        more=max(0, len(found.segments) - ROWS),
        notes=found.notes[1:],
        facts=_facts(found, loaded),
    )


def video_link(source: str, folder: Path) -> str | None:
    """The address of the video for a page in a folder: relative for a file; None for what cannot be played again."""
    if source == PIPE:
        return None
    if is_address(source):
        return source if source.startswith(("http://", "https://")) else None
    try:
        path = os.path.relpath(os.path.realpath(source), os.path.realpath(folder))
    except ValueError:
        # On another drive of Windows.
        return Path(source).resolve().as_uri()
    # A colon in a name would begin a scheme.
    return quote(os.fsencode(path.replace(os.sep, "/")), safe="/")


def clock(seconds: float) -> str:
    """3723.4 -> "1:02:03.4"."""
    tenths = round(10 * seconds)
    hours, rest = divmod(tenths, 36_000)
    minutes, rest = divmod(rest, 600)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{rest / 10:04.1f}"


def _row(segment: Segment, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "start": clock(segment.start),
        "second": f"{segment.start:.2f}",
        "end": clock(segment.end),
        "seconds": f"{segment.end - segment.start:.1f}",
        "name": classes[segment.label],
        "score": segment.score,
    }


def _lanes(found: Timeline, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """A lane for each class with segments; the less frequent ones share the last."""
    seconds: dict[int, float] = {}
    for one in found.segments:
        seconds[one.label] = seconds.get(one.label, 0.0) + one.end - one.start
    ranked = sorted(seconds, key=lambda label: (-seconds[label], label))
    own = ranked if len(ranked) <= LANES else ranked[: LANES - 1]
    values, drawn = found.columns.values(), found.segments[:DRAWN]
    lanes = [
        _lane(classes[label], _area(values[:, label]), [one for one in drawn if one.label == label], classes)
        for label in own
    ]
    rest = [one for one in drawn if one.label not in own]
    return [*lanes, _lane(OTHERS, "", rest, classes)] if rest else lanes


def _lane(name: str, path: str, segments: Sequence[Segment], classes: tuple[str, ...]) -> dict[str, Any]:
    marks = [(f"{one.start:.2f}", f"{one.end - one.start:.2f}", _tip(one, classes)) for one in segments]
    return {"name": name, "path": path, "marks": marks}


def _tip(segment: Segment, classes: tuple[str, ...]) -> str:
    return f"{classes[segment.label]}, {clock(segment.start)} to {clock(segment.end)}, {percent(segment.score)}"


def _area(values: Tensor) -> str:
    """The probability of a class as the path of an area, one unit wide for each column. **Shapes:** (N,)"""
    points = [f"L{number} {1 - value:.2f}H{number + 1}" for number, value in enumerate(values.tolist())]
    return f"M0 1{''.join(points)}V1Z"


def _facts(found: Timeline, loaded: Loaded) -> list[tuple[str, Any]]:
    rule, plan = found.rule, found.plan
    facts: Mapping[str, Any] = {
        "model": loaded.source,
        "windows": found.windows,
        "sampled from": f"{plan.rate:g} frames a second",
        "temperature": loaded.temperature,
        "high": rule.high,
        "low": rule.low,
        "shortest": f"{rule.min_duration:g} s",
        "gap": f"{rule.gap:g} s",
        "reject below": rule.reject,
        "no action": [loaded.classes[label] for label in sorted(rule.background)] or "–",
        "frames": found.frames,
        "tokens": found.notes[0],
    }
    return list(facts.items())
