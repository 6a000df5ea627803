import numpy as np
import pytest

from taggnn.data import frame_sampling
from taggnn.data.video.windows import Plan, Windows


def picture(number):
    return np.full((1, 1, 3), number % 251, np.uint8)


def windows_of(times, seconds, plan, sampler):
    windows = Windows(plan, sampler, 1e-3)
    out = [window for number, time in enumerate(times) for window in windows.add(time, picture(number))]
    return [*out, *windows.end(seconds)]


def naive(times, seconds, plan, sampler):
    """The whole video at once: frame g of the grid is the last one that is not later than g / rate."""
    grid = []
    while len(grid) / plan.rate < seconds - 1e-3:
        now = len(grid) / plan.rate
        grid.append(max(k for k, time in enumerate(times) if time <= now + 1e-3))
    starts = [s for s in range(0, len(grid), plan.stride) if s + plan.length <= len(grid)]
    ends = [s + plan.length for s in starts]
    if not ends or ends[-1] < len(grid):
        starts.append(max(0, len(grid) - plan.length))
        ends.append(len(grid))
    return [(s, e, tuple(grid[s + i] for i in sampler(e - s))) for s, e in zip(starts, ends, strict=True)]


SAMPLERS = {
    "uniform": frame_sampling.Uniform(4),
    "segment": frame_sampling.RandomInSegment(4),
    "dense": frame_sampling.Dense(4, 2),
}


@pytest.mark.parametrize("rate", [12.0, 5.0, 24.0], ids="grid-{:g}".format)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("frames", [1, 3, 20, 61], ids="{}-frames".format)
@pytest.mark.parametrize("even", [True, False], ids=["constant-rate", "variable-rate"])
def test_equals_the_naive_ones(rate, sampler, frames, even):
    drawn = np.random.default_rng(frames)
    gaps = np.full(frames, 1 / 12) if even else drawn.uniform(0.01, 0.3, frames)
    times = [0.0, *np.cumsum(gaps)]
    times, seconds = times[:-1], times[-1]
    plan = Plan(rate, 12, 5)
    found = windows_of(times, seconds, plan, sampler)
    assert [(one.start, one.stop, one.numbers) for one in found] == naive(times, seconds, plan, sampler)
    assert all(p[0, 0, 0] == n % 251 for one in found for p, n in zip(one.pictures, one.numbers, strict=True))
    covered = {g for one in found for g in range(one.start, one.stop)}
    assert covered == set(range(found[-1].stop))


def test_times_rounded_to_milliseconds_are_the_same_frames():
    plan, sampler = Plan(30.0, 8, 3), frame_sampling.Uniform(8)
    times = [round(k / 30, 3) for k in range(50)]
    for window in windows_of(times, 50 / 30, plan, sampler):
        assert window.numbers == tuple(range(window.start, window.stop))


def test_a_window_needs_no_frame_behind_it():
    windows = Windows(Plan(10.0, 4, 2), frame_sampling.Uniform(2))
    counts = [len(list(windows.add(k / 10, picture(k)))) for k in range(8)]
    assert counts == [0, 0, 0, 1, 0, 1, 0, 1]


def test_memory_is_one_window():
    windows = Windows(Plan(10.0, 4, 2), frame_sampling.Uniform(2))
    for k in range(500):
        list(windows.add(k / 10, picture(k)))
    assert len(windows._grid) == 4


@pytest.mark.parametrize(
    "numbers",
    [(0.0, 4, 2), (float("inf"), 4, 2), (10.0, 0, 1), (10.0, 4, 5), (10.0, 4, 0), (10.0, 10**9, 1)],
    ids=["no-rate", "endless-rate", "empty", "stride-above-length", "no-stride", "too-long"],
)
def test_impossible_plans_are_refused(numbers):
    with pytest.raises(ValueError, match=r"^(rate|window|stride)"):
        Plan(*numbers)
