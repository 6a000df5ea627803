"""When the frames of a video are shown, and which of them lie in a cut given in seconds."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

# Lists are written with rounded decimals, and sums of them carry rounding errors. A frame this close before a boundary
# counts as on it; no two frames are so close.
HAIR = 1e-6


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video is shown.

    Args:
        times: seconds from the first frame, ascending, one for each frame in the order of presentation.
        duration: seconds from the first frame to the end of the last one.
        stamps: the same times in ticks of the stream, for recognising decoded frames; None where the file has none.
        damage: what is wrong with the file, empty when nothing is.
        sound_until: no frame before this time (in seconds) is missing; infinite for an undamaged file.
        rate: frames a second where frame k is shown at k / rate, else None.
        begin: the time of the first frame; other than 0 only after ``since``.
    """

    times: tuple[float, ...]
    duration: float
    stamps: tuple[int, ...] | None = None
    damage: str = ""
    sound_until: float = math.inf
    rate: Fraction | None = None
    begin: float = 0.0

    def since(self, origin: float) -> "Timeline":
        """The same frames in the seconds of an original that the file was cut out of.

        The first frame is the first one of the original at or after ``origin``: with a constant rate the next point of
        the grid k / rate, which the original's frames lie on as well, so that both count the same; else ``origin``.

        Args:
            origin: where the file begins in the original, in seconds from its first frame.
        """
        if self.rate is None:
            times, begin = tuple(origin + time for time in self.times), origin
        else:
            first = max(0, math.ceil(Fraction(origin) * self.rate) - 1)
            while not at_or_after(seconds(first, self.rate), origin):
                first += 1
            # Rounded once, as the original's times are.
            times = tuple(seconds(first + k, self.rate) for k in range(len(self.times)))
            begin = times[0]
        return replace(self, times=times, begin=begin, sound_until=begin + self.sound_until)

    def between(self, start: float | None, stop: float | None) -> range:
        """Positions of the frames in the half-open cut [start, stop), in seconds; None: no limit."""
        first = 0 if start is None else bisect_left(self.times, start - HAIR)
        behind = len(self.times) if stop is None else bisect_left(self.times, stop - HAIR)
        return range(first, behind)


def at_or_after(time: float, boundary: float) -> bool:
    """Whether a frame shown at ``time`` belongs to what begins at ``boundary``."""
    return time >= boundary - HAIR


def seconds(position: int, rate: Fraction) -> float:
    """position / rate with one rounding: frame 10 of 25 a second is exactly the 0.4 that a list says."""
    return position * rate.denominator / rate.numerator


def constant_rate(stamps: Sequence[int], tick: Fraction, rates: Iterable[Fraction | None]) -> Fraction | None:
    """The first of some rates whose grid k / rate every stamp meets within one tick, so that only rounding is between.

    Args:
        stamps: ticks, ascending.
        tick: seconds.
        rates: frames a second; None is passed over.
    """
    for rate in rates:
        if rate:
            spacing, unit = rate.denominator * tick.denominator, rate.numerator * tick.numerator
            if all(abs((stamp - stamps[0]) * unit - k * spacing) < unit for k, stamp in enumerate(stamps)):
                return rate
    return None
