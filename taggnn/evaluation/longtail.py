"""Many-shot, medium-shot and few-shot classes: what a recogniser does on each of the three groups.

Axes: M clips, K classes.

Source: Liu et al., https://arxiv.org/abs/1904.05160, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from taggnn.evaluation.metrics import ClassCounts, mean_class_accuracy

# Training clips of a many-shot class, and of a few-shot class; medium-shot classes lie between, both thresholds included.
MANY_ABOVE, FEW_BELOW = 100, 20
GROUPS = {
    "many": f"more than {MANY_ABOVE} training clips",
    "medium": f"{FEW_BELOW} to {MANY_ABOVE} training clips",
    "few": f"fewer than {FEW_BELOW} training clips",
}


@dataclass(frozen=True)
class Group:
    """The figures of the classes of one group.

    Args:
        name: "many", "medium" or "few".
        classes: how many there are.
        classes_counted: how many of them occur in the ground truth.
        clips: measured clips of these classes.
        training_clips: training clips of these classes.
        mca: mean class accuracy over the classes counted; ``None`` where none is.
        interval: 95 % interval of ``mca``; ``None`` where none was computed.
    """

    name: str
    classes: int
    classes_counted: int
    clips: int
    training_clips: int
    mca: float | None
    interval: tuple[float, float] | None = None


def masks(training_counts: Sequence[int]) -> dict[str, Tensor]:
    """Which classes are many-shot, medium-shot and few-shot; a class without a training clip is few-shot.

    Args:
        training_counts: training clips of each class.

    **Shapes:** training_counts (K,) -> (K,) bool each
    """
    counts = torch.as_tensor(training_counts)
    many, few = counts > MANY_ABOVE, counts < FEW_BELOW
    return {"many": many, "medium": ~many & ~few, "few": few}


def groups_of(matrix: Tensor, training_counts: Sequence[int]) -> list[Group]:
    """The figures of each group that has a class.

    Args:
        matrix: a confusion matrix, rows = truth.
        training_counts: training clips of each class.

    **Shapes:** matrix (K, K), training_counts (K,)

    Raises:
        ValueError: not one count for each class.
    """
    if len(training_counts) != len(matrix):
        raise ValueError(f"{len(training_counts)} training counts, and the model has {len(matrix)} classes")
    counts, training = ClassCounts.of(matrix), torch.as_tensor(training_counts)
    found = []
    for name, mask in masks(training_counts).items():
        own = counts[mask]
        occurring = int((own.support > 0).sum())
        if mask.any():
            found.append(
                Group(
                    name=name,
                    classes=int(mask.sum()),
                    classes_counted=occurring,
                    clips=int(own.support.sum()),
                    training_clips=int(training[mask].sum()),
                    mca=mean_class_accuracy(own).item() if occurring else None,
                )
            )
    return found
