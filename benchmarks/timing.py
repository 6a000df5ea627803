"""Time of calls: all of them in turn, so that noise of the machine affects all equally."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch

# Rounds in which everything is called in turn; slow calls get the fewest.
LEAST, MOST = 3, 15
LONGEST_SLICE = 200


@dataclass(frozen=True)
class Times:
    """Seconds of single calls."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    def quantile(self, share: float) -> float:
        """The quantile by linear interpolation between neighbours."""
        ordered = sorted(self.seconds)
        position = share * (len(ordered) - 1)
        low = math.floor(position)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (position - low) * (ordered[high] - ordered[low])

    def row(self) -> dict[str, float | int]:
        """Median and 20/80 quantiles in milliseconds, as a part of a JSON row."""
        return {
            "median_ms": 1e3 * self.median,
            "q20_ms": 1e3 * self.quantile(0.2),
            "q80_ms": 1e3 * self.quantile(0.8),
            "samples": len(self.seconds),
        }


def clock(device: torch.device) -> Callable[[Callable[[], object], int], list[float]]:
    """The clock of a device: ``(call, times) -> seconds of each``; CUDA by events, read after the last call."""
    return _by_events if device.type == "cuda" else _by_counter


def in_turn(
    calls: Mapping[str, Callable[[], object]],
    measure: Callable[[Callable[[], object], int], list[float]],
    budget: float,
    rounds: int | None = None,
    known: Mapping[str, float] | None = None,
) -> dict[str, Times]:
    """Measures calls in rounds: one slice of each, then the next round.

    Args:
        calls: what to call, by name.
        measure: see ``clock``.
        budget: seconds for each of them; a call that takes longer than a third of it is made 3 times all the same.
        rounds: exactly so many calls of each instead, one in each round.
        known: seconds of a call that was made already, for those that are warm.
    """
    once = {name: (known or {}).get(name) or measure(call, 1)[0] for name, call in calls.items()}
    # One call is too few to time a short one.
    once = {name: min(measure(calls[name], 2)) if seconds < 1 else seconds for name, seconds in once.items()}
    number, slices = plan(once, budget, rounds)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(number):
        for name, call in calls.items():
            seconds[name] += measure(call, slices[name])
    return {name: Times(tuple(measured)) for name, measured in seconds.items()}


def plan(once: Mapping[str, float], budget: float, rounds: int | None = None) -> tuple[int, dict[str, int]]:
    """How many rounds, and how many calls of each in a round, given what one call takes."""
    if rounds is not None:
        return rounds, dict.fromkeys(once, 1)
    slowest = max(once.values(), default=1.0)
    number = min(max(math.ceil(budget / max(slowest, 1e-9)), LEAST), MOST)
    slices = {name: budget / number / max(seconds, 1e-9) for name, seconds in once.items()}
    return number, {name: min(max(round(share), 1), LONGEST_SLICE) for name, share in slices.items()}


def _by_counter(call: Callable[[], object], times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def _by_events(call: Callable[[], object], times: int) -> list[float]:
    events = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    torch.cuda.synchronize()
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1e3 for before, after in pairwise(events)]
