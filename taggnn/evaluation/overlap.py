"""Answers of overlapping windows become probabilities over time.

Axes: K classes.
"""

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor


class Overlap:
    """The weighted mean of all windows that cover a step, for steps in order; memory does not grow with their number.

    Source: ours: overlap-add with a triangular window, since a window that begins or ends inside an action knows less of it.
    Formula: ``p_s = sum_j w_sj p_j / sum_j w_sj``, ``w_sj = h_j + 1/2 - |m_s - m_j|`` for the windows j with ``a_j <= m_s <
    b_j``; m_s the
    middle of the step, m_j = (a_j + b_j) / 2, h_j = (b_j - a_j) / 2, all in frames of the grid.

    Args:
        stride: frames of a step, and from a window to the next one.
    """

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self._windows: deque[tuple[int, int, Tensor]] = deque()
        self._step = 0

    def add(self, start: int, stop: int, probabilities: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Adds a window, and yields the steps that no later window covers.

        Args:
            start: its first frame on the grid, at or after that of the window before.
            stop: the frame after its last one.
            probabilities: its answer.

        **Shapes:** probabilities (K,); yields (index of the step, float64 (K,))
        """
        self._windows.append((start, stop, probabilities.double()))
        # A window that ends with the video may begin anywhere behind the one before.
        while (self._step + 0.5) * self.stride < start:
            yield self._finished((self._step + 0.5) * self.stride)

    def end(self, frames: int) -> Iterator[tuple[int, Tensor]]:
        """Ends the video, and yields the remaining steps; the last one may be shorter.

        Args:
            frames: of the video on the grid.

        **Shapes:** as ``add``
        """
        while self._step * self.stride < frames:
            yield self._finished((self._step * self.stride + min((self._step + 1) * self.stride, frames)) / 2)

    def _finished(self, middle: float) -> tuple[int, Tensor]:
        while self._windows and self._windows[0][1] <= middle:
            self._windows.popleft()
        weights, answers = [], []
        for start, stop, answer in self._windows:
            if start <= middle < stop:
                weights.append((stop - start) / 2 + 0.5 - abs(middle - (start + stop) / 2))
                answers.append(answer)
        number, self._step = self._step, self._step + 1
        weight = torch.tensor(weights, dtype=torch.float64)
        return number, (weight / weight.sum()) @ torch.stack(answers)
