"""The answers for a long video: rows over time, segments, and a summary of bounded size for a plot.

Axes: S steps, K classes, N columns of the plot.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from taggnn.data.video.streaming import Stream
from taggnn.data.video.windows import Plan, Window
from taggnn.evaluation.overlap import Overlap
from taggnn.evaluation.segments import Rule, Segment, Segmenter
from taggnn.evaluation.sliding import Sliding

# Columns of the plot at most; with more, two neighbours become one.
COLUMNS = 4096


@dataclass(frozen=True)
class Step:
    """An answer for a short part of a video.

    Args:
        start: its first second.
        end: the second at which it ends.
        label: its class; None for "none of these".
        probabilities: of all classes.

    **Shapes:** probabilities float64 (K,)
    """

    start: float
    end: float
    label: int | None
    probabilities: Tensor


class Columns:
    """Probabilities over time at a resolution that halves when there are too many: memory does not grow with the video.

    Args:
        step: seconds of a step.
        limit: N, an even number of columns at most (default 4096).
    """

    def __init__(self, step: float, limit: int = COLUMNS) -> None:
        self.step, self.limit, self.steps_each = step, limit, 1
        self._full: list[Tensor] = []
        self._part: list[Tensor] = []

    def add(self, probabilities: Tensor) -> None:
        """Adds a step. **Shapes:** (K,)"""
        self._part.append(probabilities)
        if len(self._part) == self.steps_each:
            self._full.append(torch.stack(self._part).mean(0))
            self._part = []
        if len(self._full) == self.limit:
            self._full = [(one + other) / 2 for one, other in zip(self._full[::2], self._full[1::2], strict=True)]
            self.steps_each *= 2

    @property
    def seconds(self) -> float:
        """Seconds of a column."""
        return self.step * self.steps_each

    def values(self) -> Tensor:
        """The mean probabilities of each column. **Shapes:** -> (N, K)"""
        rest = [torch.stack(self._part).mean(0)] if self._part else []
        return torch.stack([*self._full, *rest])


@dataclass
class Timeline:
    """What was found in a long video.

    Args:
        plan: its windows.
        rule: how steps become segments.
        columns: probabilities over time, for a plot.
        seconds: length of the video.
        frames: frames that were decoded.
        windows: windows that were classified.
        steps: number of answers.
        none: how many of them are "none of these".
        segments: in the order of time.
        notes: sentences that a reader must know.
    """

    plan: Plan
    rule: Rule
    columns: Columns
    seconds: float = 0.0
    frames: int = 0
    windows: int = 0
    steps: int = 0
    none: int = 0
    segments: list[Segment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def follow(sliding: Sliding, stream: Stream, plan: Plan, rule: Rule) -> tuple[Timeline, Iterator[Step]]:
    """Classifies a stream from its beginning to its end, decoded once; memory does not grow with its length.

    Args:
        sliding: the model.
        stream: open.
        plan: the windows.
        rule: how steps become segments.

    Returns:
        The timeline, which is complete when the steps are used up, and the steps, in the order of time.

    Raises:
        VideoError: from the steps: there is no frame.
    """
    found = Timeline(plan, rule, Columns(plan.step))
    return found, _steps(sliding, stream, found)


def _steps(sliding: Sliding, stream: Stream, found: Timeline) -> Iterator[Step]:
    overlap, segmenter = Overlap(found.plan.stride), Segmenter(found.plan.step, found.rule)
    for number, probabilities in _answered(sliding, stream, found, overlap):
        row = probabilities.tolist()
        label = found.rule.answer(row)
        found.steps += 1
        found.none += label is None
        found.columns.add(probabilities.float())
        found.segments += segmenter.add(row)
        start = number * found.plan.step
        end = start + found.plan.step
        yield Step(start, min(end, found.seconds) if found.seconds else end, label, probabilities)
    found.segments += segmenter.end(found.seconds)
    found.notes = [sliding.note(), *stream.damage.notes()]


def _answered(sliding: Sliding, stream: Stream, found: Timeline, overlap: Overlap) -> Iterator[tuple[int, Tensor]]:
    windows = sliding.windows(stream, found.plan)

    def cut() -> Iterator[Window]:
        for frame in stream.frames():
            found.frames += 1
            yield from windows.add(frame.time, sliding.picture(frame.picture))
        yield from windows.end(stream.end)

    for window, answer in sliding.answers(cut()):
        found.windows += 1
        yield from overlap.add(window.start, window.stop, answer)
    # Where the grid is coarser than the video, its last frame may end later.
    found.seconds = stream.end
    yield from overlap.end(windows.frames)
