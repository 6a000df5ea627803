"""Persons followed from frame to frame, so that one index means one person.

Axes: P persons found in a frame, M persons that are followed, L landmarks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# How far a person moves from one frame to the next, at most, in sizes of its body [ours].
REACH = 1.0

# A body of whose box as much lies in that of a larger one is a second finding of the same person [ours]: of 28 frames of a
# video of one person in which two were found, it was at least 0.72 in all.
INSIDE = 0.7


def distinct(found: Tensor) -> list[int]:
    """The bodies of a frame that are persons of their own, largest box first.

    MediaPipe may find one person twice, or its legs alone. Persons who stand in front of one another are taken for one as well.

    Args:
        found: landmarks in the picture.

    **Shapes:** (P, L, 2)
    """
    low, high = found.amin(1), found.amax(1)
    areas = (high - low).prod(1)
    kept: list[int] = []
    for body in areas.argsort(descending=True, stable=True).tolist():
        shared = [
            float((torch.minimum(high[body], high[other]) - torch.maximum(low[body], low[other])).clamp(min=0).prod())
            for other in kept
        ]
        if all(area < INSIDE * float(areas[body]) for area in shared):
            kept.append(body)
    return kept


class Tracker:
    """Gives each person of a frame an index that it keeps.

    Source: ours; MediaPipe lists persons in no stated order. Known and found persons belong together whose landmarks lie
    nearest, by their mean distance in sizes of the body. While indices are free, a person is new whose distance is more than
    ``REACH`` for each frame since the known one was last found.

    Args:
        persons: M.
    """

    def __init__(self, persons: int) -> None:
        self._last: list[Tensor | None] = [None] * persons
        self._seen = [0] * persons
        self._frame = 0

    def assign(self, found: Tensor) -> list[int]:
        """The index of each person of the next frame.

        Args:
            found: landmarks in the picture, at most M persons.

        **Shapes:** (P, L, 2)
        """
        self._frame += 1
        pairs = sorted(
            (_distance(pose, last), person, index)
            for person, pose in enumerate(found)
            for index, last in enumerate(self._last)
            if last is not None
        )
        given: dict[int, int] = {}
        free = [index for index, last in enumerate(self._last) if last is None]
        if free:
            _take(given, [pair for pair in pairs if pair[0] <= REACH * (self._frame - self._seen[pair[2]])])
        for person in range(len(found)):
            if person not in given and free:
                given[person] = free.pop(0)
        _take(given, pairs)
        for person, index in given.items():
            self._last[index], self._seen[index] = found[person], self._frame
        return [given[person] for person in range(len(found))]


def _take(given: dict[int, int], pairs: Sequence[tuple[float, int, int]]) -> None:
    """Adds (distance, person, index) whose person and index are both left, in this order."""
    for _, person, index in pairs:
        if person not in given and index not in given.values():
            given[person] = index


def _distance(pose: Tensor, last: Tensor) -> float:
    """Mean distance of the landmarks over the size of the body when it was last found. **Shapes:** (L, 2) each"""
    size = (last.amax(0) - last.amin(0)).amax().clamp(min=1e-6)
    return float(torch.linalg.vector_norm(pose - last, dim=1).mean() / size)
