"""Accuracy of a recogniser, as plain functions of scores (M, K) and labels (M,).

Axes: M clips, K classes. Scores may be probabilities or logits: only their order within a clip counts. Equal scores are
ordered by class number, so that every figure is the same on every machine. Note that a softmax can round two different
logits to equal probabilities; figures that must agree with a ``predictions.csv`` are computed from its probabilities.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from taggnn.calibration import are_probabilities, expected_calibration_error


@dataclass(frozen=True)
class Scores:
    """The figures of one evaluation.

    Args:
        top1: share of clips whose best class is the true one.
        top5: share of clips whose true class is among the best five; ``None`` with five classes or fewer, where it is
            1 whatever the model does.
        mca: mean class accuracy over the classes that occur in the ground truth.
        classes_counted: how many classes those are.
        classes: how many classes the model tells apart.
        listed: how many clips the list names: missing, unreadable and measured ones together.
        missing: how many of them have no file.
        unreadable: how many more have one that could not be read.
        measured: how many the figures are computed from.
        loss: mean loss over the clips measured, where the caller has one: the negative log likelihood of the true class.
        macro_f1: mean F1 over the classes that occur in the ground truth; 0 for one that no clip is taken for. ``None``
            in files of earlier versions.
        ece: expected calibration error, see `taggnn.calibration`; ``None`` where the scores are no probabilities, and in
            files of earlier versions.

    Raises:
        ValueError: counts that do not add up.
    """

    top1: float
    top5: float | None
    mca: float
    classes_counted: int
    classes: int
    listed: int
    missing: int
    unreadable: int
    measured: int
    loss: float | None = None
    macro_f1: float | None = None
    ece: float | None = None

    def __post_init__(self) -> None:
        if self.listed != self.missing + self.unreadable + self.measured:
            raise ValueError(
                f"{self.missing} missing, {self.unreadable} unreadable and {self.measured} measured clips do not add up to "
                f"the {self.listed} listed"
            )

    @property
    def complete(self) -> bool:
        """Whether every listed clip was measured."""
        return self.measured == self.listed

    def seen(self) -> str:
        """The clips behind the figures: "160 clips", or "4,180 of 8,521 listed clips (49 %): 4,300 missing, 41 unreadable"."""
        if self.complete:
            return f"{self.measured:,} clips" if self.measured != 1 else "1 clip"
        share = 100 * self.measured / self.listed
        # Rounding must not turn "nearly all" into "all", nor "hardly any" into "none".
        shown = f"{share:.0f}" if 1 <= share <= 99 else f"{min(max(share, 0.1), 99.9):.1f}"
        left_out = [f"{n:,} {why}" for n, why in ((self.missing, "missing"), (self.unreadable, "unreadable")) if n]
        return f"{self.measured:,} of {self.listed:,} listed clips ({shown} %): {', '.join(left_out)}"

    def as_dict(self) -> dict[str, float | int | None]:
        """The same as plain types, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ClassRow:
    """One line of the per-class table.

    Args:
        label: the class.
        support: clips of this class.
        predicted: clips taken for this class.
        correct: clips of this class taken for it.
        recall: correct / support; ``None`` when the class does not occur.
        precision: correct / predicted; ``None`` when nothing was taken for it.
        f1: 2 correct / (support + predicted); ``None`` when both are zero.
        confused_with: the class its clips are most often taken for instead; ``None`` when all are right.
        confused: how many.
    """

    label: int
    support: int
    predicted: int
    correct: int
    recall: float | None
    precision: float | None
    f1: float | None
    confused_with: int | None
    confused: int


@dataclass(frozen=True)
class Confusion:
    """``count`` clips of class ``true`` were taken for ``predicted``: ``share`` of all clips of ``true``."""

    true: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True)
class Pair:
    """``count`` clips of ``first`` or ``second`` were taken for the other: ``share`` of all clips of both."""

    first: int
    second: int
    count: int
    share: float


def summarise(
    scores: Tensor, labels: Tensor, missing: int = 0, unreadable: int = 0, loss: float | None = None
) -> Scores:
    """Computes all figures of one evaluation.

    Args:
        scores: probabilities or logits.
        labels: true classes, 0..K-1.
        missing: clips of the list without a file; they count in no figure.
        unreadable: clips of the list that could not be read; they count in no figure.
        loss: mean loss, carried along.

    Shapes:
        scores (M, K), labels (M,)

    Raises:
        ValueError: no clips, shapes that do not fit, labels out of range, or scores that are not numbers.
    """
    scores, labels = _checked(scores, labels)
    ranks = _ranks(scores, labels)
    classes = scores.shape[1]
    matrix = confusion_matrix(scores, labels)
    mca, counted = mean_class_accuracy(matrix)
    ece = expected_calibration_error(scores.amax(dim=1), ranks < 1) if are_probabilities(scores) else None
    return Scores(
        top1=_share(ranks < 1),
        top5=_share(ranks < 5) if classes > 5 else None,
        mca=mca,
        classes_counted=counted,
        classes=classes,
        listed=len(labels) + missing + unreadable,
        missing=missing,
        unreadable=unreadable,
        measured=len(labels),
        loss=None if loss is None else float(loss),
        macro_f1=macro_f1(matrix),
        ece=ece,
    )


def larger_is_better(name: str) -> bool:
    """Whether more of a figure is better; of the loss it is not."""
    return name != "loss"


def in_best(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the true class is among the ``k`` with the highest scores, of each clip.

    Shapes:
        scores (M, K), labels (M,) -> (M,) bool

    Raises:
        ValueError: as `summarise`.
    """
    scores, labels = _checked(scores, labels)
    return _ranks(scores, labels) < k


def unmeasured(labels: Tensor, listed: Sequence[int]) -> list[int]:
    """The classes that the list has clips of, none of which was measured: no figure says anything about them.

    Args:
        labels: true classes of the clips measured.
        listed: how many clips the list has of each class, K of them.

    **Shapes:** labels (M,)
    """
    measured = set(labels.tolist())
    return [label for label, clips in enumerate(listed) if clips and label not in measured]


def said_unmeasured(names: Sequence[str], most: int | None = 5) -> str:
    """A sentence that names the classes of which nothing was measured.

    Args:
        names: one class or more.
        most: how many to name before the rest is only counted; None for all.
    """
    named = names[:most]
    more = f" and {len(names) - len(named):,} more" if len(names) > len(named) else ""
    what = "1 class" if len(names) == 1 else f"{len(names):,} classes"
    return f"not measured: {what} whose every listed clip is missing or unreadable: {', '.join(named)}{more}"


def mean_class_accuracy(matrix: Tensor) -> tuple[float, int]:
    """Mean, over the classes that occur in the ground truth, of their recall; and how many those are.

    Args:
        matrix: a confusion matrix, rows = truth.

    Shapes:
        matrix (K, K)

    Raises:
        ValueError: the matrix counts no clip.
    """
    support = matrix.sum(dim=1)
    occurs = support > 0
    if not occurs.any():
        raise ValueError("no clips to score: the confusion matrix is empty")
    recall = matrix.diagonal()[occurs].double() / support[occurs].double()
    return recall.mean().item(), int(occurs.sum())


def macro_f1(matrix: Tensor) -> float:
    """Mean, over the classes that occur in the ground truth, of their F1; 0 for a class that no clip is taken for.

    Formula: ``F1 = 2 correct / (support + predicted)``. Clips taken for a class that does not occur count as mistakes of
    their own class alone.

    Args:
        matrix: a confusion matrix, rows = truth.

    Shapes:
        matrix (K, K)

    Raises:
        ValueError: the matrix counts no clip.
    """
    support, predicted = matrix.sum(dim=1), matrix.sum(dim=0)
    occurs = support > 0
    if not occurs.any():
        raise ValueError("no clips to score: the confusion matrix is empty")
    f1 = 2 * matrix.diagonal()[occurs].double() / (support + predicted)[occurs].double()
    return f1.mean().item()


def predicted_classes(scores: Tensor) -> Tensor:
    """The class with the highest score of each clip, the lower number where two are equal.

    Shapes:
        scores (M, K) -> (M,)
    """
    scores = torch.as_tensor(scores)
    # argmax leaves open which of several maxima it returns; the first True of "equals the maximum" does not.
    at_maximum = scores == scores.amax(dim=1, keepdim=True)
    return at_maximum.to(torch.uint8).cumsum(dim=1).eq(0).sum(dim=1)


def confusion_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """Counts the clips of each class (row) taken for each class (column).

    Shapes:
        scores (M, K), labels (M,) -> (K, K) long

    Raises:
        ValueError: as `summarise`.
    """
    scores, labels = _checked(scores, labels)
    classes = scores.shape[1]
    cells = labels * classes + predicted_classes(scores)
    return torch.bincount(cells, minlength=classes * classes).view(classes, classes)


def per_class(matrix: Tensor) -> list[ClassRow]:
    """The per-class table of a confusion matrix, one row a class, in class order; classes without clips included.

    Shapes:
        matrix (K, K), rows = truth
    """
    rows = []
    support, predicted, correct = matrix.sum(dim=1).tolist(), matrix.sum(dim=0).tolist(), matrix.diagonal().tolist()
    for label, counts in enumerate(matrix.tolist()):
        counts[label] = 0
        confused = max(counts)
        s, p, c = support[label], predicted[label], correct[label]
        rows.append(
            ClassRow(
                label=label,
                support=s,
                predicted=p,
                correct=c,
                recall=c / s if s else None,
                precision=c / p if p else None,
                f1=2 * c / (s + p) if s + p else None,
                confused_with=counts.index(confused) if confused else None,
                confused=confused,
            )
        )
    return rows


def worst_confusions(matrix: Tensor, n: int = 10) -> list[Confusion]:
    """The ``n`` most frequent mistakes, by count, then by share of the true class, then by class number.

    Shapes:
        matrix (K, K), rows = truth
    """
    support = matrix.sum(dim=1).tolist()
    found = [
        Confusion(true, predicted, count, count / support[true])
        for true, predicted, count in _off_diagonal(matrix)
        if count
    ]
    return sorted(found, key=lambda c: (-c.count, -c.share, c.true, c.predicted))[:n]


def worst_pairs(matrix: Tensor, n: int = 10) -> list[Pair]:
    """The ``n`` pairs of classes most often taken for one another, both directions together.

    Shapes:
        matrix (K, K), rows = truth
    """
    support = matrix.sum(dim=1).tolist()
    both = matrix + matrix.T
    found = [
        Pair(first, second, count, count / (support[first] + support[second]))
        for first, second, count in _off_diagonal(both)
        if count and first < second
    ]
    return sorted(found, key=lambda p: (-p.count, -p.share, p.first, p.second))[:n]


def wilson(share: float, clips: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval for an accuracy: where the true value lies, 95 times in 100 for the default ``z``.

    With p the share and n the clips: (p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    (Wilson, Journal of the American Statistical Association 22, 1927).

    Raises:
        ValueError: ``clips`` below 1.
    """
    if clips < 1:
        raise ValueError(f"an interval needs at least one clip, got {clips}")
    scale = 1 + z * z / clips
    centre = (share + z * z / (2 * clips)) / scale
    half = z * math.sqrt(share * (1 - share) / clips + z * z / (4 * clips * clips)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def _off_diagonal(matrix: Tensor) -> list[tuple[int, int, int]]:
    cells = matrix - torch.diag(matrix.diagonal())
    places = cells.nonzero()
    return [(row, column, int(cells[row, column])) for row, column in places.tolist()]


def _ranks(scores: Tensor, labels: Tensor) -> Tensor:
    # How many classes come before the true one: those with more, and those with as much and a lower number.
    true = scores.gather(1, labels[:, None])
    number = torch.arange(scores.shape[1], device=scores.device)
    before = (scores > true) | ((scores == true) & (number < labels[:, None]))
    return before.sum(dim=1)


def _share(hits: Tensor) -> float:
    return int(hits.sum()) / len(hits)


def _checked(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    scores, labels = torch.as_tensor(scores).detach(), torch.as_tensor(labels)
    if scores.dim() != 2 or labels.dim() != 1 or len(scores) != len(labels):
        raise ValueError(
            f"scores must be (M, K) and labels (M,), got {tuple(scores.shape)} and {tuple(labels.shape)}: "
            "one row of scores and one label per clip"
        )
    if len(labels) == 0:
        raise ValueError("no clips to score: the list is empty, or every clip of it was skipped")
    if labels.is_floating_point():
        raise ValueError(f"labels must be whole numbers, got {labels.dtype}")
    labels = labels.to(device=scores.device, dtype=torch.long)
    wrong = (labels < 0) | (labels >= scores.shape[1])
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"label {int(labels[row])} of clip {row} is out of range: possible are 0..{scores.shape[1] - 1}"
        )
    broken = scores.isnan().any(dim=1)
    if broken.any():
        raise ValueError(
            f"the scores of {int(broken.sum())} of {len(labels)} clips are not numbers (first: clip "
            f"{int(broken.nonzero()[0])}): the model has diverged; a lower learning rate or gradient clipping helps"
        )
    return scores, labels
