"""The joints of a skeleton in another order."""

from torch import nn

from taggnn.evaluation.ablation.altered import Altered
from taggnn.evaluation.ablation.frames import permuted


def shuffled(model: nn.Module, draw: int) -> Altered:
    """The joints of each clip in a random order of its own, the same in all its frames."""
    return permuted(model, draw, "joint")
