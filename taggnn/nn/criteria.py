"""Criteria by name, which compare logits with targets. A row adds one.

Axes: B clips, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from taggnn import names

Criterion = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Row:
    """One criterion.

    Args:
        criterion: ``(logits, targets, label_smoothing)`` -> one number a clip, or their mean.
        summary: what it is, in one line.
        paper: link.

    **Shapes:** logits (B, K); targets (B,) classes, or (B, K) shares that sum to 1; -> (B,) or ()
    """

    criterion: Criterion
    summary: str
    paper: str


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean over the clips of the cross entropy between the targets and the softmax of the logits.

    Source: Szegedy et al., https://arxiv.org/abs/1512.00567, section 7, for the smoothing.
    Formula: ``-1/B sum_b sum_k q_bk log softmax(logits_b)_k`` with ``q = (1 - s) targets + s / K``, classes as one-hot targets.

    Args:
        logits: one number a class.
        targets: classes, or shares of classes (of mixed clips).
        label_smoothing: s, in [0, 1] (default 0).

    **Shapes:** logits (B, K); targets (B,) long or (B, K); -> ()
    """
    return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)


CRITERIA: dict[str, Row] = {
    "cross_entropy": Row(
        cross_entropy, "cross entropy of the softmax, with label smoothing", "https://arxiv.org/abs/1512.00567"
    ),
}


def find(given: str | Criterion) -> Criterion:
    """The criterion of a name of ``CRITERIA``, of a dotted path "package.module.name", or the function itself.

    Raises:
        ValueError: an unknown name, or a dotted path that leads to no function.
    """
    found = names.find("loss", given, CRITERIA)
    criterion = found.criterion if isinstance(found, Row) else found
    if not callable(criterion) or isinstance(criterion, type):
        raise ValueError(f"loss {given!r}: not a function (logits, targets, label_smoothing) -> loss")
    return criterion


def name_of(given: str | Criterion) -> str:
    """The name of its column of metrics.csv after ``train/``: of a path or a function the last part."""
    text = given if isinstance(given, str) else getattr(given, "__name__", type(given).__name__)
    return text.rpartition(".")[2]
