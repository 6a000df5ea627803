"""The pairs of classes that two models confuse most, and how often each of them does.

Axes: M clips, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from taggnn.evaluation.intervals import Answers
from taggnn.evaluation.metrics import worst_pairs
from taggnn.evaluation.significance import Difference, McNemar, holm, mcnemar, top1_difference

# Pairs of classes in a table.
PAIRS = 12


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes, and how many of their clips each of two models takes for the other class of the pair.

    Args:
        one: name of the class with the lower number.
        other: name of the other class.
        clips: of both classes.
        first: clips that the first model confuses.
        second: clips that the second model confuses.
        only_first: clips that only the first confuses.
        only_second: clips that only the second confuses.
        p: McNemar's, whether a clip is confused.
        p_holm: the same, corrected for the number of pairs.
    """

    one: str
    other: str
    clips: int
    first: int
    second: int
    only_first: int
    only_second: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class OnConfused:
    """The accuracy of two models on the clips of the classes of such pairs.

    Args:
        pairs: how many pairs.
        classes: how many classes.
        clips: how many clips.
        first: share that the first model has right.
        second: share that the second model has right.
        difference: second minus first, with its paired interval.
        test: McNemar's.
    """

    pairs: int
    classes: int
    clips: int
    first: float
    second: float
    difference: Difference
    test: McNemar


def most_confused(models: Sequence[Answers], pairs: int = PAIRS) -> list[tuple[int, int]]:
    """The pairs of classes most often taken for one another, both directions and all models together.

    Source: ours. Pairs that are chosen by the mistakes of one model are fewer in any other one, by chance alone (regression
    to the mean). Chosen by the mistakes of all models together they favour none.

    Args:
        models: predictions for the same clips; one model alone is its own reference.
        pairs: how many at most (default 12).
    """
    classes = models[0].classes
    cells = torch.cat([model.labels * classes + model.predicted for model in models])
    matrix = torch.bincount(cells, minlength=classes * classes).view(classes, classes)
    return [(pair.first, pair.second) for pair in worst_pairs(matrix, pairs)]


def hardest(classes: int) -> int:
    """How many pairs an accuracy on the hardest classes is about: at most half of all classes are in them, and at most 12 pairs.

    Args:
        classes: K.
    """
    return max(1, min(PAIRS, classes // 4))


def confused_pairs(first: Answers, second: Answers, classes: Sequence[str], pairs: int = PAIRS) -> list[ConfusedPair]:
    """How often each of two models confuses the classes of the most confused pairs, see `most_confused`.

    Args:
        first: predictions for the clips.
        second: those of the other model, for the same clips in the same order.
        classes: class names, K of them.
        pairs: how many at most (default 12).
    """
    rows = []
    for one, other in most_confused([first, second], pairs):
        of_pair = (first.labels == one) | (first.labels == other)
        one_wrong, two_wrong = _confused(first, one, other), _confused(second, one, other)
        test = mcnemar(int((one_wrong & ~two_wrong).sum()), int((two_wrong & ~one_wrong).sum()))
        row = ConfusedPair(
            one=classes[one],
            other=classes[other],
            clips=int(of_pair.sum()),
            first=int(one_wrong.sum()),
            second=int(two_wrong.sum()),
            only_first=test.only_first,
            only_second=test.only_second,
            p=test.p,
            p_holm=test.p,
        )
        rows.append(row)
    return [replace(row, p_holm=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True)]


def on_confused(first: Answers, second: Answers, pairs: Sequence[tuple[int, int]]) -> OnConfused | None:
    """The accuracy of two models on the clips whose class is in one of the pairs; ``None`` without such clips.

    Args:
        first: predictions for the clips.
        second: those of the other model, for the same clips in the same order.
        pairs: of class numbers.
    """
    numbers = sorted({label for pair in pairs for label in pair})
    ours = torch.isin(first.labels, torch.tensor(numbers, dtype=torch.long))
    if not ours.any():
        return None
    one, two = _part(first, ours), _part(second, ours)
    difference, test = top1_difference(one, two)
    return OnConfused(
        pairs=len(pairs),
        classes=len(one.labels.unique()),
        clips=len(one.labels),
        first=one.right.double().mean().item(),
        second=two.right.double().mean().item(),
        difference=difference,
        test=test,
    )


def accuracy_on_pairs(model: Answers, pairs: Sequence[tuple[int, int]]) -> tuple[float, int] | None:
    """Share of right predictions among the clips whose class is in one of the pairs, and their number; ``None`` without any.

    To compare several models, take the pairs from `most_confused` of all of them, or of the reference on other clips, such
    as its validation clips.

    Args:
        model: predictions.
        pairs: of class numbers.
    """
    found = on_confused(model, model, pairs)
    return None if found is None else (found.first, found.clips)


def _confused(model: Answers, one: int, other: int) -> Tensor:
    """Whether a clip of one class is taken for the other. **Shapes:** -> (M,) bool"""
    there = (model.labels == one) & (model.predicted == other)
    return there | ((model.labels == other) & (model.predicted == one))


def _part(model: Answers, clips: Tensor) -> Answers:
    return replace(
        model,
        labels=model.labels[clips],
        predicted=model.predicted[clips],
        confidence=None,
        per_clip={},
        recomputed=(),
        given=None,
    )
