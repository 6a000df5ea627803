"""Classes with many, some and few training clips: what a recogniser does for each of the three.

Axes: M clips, K classes.

Source: Liu et al., https://arxiv.org/abs/1904.05160, section 4: many-shot, medium-shot and few-shot classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Training clips of a class of the head, and of the tail; the medium classes lie between, both thresholds with them.
HEAD_ABOVE, TAIL_BELOW = 100, 20
GROUPS = {
    "head": f"more than {HEAD_ABOVE} training clips",
    "medium": f"{TAIL_BELOW} to {HEAD_ABOVE} training clips",
    "tail": f"fewer than {TAIL_BELOW} training clips",
}


@dataclass(frozen=True)
class Group:
    """The figures of the classes of one group.

    Args:
        name: "head", "medium" or "tail".
        classes: how many there are.
        classes_counted: how many of them occur in the ground truth.
        clips: measured clips of these classes.
        training_clips: training clips of these classes.
        mca: mean class accuracy over the classes counted; ``None`` where none is.
        interval: where it lies, 95 times in 100, by the choice of clips; ``None`` where none was computed.
    """

    name: str
    classes: int
    classes_counted: int
    clips: int
    training_clips: int
    mca: float | None
    interval: tuple[float, float] | None = None


def masks(training_counts: Sequence[int]) -> dict[str, Tensor]:
    """Which classes belong to the head, the medium and the tail; a class without a training clip is of the tail.

    Args:
        training_counts: training clips of each class.

    **Shapes:** training_counts (K,) -> (K,) bool each
    """
    counts = torch.as_tensor(training_counts)
    head, tail = counts > HEAD_ABOVE, counts < TAIL_BELOW
    return {"head": head, "medium": ~head & ~tail, "tail": tail}


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
    support, correct, counts = matrix.sum(dim=1), matrix.diagonal(), torch.as_tensor(training_counts)
    found = []
    for name, mask in masks(training_counts).items():
        occurs = mask & (support > 0)
        recall = correct[occurs].double() / support[occurs].double()
        if mask.any():
            found.append(
                Group(
                    name=name,
                    classes=int(mask.sum()),
                    classes_counted=int(occurs.sum()),
                    clips=int(support[mask].sum()),
                    training_clips=int(counts[mask].sum()),
                    mca=recall.mean().item() if len(recall) else None,
                )
            )
    return found
