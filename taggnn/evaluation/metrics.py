"""Accuracy of a recogniser, as plain functions of scores (M, K) and labels (M,).

Axes: M clips, K classes. Scores may be probabilities or logits: only their order within a clip counts. Equal scores are
ordered by class number, so that every figure is the same on every machine. Note that a softmax can round two different
logits to equal probabilities; figures that must agree with a ``predictions.csv`` are computed from its probabilities.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

from taggnn.evaluation.calibration import BINS, are_probabilities, expected_calibration_error
from taggnn.names import unknown


@dataclass(frozen=True)
class ClassCounts:
    """The clips of each class, counted; for R resamples at once where there is a second axis.

    Args:
        support: clips of the class.
        predicted: clips taken for it.
        correct: clips of the class taken for it.

    **Shapes:** (K,) or (K, R) each, double
    """

    support: Tensor
    predicted: Tensor
    correct: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> "ClassCounts":
        """The counts of a confusion matrix, rows = truth. **Shapes:** matrix (K, K)"""
        return cls(matrix.sum(dim=1).double(), matrix.sum(dim=0).double(), matrix.diagonal().double())

    def __getitem__(self, classes: Tensor) -> "ClassCounts":
        """The counts of some of the classes. **Shapes:** classes (K,) bool"""
        return ClassCounts(self.support[classes], self.predicted[classes], self.correct[classes])


@dataclass(frozen=True)
class Metric:
    """One row of ``METRICS``: all that there is to write for a further figure.

    Args:
        title: its name inside a sentence: "macro F1".
        summary: what it is, in a few words, shown below its tile of the report. It may hold ``{classes}`` and
            ``{classes_counted}``.
        value: ``(scores, labels)`` -> the figure; or one number for each clip, of which the figure is the mean; or ``None``
            where it has no meaning. Scores are probabilities or logits: a figure that needs probabilities returns ``None``
            for logits (`taggnn.evaluation.calibration.are_probabilities`). Both are checked before it is called.
        from_counts: instead of ``value``, the figure as a function of the clips of each class, NaN where it has no meaning; it
            reduces the first axis, so that all resamples of the bootstrap are computed at once.
        larger_is_better: the direction (default True).
        share: whether it is a share of one, shown in per cent and compared in points (default True).
        decimals: of the value on the screen, and on pages where it is no share; ends of intervals have one less (default 4).
        interval: how its interval is computed: "bootstrap" (default); "wilson", of a share of clips; "calibration", see
            `taggnn.evaluation.intervals.interval_of_ece`; or ``None``, for a figure without one.
        compared: whether ``taggnn.compare`` reports how far two models differ in it; needs an interval (default True).
        each_epoch: whether metrics.csv has it for every epoch, as the monitored figure always has (default True).
        headline: whether it is one of the accuracies that are named first, and a column of the table that compares heads
            (default False).
        short: its name on the screen (default: ``title``).
        note: text after its value on the screen (default: ``summary``).
        absent: why it has no value, for the screen (default: no message).

    **Shapes:** scores (M, K), labels (M,) -> () or (M,); counts (K,) or (K, R) -> () or (R,)

    Raises:
        ValueError: both or none of ``value`` and ``from_counts``.
    """

    title: str
    summary: str
    value: Callable[[Tensor, Tensor], float | Tensor | None] | None = None
    from_counts: Callable[[ClassCounts], Tensor] | None = None
    larger_is_better: bool = True
    share: bool = True
    decimals: int = 4
    interval: Literal["bootstrap", "wilson", "calibration"] | None = "bootstrap"
    compared: bool = True
    each_epoch: bool = True
    headline: bool = False
    short: str = ""
    note: str | None = None
    absent: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.from_counts is None):
            raise ValueError(f"metric {self.title!r}: give either value or from_counts")

    @property
    def heading(self) -> str:
        """The title with a capital letter."""
        return self.title[:1].upper() + self.title[1:]

    def text(self, value: float, fewer: int = 0) -> str:
        """The value with its decimals, or ``fewer`` of them; a share in per cent: 0.975 -> "97.50 %"."""
        digits = max(0, self.decimals - fewer)
        return in_percent(value, max(0, digits - 2)) if self.share else f"{value:.{digits}f}"

    def between(self, ends: Sequence[float] | None) -> str:
        """An interval: "61.0 to 78.6 %"; empty where there is none, or one without width."""
        if ends is None or ends[0] == ends[1]:
            return ""
        return f"{self.text(ends[0], 1).removesuffix(' %')} to {self.text(ends[1], 1)}"


def in_percent(share: float, digits: int = 1) -> str:
    """A share of one for the screen: 0.9625 -> "96.3 %"; what is not all or nothing is never rounded to it."""
    edge, shown = 10.0**-digits, 100 * share
    shown = min(shown, 100 - edge) if share < 1 else shown
    return f"{max(shown, edge) if share > 0 else shown:.{digits}f} %"


@dataclass(frozen=True)
class Scores:
    """The figures of one evaluation; each is an attribute as well: ``scores.top1``.

    Args:
        figures: by name of ``METRICS``; ``None`` where a figure has no meaning. Files of earlier versions lack some of them.
        classes_counted: how many classes occur in the ground truth: those that class means are taken over.
        classes: K of the model.
        listed: how many clips the list names: missing, unreadable and measured ones together.
        missing: how many of them have no file.
        unreadable: how many more have one that could not be read.
        measured: how many the figures are computed from.
        loss: mean loss over the clips measured, where the caller has one: the negative log likelihood of the true class.

    Raises:
        ValueError: counts that do not add up.
    """

    figures: Mapping[str, float | None]
    classes_counted: int
    classes: int
    listed: int
    missing: int
    unreadable: int
    measured: int
    loss: float | None = None

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

    def coverage(self) -> str:
        """The clips of the figures: "160 clips", or "4,180 of 8,521 listed clips (49 %): 4,300 missing, 41 unreadable"."""
        if self.complete:
            return f"{self.measured:,} clips" if self.measured != 1 else "1 clip"
        share = 100 * self.measured / self.listed
        # Rounding must not turn "nearly all" into "all", nor "hardly any" into "none".
        shown = f"{share:.0f}" if 1 <= share <= 99 else f"{min(max(share, 0.1), 99.9):.1f}"
        left_out = [f"{n:,} {why}" for n, why in ((self.missing, "missing"), (self.unreadable, "unreadable")) if n]
        return f"{self.measured:,} of {self.listed:,} listed clips ({shown} %): {', '.join(left_out)}"

    def __getattr__(self, name: str) -> Any:
        # Copying asks for attributes before there are any.
        figures = self.__dict__.get("figures", {})
        if name in figures or name in METRICS:
            return figures.get(name)
        raise AttributeError(f"scores have no figure {name!r}; possible are {', '.join(METRICS)}")

    def headline(self) -> dict[str, float | None]:
        """The accuracies that are named first."""
        return {name: value for name, value in self.figures.items() if name in METRICS and METRICS[name].headline}

    def as_dict(self) -> dict[str, float | int | None]:
        """The same as plain types in one level, for JSON: the accuracies first; ``read`` is the inverse."""
        first = self.headline()
        counts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "figures"}
        return {**first, **counts, **{name: value for name, value in self.figures.items() if name not in first}}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Scores":
        """The inverse of ``as_dict``; figures that are in no row of ``METRICS`` are kept.

        Raises:
            ValueError: a count or top-1 is missing, a figure is no number, or counts do not add up.
        """
        counts = [field.name for field in fields(cls) if field.name not in ("figures", "loss")]
        needed = [*(name for name, row in METRICS.items() if row.headline), *counts]
        missing = [name for name in needed if name not in plain]
        if missing:
            raise ValueError(f"must hold {', '.join(needed)}; {', '.join(missing)} missing")
        for name, value in plain.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise ValueError(f"{name} must be a number, is {value!r}")
        figures = {name: value for name, value in plain.items() if name not in (*counts, "loss")}
        ordered = {name: figures.pop(name) for name in METRICS if name in figures}
        return cls(figures={**ordered, **figures}, loss=plain.get("loss"), **{name: plain[name] for name in counts})


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
    scores, labels = checked(scores, labels)
    return Scores(
        figures={name: mean_of(measure(name, scores, labels)) for name in METRICS},
        classes_counted=len(labels.unique()),
        classes=scores.shape[1],
        listed=len(labels) + missing + unreadable,
        missing=missing,
        unreadable=unreadable,
        measured=len(labels),
        loss=None if loss is None else float(loss),
    )


def measure(name: str, scores: Tensor, labels: Tensor) -> float | Tensor | None:
    """One figure of ``METRICS``, or its value for each clip where it is a mean over clips.

    Shapes:
        scores (M, K), labels (M,) -> () or (M,)

    Raises:
        ValueError: the row's function gives something else.
    """
    row = METRICS[name]
    if row.from_counts is not None:
        figure = float(row.from_counts(ClassCounts.of(confusion_matrix(scores, labels))))
        return None if math.isnan(figure) else figure
    assert row.value is not None
    value = row.value(scores, labels)
    if value is None:
        return None
    if not isinstance(value, Tensor) or value.dim() == 0:
        return float(value)
    if value.shape != labels.shape:
        raise ValueError(f"metric {name} gives {tuple(value.shape)} for {len(labels)} clips: possible are () and (M,)")
    return value.double()


def mean_of(value: float | Tensor | None) -> float | None:
    """The figure itself, of what ``measure`` gave."""
    return float(value.sum()) / len(value) if isinstance(value, Tensor) else value


def log_loss(probabilities: Tensor, labels: Tensor) -> float | None:
    """Mean negative log likelihood of the true class; ``None`` where it is not finite.

    Shapes:
        probabilities (M, K), labels (M,)
    """
    true = probabilities.double().gather(1, labels[:, None])
    # 0.0, not -0.0, if all are 1.
    return 0.0 - float(true.log().mean()) if bool((true > 0).all()) else None


def logged(scores: Scores, monitor: str = "") -> dict[str, float]:
    """The figures of a validation that every epoch has: column of metrics.csv -> value.

    Args:
        scores: of the validation clips.
        monitor: column that the run is monitored by (default: none), which is among them in any case.
    """
    names = [name for name, row in METRICS.items() if row.each_epoch or f"val/{name}" == monitor]
    return {f"val/{name}": value for name in names if (value := scores.figures[name]) is not None}


def monitors() -> list[str]:
    """The columns of metrics.csv that can pick the best epoch."""
    return [*(f"val/{name}" for name in METRICS), "val/loss"]


def larger_is_better(monitor: str) -> bool:
    """The direction of a column of ``monitors``.

    Raises:
        ValueError: another column.
    """
    if monitor not in monitors():
        raise unknown("figure", monitor, monitors(), where="monitor")
    return monitor != "val/loss" and METRICS[monitor.removeprefix("val/")].larger_is_better


def in_top_k(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the true class is among the ``k`` with the highest scores, of each clip.

    Shapes:
        scores (M, K), labels (M,) -> (M,) bool

    Raises:
        ValueError: as `summarise`.
    """
    scores, labels = checked(scores, labels)
    return _ranks(scores, labels) < k


def unmeasured(labels: Tensor, listed: Sequence[int]) -> list[int]:
    """The classes that the list has clips of, none of which was measured.

    Args:
        labels: true classes of the clips measured.
        listed: how many clips the list has of each class, K of them.

    **Shapes:** labels (M,)
    """
    measured = set(labels.tolist())
    return [label for label, clips in enumerate(listed) if clips and label not in measured]


def unmeasured_note(names: Sequence[str], most: int | None = 5) -> str:
    """A sentence that names the classes of which nothing was measured.

    Args:
        names: one class or more.
        most: how many to name before the rest is only counted; None for all.
    """
    named = names[:most]
    more = f" and {len(names) - len(named):,} more" if len(names) > len(named) else ""
    what = "1 class" if len(names) == 1 else f"{len(names):,} classes"
    return f"not measured: {what} whose every listed clip is missing or unreadable: {', '.join(named)}{more}"


def mean_class_accuracy(counts: ClassCounts) -> Tensor:
    """Mean recall of the classes that occur in the ground truth; NaN where none does.

    **Shapes:** -> () or (R,)
    """
    # A class that does not occur has no correct clip, so that it adds nothing to the sum.
    recall = counts.correct / counts.support.clamp(min=1)
    return recall.sum(0) / (counts.support > 0).sum(0)


def macro_f1(counts: ClassCounts) -> Tensor:
    """Mean F1 of the classes that occur in the ground truth, 0 for a class that no clip is taken for; NaN where none occurs.

    Formula: ``F1 = 2 correct / (support + predicted)``. Clips taken for a class that does not occur count as mistakes of
    their own class alone.

    **Shapes:** -> () or (R,)
    """
    f1 = 2 * counts.correct / (counts.support + counts.predicted).clamp(min=1)
    return f1.sum(0) / (counts.support > 0).sum(0)


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
    scores, labels = checked(scores, labels)
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
    for label, row in enumerate(matrix):
        counts = row.tolist()
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


def shares_of_clips() -> str:
    """The titles of the figures with Wilson's interval, for a sentence."""
    return " and ".join(row.title for row in METRICS.values() if row.interval == "wilson")


def _off_diagonal(matrix: Tensor) -> list[tuple[int, int, int]]:
    # Of many classes the matrix is large, and nearly all of it is zero.
    cells = matrix.nonzero()
    cells = cells[cells[:, 0] != cells[:, 1]]
    return [
        (*cell, count) for cell, count in zip(cells.tolist(), matrix[cells[:, 0], cells[:, 1]].tolist(), strict=True)
    ]


def _ranks(scores: Tensor, labels: Tensor) -> Tensor:
    # How many classes come before the true one: those with more, and those with as much and a lower number.
    true = scores.gather(1, labels[:, None])
    number = torch.arange(scores.shape[1], device=scores.device)
    before = (scores > true) | ((scores == true) & (number < labels[:, None]))
    return before.sum(dim=1)


def checked(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and labels as tensors on one device, refused where no figure can be computed from them.

    **Shapes:** scores (M, K), labels (M,) -> the same, labels long

    Raises:
        ValueError: as `summarise`.
    """
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


def _ece(scores: Tensor, labels: Tensor) -> float | None:
    if not are_probabilities(scores):
        return None
    return expected_calibration_error(scores.amax(dim=1), in_top_k(scores, labels, 1))


# Every figure of an evaluation, in the order of every table. A row is all that a further one needs.
METRICS: dict[str, Metric] = {
    "top1": Metric(
        title="top-1",
        summary="share of clips whose best class is the true one",
        from_counts=lambda counts: counts.correct.sum(0) / counts.support.sum(0),
        interval="wilson",
        headline=True,
        note="",
    ),
    # With five classes or fewer it is 1 whatever the model does.
    "top5": Metric(
        title="top-5",
        summary="true class among the best five",
        value=lambda scores, labels: in_top_k(scores, labels, 5) if scores.shape[1] > 5 else None,
        compared=False,
        each_epoch=False,
        headline=True,
        note="",
        absent="five classes or fewer",
    ),
    "mca": Metric(
        title="mean class accuracy",
        summary="over {classes_counted} of {classes} classes",
        from_counts=mean_class_accuracy,
        headline=True,
        short="MCA",
        note="mean class accuracy, {classes_counted} of {classes} classes occur",
    ),
    "macro_f1": Metric(
        title="macro F1",
        summary="over the same classes",
        from_counts=macro_f1,
        each_epoch=False,
        note="mean over the same classes",
    ),
    "ece": Metric(
        title="calibration error",
        summary="confidence against accuracy",
        value=_ece,
        larger_is_better=False,
        interval="calibration",
        each_epoch=False,
        short="ECE",
        note=f"calibration error, in {BINS} bins",
    ),
}
