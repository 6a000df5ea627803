"""Actions in a long video: probabilities over time become segments, and segments are compared with true ones.

Axes: S steps of equal length, K classes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from torch import Tensor

# Seconds: sums of steps have rounding errors.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Segment:
    """A part of a video that shows one action.

    Args:
        start: its first second.
        end: the second at which it ends.
        label: number of its class.
        score: mean probability of the class over its steps, 0 to 1; of a true segment 1 (default).
    """

    start: float
    end: float
    label: int
    score: float = 1.0


@dataclass(frozen=True)
class Rule:
    """How steps become segments, see `segments`.

    Args:
        high: a segment has a step with at least this probability, 0 to 1 (default 0.6).
        low: all its steps have at least this probability, 0 to ``high`` (default 0.4).
        min_duration: seconds, 0 or more; shorter segments are left out (default 0).
        gap: seconds, 0 or more; two parts of one class that are at most so far apart, with no other class between them, are
            one segment (default 0).
        reject: a step whose best class has a lower probability is "none of these", 0 to 1 (default 0).
        background: labels of classes that are no action (default: none).

    Raises:
        ValueError: a number out of range; the message begins with its name.
    """

    high: float = 0.6
    low: float = 0.4
    min_duration: float = 0.0
    gap: float = 0.0
    reject: float = 0.0
    background: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for name in ("high", "low", "reject"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: possible are 0 to 1, a probability")
        if self.low > self.high:
            raise ValueError(f"low {self.low}: must not be above high, {self.high}")
        for name in ("min_duration", "gap"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} {getattr(self, name)}: must be 0 seconds or more")

    def answer(self, probabilities: Sequence[float]) -> int | None:
        """The class of a step: the most probable one; None for "none of these" and for a class that is no action."""
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        known = probabilities[best] >= self.reject and best not in self.background
        return best if known else None


@dataclass
class _Open:
    """A segment to which steps may still be added."""

    label: int
    first: int
    last: int
    values: list[float] = field(default_factory=list)


class Segmenter:
    """Makes segments of steps that come one after the other; memory does not grow with their number.

    Args:
        step: seconds of a step.
        rule: see `segments`.

    Raises:
        ValueError: ``step`` is not above 0.
    """

    def __init__(self, step: float, rule: Rule) -> None:
        if not step > 0:
            raise ValueError(f"step {step}: must be above 0 seconds")
        self.step, self.rule = step, rule
        self._open: _Open | None = None
        self._number = 0

    def add(self, probabilities: Sequence[float]) -> list[Segment]:
        """Adds a step, and returns the segment that it ends, if any.

        **Shapes:** probabilities (K,)
        """
        number, self._number = self._number, self._number + 1
        label = self.rule.answer(probabilities)
        finished: list[Segment] = []
        if label is not None and probabilities[label] >= self.rule.low:
            if self._open is None or self._open.label != label or not self._near(number):
                finished = self._close()
                self._open = _Open(label, number, number)
            assert self._open is not None
            self._open.last = number
            self._open.values.append(probabilities[label])
        elif self._open is not None and not self._near(number + 1):
            finished = self._close()
        return finished

    def end(self, seconds: float | None = None) -> list[Segment]:
        """Ends the video, and returns the segment that ends with it, if any.

        Args:
            seconds: its length, at which the last step ends; None (default) for the end of that step.
        """
        return self._close(seconds)

    def _near(self, number: int) -> bool:
        """Whether a step belongs to the open segment if it is of the same class."""
        assert self._open is not None
        return (number - self._open.last - 1) * self.step <= self.rule.gap + TOLERANCE

    def _close(self, seconds: float | None = None) -> list[Segment]:
        found, self._open = self._open, None
        if found is None or max(found.values) < self.rule.high:
            return []
        start, end = found.first * self.step, (found.last + 1) * self.step
        end = end if seconds is None else min(end, seconds)
        if end - start < self.rule.min_duration - TOLERANCE:
            return []
        return [Segment(start, end, found.label, sum(found.values) / len(found.values))]


def segments(probabilities: Tensor, step: float, rule: Rule, seconds: float | None = None) -> list[Segment]:
    """Segments of a video by hysteresis: parts with one best class and at least ``low``, which reach ``high`` somewhere.

    Source: the two thresholds of Canny's edges, https://doi.org/10.1109/TPAMI.1986.4767851, section VIII, in time.
    Formula: ``c_s = argmax_k p_sk`` where ``p_s,c_s >= max(low, reject)`` and the class is an action; a segment is a longest
    run of
    equal ``c_s``, runs at most ``gap`` apart joined, with ``max_s p_s,c_s >= high`` and at least ``min_duration``.

    Args:
        probabilities: of the steps.
        step: seconds of a step.
        rule: the thresholds.
        seconds: length of the video; None (default) for whole steps.

    **Shapes:** probabilities (S, K)
    """
    segmenter = Segmenter(step, rule)
    found = [segment for row in probabilities.tolist() for segment in segmenter.add(row)]
    return [*found, *segmenter.end(seconds)]


@dataclass(frozen=True)
class Matches:
    """Segments compared with true ones.

    Args:
        right: found segments that match a true one.
        wrong: found segments that match none.
        missed: true segments that no found one matches.
    """

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of the found segments that are right; 1 where none is found."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """Share of the true segments that are found; 1 where there is none."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    @property
    def f1(self) -> float:
        """``2 right / (2 right + wrong + missed)``; 1 where there is neither a found nor a true segment."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 1.0


def iou(one: Segment, other: Segment) -> float:
    """Intersection over union of two segments in time, whatever their classes."""
    inside = min(one.end, other.end) - max(one.start, other.start)
    whole = max(one.end, other.end) - min(one.start, other.start)
    return max(inside, 0.0) / whole if whole > 0 else 0.0


def match(found: Sequence[Segment], true: Sequence[Segment], threshold: float = 0.5) -> Matches:
    """Counts the found segments that match a true one of their class; each true one is matched once.

    Source: segmental F1 of temporal convolutional networks, https://arxiv.org/abs/1611.05267, section 4.1.
    Formula: in the order of time, a found segment is right if the true segment of its class with the largest IoU has at least
    ``threshold`` and is not matched yet.

    Args:
        found: segments of a model.
        true: the annotated ones.
        threshold: smallest intersection over union, above 0 to 1 (default 0.5).

    Raises:
        ValueError: ``threshold`` out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold}: possible are above 0 to 1, an intersection over union")
    used: set[int] = set()
    for segment in sorted(found, key=lambda one: (one.start, one.end)):
        best = max(
            (number for number, one in enumerate(true) if one.label == segment.label),
            key=lambda number: iou(segment, true[number]),
            default=None,
        )
        if best is not None and best not in used and iou(segment, true[best]) >= threshold - TOLERANCE:
            used.add(best)
    return Matches(len(used), len(found) - len(used), len(true) - len(used))


def labels_of(names: Collection[str], classes: Sequence[str]) -> frozenset[int]:
    """The labels of classes given by name.

    Raises:
        ValueError: an unknown class.
    """
    for name in names:
        if name not in classes:
            shown = ", ".join(list(classes)[:20])
            raise ValueError(f"background_class {name!r}: the model has no such class; it has {shown}")
    return frozenset(classes.index(name) for name in names)
