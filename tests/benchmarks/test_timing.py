"""Turns, rounds and quantiles; no test waits for a clock."""

import pytest
import torch

from benchmarks import timing
from benchmarks.timing import Times


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_quantiles_are_those_of_torch(count):
    seconds = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    times = Times(tuple(seconds.tolist()))
    for share in (0.0, 0.2, 0.5, 0.8, 1.0):
        assert times.quantile(share) == pytest.approx(float(torch.quantile(seconds, share)))


def test_a_row_is_in_milliseconds():
    row = Times((0.001, 0.002, 0.003, 0.004, 0.010)).row()
    assert row == {"median_ms": 3.0, "q20_ms": pytest.approx(1.8), "q80_ms": pytest.approx(5.2), "samples": 5}


def test_short_calls_are_made_more_often_and_long_ones_three_times():
    rounds, slices = timing.plan({"long": 5.0, "middle": 0.1, "short": 0.001}, budget=1.0)
    assert rounds == 3
    assert slices == {"long": 1, "middle": 3, "short": timing.LONGEST_SLICE}


def test_everything_short_shares_the_most_rounds():
    rounds, slices = timing.plan({"one": 0.01, "other": 0.02}, budget=3.0)
    assert rounds == timing.MOST
    assert slices == {"one": 20, "other": 10}


def test_rounds_can_be_given():
    assert timing.plan({"long": 5.0, "short": 0.001}, budget=1.0, rounds=7) == (7, {"long": 1, "short": 1})


def test_calls_come_in_turn_and_warm_up_is_not_counted():
    made = []

    def measure(call, times):
        return [call() for _ in range(times)]

    def call(name, seconds):
        made.append(name)
        return seconds

    calls = {"a": lambda: call("a", 2.0), "b": lambda: call("b", 2.0)}
    found = timing.in_turn(calls, measure, budget=1.0, rounds=2)
    # Once each to warm up (a call of 2 s tells its time at once), then in turn.
    assert made == ["a", "b", "a", "b", "a", "b"]
    assert found == {"a": Times((2.0, 2.0)), "b": Times((2.0, 2.0))}


def test_the_cpu_clock_measures_each_call():
    made = []
    seconds = timing.clock(torch.device("cpu"))(lambda: made.append(1), 4)
    assert len(made) == len(seconds) == 4
    assert min(seconds) >= 0
