import math
import random
from fractions import Fraction

import pytest

from taggnn.data.video.timeline import Timeline, constant_rate, seconds

RATES = [Fraction(25), Fraction(30000, 1001), Fraction(10), Fraction(8100, 323), Fraction(60), Fraction(24000, 1001)]


def constant(n, rate):
    times = tuple(seconds(k, rate) for k in range(n))
    return Timeline(times, seconds(n, rate), rate=rate)


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("digits", [None, 9, 6], ids=["float", "9-digits", "6-digits"])
def test_cuts_of_cuts_are_cuts_of_the_original(rate, digits):
    """Whatever the seconds, a file that holds [origin, ...) gives the frames of [start, stop) that the original gives."""
    random_ = random.Random(0)
    whole = constant(3000, rate)
    for _ in range(200):
        # Boundaries on frames are the ones that rounding can move.
        event, start, stop = (
            seconds(k, rate) if random_.random() < 0.7 else random_.uniform(0, 45)
            for k in sorted(random_.sample(range(2900), 3))
        )
        if digits:
            event, start, stop = (round(value, digits) for value in (event, start, stop))
        event, start, stop = sorted((event, start, stop))
        held = whole.between(event, None)
        inside = constant(len(held), rate).since(event).between(start, stop)
        assert range(held.start + inside.start, held.start + inside.stop) == whole.between(start, stop)


def test_sums_of_seconds_meet_the_frame_they_mean():
    whole = constant(30, Fraction(10))
    assert 0.1 + 0.2 > 0.3
    assert whole.between(0.1 + 0.2, None).start == 3
    assert whole.between(None, 0.1 + 0.2).stop == 3
    assert constant(20, Fraction(10)).since(0.1 + 0.2).times[0] == 0.3
    assert whole.between(0.3 - 2e-6, 0.3 + 2e-6) == range(3, 4)


def test_a_frame_between_grid_points_is_the_next_one():
    cut = constant(5, Fraction(10)).since(0.31)
    assert cut.times == (0.4, 0.5, 0.6, 0.7, 0.8)
    assert (cut.begin, cut.duration) == (0.4, 0.5)


def test_without_a_constant_rate_the_file_begins_at_its_origin():
    timeline = Timeline((0.0, 0.5, 0.6), 0.7, sound_until=0.55).since(10.25)
    assert timeline.times == (10.25, 10.75, 10.85)
    assert timeline.sound_until == pytest.approx(10.8)


def test_an_origin_before_the_beginning_is_the_beginning():
    assert constant(3, Fraction(10)).since(-5.0).times[0] == 0.0
    assert constant(3, Fraction(10)).since(0.0).sound_until == math.inf


def test_a_rate_is_constant_when_only_rounding_lies_between():
    film = Fraction(30000, 1001)
    milliseconds = [round(1000 * k / film) for k in range(500)]
    assert constant_rate(milliseconds, Fraction(1, 1000), [None, Fraction(30), film]) == film
    milliseconds[300] += 2
    assert constant_rate(milliseconds, Fraction(1, 1000), [film]) is None
    # A dropped frame is no rounding, however coarse the clock.
    assert constant_rate([0, 1, 2, 4], Fraction(1, 25), [Fraction(25)]) is None
    assert constant_rate([7, 8, 9], Fraction(1, 25), [Fraction(25)]) == 25
    assert constant_rate([5], Fraction(1, 25), [None]) is None
