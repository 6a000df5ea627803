"""Intervals of figures: Wilson's of shares of clips, and the bootstrap, which computes a figure on clips drawn again and again.

Axes: M clips, K classes, N bins, R resamples, F sums that the figures depend on.

Source: Efron, https://doi.org/10.1214/aos/1176344552. A resample draws M clips out of the M, with replacement, whatever
their class: the mix of classes is as much a matter of chance as the clips are. A class of which a resample holds no clip
does not count in it, as a class without clips does not count in the figure itself. A figure that is the same in every
resample, such as an accuracy of 100 %, has an interval without width; hence Wilson's for shares.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from taggnn.evaluation.calibration import BINS, are_probabilities, bin_of
from taggnn.evaluation.metrics import (
    METRICS,
    ClassCounts,
    checked,
    mean_class_accuracy,
    mean_of,
    measure,
    predicted_classes,
)

RESAMPLES = 2000
LEVEL = 0.95
# Weights held at one time, M of each resample: 64 MB of them.
_HELD = 8_000_000


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


@dataclass(frozen=True)
class Answers:
    """What the figures of one model depend on, clip by clip.

    Args:
        labels: true classes.
        predicted: classes chosen.
        confidence: probability of the class chosen; ``None`` where the scores are no probabilities.
        classes: K.
        per_clip: figures that are means over clips, by name of `metrics.METRICS`: their value for each clip.
        recomputed: names of the figures that are computed again from the scores of each resample.
        given: scores and labels of those; ``None`` without any.

    **Shapes:** (M,) each; given (M, K), (M,)
    """

    labels: Tensor
    predicted: Tensor
    confidence: Tensor | None
    classes: int
    per_clip: Mapping[str, Tensor] = field(default_factory=dict)
    recomputed: Sequence[str] = ()
    given: tuple[Tensor, Tensor] | None = None

    @property
    def right(self) -> Tensor:
        """Whether the class chosen is the true one."""
        return self.labels == self.predicted


def answers(scores: Tensor, labels: Tensor) -> Answers:
    """Extracts from scores what the figures depend on.

    **Shapes:** scores (M, K), labels (M,)

    Raises:
        ValueError: as `taggnn.evaluation.metrics.summarise`.
    """
    scores, labels = checked(scores, labels)
    # Resamples of the calibration error are computed from the confidences.
    names = [
        name for name, row in METRICS.items() if row.interval is not None and row.value is not None and name != "ece"
    ]
    known = {name: measure(name, scores, labels) for name in names}
    recomputed = [name for name, value in known.items() if isinstance(value, float)]
    return Answers(
        labels=labels,
        predicted=predicted_classes(scores),
        confidence=scores.amax(dim=1) if are_probabilities(scores) else None,
        classes=scores.shape[1],
        per_clip={name: value for name, value in known.items() if isinstance(value, Tensor)},
        recomputed=recomputed,
        given=(scores, labels) if recomputed else None,
    )


def resample(
    models: Sequence[Answers],
    groups: Mapping[str, Tensor] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Tensor]]:
    """The figures of each model in every resample; all models see the same clips, so that differences are paired.

    Args:
        models: predictions for the same clips in the same order.
        groups: masks of classes by name; their mean class accuracy becomes ``mca <name>`` (default: none).
        resamples: R (default 2000).
        seed: of the draws (default 0).

    Returns:
        Of each model every figure of `metrics.METRICS` with an interval, as far as it has them, and of each group
        its ``mca``; NaN in a resample that has no clip of it.

    **Shapes:** groups (K,) bool, figures (R,)

    Raises:
        ValueError: fewer than 2 resamples, or models of different clips.
    """
    if resamples < 2:
        raise ValueError(f"resamples {resamples}: an interval needs 2 or more")
    clips = len(models[0].labels)
    if any(not torch.equal(model.labels, models[0].labels) for model in models):
        raise ValueError("the models do not answer to the same clips: their labels differ")
    sums = [_Sums(model) for model in models]
    block = min(resamples, max(1, _HELD // clips))
    draw = torch.Generator().manual_seed(seed)
    found: list[list[dict[str, Tensor]]] = [[] for _ in models]
    for begin in range(0, resamples, block):
        weights = _weights(clips, min(block, resamples - begin), draw)
        for parts, model, of_model in zip(found, models, sums, strict=True):
            parts.append(of_model.figures(weights, groups or {}) | _recomputed(model, weights))
    return [{key: torch.cat([part[key] for part in parts]) for key in parts[0]} for parts in found]


def interval(values: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval: by default without the lowest and the highest 2.5 % of the resamples.

    Args:
        values: the figure in each resample; resamples without it (NaN) do not count.
        level: share of the resamples inside (default 0.95).

    **Shapes:** values (R,)
    """
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)
    low, high = values.nanquantile(ends).tolist()
    return low, high


def interval_of_ece(model: Answers, estimate: float, values: Tensor, seed: int = 0) -> tuple[float, float]:
    """The interval of an expected calibration error, which is too high by chance, and still higher in resamples.

    Source: ours. The percentile interval reflected about the estimate, which takes off what resampling adds. Where a
    perfectly calibrated model of the same confidences would show as much in 1 of 20 sets of clips (consistency resampling,
    Bröcker and Smith, https://doi.org/10.1175/WAF993.1), the interval begins at 0; it always holds the estimate.

    Args:
        model: its predictions, with confidences.
        estimate: its calibration error.
        values: that error in each resample.
        seed: of the draws (default 0).

    **Shapes:** values (R,)
    """
    low, high = interval(values)
    by_chance = calibrated_errors(model, len(values), seed).quantile(LEVEL).item()
    return 0.0 if estimate <= by_chance else max(0.0, 2 * estimate - high), max(2 * estimate - low, estimate)


def calibrated_errors(model: Answers, resamples: int = RESAMPLES, seed: int = 0) -> Tensor:
    """The calibration error that a model of the same confidences shows by chance if each of them is exactly right.

    Args:
        model: its predictions, with confidences.
        resamples: R (default 2000).
        seed: of the draws (default 0).

    **Shapes:** -> (R,)
    """
    assert model.confidence is not None
    confidence, clips = model.confidence.double(), len(model.labels)
    draw, ones = torch.Generator().manual_seed(seed), torch.ones(clips, dtype=torch.float64)
    bins = _sparse(bin_of(model.confidence), torch.arange(clips), ones, (BINS, clips))
    block = max(1, _HELD // clips)
    found = []
    for begin in range(0, resamples, block):
        hits = torch.rand(clips, min(block, resamples - begin), generator=draw) < confidence[:, None]
        found.append(torch.sparse.mm(bins, hits.double() - confidence[:, None]).abs().sum(0) / clips)
    return torch.cat(found)


def _sparse(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_coo_tensor(torch.stack([rows, columns]), values, shape, check_invariants=True).coalesce()


def _weights(clips: int, resamples: int, draw: torch.Generator) -> Tensor:
    """How often each resample (column) holds each clip (row)."""
    drawn = torch.randint(clips, (clips, resamples), generator=draw)
    drawn.mul_(resamples).add_(torch.arange(resamples))
    return torch.bincount(drawn.view(-1), minlength=clips * resamples).view(clips, resamples).double()


def _recomputed(model: Answers, weights: Tensor) -> dict[str, Tensor]:
    """Figures that are no sums over clips, computed again on the clips of each resample."""
    if model.given is None:
        return {}
    scores, labels = model.given
    values: dict[str, list[float]] = {name: [] for name in model.recomputed}
    for column in weights.T:
        drawn = torch.arange(len(labels)).repeat_interleave(column.long())
        for name, found in values.items():
            value = mean_of(measure(name, scores[drawn], labels[drawn]))
            found.append(float("nan") if value is None else value)
    return {name: torch.tensor(found, dtype=torch.float64) for name, found in values.items()}


class _Sums:
    """Sums over clips that most figures depend on: one sparse matrix (F, M), times the weights (M, R), gives all of them."""

    def __init__(self, model: Answers) -> None:
        right, clips = model.right, len(model.labels)
        number, one = torch.arange(clips), torch.ones(clips, dtype=torch.float64)
        # Name -> how many sums; then, of the clips that add to them: which clip, to which sum, and how much.
        parts: dict[str, tuple[int, Tensor, Tensor, Tensor]] = {
            "support": (model.classes, number, model.labels, one),
            "predicted": (model.classes, number, model.predicted, one),
            "correct": (model.classes, number[right], model.labels[right], one[right]),
        }
        if model.confidence is not None:
            gap = right.double() - model.confidence.double()
            parts["gaps"] = (BINS, number, bin_of(model.confidence), gap)
        self.per_clip = list(model.per_clip)
        for name, value in model.per_clip.items():
            parts[f"metric {name}"] = (1, number, torch.zeros_like(number), value.double())
        self.slices: dict[str, slice] = {}
        rows, columns, values, first = [], [], [], 0
        for name, (count, members, row, value) in parts.items():
            self.slices[name] = slice(first, first + count)
            rows.append(row + first)
            columns.append(members)
            values.append(value)
            first += count
        self.matrix = _sparse(torch.cat(rows), torch.cat(columns), torch.cat(values), (first, clips))

    def figures(self, weights: Tensor, groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
        sums, clips = torch.sparse.mm(self.matrix, weights), weights.shape[0]
        part = {name: sums[rows] for name, rows in self.slices.items()}
        counts = ClassCounts(part["support"], part["predicted"], part["correct"])
        found = {name: part[f"metric {name}"][0] / clips for name in self.per_clip}
        for name, row in METRICS.items():
            if row.interval is not None and row.from_counts is not None:
                found[name] = row.from_counts(counts)
        if "gaps" in part:
            found["ece"] = part["gaps"].abs().sum(0) / clips
        return found | {f"mca {name}": mean_class_accuracy(counts[mask]) for name, mask in groups.items()}
