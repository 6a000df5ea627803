"""The presentation times of a video's frames, and the frames of a cut given in seconds."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

# Seconds. Lists have rounded decimals, and sums of them rounding errors: a frame this close before a boundary counts as on
# it. No two frames are so close.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Timeline:
    """The presentation times of a video's frames.

    Args:
        times: seconds from the first frame, ascending, one for each frame in presentation order.
        duration: seconds from the first frame to the end of the last one.
        stamps: the same times in ticks of the stream, to identify decoded frames; None where the file has none.
        damage: what is wrong with the file; empty for an undamaged one.
        sound_until: no frame before this time (in seconds) is missing; infinite for an undamaged file.
        rate: frames per second where frame k is shown at k / rate, else None.
        begin: the time of the first frame; other than 0 only after ``since``.
        lost: (first, last + 1) indices of frames of which a part is missing, or which refer to such a frame.
        holes: indices of frames before which frames are missing.
    """

    times: tuple[float, ...]
    duration: float
    stamps: tuple[int, ...] | None = None
    damage: str = ""
    sound_until: float = math.inf
    rate: Fraction | None = None
    begin: float = 0.0
    lost: tuple[tuple[int, int], ...] = ()
    holes: tuple[int, ...] = ()

    def since(self, origin: float) -> "Timeline":
        """The same frames in seconds of the original that the file was cut from.

        The first frame is the first one of the original at or after ``origin``: with a constant rate the next point of
        the grid k / rate, on which the original's frames lie too; else ``origin``.

        Args:
            origin: second of the original, from its first frame, at which the file begins.
        """
        if self.rate is None:
            times, begin = tuple(origin + time for time in self.times), origin
        else:
            first = max(0, math.ceil(Fraction(origin) * self.rate) - 1)
            while not at_or_after(seconds(first, self.rate), origin):
                first += 1
            # Rounded once, like the original's times.
            times = tuple(seconds(first + k, self.rate) for k in range(len(self.times)))
            begin = times[0]
        return replace(self, times=times, begin=begin, sound_until=begin + self.sound_until)

    def is_lost(self, position: int) -> bool:
        """Whether a frame, or one that it refers to, lacks a part."""
        return any(first <= position < last for first, last in self.lost)

    def hole(self, start: float | None, stop: float | None) -> tuple[float, float] | None:
        """Between which seconds frames of the cut [start, stop) are missing; None if none are."""
        for position in self.holes:
            before, after = self.times[position - 1], self.times[position]
            if (start is None or start < after - TOLERANCE) and (stop is None or stop > before + TOLERANCE):
                return before, after
        return None

    def between(self, start: float | None, stop: float | None) -> range:
        """Indices of the frames in the half-open cut [start, stop), in seconds; None: no limit."""
        first = 0 if start is None else bisect_left(self.times, start - TOLERANCE)
        last = len(self.times) if stop is None else bisect_left(self.times, stop - TOLERANCE)
        return range(first, last)


def at_or_after(time: float, boundary: float) -> bool:
    """Whether a frame shown at ``time`` belongs to what begins at ``boundary``."""
    return time >= boundary - TOLERANCE


def seconds(position: int, rate: Fraction) -> float:
    """position / rate with one rounding: frame 10 at 25 per second is exactly the 0.4 of a list."""
    return position * rate.denominator / rate.numerator


def constant_rate(stamps: Sequence[int], tick: Fraction, rates: Iterable[Fraction | None]) -> Fraction | None:
    """The first of some rates whose grid k / rate is within one tick of every stamp, so that they differ by rounding only.

    Args:
        stamps: ticks, ascending.
        tick: seconds.
        rates: frames per second; None is skipped.
    """
    for rate in rates:
        if rate:
            spacing, unit = rate.denominator * tick.denominator, rate.numerator * tick.numerator
            if all(abs((stamp - stamps[0]) * unit - k * spacing) < unit for k, stamp in enumerate(stamps)):
                return rate
    return None
