"""The prediction for a clip, averaged over several views of it.

Axes: n views, K classes.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from taggnn.names import unknown

Average = Literal["probabilities", "logits"]
AVERAGES: tuple[str, ...] = get_args(Average)


class Consensus:
    """The average over the views of one clip, stored as sums: memory does not grow with their number.

    Source: averaging over views is the segmental consensus of temporal segment networks, https://arxiv.org/abs/1608.00859,
    section 3.1, and the test of SlowFast, https://arxiv.org/abs/1812.03982, section 4, which averages probabilities.
    Formula: ``p = mean_v softmax(l_v)`` ("probabilities") or ``p = softmax(mean_v l_v)`` ("logits"); loss ``-log p_y``.

    Views are summed one by one in float64, so that the result does not depend on the batch; with one view it is that
    view's float32 softmax and cross-entropy.

    Args:
        average: what is averaged, "probabilities" (default) or "logits".

    Raises:
        ValueError: an unknown average.
    """

    def __init__(self, average: Average = "probabilities"):
        if average not in AVERAGES:
            raise unknown("average", average, AVERAGES)
        self.average, self.views = average, 0
        self._sum = self._log_sum = torch.zeros(())

    def add(self, logits: Tensor) -> None:
        """Adds views. **Shapes:** (n, K)"""
        for view in logits.detach().float().cpu():
            first = not self.views
            if self.average == "logits":
                self._sum = view.double() if first else self._sum + view.double()
            else:
                share, log_share = view.softmax(-1).double(), view.log_softmax(-1).double()
                self._sum = share if first else self._sum + share
                # Of the log of the mean: a share that is 0 in float32 has a finite loss.
                self._log_sum = log_share if first else torch.logaddexp(self._log_sum, log_share)
            self.views += 1

    @property
    def probabilities(self) -> Tensor:
        """**Shapes:** float32 (K,)"""
        mean = (self._sum / self.views).float()
        return mean.softmax(-1) if self.average == "logits" else mean

    def loss(self, label: int) -> float:
        """The cross-entropy against the true class."""
        if self.average == "logits":
            return -float((self._sum / self.views).float().log_softmax(-1)[label])
        return math.log(self.views) - float(self._log_sum[label])


def add_options(add: Callable[..., Any]) -> None:
    """Adds ``--views``, ``--crops`` and ``--average`` to the command line of a program, by its parser's ``add_argument``."""
    add(
        "--views",
        type=int,
        default=1,
        help="choices of frames of a clip, spread over its length, whose predictions are averaged",
    )
    add(
        "--crops",
        type=int,
        default=1,
        help="crops of each along the longer side of the picture; 3: left, centre, right",
    )
    add("--average", type=Average, default="probabilities", help="what is averaged over views and crops")
