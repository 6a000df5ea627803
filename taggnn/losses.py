"""The criterion: what the logits of a recogniser are trained for. Losses of heads and backbones come on top of it.

Axes: B clips, K classes.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from taggnn.names import unknown

Criterion = Callable[[Tensor, Tensor, float], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy, the mean over the clips; mixed targets are smoothed as single ones are: (1 - e) y + e / K.

    **Shapes:** logits (B, K), targets (B,) or (B, K) -> ()
    """
    return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)


LOSSES: dict[str, Criterion] = {"cross_entropy": cross_entropy}


def build(name: str) -> Criterion:
    """A criterion by name.

    Raises:
        ValueError: unknown.
    """
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES, "optim.loss")
    return LOSSES[name]


def name_of(name: str) -> str:
    """What its column in metrics.csv is called: the last word of a dotted path."""
    return name.rpartition(".")[2]
