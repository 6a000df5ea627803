"""How cost grows: the slope of a line through logarithms."""

import math
from collections.abc import Sequence


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The exponent p of ``y = c x^p`` by least squares on the logarithms.

    Raises:
        ValueError: fewer than two different x, or a number that has no logarithm.
    """
    if any(min(point) <= 0 for point in points):
        raise ValueError("a slope on logarithms needs positive numbers")
    logs = [(math.log(x), math.log(y)) for x, y in points]
    middle = [sum(values) / len(logs) for values in zip(*logs, strict=True)] if logs else [0.0, 0.0]
    spread = sum((x - middle[0]) ** 2 for x, _ in logs)
    if not spread:
        raise ValueError("a slope needs at least two different sizes")
    return sum((x - middle[0]) * (y - middle[1]) for x, y in logs) / spread


def upper(points: Sequence[tuple[float, float]], least: int = 3) -> list[tuple[float, float]]:
    """The larger half of the points by x, ``least`` of them at least: where overheads no longer hide the growth."""
    ordered = sorted(points)
    return ordered[-max(least, math.ceil(len(ordered) / 2)) :]
